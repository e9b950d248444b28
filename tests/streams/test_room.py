"""Room for the fold: what is held is counted in bytes, and folding waits at the bound, and no longer."""

from __future__ import annotations

import asyncio
import gc

import pytest

from streams.records import FetchedBatches
from streams.room import MIB, Afloat, Room
from topologies.settings import WorkerSettings

SETTINGS = WorkerSettings(max_unacked_mb=1.0, max_buffered_mb=1.0)


class Store:
    """A store that notes how often it was hurried."""

    name = "Cassandra"

    def __init__(self) -> None:
        self.working, self.hurried = asyncio.Event(), 0
        self.working.set()

    def hurry(self) -> None:
        self.hurried += 1


class Scene:
    def __init__(self) -> None:
        self.unacked, self.letters = 0, 0
        self.stores = [Store(), Store()]
        self.room = Room(SETTINGS, lambda: self.unacked, lambda: self.letters, self.stores)


@pytest.mark.parametrize("held", ["unacked", "letters"])
async def test_folding_waits_at_the_bound_and_goes_on_below_it(held: str, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    setattr(scene, held, MIB)
    await asyncio.wait_for(scene.room(), 60)
    setattr(scene, held, MIB + 1)
    waiting = asyncio.create_task(scene.room())
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    assert not scene.room.open
    kind = "of the log are folded and not yet in Cassandra" if held == "unacked" else "of letters wait for Kafka"
    assert scene.room.waits == f"1,048,577 bytes {kind}"
    assert all((store.hurried > 0) == (held == "unacked") for store in scene.stores)
    assert "folding waits: 1,048,577 bytes" in caplog.text
    setattr(scene, held, MIB)
    await asyncio.wait_for(waiting, 60)
    assert scene.room.open


async def test_folding_waits_while_the_durable_store_takes_nothing() -> None:
    scene = Scene()
    scene.stores[1].working.clear()
    waiting = asyncio.create_task(scene.room())
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    scene.stores[1].working.set()
    await asyncio.wait_for(waiting, 60)


def test_fetches_are_counted_as_long_as_somebody_holds_them() -> None:
    afloat = Afloat()
    first, second = FetchedBatches((), 0, 5, 700), FetchedBatches((), 5, 9, 300)
    afloat.add(("t", 0), first)
    afloat.add(("t", 1), second)
    assert afloat.nbytes() == 1000
    del first
    gc.collect()
    assert afloat.nbytes() == 300
    assert not afloat.has(("t", 0))
    assert afloat.has(("t", 1))


async def test_a_batch_that_waited_for_room_is_not_folded_once_the_worker_ends() -> None:
    scene = Scene()
    scene.unacked = MIB + 1
    waiting = asyncio.create_task(scene.room())
    await asyncio.sleep(0)
    scene.room.end()
    scene.unacked = 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting, 0.2)
