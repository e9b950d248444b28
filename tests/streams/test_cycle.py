"""A flush cycle: one partition's trouble is its own, an absent store ends the round, no partition is flushed twice at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from streams.flush import Cycle
from streams.partition import PartitionOwner
from topologies.errors import ServerAway, StoreError
from topologies.fold import PartitionState
from topologies.settings import WorkerSettings
from topologies.sources import Source

OWNERS = [
    PartitionOwner(source, PartitionState(source, ()), live=True, durable=0, cached=None)
    for source in (Source("eu", "viewing-events", "A" * 22, partition) for partition in range(4))
]


def cycle(flush: Callable[[PartitionOwner], Awaitable[None]], *, at_once: bool) -> Cycle:
    return Cycle("store", flush, lambda: OWNERS, 0.1, WorkerSettings(max_unacked_s=0.0), at_once=at_once)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_partition_that_the_store_refuses_does_not_hold_up_the_others(at_once: bool) -> None:
    flushed: list[int] = []

    async def flush(owner: PartitionOwner) -> None:
        if owner.source.partition == 0:
            raise StoreError("too large")
        flushed.append(owner.source.partition)

    assert await cycle(flush, at_once=at_once).round() is False
    assert sorted(flushed) == [1, 2, 3]


async def test_an_absent_store_ends_the_round_and_in_time_the_folding_until_it_is_back() -> None:
    asked: list[int] = []
    away = True

    async def flush(owner: PartitionOwner) -> None:
        asked.append(owner.source.partition)
        if away:
            raise ServerAway("gone")

    storing = cycle(flush, at_once=False)
    assert await storing.round() is False
    assert asked == [0]
    await asyncio.sleep(0.01)  # more than a patience of nothing
    assert await storing.round() is False
    assert not storing.working.is_set()
    away = False
    assert await storing.round() is True
    assert storing.working.is_set()


async def test_two_rounds_at_once_flush_no_partition_twice_at_once() -> None:
    inside: set[int] = set()

    async def flush(owner: PartitionOwner) -> None:
        assert owner.source.partition not in inside
        inside.add(owner.source.partition)
        await asyncio.sleep(0)
        inside.remove(owner.source.partition)

    caching = cycle(flush, at_once=True)
    assert all(await asyncio.gather(caching.round(), caching.round()))
