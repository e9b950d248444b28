"""What is known of the sources when a question is answered: what each store says of them, and of several regions, each region's Redis."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from connectors.redis_reader import CachedStatus
from serving.histories import History
from topologies.errors import ServerAway
from topologies.finals import Bases
from topologies.sources import ALL_COUNTED, SKEW_MS, Counted, SourceStatus
from topologies.view import Window


@dataclass(frozen=True)
class Known:
    """The sources by their text, as each store has them.

    lacking: those of which Redis has not all. redis_away: that Redis did not answer, away: that Cassandra did not; empty when they did.
    ended: those whose topic is no more (deleted, or made anew under its name). What they counted in windows stays; now they are nobody.
    finished: those of backfills whose log has ended, as they stand in Cassandra: nothing more of them is awaited.
    counted: which views have all that those in `stored` say.
    regions: by region, own first, what is known of its sources alone; empty where there is one.
    """

    cached: Mapping[str, SourceStatus]
    stored: Mapping[str, SourceStatus]
    live_topics: tuple[str, ...]
    lacking: frozenset[str] = frozenset()
    redis_away: str = ""
    away: str = ""
    ended: frozenset[str] = frozenset()
    finished: frozenset[str] = frozenset()
    counted: Counted = ALL_COUNTED
    regions: Mapping[str, Known] = field(default_factory=dict)

    def stored_alone(self) -> Known:
        """As if no Redis had anything."""
        return replace(self, cached={}, regions={region: one.stored_alone() for region, one in self.regions.items()})

    @property
    def over(self) -> frozenset[str]:
        """Those that hold no window back."""
        return self.ended | self.finished

    @cached_property
    def digest(self) -> str:
        """Equal where Cassandra's statuses are: of every source, up to which offset it has it."""
        told = sorted((name, status.offset) for name, status in self.stored.items())
        return hashlib.blake2b(repr(told).encode(), digest_size=16).hexdigest()

    @cached_property
    def bases(self) -> Bases:
        """Of what a span's final rows are made, as Cassandra's statuses tell."""
        return Bases(self.stored, self.over, self.counted)

    @property
    def names(self) -> frozenset[str]:
        """Every source that either store has heard of."""
        return frozenset(self.cached) | frozenset(self.stored)

    def going(self, statuses: Iterable[SourceStatus]) -> list[SourceStatus]:
        """Those that have not ended."""
        return [status for status in statuses if str(status.source) not in self.ended]

    def doubt(self, window: Window | None = None, start_ms: int = 0) -> str:
        """Why Redis' totals of this window (None: of any) cannot be used; empty when they can. A source that has ended has no cell in
        the live window, nor in one that starts after its last event."""
        if self.redis_away:
            return self.redis_away
        lacking = {
            name
            for name in self.lacking
            if name not in self.ended or (window is not None and window.length_ms and start_ms <= self.reached_ms(name))
        }
        return f"Redis has not all of {len(lacking)} of the {len(self.names | self.lacking)} sources" if lacking else ""

    def reached_ms(self, name: str) -> int:
        """The last start of a window in which the source can have a cell."""
        clocks = [found[name].clock_ms for found in (self.cached, self.stored) if name in found]
        return max(clocks, default=-1) + SKEW_MS

    @cached_property
    def best(self) -> tuple[SourceStatus, ...]:
        """Of each source the status that is further."""
        both = [[found[name] for found in (self.cached, self.stored) if name in found] for name in sorted(self.names)]
        return tuple(max(found, key=lambda status: status.offset) for found in both)

    def live(self, statuses: Iterable[SourceStatus]) -> list[SourceStatus]:
        """Those of live topics that have a clock; of all topics, when there are none: an ended backfill's clock stands for ever."""
        clocked = [status for status in statuses if status.clock_ms >= 0]
        return [status for status in clocked if status.source.topic in self.live_topics] or clocked


def known_here(
    found: Mapping[str, CachedStatus], history: History, live_topics: tuple[str, ...], redis_away: str = "", away: str = ""
) -> Known:
    """Of one region: what its Redis says, and Cassandra. The rest is as Known has it."""
    cached = {name: status.status for name, status in found.items() if status.status is not None}
    unfinished = {name for name, status in found.items() if status.status is None}
    stored, ended = history.stored, {name for name, status in found.items() if status.ended} | history.ended
    behind = {name for name, status in stored.items() if name not in cached or cached[name].offset < status.offset}
    return Known(
        cached=cached,
        stored=stored,
        live_topics=live_topics,
        lacking=frozenset(behind | unfinished),
        redis_away=redis_away,
        away=away,
        ended=frozenset(ended),
        finished=history.finished,
        counted=Counted(stored, history.counted, ended) if history.counted is not None else ALL_COUNTED,
    )


def known_of(
    found: Mapping[str, Mapping[str, CachedStatus] | ServerAway], history: History, live_topics: tuple[str, ...], away: str
) -> Known:
    """Of several regions: what each one's Redis says, or why it does not, and what Cassandra says of all. away: as Known has it."""
    told = {region: {} if isinstance(one, ServerAway) else one for region, one in found.items()}
    ended = history.ended.union(*({name for name, one in statuses.items() if one.ended} for statuses in told.values()))
    counted = Counted(history.stored, history.counted, ended) if history.counted is not None else ALL_COUNTED
    regions: dict[str, Known] = {}
    for region, statuses in told.items():
        silent, stored = found[region], {name: status for name, status in history.stored.items() if status.source.region == region}
        redis_away = str(silent) if isinstance(silent, ServerAway) else ""
        one = known_here(statuses, replace(history, stored=stored, ended=ended), live_topics, redis_away, away)
        regions[region] = replace(one, counted=counted)
    parts = regions.values()
    return Known(
        cached={name: status for one in parts for name, status in one.cached.items()},
        stored=history.stored,
        live_topics=live_topics,
        lacking=frozenset[str]().union(*(one.lacking for one in parts)),
        redis_away=next((one.redis_away for one in parts), "") if all(one.redis_away for one in parts) else "",
        away=away,
        ended=ended,
        finished=history.finished,
        counted=counted,
        regions=regions,
    )
