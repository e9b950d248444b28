"""From a partition's state to the stores: changed cells to Redis, changed packs and the status to Cassandra.

Two cycles run beside the fold, each over all partitions; that of the checkpoints (streams/checkpointing.py) is a third. A cycle that
costs more than its share of the worker's CPU comes round more rarely. A flush takes what it writes in one step, at one offset; the fold
goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final
from weakref import WeakKeyDictionary

from connectors.bookmark_store import BookmarkStore
from connectors.cassandra_store import CellStore
from connectors.logs import at
from connectors.redis_cache import CellCache, FlushOutcome
from streams import metrics
from streams.assignor import Place
from streams.metered import CpuMeter
from streams.partition import FOREIGN, PartitionOwner
from topologies.bookmarks import MarksTaken
from topologies.cells import CACHE, DURABLE
from topologies.errors import ServerAway, StoreError
from topologies.fold import FlushTaken, PartitionState
from topologies.marks import MarkBatch
from topologies.settings import WorkerSettings

log = logging.getLogger(__name__)
RETRY_S: Final = 1.0
REPORT_EVERY_S: Final = 10.0
IDLE_CHECK_S: Final = 3.0
"""A partition in which nothing happens looks so often whether Redis still has its cells."""
SHORTEST_PAUSE_S: Final = 0.01
BEHIND_S: Final = 10.0
BEHIND_PAUSE_S: Final = BEHIND_S / 2
"""Who looks at a partition whose clock is so far behind sees what is old anyway. Brought to Redis at intervals of half of that, the same
cells and bookmarks are sent far less often than at 0.25 s (at 2.5 s a third of the cells: 40,000 for 149,000 of a partition's 1.26 M
events), and they are what a flush costs."""
BEHIND_STORE_S: Final = 15.0
"""The same for Cassandra: all of a partition's packs change between two flushes, so each flush of a backfill writes all of them again."""
LOOK_EVERY_S: Final = 0.1
STRETCH_AT_MOST: Final = 12.0
"""A cycle comes round at the latest after so many times its interval."""


class CacheFlush:
    """Brings changed cells to Redis. Redis away: cells stay marked, nothing else waits."""

    def __init__(self, cache: CellCache, worker: str) -> None:
        self._cache = cache
        self._worker = worker

    async def __call__(self, owner: PartitionOwner) -> None:
        """Flush one partition, unless it is spoiled. Raises ServerAway or StoreError with the cells marked again."""
        if owner.spoiled:
            return
        state = owner.state
        now = time.monotonic()
        if owner.cached == state.offset and now - owner.cache_seen_s < IDLE_CHECK_S:
            return
        owner.cache_seen_s = now
        with metrics.FLUSH_SECONDS.labels("redis").time():
            await self._flush(owner)

    async def _flush(self, owner: PartitionOwner) -> None:
        state = owner.state
        batches, taken = state.take_cached()
        marks = _marks_of(state, CACHE)
        status = state.status()
        at_ms = int(time.time() * 1000)
        try:
            if marks is not None:  # first: a cache that has applied an offset has the bookmarks that were due there
                await self._cache.write_marks(marks[0])
            outcome = await self._cache.flush(status, batches, last_applied=owner.cached, worker=self._worker, at_ms=at_ms)
            if outcome is FlushOutcome.MISMATCH:
                log.warning("%s: Redis lost what it had; writing all cells again", owner.source, extra=at(owner.source, status.offset))
                metrics.CACHE_REWRITES.labels(owner.source.topic, owner.source.partition).inc()
                await self._cache.reset(owner.source, status.offset)
        except BaseException:  # cancelled too: what was taken is still lacking
            _put_back(state, taken, marks, CACHE)
            raise
        if outcome is FlushOutcome.WRITTEN:
            owner.cached = status.offset
            return
        _put_back(state, taken, marks, CACHE)
        if outcome is FlushOutcome.MISMATCH:
            state.mark_all(CACHE)
            owner.cached = None


def cache_due(owner: PartitionOwner, caught_up: Callable[[Place, int], bool]) -> bool:
    """Whether a round is to bring the partition to Redis: not every round if it is far behind and its log goes on.

    At once if Redis is to get every cell, or is older than the checkpoint: an owner after a crash would have to write every cell.
    """
    if owner.cached is None or owner.cached == FOREIGN or owner.cached < owner.durable:
        return True
    return time.monotonic() >= owner.cache_seen_s + BEHIND_PAUSE_S or near_end(owner, caught_up)


def store_due(owner: PartitionOwner, caught_up: Callable[[Place, int], bool]) -> bool:
    """Whether a round is to bring the partition to Cassandra: not every round if it is far behind and its log goes on."""
    return time.monotonic() >= owner.store_seen_s + BEHIND_STORE_S or near_end(owner, caught_up)


def near_end(owner: PartitionOwner, caught_up: Callable[[Place, int], bool]) -> bool:
    """Whether its clock is not far behind, or its log goes on no further."""
    status = owner.state.status()
    return time.time() < status.clock_ms / 1000 + BEHIND_S or caught_up(owner.place, status.offset)


class DurableFlush:
    """Brings changed packs and the status to Cassandra. With it away, nothing is acknowledged."""

    def __init__(self, cells: CellStore, bookmarks: BookmarkStore | None = None) -> None:
        """bookmarks: where they are stored; None where no state keeps any."""
        self._cells = cells
        self._bookmarks = bookmarks

    async def __call__(self, owner: PartitionOwner) -> None:
        """Flush one partition, unless it is spoiled. Raises ServerAway or StoreError with the cells marked again."""
        async with owner.storing:
            if owner.spoiled:
                return
            if owner.stored != owner.state.offset and not owner.unread:
                owner.store_seen_s = time.monotonic()
                with metrics.FLUSH_SECONDS.labels("cassandra").time():
                    await self._flush(owner)

    async def _flush(self, owner: PartitionOwner) -> None:
        state = owner.state
        status = state.status()
        packs, taken = state.take_packs()
        marks = _marks_of(state, DURABLE)
        try:
            if marks is not None and self._bookmarks is not None:
                await self._bookmarks.write(marks[0])
            await self._cells.write_packs(owner.source, status.offset, packs)
            await self._cells.write_status(status)
        except BaseException:
            _put_back(state, taken, marks, DURABLE)
            raise
        owner.stored = status.offset
        owner.acknowledge()
        state.close_final()


def _marks_of(state: PartitionState, store: int) -> tuple[MarkBatch, MarksTaken] | None:
    """The bookmarks that are due and that the store lacks; None if none are kept."""
    return state.bookmarks.take(store) if state.bookmarks is not None else None


def _put_back(state: PartitionState, cells: FlushTaken, marks: tuple[MarkBatch, MarksTaken] | None, store: int) -> None:
    state.put_back(cells)
    if state.bookmarks is not None and marks is not None:
        state.bookmarks.put_back(marks[1], store)


class Cycle:
    """Calls `flush` for each partition, over and over, until stopped. `working` is set while the store takes what it is given."""

    def __init__(
        self,
        name: str,
        flush: Callable[[PartitionOwner], Awaitable[None]],
        owners: Callable[[], Iterable[PartitionOwner]],
        interval_s: float,
        settings: WorkerSettings,
        *,
        abreast: int,
        part: float = 1.0,
        store_cpu_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`abreast`: how many partitions are flushed side by side. What a flush takes is as old as the flush is long when it arrives, so
        not all of them; one alone leaves the store idle while it waits for answers.
        `part`: of the worker's CPU that all flushes may take, for this one.
        `store_cpu_s`: CPU seconds of threads of the store's driver, whose growth during a round is part of its cost."""
        self.name = name
        self._flush = flush
        self._owners = owners
        self._interval_s = interval_s
        self._share = settings.flush_share * part
        self._patience_s = settings.max_unacked_s
        self._abreast = abreast
        self._store_cpu_s = store_cpu_s
        self.due: Callable[[PartitionOwner], bool] = lambda _: True
        """Whether a round of `run` includes this partition. While the store is in trouble, or somebody waits, it includes all."""
        self.near_end: Callable[[PartitionOwner], bool] = lambda _: False
        """Whether one that a round has passed over does not wait for the next."""
        self._away = False
        self._broke_off: PartitionOwner | None = None
        """Where the last round that found the store away ended: the next begins behind it, so that the others have their turn."""
        self._locks: WeakKeyDictionary[PartitionOwner, asyncio.Lock] = WeakKeyDictionary()
        self._failing_since: float | None = None
        self._reported_s = -REPORT_EVERY_S
        self._told = False
        """Whether the log has this trouble: one that comes and goes each second is told every ten."""
        self.trouble = ""
        """Why the store does not take what it is given; empty while it does."""
        self.working = asyncio.Event()
        self.working.set()
        self._hurried = asyncio.Event()

    def hurry(self) -> None:
        """Come round again at once: somebody waits for what is not stored yet."""
        self._hurried.set()

    async def settle(self, owner: PartitionOwner) -> bool:
        """Flush this partition now, whether it is among the owned ones or about to be given up; False if the store did not take it."""
        return await self._taken(owner)

    async def run(self) -> None:
        """Until cancelled. Partitions that are flushed in turn are spread over the interval, so that the fold is never held up for long."""
        while True:
            began_s, meter = time.monotonic(), CpuMeter()
            due = self._due()
            ok = await self.round(meter, 0.0 if self._abreast > 1 else self._interval_s / 2, only=due)
            await (self._pause(began_s, meter, due) if ok else self._waited(RETRY_S))

    def _due(self) -> set[PartitionOwner]:
        """Whom the next round is of: all, if the store is in trouble or somebody waits for it."""
        all_of_them = self._hurried.is_set() or self._failing_since is not None
        self._hurried.clear()
        return {owner for owner in self._owners() if all_of_them or self.due(owner)}

    async def _pause(self, began_s: float, meter: CpuMeter, flushed: set[PartitionOwner]) -> None:
        """Until the round that began then is so long ago as the interval and the round's cost ask for. Who was passed over in it and comes
        near its log's end meanwhile does not wait for the next; that is part of the cost."""
        await asyncio.sleep(SHORTEST_PAUSE_S)
        while not self._hurried.is_set() and self._failing_since is None:
            if late := {owner for owner in self._owners() if owner not in flushed and self.near_end(owner)}:
                flushed |= late
                await self.round(meter, only=late)
            apart_s = min(max(self._interval_s, meter.spent_s / self._share), self._interval_s * STRETCH_AT_MOST)
            left_s = began_s + apart_s - time.monotonic()
            if left_s <= 0:
                return
            await self._waited(min(left_s, LOOK_EVERY_S))

    async def _waited(self, seconds: float) -> None:
        """So long, or until somebody waits for what is not stored."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()

    async def round(self, meter: CpuMeter | None = None, spread_s: float = 0.0, *, only: Collection[PartitionOwner] | None = None) -> bool:
        """One flush of every partition, or of those only, over `spread_s` seconds at least; False if the store did not take all."""
        meter, before_s = meter or CpuMeter(), self._store_cpu_s()
        owners = [owner for owner in self._owners() if only is None or owner in only]
        first = owners.index(self._broke_off) + 1 if self._broke_off in owners else 0
        waiting = iter(owners[first:] + owners[:first])

        async def lane() -> bool:
            taken = True
            for owner in waiting:
                taken &= await meter.run(self._taken(owner))
                if self._away:
                    self._broke_off = owner
                    break
                await asyncio.sleep(spread_s / len(owners))
            return taken

        taken = all(await asyncio.gather(*(lane() for _ in range(self._abreast))))
        meter.spent_s += self._store_cpu_s() - before_s
        if taken:
            self._succeeded()
        return taken

    async def finish(self) -> None:
        """Rounds until the store has taken everything: a request without an answer ends a round, and is no reason to leave the others."""
        while not await self.round():  # noqa: ASYNC110  # what is slept for is another process
            await asyncio.sleep(RETRY_S)

    async def _taken(self, owner: PartitionOwner) -> bool:
        """Flush one partition, never twice at once; False if the store did not take it."""
        async with self._locks.setdefault(owner, asyncio.Lock()):
            try:
                await self._flush(owner)
            except (StoreError, ServerAway) as error:
                self._away = isinstance(error, ServerAway)  # else it is this partition's trouble, and the others may be taken
                self._failed(error, owner)
                return False
        self._away = False
        return True

    def _failed(self, error: Exception, owner: PartitionOwner) -> None:
        now = time.monotonic()
        self.trouble = str(error)
        metrics.STORE_ERRORS.labels(self.name.lower(), "away" if isinstance(error, ServerAway) else "refused").inc()
        if self._failing_since is None:
            self._failing_since = now
        if now - self._reported_s > REPORT_EVERY_S:
            self._reported_s, self._told = now, True
            log.error("%s: %s; trying again", self.name, error, extra=at(owner.source, owner.state.offset))
        if now - self._failing_since > self._patience_s:
            self.working.clear()

    def _succeeded(self) -> None:
        if self._failing_since is not None and self._told:
            log.warning("%s: works again after %.1f s", self.name, time.monotonic() - self._failing_since)
        self._failing_since, self._told = None, False
        self.trouble = ""
        self.working.set()
