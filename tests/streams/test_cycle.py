"""A flush cycle: one partition's trouble is its own, an absent store ends the round, no partition is flushed twice at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace

import pytest

from streams.flush import BEHIND_PAUSE_S, BEHIND_S, BEHIND_STORE_S, Cycle, cache_due, store_due
from streams.partition import FOREIGN, PartitionOwner
from streams.worker import final_rounds
from topologies.errors import ServerAway, StoreError
from topologies.fold import PartitionState
from topologies.session_rows import CLOCK
from topologies.settings import WorkerSettings
from topologies.sources import Source

OWNERS = [
    PartitionOwner(source, PartitionState(source, ()), live=True, durable=0, cached=None)
    for source in (Source("eu", "viewing-events", "A" * 22, partition) for partition in range(4))
]


def cycle(flush: Callable[[PartitionOwner], Awaitable[None]], *, abreast: int) -> Cycle:
    return Cycle("store", flush, lambda: OWNERS, 0.1, WorkerSettings(max_unacked_s=0.0), abreast=abreast)


@pytest.mark.parametrize("abreast", [1, 2, 8])
async def test_a_partition_that_the_store_refuses_does_not_hold_up_the_others(abreast: int) -> None:
    flushed: list[int] = []

    async def flush(owner: PartitionOwner) -> None:
        if owner.source.partition == 0:
            raise StoreError("too large")
        flushed.append(owner.source.partition)

    assert await cycle(flush, abreast=abreast).round() is False
    assert sorted(flushed) == [1, 2, 3]


async def test_an_absent_store_ends_the_round_and_in_time_the_folding_until_it_is_back() -> None:
    asked: list[int] = []
    away = True

    async def flush(owner: PartitionOwner) -> None:
        asked.append(owner.source.partition)
        if away:
            raise ServerAway("gone")

    storing = cycle(flush, abreast=1)
    assert await storing.round() is False
    assert asked == [0]
    await asyncio.sleep(0.01)  # more than a patience of nothing
    assert await storing.round() is False
    assert not storing.working.is_set()
    away = False
    assert await storing.round() is True
    assert storing.working.is_set()


@pytest.mark.parametrize("abreast", [1, 2])
async def test_partitions_that_the_store_never_answers_do_not_starve_the_others(abreast: int) -> None:
    flushed: set[int] = set()

    async def flush(owner: PartitionOwner) -> None:
        flushed.add(owner.source.partition)
        await asyncio.sleep(0)
        if owner.source.partition < abreast:
            raise ServerAway("no answer in time")

    storing = cycle(flush, abreast=abreast)
    assert await storing.round() is False
    assert await storing.round() is False
    assert flushed == {0, 1, 2, 3}


async def test_a_request_without_an_answer_is_no_reason_to_leave_the_other_partitions_unstored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.flush.RETRY_S", 0.001)
    tried: list[int] = []

    async def flush(owner: PartitionOwner) -> None:
        tried.append(owner.source.partition)
        if len(tried) < 3:
            raise ServerAway("no answer in time")

    async def absent(_: PartitionOwner) -> None:
        cached.append(1)
        raise ServerAway("gone")

    cached: list[int] = []
    storing = cycle(flush, abreast=1)
    async with asyncio.timeout(60):
        await final_rounds(cycle(absent, abreast=1), storing)
    assert set(tried[2:]) == {0, 1, 2, 3}
    assert cached == [1], "an absent cache is waited for by nobody"


async def test_so_many_partitions_as_it_is_told_are_flushed_side_by_side() -> None:
    inside, most = 0, 0

    async def flush(_: PartitionOwner) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1

    for abreast in (1, 2):
        most = 0
        assert await cycle(flush, abreast=abreast).round()
        assert most == abreast


async def test_two_rounds_at_once_flush_no_partition_twice_at_once() -> None:
    inside: set[int] = set()

    async def flush(owner: PartitionOwner) -> None:
        assert owner.source.partition not in inside
        inside.add(owner.source.partition)
        await asyncio.sleep(0)
        inside.remove(owner.source.partition)

    caching = cycle(flush, abreast=2)
    assert all(await asyncio.gather(caching.round(), caching.round()))


@contextlib.asynccontextmanager
async def running(flush: Callable[[PartitionOwner], Awaitable[None]], due: set[int], interval_s: float = 0.1) -> AsyncIterator[Cycle]:
    """A cycle that runs until the block ends, at most 60 s; the partitions named are due."""
    caching = Cycle("store", flush, lambda: OWNERS, interval_s, WorkerSettings(max_unacked_s=0.0), abreast=2)
    caching.due = lambda owner: owner.source.partition in due
    task = asyncio.create_task(caching.run())
    try:
        async with asyncio.timeout(60):
            yield caching
    finally:
        task.cancel()
        await asyncio.wait([task])


class Flushed(list[int]):
    """Partitions as they are flushed. `until` waits for the next so many."""

    def __init__(self) -> None:
        self._seen = asyncio.Semaphore(0)
        self.away = False

    async def __call__(self, owner: PartitionOwner) -> None:
        self.append(owner.source.partition)
        self._seen.release()
        if self.away:
            raise ServerAway("gone")

    async def until(self, count: int) -> None:
        for _ in range(count):
            await self._seen.acquire()


async def test_the_rounds_of_a_cycle_are_of_those_that_are_due_until_somebody_waits() -> None:
    flushed = Flushed()
    async with running(flushed, due={2}) as caching:
        await flushed.until(3)
        assert flushed == [2, 2, 2]
        caching.hurry()
        await flushed.until(4)
        assert sorted(flushed[3:7]) == [0, 1, 2, 3]
        await flushed.until(2)
        assert flushed[7:9] == [2, 2]


async def test_an_absent_store_is_looked_for_with_who_is_not_due_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.flush.RETRY_S", 0.01)
    flushed, due = Flushed(), {2}
    flushed.away = True
    async with running(flushed, due) as caching:
        await flushed.until(1)
        due.clear()  # who found the store away may be due no more: nobody would find that it works again
        await flushed.until(4)
        assert not caching.working.is_set()
        flushed.away = False
        await caching.working.wait()
        flushed.clear()
        await asyncio.sleep(0.3)
        assert flushed == []


async def test_who_comes_near_its_logs_end_does_not_wait_for_the_next_round() -> None:
    flushed, due, near = Flushed(), {2}, {2}
    async with running(flushed, due, interval_s=3600.0) as caching:
        caching.near_end = lambda owner: owner.source.partition in near
        await flushed.until(1)
        due.add(3)  # its turn comes with the next round
        near.add(1)
        await flushed.until(1)
        near.update({0, 1})
        await flushed.until(1)
        await asyncio.sleep(0.3)
        assert flushed == [2, 1, 0]


async def test_a_store_that_fails_with_one_that_came_near_its_logs_end_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.flush.RETRY_S", 0.01)
    flushed = Flushed()
    flushed.away = True
    async with running(flushed, due=set(), interval_s=3600.0) as caching:
        caching.near_end = lambda owner: owner.source.partition == 1
        while caching.working.is_set():
            await flushed.until(1)
        flushed.away = False
        await caching.working.wait()
        assert set(flushed) == {0, 1, 2, 3}


async def test_what_a_store_refuses_again_and_again_is_not_told_each_time_that_others_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    async def flush(owner: PartitionOwner) -> None:
        if owner is gone:
            raise StoreError("too large")

    gone = PartitionOwner(OWNERS[0].source, PartitionState(OWNERS[0].source, ()), live=True, durable=0, cached=None)
    storing = cycle(flush, abreast=1)
    for _ in range(3):
        assert await storing.settle(gone) is False
        assert await storing.round() is True
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


NOW_S = 1_790_000_000.0
"""Of the wall clock; the other one says 1,000."""


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both clocks that are looked at stand."""
    monkeypatch.setattr("streams.flush.time", SimpleNamespace(time=lambda: NOW_S, monotonic=lambda: 1_000.0))


def behind(lag_s: float, *, seen_s: float = 0.0, cached: int | None = 7, durable: int = 7) -> PartitionOwner:
    """A partition at offset 9 whose clock lags, and which has been brought to Redis so many seconds ago."""
    owner = PartitionOwner(OWNERS[0].source, PartitionState(OWNERS[0].source, (), offset=9), live=True, durable=durable, cached=cached)
    owner.state.sessions.counters[CLOCK] = int((NOW_S - lag_s) * 1000)
    owner.cache_seen_s = owner.store_seen_s = 1_000.0 - seen_s
    return owner


@pytest.mark.usefixtures("still")
def test_who_is_far_behind_is_brought_to_redis_more_rarely() -> None:
    assert not cache_due(behind(60.0), lambda *_: False)
    assert cache_due(behind(60.0, seen_s=BEHIND_PAUSE_S), lambda *_: False)
    assert cache_due(behind(60.0), lambda place, offset: (place, offset) == (("viewing-events", 0), 9)), "its log's end is reached"
    assert cache_due(behind(BEHIND_S / 2), lambda *_: False)
    assert cache_due(behind(-60.0), lambda *_: False)


@pytest.mark.usefixtures("still")
def test_who_is_far_behind_is_brought_to_cassandra_more_rarely() -> None:
    assert not store_due(behind(60.0, seen_s=BEHIND_STORE_S - 1), lambda *_: False)
    assert store_due(behind(60.0, seen_s=BEHIND_STORE_S), lambda *_: False)
    assert store_due(behind(60.0), lambda *_: True), "its log's end is reached"
    assert store_due(behind(BEHIND_S / 2), lambda *_: False)


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("cached", [None, FOREIGN, 6])
def test_redis_is_not_left_without_cells_nor_older_than_the_checkpoint(cached: int | None) -> None:
    assert cache_due(behind(60.0, cached=cached), lambda *_: False)
