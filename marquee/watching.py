"""What is looked at while events flow: the workers' accounting, viewers and watch time, as Redis has them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from connectors.redis_reader import CachedStatus, CellReader
from serving.overview import SILENT_S
from topologies.concurrents import CONCURRENTS
from topologies.settings import Settings
from topologies.sources import SourceStatus
from topologies.view import HOUR, LIVE
from topologies.views import every_part
from topologies.watch_time import WATCH_TIME

TOP: Final = 8


@dataclass(frozen=True)
class Snapshot:
    """One look. viewers: all sessions live now. titles: the most watched now. watched: (title, region) → ms, this hour's first few.
    workers: those that were heard of, with how many partitions each works on."""

    statuses: Mapping[str, SourceStatus]
    viewers: int
    titles: tuple[tuple[str, int], ...]
    watched: tuple[tuple[tuple[str, ...], int], ...]
    workers: Mapping[str, int]

    def total(self, measure: str) -> int:
        """Sum over sources of received, applied, duplicate, late or dead."""
        return sum(int(getattr(status, measure)) for status in self.statuses.values())


class Watcher:
    """Looks at Redis; one thread. Raises ServerAway when it does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._reader = CellReader(settings.redis, every_part())
        self._titles = CONCURRENTS.groupings.index(("title",))
        self._total = CONCURRENTS.groupings.index(())

    def close(self) -> None:
        """Ends its connection."""
        self._reader.close()

    def statuses(self) -> dict[str, SourceStatus]:
        """The sources that have flushed to Redis, by their text."""
        return _flushed(self._reader.statuses())

    def viewers(self) -> int:
        """All sessions live now."""
        return sum(values[0] for values in self._reader.totals(CONCURRENTS, LIVE.name, 0, self._total).values())

    def look(self) -> Snapshot:
        """The state of things now."""
        cached = self._reader.statuses()
        statuses = _flushed(cached)
        newest_ms = max((status.clock_ms for status in statuses.values()), default=0)
        titles = self._reader.top(CONCURRENTS, LIVE.name, 0, self._titles, TOP)
        watched = self._reader.top(WATCH_TIME, HOUR.name, HOUR.start_of(max(0, newest_ms)), 0, TOP)
        return Snapshot(statuses, self.viewers(), tuple((key[0], count) for key, count in titles), tuple(watched), _workers(cached))


def _flushed(cached: Mapping[str, CachedStatus]) -> dict[str, SourceStatus]:
    return {name: found.status for name, found in cached.items() if found.status is not None}


def _workers(cached: Mapping[str, CachedStatus]) -> dict[str, int]:
    heard_from_ms = (time.time() - SILENT_S) * 1000
    living = Counter(found.worker for found in cached.values() if found.worker and not found.ended and found.at_ms >= heard_from_ms)
    return dict(sorted(living.items()))
