"""What a worker holds that has not reached a store, in bytes, and the bound at which it stops folding, and so fetching.

broker ─► fetched, not folded ─► state: folded, not durable ─► stores
          fetched_bytes          unacked_bytes                  letters_bytes: not yet taken by Kafka
          (bounded by fetch sizes)   (bounded here)             (bounded here)
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from streams.assignor import Place
from streams.records import FetchedBatches
from topologies.settings import WorkerSettings

log = logging.getLogger(__name__)
MIB: Final = 2**20
LOOK_EVERY_S: Final = 0.05
REPORT_EVERY_S: Final = 10.0


class Afloat:
    """The fetches that somebody still holds: told by weak references, so that none is ever counted that is gone."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Place, int, weakref.ref[FetchedBatches]]] = {}

    def add(self, place: Place, fetched: FetchedBatches) -> None:
        """Count this fetch until nobody holds it. Any thread."""
        key = id(fetched)
        self._held[key] = (place, fetched.nbytes, weakref.ref(fetched, lambda _: self._held.pop(key, None)))

    def nbytes(self) -> int:
        """Bytes of all fetches held, compressed as they were fetched."""
        return sum(nbytes for _, nbytes, _ in list(self._held.values()))

    def has(self, place: Place) -> bool:
        """Whether a fetch of that partition is held."""
        return any(held == place for held, _, _ in list(self._held.values()))


@dataclass(frozen=True)
class Held:
    """What a worker holds, in bytes."""

    fetched_bytes: int
    """Of the log, fetched and not yet folded, compressed as it is."""
    unacked_bytes: int
    """Of the log, folded and not yet durable, compressed as it is: what a new owner would replay."""
    letters_bytes: int
    """Letters that Kafka has not taken yet."""
    state_bytes: int
    """The tables of all owned partitions."""


class Store(Protocol):
    """A cycle that brings what was folded to the durable store."""

    name: str
    working: asyncio.Event
    """Set while the store takes what it is given."""

    def hurry(self) -> None:
        """Come round at once: the fold waits for what is not stored."""


class Room:
    """Awaited before each batch is folded: returns when there is room for it."""

    def __init__(self, settings: WorkerSettings, unacked: Callable[[], int], letters: Callable[[], int], stores: Sequence[Store]) -> None:
        """`unacked` and `letters` tell bytes, as Held has them. Nothing is acknowledged unless all `stores` take what they are given."""
        self._unacked_most = round(settings.max_unacked_mb * MIB)
        self._letters_most = round(settings.max_buffered_mb * MIB)
        self._unacked = unacked
        self._letters = letters
        self._stores = stores
        self._reported_s = -REPORT_EVERY_S
        self.waits = ""
        """What folding waits for; empty while there is room."""
        self._ended = False

    @property
    def open(self) -> bool:
        """False while folding waits for room."""
        return not self.waits

    def end(self) -> None:
        """The worker stores what it has folded, for the last time: nothing more is folded."""
        self._ended = True

    async def __call__(self) -> None:
        closed_s = time.monotonic()
        while sentence := self._full():
            self.waits = sentence
            self._report(sentence)
            await asyncio.sleep(LOOK_EVERY_S)
        if self.waits:
            self.waits = ""
            log.warning("folding goes on after %.1f s", time.monotonic() - closed_s)

    def _full(self) -> str:
        """Why nothing more may be folded; empty if it may."""
        if self._ended:
            return "the worker ends"
        if away := [store.name for store in self._stores if not store.working.is_set()]:
            return f"{away[0]}: not all could be stored for too long"
        if (letters := self._letters()) > self._letters_most:
            return f"{letters:,} bytes of letters wait for Kafka"
        if (unacked := self._unacked()) > self._unacked_most:
            for store in self._stores:
                store.hurry()
            return f"{unacked:,} bytes of the log are folded and not yet in Cassandra"
        return ""

    def _report(self, sentence: str) -> None:
        if not self._ended and time.monotonic() - self._reported_s > REPORT_EVERY_S:
            self._reported_s = time.monotonic()
            log.warning("folding waits: %s", sentence)
