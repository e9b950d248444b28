"""Checkpoints beside the fold: paced by the CPU they take, never of what is half way to the store, acknowledged when both are there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.cassandra_store import CellStore
from connectors.checkpoints import Checkpoint
from streams import checkpointing
from streams.checkpointing import IN_ADVANCE_S, CheckpointCycle, CheckpointFlush, Pace
from streams.flush import DurableFlush
from streams.letters import Letters
from streams.partition import CheckpointFigures, PartitionOwner
from streams.restoring import restored
from tests.streams.test_restored import Book
from tests.topologies.logs import SOURCE, T0, apply, event
from topologies.errors import CheckpointError, ServerAway, StoreError
from topologies.flushes import Pack
from topologies.fold import PartitionState
from topologies.settings import KafkaSettings, WorkerSettings
from topologies.sources import Source, SourceStatus
from topologies.state_codec import Snapshot, load_state, pack_state
from topologies.views import every_part

NOW = every_part()


class Cells(CellStore):
    """A store of cells that takes its time: `write_packs` waits for `open`."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.reached = asyncio.Event()
        self.packs: dict[tuple[str, str, int, int], bytes] = {}
        self.status: SourceStatus | None = None
        self.fails = False

    async def write_packs(self, source: Source, version: int, packs: Sequence[Pack]) -> None:  # noqa: ARG002
        self.reached.set()
        await self.open.wait()
        if self.fails:
            raise ServerAway("gone")
        self.packs |= {(pack.view.name, pack.window.name, pack.pack_ms, pack.bucket): pack.blob for pack in packs}

    async def write_status(self, status: SourceStatus) -> None:
        self.status = status


class Kept:
    """A store of checkpoints that keeps the last, unless it is to fail."""

    def __init__(self) -> None:
        self.checkpoint: Checkpoint | None = None
        self.error: Exception | None = None
        self.written = 0

    async def newest(self, _source: Source) -> Checkpoint | None:
        return self.checkpoint

    async def write(self, source: Source, offset: int, writer: str, payload: bytes) -> None:
        self.written += 1
        if self.error is not None:
            raise self.error
        self.checkpoint = Checkpoint(source, offset, writer, payload)


class Batch:
    """A batch that waits for its acknowledgement."""

    def __init__(self) -> None:
        self.acks = 0

    def ack(self) -> None:
        self.acks += 1


def owner_of(state: PartitionState, batch: Any = None) -> PartitionOwner:
    owner = PartitionOwner(state.source, state, live=True, durable=0, cached=None)
    if batch is not None:
        owner.await_durable(state.offset, batch, 1000)
    return owner


def watched(titles: int) -> PartitionState:
    state = PartitionState(SOURCE, NOW)
    apply(state, [event(T0 + at, session=f"s{at}", title=f"t{at}", watched_ms=1000) for at in range(titles)])
    return state


def flush_of(kept: Kept) -> CheckpointFlush:
    return CheckpointFlush(kept, Letters(KafkaSettings()), "w", lambda: 0.0)


async def test_a_crash_between_cells_and_checkpoint_loses_no_cell() -> None:
    """A checkpoint that is asked for while cells are on their way waits for their fate: they do not arrive, so it has them marked."""
    cells, kept, owner = Cells(), Kept(), owner_of(watched(50))
    flushing = asyncio.create_task(DurableFlush(cells)(owner))
    await cells.reached.wait()
    checkpointing = asyncio.create_task(flush_of(kept)(owner))
    done, _ = await asyncio.wait([checkpointing], timeout=0.5)
    assert not done
    cells.fails = True
    cells.open.set()
    with pytest.raises(ServerAway):
        await flushing
    await checkpointing
    state = (await restored(SOURCE, NOW, kept, Book(), 0)).state
    survivor = owner_of(state)
    cells.fails = False
    await DurableFlush(cells)(survivor)
    truth, whole = Cells(), owner_of(watched(50))
    truth.open.set()
    await DurableFlush(truth)(whole)
    assert cells.packs == truth.packs
    assert cells.status == truth.status


async def test_a_batch_is_acknowledged_when_its_cells_and_its_checkpoint_are_there() -> None:
    cells, kept = Cells(), Kept()
    cells.open.set()
    first, second = Batch(), Batch()
    one, other = owner_of(watched(3), first), owner_of(watched(3), second)
    await DurableFlush(cells)(one)
    assert first.acks == 0
    await flush_of(kept)(one)
    assert first.acks == 1
    await flush_of(kept)(other)
    assert second.acks == 0
    await DurableFlush(cells)(other)
    assert second.acks == 1


async def test_cells_that_a_checkpoint_has_as_lacking_are_stored_without_another_event() -> None:
    kept, cells = Kept(), Cells()
    cells.open.set()
    await flush_of(kept)(owner_of(watched(5)))
    state = (await restored(SOURCE, NOW, kept, Book(), 0)).state
    await DurableFlush(cells)(owner_of(state))
    assert len(cells.packs) > 5


async def test_a_partition_in_which_nothing_ever_was_is_not_told_of() -> None:
    cells, owner = Cells(), owner_of(PartitionState(SOURCE, NOW))
    await DurableFlush(cells)(owner)
    assert cells.status is None
    assert owner.settled  # nobody need hear that its offsets 0 to 0 are not stored
    apply(owner.state, [event(T0)])
    assert not owner.settled


async def test_what_is_folded_while_a_checkpoint_is_written_is_not_in_it() -> None:
    class Slow(Kept):
        async def write(self, source: Source, offset: int, writer: str, payload: bytes) -> None:
            apply(owner.state, [event(T0 + 10**6, session="later")])
            await super().write(source, offset, writer, payload)

    kept, owner = Slow(), owner_of(watched(4))
    await flush_of(kept)(owner)
    assert (owner.durable, owner.state.offset) == (4, 5)
    state = (await restored(SOURCE, NOW, kept, Book(), 0)).state
    assert state.canonical() == watched(4).canonical()


async def test_what_a_cancelled_checkpoint_still_reads_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread goes on after it was cancelled; the next one is copied meanwhile."""
    loop, go_on, held = asyncio.get_running_loop(), threading.Event(), asyncio.Event()
    payload: asyncio.Future[bytes] = loop.create_future()

    def packed_late(snapshot: Snapshot) -> bytes:
        loop.call_soon_threadsafe(held.set)
        assert go_on.wait(60)
        packed = pack_state(snapshot)
        loop.call_soon_threadsafe(payload.set_result, packed)
        return packed

    kept, first, second = Kept(), watched(50), PartitionState(SOURCE, NOW)
    apply(second, [event(T0 + at, session=f"other{at}", title="t") for at in range(80)])
    flush = flush_of(kept)
    with monkeypatch.context() as slow:
        slow.setattr(checkpointing, "pack_state", packed_late)
        cancelled = asyncio.create_task(flush(owner_of(first)))
        await asyncio.wait_for(held.wait(), 60)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await flush(owner_of(second))
    go_on.set()
    assert load_state(await asyncio.wait_for(payload, 60), SOURCE, NOW).canonical() == first.canonical()
    assert kept.checkpoint is not None
    assert load_state(kept.checkpoint.payload, SOURCE, NOW).canonical() == second.canonical()


async def test_a_store_of_checkpoints_that_stays_away_stops_the_folding_until_it_is_back() -> None:
    kept, owner, well = Kept(), owner_of(watched(2)), owner_of(watched(2))
    settings = WorkerSettings(max_unacked_s=0.0, checkpoint_s=0.0)
    cycle = CheckpointCycle(flush_of(kept), lambda: [owner, well], settings)
    kept.error = StoreError("full")
    assert not await cycle.one(owner)
    await asyncio.sleep(0.01)  # more than a patience of nothing
    assert not await cycle.one(owner)
    kept.error = None
    assert await cycle.one(well)
    assert not cycle.working.is_set()
    assert await cycle.one(owner)
    assert cycle.working.is_set()


async def stopped(kept: Kept, owners: list[PartitionOwner]) -> CheckpointCycle:
    """A cycle with which the fold stands still: the store did not take the first owner's checkpoint for too long."""
    cycle = CheckpointCycle(flush_of(kept), lambda: owners, WorkerSettings(max_unacked_s=0.0, checkpoint_s=600.0))
    kept.error = ServerAway("gone")
    assert not await cycle.one(owners[0])
    await asyncio.sleep(0.01)  # more than a patience of nothing
    assert not await cycle.one(owners[0])
    assert not cycle.working.is_set()
    return cycle


async def runs_until_working(cycle: CheckpointCycle) -> None:
    running = asyncio.create_task(cycle.run())
    await asyncio.wait_for(cycle.working.wait(), 60)
    running.cancel()


async def test_the_fold_does_not_wait_for_a_partition_that_has_gone() -> None:
    """What is left is all stored: there is nothing by which the store could show that it works again."""
    kept = Kept()
    owners = [owner_of(watched(2)), owner_of(PartitionState(SOURCE, NOW))]
    cycle = await stopped(kept, owners)
    del owners[0]
    await runs_until_working(cycle)


async def test_where_only_others_are_left_the_store_is_asked_at_once_whether_it_works() -> None:
    kept = Kept()
    owners = [owner_of(watched(2)), owner_of(watched(3))]
    cycle = await stopped(kept, owners)
    left = owners[1]
    left.checkpointed_s = time.monotonic()  # the next is due in ten minutes
    del owners[0]
    kept.error = None
    await runs_until_working(cycle)
    assert left.durable == 3


async def test_the_fold_goes_on_when_what_was_lacking_is_stored_out_of_turn() -> None:
    kept, owners = Kept(), [owner_of(watched(2)), owner_of(watched(2))]
    cycle = await stopped(kept, owners)
    kept.error = None
    assert await cycle.settle(owners[0])
    assert cycle.working.is_set()


async def test_who_leaves_without_being_stored_does_not_show_that_the_store_works() -> None:
    kept, owners = Kept(), [owner_of(watched(2))]
    cycle = await stopped(kept, owners)
    leaving = owners.pop()
    assert not await cycle.one(leaving)
    assert not cycle.working.is_set()


async def test_an_unreadable_checkpoint_stops_with_an_error() -> None:
    kept = Kept()
    await kept.write(SOURCE, 3, "w", b"nothing")
    with pytest.raises(CheckpointError):
        await restored(SOURCE, NOW, kept, Book(stored=3), 1)


# -- pace --------------------------------------------------------------------------------------------------------------


def simulated(cost_s: float, partitions: int, seconds: float, quiet: bool = False) -> list[tuple[float, int]]:
    """(when, partition) of each checkpoint, of partitions that are always folded into, or of such as get one batch every 2 s."""
    owners = [owner_of(watched(1)) for _ in range(partitions)]
    pace = Pace(0.05, 5.0)
    written: list[tuple[float, int]] = []
    for tenth in range(int(seconds * 10)):
        now = 100.0 + tenth / 10
        for owner in owners:
            if not quiet or tenth % 20 == 0:
                owner.folded_s = now
                owner.state.offset += 1
        chosen = pace.chosen(owners, now)
        if chosen is not None:
            chosen.checkpointed_s = now
            chosen.durable = chosen.state.offset
            pace.spent(cost_s, now)
            written.append((tenth / 10, owners.index(chosen)))
    return written


@pytest.mark.parametrize(("cost_s", "partitions", "quiet"), [(0.5, 1, False), (0.5, 8, False), (0.5, 4, True), (3.0, 2, True)])
def test_checkpoints_take_their_share_of_the_cpu_and_no_more(cost_s: float, partitions: int, quiet: bool) -> None:
    written = simulated(cost_s, partitions, 600.0, quiet)
    share = len(written) * cost_s / 600.0
    assert 0.045 < share < 0.05 + (2 * cost_s + IN_ADVANCE_S * 0.05) / 600
    counts = [sum(number == partition for _, number in written) for partition in range(partitions)]
    assert max(counts) - min(counts) <= 1


def test_small_states_are_written_as_often_as_they_may_be() -> None:
    assert len(simulated(0.005, 8, 60.0)) == 8 * 12


def test_a_partition_that_went_quiet_does_not_wait_for_the_share() -> None:
    busy, quiet = owner_of(watched(1)), owner_of(watched(1))
    pace = Pace(0.05, 5.0)
    pace.spent(4.0, 100.0)  # so there would be none before 180
    busy.folded_s = 106.0
    quiet.folded_s = 104.5
    assert pace.chosen([busy], 106.0) is None
    assert pace.chosen([busy, quiet], 106.0) is quiet
    pace.spent(4.0, 106.0)
    assert pace.chosen([quiet], 110.0) is None  # only one is in advance
    assert pace.chosen([busy, quiet], 260.0) is not None


def test_small_ones_that_went_quiet_together_follow_each_other_at_once() -> None:
    pace = Pace(0.05, 5.0)
    pace.spent(0.02, 100.0)
    owners = [owner_of(watched(1)) for _ in range(8)]
    written = 0
    while owner := pace.chosen(owners, 100.1):
        owner.durable = owner.state.offset
        pace.spent(0.02, 100.1)
        written += 1
    assert written == 8
    pace.spent(0.05, 100.1)
    assert pace.chosen([owner_of(watched(1))], 100.1) is None, "what was had in advance is paid for"


async def test_a_checkpoint_says_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy's CPU is part of its cost. So that both can be compared, the time for which the fold stands still is CPU time here."""
    monkeypatch.setattr(checkpointing, "time", SimpleNamespace(monotonic=time.monotonic, perf_counter=time.thread_time))
    kept, owner = Kept(), owner_of(watched(500))
    await CheckpointFlush(kept, Letters(KafkaSettings()), "w", iter([1.0, 3.0]).__next__)(owner)
    assert isinstance(owner.checkpoint, CheckpointFigures)
    assert owner.checkpoint.cpu_s > 2.0 + owner.checkpoint.pause_s > 2.0
    assert kept.checkpoint is not None
    assert owner.checkpoint.bytes == len(kept.checkpoint.payload)
