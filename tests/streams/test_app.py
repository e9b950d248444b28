"""The app, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from connectors.checkpoints import Checkpoint
from streams import app as app_module
from streams import owners as owners_module
from streams.app import App, _lost, make_app
from streams.handover import Handover
from streams.letters import Letters
from streams.observing import log_end
from streams.owners import Owners
from streams.partition import PartitionOwner
from tests.streams.handover_scene import A, B, Scene, until
from tests.streams.test_restored import Book
from topologies.settings import Settings
from topologies.sources import Source


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A handover over owners without servers, of topics as they were first made."""
    monkeypatch.setattr(owners_module, "topic_ids", lambda _settings, topics: dict.fromkeys(topics, "A" * 22))
    monkeypatch.setattr(owners_module, "partition_offsets", lambda _settings, _topic: dict.fromkeys(range(8), (0, 10)))
    return Scene()


class Checkpoints:
    """None is asked for here."""

    async def write(self, *_: Any) -> None:
        raise AssertionError

    async def newest(self, _source: Source) -> Checkpoint | None:
        raise AssertionError


def app_of(settings: Settings) -> App:
    async def room() -> None:
        """There always is some."""

    async def settle(_owner: PartitionOwner) -> bool:
        return True

    owners = Owners(settings, (), Checkpoints(), Book(), Letters(settings.kafka))
    return make_app(settings, ["viewing-events"], owners, Handover(owners, settle, lambda *_: None, 1.0), room)


async def test_topics_that_come_reach_the_agent_and_the_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of(Settings())
    reading: Any = app.agents["fold"].stream()
    channel = aiter(reading.channel)
    subscribed: list[set[str]] = []

    async def subscribe(topics: Iterable[str]) -> None:
        subscribed.append(set(topics))

    monkeypatch.setattr(app.consumer, "subscribe", subscribe)
    monkeypatch.setattr(app.consumer, "assignment", set)
    await app.read(["viewing-events", "viewing-events.backfill.run"])
    assert subscribed == [{"viewing-events", "viewing-events.backfill.run"}]
    assert set(channel.topics) == subscribed[0]


async def test_the_end_of_a_log_is_asked_of_no_partition_that_went_while_nobody_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka has the new assignment before Faust hears of the round, and has none from a new subscription until the next round."""
    app = app_of(Settings())
    kafka = AIOKafkaConsumer()
    monkeypatch.setattr(app.batches._thread, "_consumer", kafka)
    assert log_end(app, A) is None
    kafka._subscription.subscribe({A[0]})
    assert log_end(app, A) is None
    kafka._subscription.assign_from_subscribed({TopicPartition(*A), TopicPartition(*B)})
    assert log_end(app, A) is None
    kafka._subscription.subscription.assignment.state_value(TopicPartition(*A)).highwater = 7
    assert log_end(app, A) == 7
    kafka._subscription.assign_from_subscribed({TopicPartition(*B)})
    assert log_end(app, A) is None
    kafka._subscription.subscribe({A[0], "viewing-events.backfill.run"})
    assert log_end(app, B) is None
    await kafka.stop()


async def test_a_topic_made_anew_is_read_from_its_start_as_soon_as_its_log_does_not_hold_what_comes_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.give(A, B)
    await until(lambda: scene.owners.places() == {A, B} and not scene.handover._tasks)
    old = scene.owners.get(A)
    assert old is not None
    old.state.offset = 7
    made_anew = {"viewing-events": "B" * 22}
    monkeypatch.setattr(owners_module, "topic_ids", lambda _settings, _topics: made_anew)
    monkeypatch.setattr(app_module, "topic_ids", lambda _settings, _topics: made_anew)
    app: Any = SimpleNamespace(
        loop=asyncio.get_running_loop(), handover=scene.handover
    )  # whose consumer is asked nothing: it goes by names
    lost = _lost(app, scene.owners, Settings())
    lost(A)
    lost(A)
    await until(lambda: len(scene.reader.read) == 3)
    new = scene.owners.get(A)
    assert new is not None
    assert (new.source.topic_id, new.state.offset, scene.reader.read[-1]) == ("B" * 22, 0, (A, 0))
    assert (scene.settled, old.stored, old.durable) == ([A[1]], 7, 7)
    kept = scene.owners.get(B)
    assert kept is not None
    assert kept.source.topic_id == "A" * 22
    lost(A)
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert len(scene.reader.read) == 3
