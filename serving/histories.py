"""What the stores know of the sources, read once for all who ask at about the same time."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from topologies.errors import MarqueeError
from topologies.sources import SourceStatus

log = logging.getLogger(__name__)
FRESH_S: Final = 0.25
STALE_S: Final = 1.0
"""What is older is waited for; what is between the two is given while it is read anew, so that hardly anybody waits."""
HEARD_S: Final = 0.02
"""What Redis has heard of the sources is read at most so often: a twelfth of the time between two flushes of a source."""
MOST_SHARED: Final = 512
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
    history: History


class Histories:
    """One process' histories, by keyspace, and what else many of its questions need of the stores. For any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds."""
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._reading: dict[str, threading.Lock] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._heard: dict[object, tuple[float, object]] = {}
        self._hearing: dict[object, threading.Lock] = {}
        self._shared: OrderedDict[object, tuple[float, object]] = OrderedDict()
        self._sharing = threading.Lock()

    def of(self, keyspace: str, read: Callable[[], History]) -> History:
        """The keyspace's history, begun to be read at most STALE_S ago. read: reads it, on any thread. Raises as it does."""
        kept, age_s = self._found(keyspace)
        if kept is not None and age_s < FRESH_S:
            return kept.history
        reading = self._reading.setdefault(keyspace, threading.Lock())
        if kept is not None and age_s < STALE_S:
            if reading.acquire(blocking=False):
                self._pool.submit(self._renew, keyspace, read, reading)
            return kept.history
        with reading:
            kept, age_s = self._found(keyspace)
            return kept.history if kept is not None and age_s < FRESH_S else self._read(keyspace, read)

    def heard(self, key: object, read: Callable[[], _T], since_s: float | None = None) -> _T:
        """What `read` gives, or gave whoever read it last, if that was begun since then (by the clock of these; HEARD_S ago when None). One
        thread reads, and those who wait for it get what it got. Raises as `read` does."""
        since_s = self._clock() - HEARD_S if since_s is None else since_s
        found = self._heard.get(key)
        if found is None or found[0] < since_s:
            with self._hearing.setdefault(key, threading.Lock()):
                found = self._heard.get(key)
                if found is None or found[0] < since_s:
                    begun_s = self._clock()
                    found = self._heard[key] = begun_s, read()
        return found[1]  # type: ignore[return-value]

    def now_s(self) -> float:
        """The time, as `heard` has it."""
        return self._clock()

    def shared(self, key: object, read: Callable[[], _T]) -> _T:
        """What `read` gives, or gave at most STALE_S ago for this key. The key has the digest of the statuses that the asker has seen: so
        what is found was read by somebody who had seen the same ones, and is as of them or newer. Raises as `read` does."""
        now_s = self._clock()
        with self._sharing:
            found = self._shared.get(key)
        if found is not None and now_s - found[0] < STALE_S:
            return found[1]  # type: ignore[return-value]
        value = read()
        with self._sharing:
            self._shared[key] = now_s, value
            self._shared.move_to_end(key)
            while len(self._shared) > MOST_SHARED:
                self._shared.popitem(last=False)
        return value

    def close(self) -> None:
        """Returns when nothing is being read. Nobody asks any more."""
        self._pool.shutdown()

    def _found(self, keyspace: str) -> tuple[_Kept | None, float]:
        kept = self._kept.get(keyspace)
        return kept, self._clock() - kept.at_s if kept is not None else 0.0

    def _read(self, keyspace: str, read: Callable[[], History]) -> History:
        begun_s = self._clock()
        history = read()
        self._kept[keyspace] = _Kept(begun_s, history)
        return history

    def _renew(self, keyspace: str, read: Callable[[], History], reading: threading.Lock) -> None:
        try:
            self._read(keyspace, read)
        except MarqueeError as error:  # who asks when what is kept is stale reads it, and is told
            log.debug("what Cassandra knows of the sources was not read anew: %s", error)
        finally:
            reading.release()
