"""What the stores know of the sources, read once for all who ask at about the same time."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from topologies.errors import MarqueeError
from topologies.sources import SourceStatus

log = logging.getLogger(__name__)
FRESH_S: Final = 0.25
STALE_S: Final = 1.0
"""What is older is waited for; what is between the two is given while it is read anew, so that hardly anybody waits."""
HEARD_FRESH_S: Final = 0.05
HEARD_STALE_S: Final = 0.1
"""The same of what Redis has heard of the sources: well below the time between two flushes of a source."""
MOST_SHARED: Final = 512
MOST_PACKS: Final = 64
"""Buckets of a span, of which one may have a few hundred KB."""
MERGED_S: Final = 60.0
"""What no event can change is given on for so long."""
RENEWERS: Final = 2
"""Of each store, so that nobody who asks for what one knows waits behind what is asked of the other, which may be slow."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class History:
    """What Cassandra knows of the sources, as `Known` has it. counted: by source and table, below which offset its cells are there; None
    when Cassandra was not asked."""

    stored: Mapping[str, SourceStatus] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()
    finished: frozenset[str] = frozenset()
    counted: Mapping[str, Mapping[str, int]] | None = None


@dataclass(frozen=True)
class _Kept:
    at_s: float
    value: Any


class Recent:
    """So many values of the last `stale_s` seconds, by key. For any number of threads."""

    def __init__(self, most: int, clock: Callable[[], float], stale_s: float = STALE_S) -> None:
        self._most = most
        self._stale_s = stale_s
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, _Kept] = OrderedDict()

    def get(self, key: object, read: Callable[[], _T]) -> tuple[_T, bool]:
        """What is kept, or what `read` gives, which is kept then; and whether it was kept. Raises as `read` does."""
        now_s = self._clock()
        if (kept := self._found(key, now_s)) is not None:
            return kept.value, True
        value = read()
        self._keep(key, _Kept(now_s, value))
        return value, False

    def has(self, key: object) -> bool:
        """Whether there is a value that is not older."""
        return self._found(key, self._clock()) is not None

    def put(self, key: object, value: object) -> None:
        """Keeps it."""
        self._keep(key, _Kept(self._clock(), value))

    def _found(self, key: object, now_s: float) -> _Kept | None:
        with self._lock:
            kept = self._kept.get(key)
        return kept if kept is not None and now_s - kept.at_s < self._stale_s else None

    def _keep(self, key: object, kept: _Kept) -> None:
        with self._lock:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


class _Flight(NamedTuple):
    begun_s: float
    landed: Future[Any]


class Histories:
    """One process' histories, by keyspace, and what else many of its questions need of the stores. For any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds."""
        self._clock = clock
        self._kept: dict[object, _Kept] = {}
        self._flights: dict[object, _Flight] = {}
        self._cassandra = ThreadPoolExecutor(RENEWERS, thread_name_prefix="history")
        self._redis = ThreadPoolExecutor(RENEWERS, thread_name_prefix="heard")
        self._lock = threading.Lock()
        self._shared = Recent(MOST_SHARED, clock)
        self._unmarked = Recent(MOST_SHARED, clock)
        self._packs = Recent(MOST_PACKS, clock)
        self._merged = Recent(MOST_PACKS, clock, MERGED_S)

    def of(self, keyspace: str, read: Callable[[], History]) -> History:
        """The keyspace's history, begun to be read at most STALE_S ago. read: reads it, on any thread. Raises as it does."""
        return self.renewed(("history", keyspace), read, FRESH_S, STALE_S)

    def heard(self, key: object, read: Callable[[], _T], since_s: float | None = None) -> _T:
        """What Redis has heard of the sources: begun to be read at most HEARD_STALE_S ago, or since then (by `now_s`). As `renewed`."""
        return self._renewed(self._redis, ("heard", key), read, HEARD_FRESH_S, HEARD_STALE_S, since_s)

    def now_s(self) -> float:
        """The time, as `heard` has it."""
        return self._clock()

    def renewed(self, key: object, read: Callable[[], _T], fresh_s: float, stale_s: float) -> _T:
        """What `read` gave of Cassandra to whoever had it read last. What is no longer fresh is read anew, on any thread, by one for all;
        meanwhile it is given on while it is not stale, and then waited for. Raises as `read` does, to all who waited for it: a store that
        hangs makes nobody wait twice."""
        return self._renewed(self._cassandra, key, read, fresh_s, stale_s)

    def _renewed(
        self, pool: ThreadPoolExecutor, key: object, read: Callable[[], _T], fresh_s: float, stale_s: float, since_s: float | None = None
    ) -> _T:
        """since_s: what was begun to be read before is waited for at once."""
        while True:
            now_s = self._clock()
            with self._lock:
                kept, flight = self._kept.get(key), self._flights.get(key)
                if kept is not None and (kept.at_s >= since_s if since_s is not None else now_s - kept.at_s < fresh_s):
                    return kept.value  # type: ignore[no-any-return]
                mine = flight is None
                if flight is None:
                    flight = self._flights[key] = _Flight(now_s, Future())
            if since_s is None and kept is not None and now_s - kept.at_s < stale_s:
                if mine:
                    pool.submit(self._fly, key, flight, read)
                return kept.value  # type: ignore[no-any-return]
            if mine:
                self._fly(key, flight, read)
            if since_s is None or flight.begun_s >= since_s:
                return flight.landed.result()  # type: ignore[no-any-return]
            wait([flight.landed])

    def _fly(self, key: object, flight: _Flight, read: Callable[[], object]) -> None:
        try:
            value = read()
        except BaseException as error:
            with self._lock:
                del self._flights[key]
            flight.landed.set_exception(error)
            if not isinstance(error, MarqueeError):
                raise
            log.debug("%s was not read anew: %s", key, error)  # who waits for it is told
            return
        with self._lock:
            self._kept[key] = _Kept(flight.begun_s, value)
            del self._flights[key]
        flight.landed.set_result(value)

    def shared(self, key: object, read: Callable[[], _T]) -> _T:
        """What `read` gives, or gave at most STALE_S ago for this key. The key has the digest of the statuses that the asker has seen: so
        what is found was read by somebody who had seen the same ones, and is as of them or newer. Raises as `read` does."""
        return self._shared.get(key, read)[0]

    def packs(self, key: object, read: Callable[[], _T], *, final: bool) -> tuple[_T, bool]:
        """The same of a bucket's packs, and whether they had been read. final: nothing can change them, and they are kept for longer."""
        return (self._merged if final else self._packs).get(key, read)

    def unmarked(self, keys: Collection[object]) -> bool:
        """Whether all of these spans, by their basis, were found to have no final rows at most STALE_S ago."""
        return all(self._unmarked.has(key) for key in keys)

    def are_unmarked(self, keys: Iterable[object]) -> None:
        """They were found so now."""
        for key in keys:
            self._unmarked.put(key, True)

    def close(self) -> None:
        """Returns when nothing is being read. Nobody asks any more."""
        self._cassandra.shutdown()
        self._redis.shutdown()
