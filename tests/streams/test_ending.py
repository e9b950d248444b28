"""How a worker ends, without servers: bounded whoever began it, and what cannot be read again is stored or told as lost."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError

from streams import worker as worker_module
from streams.partition import PartitionOwner
from streams.stores import Stores
from streams.worker import Worker
from tests.streams.handover_scene import until
from topologies.errors import ServerAway
from topologies.fold import PartitionState
from topologies.settings import Settings
from topologies.sources import Source


class Durable:
    """Cells and checkpoints of one store, which does not answer the first `away` writes. What is asked besides is never answered."""

    def __init__(self) -> None:
        self.away = 0

    async def write(self, *_: Any) -> None:
        if self.away:
            self.away -= 1
            raise ServerAway("no answer in time")

    write_packs = write_status = write

    async def flush(self, *_: Any, **__: Any) -> None:
        raise ServerAway("there is no cache")

    async def inspect(self, _: Any) -> None:
        await asyncio.Event().wait()


class App:
    """A Faust app that starts and ends as the test tells it."""

    crash_reason = None

    def __init__(self, begun: list[str]) -> None:
        self.begun = begun
        self.error: Exception | None = None
        self.ended = asyncio.Event()
        self.started = asyncio.Event()
        self.consumer = SimpleNamespace(stop_flow=lambda: None, commit=self.commit)
        self.flow_control = SimpleNamespace(suspend=lambda: None)
        self.on_rebalance_complete = SimpleNamespace(connect=lambda _: None)
        self.batches = self.crash = None

    def moving(self) -> bool:
        return True

    async def start(self) -> None:
        if self.error is not None:
            raise self.error
        self.started.set()

    async def wait_until_stopped(self) -> None:
        await self.ended.wait()

    async def commit(self) -> None:
        self.begun.append("commit")

    async def stop(self) -> None:
        self.begun.append("stop")


class Scene:
    """A worker between two stores that take everything and an app that does nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[str] = []
        self.app, self.durable, self.stop = App(self.begun), Durable(), asyncio.Event()
        monkeypatch.setattr(worker_module, "make_app", lambda *_: self.app)
        monkeypatch.setattr(worker_module, "_keep_what_stands", lambda: None)
        monkeypatch.setattr(worker_module, "TOPICS_EVERY_S", 3600.0)
        self.worker = Worker(Settings(), None, lambda: self.begun.append("bounded"))
        self.working: asyncio.Task[int]

    def begin(self) -> None:
        each = dict.fromkeys(("cache", "cells", "bookmarks", "checkpoints", "notes"), self.durable)
        stores = cast(Stores, SimpleNamespace(session=None, **each))
        self.working = asyncio.create_task(self.worker._work(stores, self.stop))

    async def works(self, owners: int) -> list[PartitionOwner]:
        """So many partitions, each with records that are not stored; no cycle has come to them yet."""
        self.begin()
        await self.app.started.wait()
        running = self.worker.running
        assert running is not None
        made = [
            PartitionOwner(source, PartitionState(source, (), 7), live=False, durable=0, cached=None)
            for source in (Source("eu", "viewing-events", "A" * 22, partition) for partition in range(owners))
        ]
        for owner in made:
            running.owners.adopt(("viewing-events", owner.source.partition), owner)
        return made

    async def stores_last(self, away: int) -> PartitionOwner:
        """A partition that no log has any more, and whose storing fails so many times."""
        [owner] = await self.works(1)
        running = self.worker.running
        assert running is not None
        self.durable.away = away
        running.owners.keep([])
        running.handover.keep_storing(owner)
        return owner


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr("streams.flush.RETRY_S", 0.001)
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    return Scene(monkeypatch)


async def test_a_worker_that_nobody_asked_to_end_ends_in_bounded_time(scene: Scene) -> None:
    await scene.works(0)
    scene.app.ended.set()
    assert await scene.working == 1
    assert scene.begun == ["bounded", "stop"]


async def test_a_worker_that_does_not_get_to_work_ends_in_bounded_time(scene: Scene) -> None:
    scene.app.error = RuntimeError("no transport")
    scene.begin()
    with pytest.raises(RuntimeError):
        await scene.working
    assert scene.begun == ["bounded", "stop"]


async def test_a_broker_that_goes_before_the_app_is_started_is_said_to_be_away(scene: Scene) -> None:
    scene.app.error = KafkaConnectionError("Unable to bootstrap")
    scene.begin()
    with pytest.raises(ServerAway, match=r"^Kafka at \S+ does not answer \(.*Unable to bootstrap\); start it, or set kafka.bootstrap$"):
        await scene.working
    assert scene.begun == ["bounded", "stop"]


async def test_a_worker_told_to_stop_stores_every_partition_though_the_first_requests_are_not_answered(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    owners = await scene.works(4)
    scene.durable.away = 3
    scene.stop.set()
    assert await scene.working == 0
    assert all(owner.settled for owner in owners)
    assert "will be replayed" not in caplog.text
    assert scene.worker.running is not None
    assert scene.worker.running.room._full() == "the worker ends"
    assert scene.begun == ["commit", "stop"], "the signal's handler has bounded it"


@pytest.mark.parametrize("asked", [True, False])
async def test_what_no_log_has_any_more_is_stored_last_or_told_as_lost(
    scene: Scene, asked: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_module, "DRAIN_S", 0.1)
    owner = await scene.stores_last(1_000_000)
    await until(lambda: scene.durable.away < 999_990)
    (scene.stop if asked else scene.app.ended).set()
    assert await scene.working == (0 if asked else 1)
    assert f"{owner.source}: offsets 0 to 6 were counted and are lost" in caplog.text


async def test_what_no_log_has_any_more_is_stored_by_a_worker_that_ends(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    owner = await scene.stores_last(10)
    scene.app.ended.set()
    assert await scene.working == 1
    assert owner.settled
    assert "are lost" not in caplog.text
