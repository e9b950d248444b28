"""Reading through a cache: what Memcached has, and else what a store has, read once for all who ask for it at a time.

    in a process      the first who asks for a key looks for it; the others wait for what it finds
    among processes   Memcached gives the first who finds nothing a lease; the others look again every POLL_S, for WAIT_S at the most, and
                      then read themselves. A reader that dies delays them by that

A key must have one right value, whoever reads it and when. So nothing that is kept can be wrong, a value that comes late neither, and
no two readers disagree.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from connectors.memcached import Look, Memcached
from topologies.errors import StoreError

Value = TypeVar("Value")
POLL_S: Final = 0.01
WAIT_S: Final = 0.5


@dataclass(frozen=True)
class Store(Generic[Value]):
    """Where values come from, and how they are kept.

    load: of all these keys, in one go; may raise. packed: as bytes; None for what may not be kept. unpacked: of a key and its bytes; raises
    StoreError when they are none of this version's. ttl_s: kept for at most so long.
    """

    load: Callable[[Sequence[str]], Mapping[str, Value]]
    packed: Callable[[Value], bytes | None]
    unpacked: Callable[[str, bytes], Value]
    ttl_s: int


class Found(NamedTuple, Generic[Value]):
    """A value, and whether Memcached had it."""

    value: Value
    remembered: bool


class ReadThrough:
    """One for a process, and any number of threads."""

    def __init__(self, memcached: Memcached, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds. The client stays the caller's."""
        self._memcached = memcached
        self._clock = clock
        self._flights: dict[str, Future[Found[Any]]] = {}
        self._lock = threading.Lock()

    def read(self, keys: Sequence[str], store: Store[Value]) -> dict[str, Found[Value]]:
        """The values of these keys. Raises what loading raises, to all who wait for it."""
        mine, others = self._claimed(keys)
        try:
            found = self._own(mine, store)
        except BaseException as error:
            self._failed(mine, error)
            raise
        for key, flight in others.items():
            try:
                found[key] = cast(Found[Value], flight.result())
            except CancelledError:  # whoever read it was stopped
                found[key] = Found(store.load([key])[key], remembered=False)
        return found

    def _claimed(self, keys: Sequence[str]) -> tuple[dict[str, Future[Found[Any]]], dict[str, Future[Found[Any]]]]:
        """Those that we read, and those that another thread is reading. Ours are read before theirs are waited for: no ring of waiters."""
        with self._lock:
            others = {key: self._flights[key] for key in keys if key in self._flights}
            mine: dict[str, Future[Found[Any]]] = {key: Future() for key in keys if key not in others}
            self._flights.update(mine)
        return mine, others

    def _own(self, mine: Mapping[str, Future[Found[Any]]], store: Store[Value]) -> dict[str, Found[Value]]:
        found: dict[str, Found[Value]] = {}
        waiting, patient_s = list(mine), self._clock() + WAIT_S
        while waiting:
            looks = self._memcached.look(waiting)
            if self._clock() >= patient_s:
                looks = {key: Look.READ if look is Look.WAIT else look for key, look in looks.items()}
            had, ours = self._unpacked(looks, store)
            self._landed(mine, had)
            read = [key for key, look in looks.items() if key in ours or look is Look.PASS]
            loaded = self._loaded(read, ours, store)
            self._landed(mine, loaded)
            if ours:
                self._memcached.put({key: store.packed(loaded[key].value) for key in ours}, store.ttl_s)
            found |= had | loaded
            waiting = [key for key in waiting if key not in found]
            if waiting:
                time.sleep(POLL_S)
        return found

    def _unpacked(self, looks: Mapping[str, bytes | Look], store: Store[Value]) -> tuple[dict[str, Found[Value]], list[str]]:
        """What Memcached had, and the keys that are ours to read."""
        had: dict[str, Found[Value]] = {}
        ours = [key for key, look in looks.items() if look is Look.READ]
        for key, look in looks.items():
            if isinstance(look, bytes):
                try:
                    had[key] = Found(store.unpacked(key, look), remembered=True)
                except StoreError:  # another version's, which this one's takes the place of
                    ours.append(key)
        return had, ours

    def _loaded(self, keys: Sequence[str], ours: Sequence[str], store: Store[Value]) -> dict[str, Found[Value]]:
        if not keys:
            return {}
        try:
            values = store.load(keys)
        except BaseException:
            self._memcached.drop(ours)
            raise
        return {key: Found(values[key], remembered=False) for key in keys}

    def _landed(self, flights: Mapping[str, Future[Found[Any]]], found: Mapping[str, Found[Any]]) -> None:
        """Of these flights those that found something end with it."""
        with self._lock:
            for key in found:
                self._flights.pop(key, None)
        for key, one in found.items():
            flights[key].set_result(one)

    def _failed(self, flights: Mapping[str, Future[Found[Any]]], error: BaseException) -> None:
        """Those that are still in the air end with the error; with none when we were stopped."""
        left = {key: flight for key, flight in flights.items() if not flight.done()}
        with self._lock:
            for key in left:
                self._flights.pop(key, None)
        for flight in left.values():
            if isinstance(error, Exception):
                flight.set_exception(error)
            else:
                flight.cancel()
