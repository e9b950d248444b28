"""The watchdog, without servers: it fires where fetching stopped, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from connectors.checkpoints import Checkpoint
from streams import watchdog
from streams.assignor import Place
from streams.letters import Letters
from streams.owners import Owners
from streams.partition import PartitionOwner
from streams.watchdog import Watchdog
from tests.streams.test_restored import Book
from topologies.fold import PartitionState
from topologies.settings import Settings
from topologies.sources import Source

PLACE: Place = ("viewing-events", 3)
STALLED_S = 10.0
MOVING_S = 30.0


class NoStore:
    async def write(self, source: Source, offset: int, writer: str, payload: bytes) -> None:
        """Nothing is written here."""

    async def newest(self, source: Source) -> Checkpoint | None:  # noqa: ARG002
        return None


class Broken:
    """A consumer whose partition fetches nothing until it is read anew `cures` times."""

    def __init__(self) -> None:
        self.end: int | None = 100
        self.done: list[str] = []
        self.held = False
        self.answering = False
        self.deaf = False
        self.asked: Callable[[], None] = lambda: None

    def assignment(self) -> set[TP]:
        return {TP(*PLACE)}

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        self.asked()
        if self.end is None:
            raise KafkaConnectionError
        return dict.fromkeys(partitions, self.end)

    async def topics(self) -> set[str]:
        if self.end is None:
            raise KafkaConnectionError
        return {PLACE[0]}

    def waits_for_fold(self, place: Place) -> bool:
        return self.held and place == PLACE

    def fetching(self, place: Place, offset: int, within_s: float) -> bool:  # noqa: ARG002
        return self.answering

    async def read_from(self, place: Place, offset: int) -> bool:
        self.done.append(f"read {place[1]} from {offset}")
        if self.deaf:
            await asyncio.Event().wait()
        return True

    async def rejoin(self) -> None:
        self.done.append("rejoin")


class Scene:
    def __init__(self) -> None:
        self.consumer = Broken()
        settings = Settings()
        self.owners = Owners(settings, (), NoStore(), Book(), Letters(settings.kafka))
        source = Source("eu", PLACE[0], "A" * 22, PLACE[1])
        self.owner = PartitionOwner(source, PartitionState(source, (), 40), live=True, durable=40, cached=None)
        self.owners.adopt(PLACE, self.owner)
        self.open, self.moving = True, False
        self.now_s = -1.0
        self.crashes: list[BaseException] = []
        self.watchdog = Watchdog(
            self.consumer,
            self.owners,
            lambda: self.open,
            lambda: self.moving,
            self.crash,
            stalled_s=STALLED_S,
            moving_s=MOVING_S,
            clock=lambda: self.now_s,
        )

    async def crash(self, error: BaseException) -> None:
        self.crashes.append(error)

    async def look(self, *times_s: float) -> list[str]:
        """Look at each of these times, and every second up to it."""
        for now_s in times_s:
            while self.now_s + 1 < now_s:
                self.now_s += 1
                await self.watchdog.look()
            self.now_s = now_s
            await self.watchdog.look()
        return self.consumer.done


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_partition_that_stopped_is_read_anew_then_assigned_anew_then_the_worker_ends(scene: Scene) -> None:
    assert await scene.look(0, 5, 9.9) == []
    assert await scene.look(10) == ["read 3 from 40"]
    assert await scene.look(15, 20) == ["read 3 from 40", "rejoin"]
    assert not scene.crashes
    await scene.look(30)
    assert "viewing-events partition 3 has brought nothing for 10 s at offset 40; its log ends at 100" in str(scene.crashes[0])
    assert scene.watchdog.recoveries == 3


async def test_one_that_goes_on_is_forgotten(scene: Scene) -> None:
    await scene.look(0, 10)
    scene.owner.state.offset = 50
    assert await scene.look(11, 20.9) == ["read 3 from 40"]
    assert await scene.look(21) == ["read 3 from 40", "read 3 from 50"]


async def test_it_is_silent_where_there_is_nothing_new(scene: Scene) -> None:
    scene.consumer.end = 40
    assert await scene.look(0, 10, 20, 30, 40, 50) == []


async def test_it_is_silent_while_the_broker_is_away(scene: Scene) -> None:
    scene.consumer.end = None
    assert await scene.look(0, 10, 20, 30) == []


async def test_it_is_silent_while_the_broker_answers_that_it_has_nothing_to_give(scene: Scene) -> None:
    scene.consumer.answering = True
    assert await scene.look(0, 10, 20, 30) == []


async def test_it_is_silent_while_folding_waits_for_room(scene: Scene) -> None:
    await scene.look(0, 5)
    scene.open = False
    assert await scene.look(10, 20) == []
    scene.open = True
    assert await scene.look(21, 30.9) == []
    assert await scene.look(31) == ["read 3 from 40"]


async def test_it_is_silent_while_what_was_fetched_waits_for_the_fold(scene: Scene) -> None:
    scene.consumer.held = True
    assert await scene.look(0, 10, 20) == []


async def test_one_that_is_not_opened_yet_is_left_alone(scene: Scene) -> None:
    scene.owners.keep(())
    assert await scene.look(0, 10, 20) == []
    await asyncio.sleep(0)


async def test_a_rebalance_that_does_not_end_is_begun_anew_and_then_the_worker_ends(scene: Scene) -> None:
    scene.moving = True
    assert await scene.look(0, 29.9) == []
    assert await scene.look(30) == ["rejoin"]
    await scene.look(59.9)
    assert not scene.crashes
    await scene.look(60)
    assert "a rebalance does not end" in str(scene.crashes[0])


async def test_a_rebalance_that_waits_for_an_absent_broker_is_left_alone(scene: Scene) -> None:
    scene.moving, scene.consumer.end = True, None
    assert await scene.look(0, 100) == []
    assert not scene.crashes


async def test_a_process_that_was_stopped_gives_its_partitions_their_time_again(scene: Scene) -> None:
    await scene.look(0, 9)
    scene.now_s = 60
    await scene.watchdog.look()
    assert await scene.look(69.9) == []
    assert await scene.look(70) == ["read 3 from 40"]


async def test_a_broker_that_answers_slowly_is_no_process_that_was_stopped(scene: Scene) -> None:
    def slowly() -> None:
        scene.now_s += 5.4

    scene.consumer.asked = slowly
    while not scene.crashes and scene.now_s < 100:
        scene.now_s += 1
        await scene.watchdog.look()
    assert scene.consumer.done == ["read 3 from 40", "rejoin"]
    assert scene.crashes


async def test_a_consumer_that_takes_no_word_is_not_waited_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "SEEK_S", 0.01)
    scene.consumer.deaf = True
    async with asyncio.timeout(60):
        assert await scene.look(0, 10, 20) == ["read 3 from 40", "rejoin"]


async def test_a_worker_that_owns_nothing_ends_when_its_rebalance_does_not(scene: Scene) -> None:
    scene.owners.keep(())
    scene.moving = True
    await scene.look(0, 60)
    assert scene.consumer.done == ["rejoin"]
    assert "a rebalance does not end" in str(scene.crashes[0])
