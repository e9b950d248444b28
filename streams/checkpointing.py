"""Checkpoints beside the fold: each partition's as often as their share of the worker's CPU allows, then its acknowledgement.

The fold stands still while the state is copied. Encoding and writing go on beside it, one partition at a time. The copy is taken while no
cells of the partition are on their way to the store, so each cell that the store lacks is marked so inside the checkpoint: who restores it
stores them first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar
from weakref import WeakSet

from connectors.checkpoints import CheckpointStore
from streams import metrics
from streams.flush import RETRY_S, Cycle
from streams.letters import Letters
from streams.metered import CpuMeter
from streams.partition import CheckpointFigures, PartitionOwner
from topologies.settings import WorkerSettings
from topologies.state_codec import SnapshotRoom, dump_state, pack_state

T = TypeVar("T")
P = ParamSpec("P")
LOOK_EVERY_S: Final = 0.1
QUIET_S: Final = 1.0
"""A partition in which nothing was folded for so long is quiet."""
IN_ADVANCE_S: Final = 4.0
"""So long before the share allows it a quiet one may have its checkpoint, or one period before where that is longer."""


class CheckpointFlush:
    """Writes one partition's checkpoint. `store_cpu_s`: CPU seconds of the threads that the store works in, whoever it works for."""

    def __init__(self, checkpoints: CheckpointStore, letters: Letters, worker: str, store_cpu_s: Callable[[], float]) -> None:
        self._checkpoints = checkpoints
        self._letters = letters
        self._worker = worker
        self._store_cpu_s = store_cpu_s
        self.cpu_s = 0.0
        """CPU seconds of all checkpoints, those that failed too."""
        self._room = SnapshotRoom()
        self._one = asyncio.Lock()
        """One checkpoint at a time is in the room."""

    async def __call__(self, owner: PartitionOwner) -> None:
        """Store the state as it is now, unless it is stored or spoiled. Raises ServerAway or StoreError; then nothing is acknowledged."""
        async with self._one:
            if owner.spoiled or owner.durable == owner.state.offset:
                return
            owner.checkpointed_s = time.monotonic()
            meter, before_s = CpuMeter(), self._store_cpu_s()
            try:
                with metrics.CHECKPOINT_SECONDS.time():
                    written = await meter.run(self._written(owner, meter))
            finally:
                meter.spent_s += self._store_cpu_s() - before_s
                self.cpu_s += meter.spent_s
            if written is None:
                return
            pause_s, size = written
            owner.checkpoint = CheckpointFigures(pause_s, meter.spent_s, size)
            metrics.CHECKPOINT_PAUSE_SECONDS.observe(pause_s)
            metrics.CHECKPOINT_BYTES.observe(size)

    async def _written(self, owner: PartitionOwner, meter: CpuMeter) -> tuple[float, int] | None:
        """Seconds that the fold stood still, and bytes; None if the state was spoiled meanwhile."""
        table = owner.state.sessions
        await self._aside(meter, self._room.reserve, len(table.rows()), len(table.spell_rows()))
        async with owner.storing:
            begun = time.perf_counter()
            snapshot = dump_state(owner.state, self._room)
            pause_s = time.perf_counter() - begun
        await self._letters.delivered()
        payload = await self._aside(meter, pack_state, snapshot)
        if owner.spoiled:  # a batch failed before the copy, or since: the last that is in it, for want of its letters
            return None
        await self._checkpoints.write(owner.source, snapshot.offset, self._worker, payload)
        owner.durable = snapshot.offset
        owner.acknowledge()
        return pause_s, len(payload)

    async def _aside(self, meter: CpuMeter, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result, from a thread that works in the room."""
        try:
            return await meter.in_thread(call, *args, **kwargs)
        except BaseException:
            self._room = SnapshotRoom()  # who is cancelled does not wait for the thread: it runs on in the old one
            raise


def _waits(owner: PartitionOwner) -> bool:
    return owner.durable != owner.state.offset and not owner.spoiled


@dataclass
class Pace:
    """When the next checkpoint may begin, so that all of them take at most `share` of a core over any long time.

    A partition that has gone quiet may have its checkpoint early: it is the last for a while, and what waits for it waits for nothing
    else. So several small ones that end together follow each other at once. The time in advance is paid for later.
    """

    share: float
    interval_s: float
    """Least time between two checkpoints of a partition."""
    due_s: float = 0.0
    """Monotonic: when what was spent is within the share."""
    period_s: float = 0.0
    """So long the last one has to be followed by none."""

    def spent(self, cpu_s: float, begun_s: float) -> None:
        """One that began at `begun_s` took so much."""
        self.period_s = cpu_s / self.share
        self.due_s = max(self.due_s, begun_s) + self.period_s

    def chosen(self, owners: Iterable[PartitionOwner], now_s: float) -> PartitionOwner | None:
        """The partition to write next: of those that may be, the one that has waited longest; None when none may be yet."""
        waiting = [owner for owner in owners if _waits(owner) and now_s >= owner.checkpointed_s + self.interval_s]
        if now_s < self.due_s:
            early = now_s >= self.due_s - max(self.period_s, IN_ADVANCE_S)
            waiting = [owner for owner in waiting if early and now_s >= owner.folded_s + QUIET_S]
        return min(waiting, key=lambda owner: owner.checkpointed_s, default=None)


class CheckpointCycle(Cycle):
    """Checkpoints of all partitions in turn, until stopped; a round writes all that are not."""

    def __init__(self, flush: CheckpointFlush, owners: Callable[[], Iterable[PartitionOwner]], settings: WorkerSettings) -> None:
        super().__init__("checkpoints", flush, owners, settings.checkpoint_s, settings, abreast=1)
        self._checkpoint = flush
        self._pace = Pace(settings.checkpoint_share, settings.checkpoint_s)
        self._lacking: WeakSet[PartitionOwner] = WeakSet()
        """Partitions of which the store did not take the last one."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            owner = self._pace.chosen(self._owners(), time.monotonic()) or self._urgent_one()
            if owner is None:
                await asyncio.sleep(LOOK_EVERY_S)
            elif not await self.one(owner):
                await asyncio.sleep(RETRY_S)

    def _urgent_one(self) -> PartitionOwner | None:
        """Whose log waits most for its checkpoint, when the fold stands still until there is one, whatever it costs: for want of room, or
        because the store failed with partitions that have gone since, and one that is here has to show whether it works."""
        waiting = [owner for owner in self._owners() if _waits(owner)]
        if not waiting:
            self._lacking.clear()
            self._succeeded()  # for nothing the fold need wait, whatever became of the partitions that the store failed with
        untried = self._failing_since is not None and not self._lacking.intersection(self._owners())
        if not (self._hurried.is_set() or untried):
            return None
        self._hurried.clear()
        return max(waiting, key=lambda owner: owner.unacked_bytes, default=None)

    async def one(self, owner: PartitionOwner) -> bool:
        """One partition's checkpoint; False if the store did not take it, which costs what it costs."""
        begun, before_s = time.monotonic(), self._checkpoint.cpu_s
        taken = await self._taken(owner)
        self._pace.spent(self._checkpoint.cpu_s - before_s, begun)
        return taken

    async def _taken(self, owner: PartitionOwner) -> bool:
        taken = await super()._taken(owner)
        if not taken:
            self._lacking.add(owner)
            return False
        self._lacking.discard(owner)
        if not self._lacking.intersection(self._owners()):
            self._succeeded()
        return True
