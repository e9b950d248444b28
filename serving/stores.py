"""The two stores as an answer reads them, opened when first needed; and what they know of the sources."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Self

from cassandra.cluster import Session

from connectors.cassandra import close, connect
from connectors.cassandra_finals import FinalRows
from connectors.cassandra_reader import CellRows
from connectors.checkpoints import offsets_of
from connectors.redis_reader import CellReader, Totals
from connectors.source_notes import SourceNotes
from serving.cells import Key
from serving.questions import Plan
from topologies.errors import ServerAway, StoreError
from topologies.packs import bucket_of
from topologies.settings import Settings
from topologies.sources import SKEW_MS, SourceStatus
from topologies.view import View, Window
from topologies.views import every_part


@dataclass(frozen=True)
class Known:
    """The sources by their text, as each store has them.

    lacking: those of which Redis has not all. redis_away: that Redis did not answer, away: that Cassandra did not; empty when they did.
    ended: those whose topic is no more (deleted, or made anew under its name). What they counted in windows stays; now they are nobody.
    """

    cached: Mapping[str, SourceStatus]
    stored: Mapping[str, SourceStatus]
    live_topics: tuple[str, ...]
    lacking: frozenset[str] = frozenset()
    redis_away: str = ""
    away: str = ""
    ended: frozenset[str] = frozenset()

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
            name for name in self.lacking if name not in self.ended or (window is not None and self._reaches(name, window, start_ms))
        }
        return f"Redis has not all of {len(lacking)} of the {len(self.names | self.lacking)} sources" if lacking else ""

    def _reaches(self, name: str, window: Window, start_ms: int) -> bool:
        clocks = [found[name].clock_ms for found in (self.cached, self.stored) if name in found]
        return bool(window.length_ms) and start_ms <= max(clocks, default=-1) + SKEW_MS

    @property
    def best(self) -> tuple[SourceStatus, ...]:
        """Of each source the status that is further."""
        both = [[found[name] for found in (self.cached, self.stored) if name in found] for name in sorted(self.names)]
        return tuple(max(found, key=lambda status: status.offset) for found in both)

    def live(self, statuses: Iterable[SourceStatus]) -> list[SourceStatus]:
        """Those of live topics that have a clock; of all topics, when there are none: an ended backfill's clock stands for ever."""
        clocked = [status for status in statuses if status.clock_ms >= 0]
        return [status for status in clocked if status.source.topic in self.live_topics] or clocked


class Stores:
    """Redis and Cassandra of these settings. Use as a context manager; one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes what was opened. Twice does nothing more."""
        reader = self.__dict__.pop("_redis", None)
        if reader is not None:
            reader.close()
        self.__dict__.pop("_cassandra", None)
        self.__dict__.pop("_notes", None)
        self.__dict__.pop("finals", None)
        session = self.__dict__.pop("_session", None)
        if session is not None:
            close(session)

    @cached_property
    def _redis(self) -> CellReader:
        return CellReader(self._settings.redis, every_part())

    @cached_property
    def _session(self) -> Session:
        return connect(self._settings.cassandra)

    @cached_property
    def _cassandra(self) -> CellRows:
        keyspace = self._settings.cassandra.keyspace
        if keyspace not in self._session.cluster.metadata.keyspaces:
            raise StoreError(f"Cassandra has no keyspace {keyspace} yet: the first worker makes it (`marquee up` or `marquee worker`)")
        return CellRows(self._session, self._settings.cassandra, every_part())

    def known(self) -> Known:
        """What is known of the sources. Raises ServerAway when neither store answers."""
        redis_away, away = "", ""
        cached: dict[str, SourceStatus] = {}
        stored: dict[str, SourceStatus] = {}
        unfinished: set[str] = set()
        ended: set[str] = set()
        try:
            found = self._redis.statuses()
            cached = {name: status.status for name, status in found.items() if status.status is not None}
            unfinished = {name for name, status in found.items() if status.status is None}
            ended = {name for name, status in found.items() if status.ended}
        except ServerAway as error:
            redis_away = str(error)
        try:
            stored = self._cassandra.statuses()
            ended |= set(self._notes.ended())
        except ServerAway as error:
            away = str(error)
        if redis_away and away:
            raise ServerAway(f"neither store answers: {redis_away}; {away}")
        behind = {name for name, status in stored.items() if name not in cached or cached[name].offset < status.offset}
        lacking = frozenset(behind | unfinished)
        away = away and f"{away}; history was not looked at"
        return Known(cached, stored, self._settings.kafka.topics, lacking, redis_away, away, frozenset(ended))

    def checkpoints(self, sources: Iterable[str]) -> dict[str, int]:
        """The offset of the newest checkpoint of each of these sources that has one. Raises ServerAway or StoreError."""
        return offsets_of(self._session, self._settings.cassandra, sources)

    @cached_property
    def _notes(self) -> SourceNotes:
        return SourceNotes(self._session, self._settings.cassandra)

    def spans(self, view: View, window: str) -> set[int]:
        """Starts of the pack spans in which any source has ever had a cell. Raises ServerAway or StoreError."""
        return set(self._cassandra.pack_spans(view, window))

    @cached_property
    def finals(self) -> FinalRows:
        """Cassandra's final rows."""
        return FinalRows(self._session, self._settings.cassandra)

    def totals(self, view: View, window: str, start_ms: int, grouping: int, keys: Sequence[Key] | None) -> Totals:
        """Redis' sums over sources; of these keys, or of all."""
        return self._redis.totals(view, window, start_ms, grouping, keys)

    def best(self, view: View, window: str, start_ms: int, grouping: int, count: int) -> list[Key]:
        """The first keys of Redis' leaderboard."""
        return [key for key, _ in self._redis.top(view, window, start_ms, grouping, count)]

    def packs(self, plan: Plan, starts_ms: Collection[int], without: Collection[str] = ()) -> Iterator[bytes]:
        """Cassandra's packs that hold cells of these windows, of all sources but `without`. Raises ServerAway or StoreError."""
        pinned = plan.view.groupings[plan.grouping] == () or 0 in plan.fixed
        bucket = bucket_of((plan.fixed[0],) if plan.fixed else ()) if pinned else None
        for pack_ms in sorted({plan.stored.pack_of(start_ms) for start_ms in starts_ms}):
            for pack in self._cassandra.packs(plan.view, plan.stored.name, pack_ms, bucket):
                if pack.source not in without:
                    yield pack.blob
