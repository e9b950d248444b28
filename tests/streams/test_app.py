"""The app, without a broker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from connectors.checkpoints import Checkpoint
from streams.app import make_app
from streams.handover import Handover
from streams.letters import Letters
from streams.owners import Owners
from streams.partition import PartitionOwner
from tests.streams.test_restored import Book
from topologies.settings import Settings
from topologies.sources import Source


class Checkpoints:
    """None is asked for here."""

    async def write(self, *_: Any) -> None:
        raise AssertionError

    async def newest(self, _source: Source) -> Checkpoint | None:
        raise AssertionError


async def test_topics_that_come_reach_the_agent_and_the_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def room() -> None:
        """There always is some."""

    async def settle(_owner: PartitionOwner) -> bool:
        return True

    settings = Settings()
    owners = Owners(settings, (), Checkpoints(), Book(), Letters(settings.kafka))
    app = make_app(settings, ["viewing-events"], owners, Handover(owners, settle, lambda _places: None, 1.0), room)
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
