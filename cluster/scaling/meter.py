"""What the policy goes by, measured: of every partition what arrives, what is applied and what waits.

    Kafka, where each log ends  ─┐
    Redis, how far each source   ├─► Sight, every few seconds ──► two of them, some seconds apart ──► Measurement
    is applied, and of how much ─┘

Rates are of events. A log is counted in records, of which one in Arrow is thousands of events: so what arrives and what waits is reckoned
by how many events the partition's records were in that time, or in the last in which any was applied.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from cluster.looking import Looking
from cluster.scaling.policy import Measurement, Partition, Rules
from connectors.closing import Closing
from connectors.kafka import LogEnds
from connectors.redis_reader import CachedStatus, CellReader
from topologies.errors import MarqueeError
from topologies.settings import Settings

log = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 2.0
WINDOW_S: Final = 10.0
"""Rates are those of so many seconds."""
STALE_S: Final = Rules.stale_s
"""What was told of a partition longer ago is not known any more while records wait there."""
Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True)
class Stand:
    """One partition. offset: up to which it is applied, and `received`: events below it; None both when nobody knows. at_s: when its
    worker told so, epoch seconds; None where none ever did."""

    end: int
    offset: int | None
    received: int | None
    at_s: float | None = None

    @property
    def waits(self) -> bool:
        return self.offset is None or self.end > self.offset


@dataclass(frozen=True)
class Sight:
    """All partitions at one time, epoch seconds."""

    at_s: float
    stands: Mapping[Place, Stand]


def sighted(at_s: float, ends: Mapping[Place, int], statuses: Mapping[str, CachedStatus], region: str) -> Sight:
    """Of every partition where its log ends and how far this region's workers have applied it: of a topic that was made anew, by the source
    that was heard last."""
    newest: dict[Place, CachedStatus] = {}
    for status in statuses.values():
        place = status.source.topic, status.source.partition
        if status.source.region == region and not status.ended and (place not in newest or status.at_ms > newest[place].at_ms):
            newest[place] = status
    stands: dict[Place, Stand] = {}
    for place, end in ends.items():
        found = newest.get(place)
        if found is None:
            stands[place] = Stand(end, None if end else 0, None if end else 0)
        elif found.status is None:
            stands[place] = Stand(end, None, None, found.at_ms / 1000)
        else:
            stands[place] = Stand(end, found.status.offset, found.status.received, found.at_ms / 1000)
    return Sight(at_s, stands)


class Sizes:
    """Events a record of each partition, as they were when any was applied last."""

    def __init__(self) -> None:
        self._known: dict[Place, float] = {}

    def between(self, place: Place, before: Stand, now: Stand) -> float:
        """Of the records applied between the two; 1 where none ever was."""
        assert None not in (before.offset, before.received, now.offset, now.received)
        records, events = (now.offset or 0) - (before.offset or 0), (now.received or 0) - (before.received or 0)
        if records > 0 and events > 0:
            self._known[place] = events / records
        return self._known.get(place, 1.0)


def measured(before: Sight, now: Sight, live: tuple[str, ...], capacity_per_s: float | None, sizes: Sizes) -> Measurement:
    """What happened between the two: of every partition of the live topics, and of those backfills that come or wait.

    A worker tells of its partitions again and again, also of those where nothing comes (streams/flush.py). When nothing was applied and of
    none of those where records wait anything was told within STALE_S, then nobody knows whether any was: it may be the telling that failed.
    Where others go on, one that does not is stuck.
    """
    seconds = now.at_s - before.at_s
    counted = {
        place: stand
        for place, stand in now.stands.items()
        if place[0] in live or stand.offset != stand.end or _moved(before.stands.get(place), stand)
    }
    silent = _silent(before, now.at_s, counted)
    partitions = [
        _UNKNOWN if silent and stand.waits else _partition(place, before.stands.get(place), stand, seconds, sizes)
        for place, stand in counted.items()
    ]
    return Measurement(now.at_s, capacity_per_s, tuple(partitions))


def _silent(before: Sight, at_s: float, stands: Mapping[Place, Stand]) -> bool:
    if any(place in before.stands and stand.offset != before.stands[place].offset for place, stand in stands.items()):
        return False
    return all(stand.at_s is None or at_s - stand.at_s > STALE_S for stand in stands.values() if stand.waits)


def _moved(before: Stand | None, now: Stand) -> bool:
    return before is None or (before.end, before.offset, before.received) != (now.end, now.offset, now.received)


_UNKNOWN: Final = Partition(None, None, None)


def _partition(place: Place, before: Stand | None, now: Stand, seconds: float, sizes: Sizes) -> Partition:
    if before is None or seconds <= 0 or None in (before.offset, now.offset, before.received, now.received):
        return _UNKNOWN
    came, applied = now.end - before.end, (now.received or 0) - (before.received or 0)
    if came < 0 or applied < 0 or (now.offset or 0) < (before.offset or 0):
        return _UNKNOWN  # another log has the name, or a worker went back to its checkpoint
    size = sizes.between(place, before, now)
    return Partition(came * size / seconds, applied / seconds, max(0, now.end - (now.offset or 0)) * size)


class Meter(Closing):
    """Looks at Kafka and Redis every LOOK_EVERY_S, on a thread of its own, from its making to `close`. A context manager.

    Where one of them does not answer nothing is measured, and the newest measurement grows old; it says so once each time.
    """

    def __init__(self, settings: Settings, capacity_per_s: float | None) -> None:
        self._live = settings.kafka.topics
        self._region = settings.worker.region
        self._capacity_per_s = capacity_per_s
        self._opened = ExitStack()
        self._ends = LogEnds(settings)
        self._reader = CellReader(settings.redis, ())
        self._opened.callback(self._reader.close)
        self._sights: deque[Sight] = deque()
        self._sizes = Sizes()
        self._newest: Measurement | None = None
        self._told = ""
        self._lock = threading.Lock()
        self._looking = Looking("meter", self._look, LOOK_EVERY_S)
        self._looking.start()

    def newest(self) -> Measurement | None:
        """The newest measurement, None before the first. It says itself how old it is."""
        with self._lock:
            return self._newest

    def _look(self) -> None:
        try:
            sight = sighted(time.time(), self._ends.read(), self._reader.statuses(), self._region)
        except (MarqueeError, LookupError, ValueError) as error:  # the latter two: of what is not understood in an answer
            why = str(error) if isinstance(error, MarqueeError) else repr(error)
            if self._told != why:
                self._told = why
                log.warning("nothing is measured: %s", why)
            return
        self._told = ""
        self._sights.append(sight)
        while len(self._sights) > 2 and self._sights[1].at_s <= sight.at_s - WINDOW_S:
            self._sights.popleft()
        if sight.at_s - self._sights[0].at_s >= WINDOW_S / 2:
            found = measured(self._sights[0], sight, self._live, self._capacity_per_s, self._sizes)
            with self._lock:
                self._newest = found

    def close(self) -> None:
        """Looks no more. Twice does nothing more."""
        self._looking.close(timeout_s=5.0)
        self._opened.close()
