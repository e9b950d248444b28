"""A worker that looks for topics, without servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from connectors.checkpoints import Checkpoint
from streams import worker as worker_module
from streams.handover import Handover
from streams.letters import Letters
from streams.owners import Owners
from streams.partition import PartitionOwner
from streams.worker import Worker
from tests.streams.handover_scene import A, until
from tests.streams.test_restored import Book
from topologies.fold import PartitionState
from topologies.settings import Settings
from topologies.sources import Source


class Checkpoints:
    """None is asked for here."""

    async def write(self, *_: Any) -> None:
        raise AssertionError

    async def newest(self, _source: Source) -> Checkpoint | None:
        raise AssertionError


class App:
    """Reads topics as it is told."""

    def __init__(self) -> None:
        self.rebalancing = False
        self.read_topics: list[list[str]] = []

    def moving(self) -> bool:
        return self.rebalancing

    async def read(self, topics: list[str]) -> None:
        assert not self.rebalancing
        self.read_topics.append(topics)


async def test_a_topic_made_anew_is_read_after_the_rebalance_while_the_old_one_is_still_being_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "TOPICS_EVERY_S", 0.001)
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    asked = 0

    def ids(_settings: Settings, topics: list[str]) -> dict[str, str]:
        nonlocal asked
        asked += 1
        return dict.fromkeys(topics, "B" * 22)

    monkeypatch.setattr(worker_module, "matching_topics", lambda _settings: [A[0]])
    monkeypatch.setattr(worker_module, "topic_ids", ids)
    settings, app = Settings(), App()
    owners = Owners(settings, (), Checkpoints(), Book(), Letters(settings.kafka))
    source = Source("eu", A[0], "A" * 22, A[1])
    old = PartitionOwner(source, PartitionState(source, (), 3), live=True, durable=0, cached=None)
    owners.adopt(A, old)
    tried, away = 0, True

    async def settle(owner: PartitionOwner) -> bool:
        nonlocal tried
        tried += 1
        if not away:
            owner.durable = owner.stored = owner.state.offset
        return not away

    handover = Handover(owners, settle, lambda *_: None, 600.0)
    app.rebalancing = True
    watching: Any = Worker(settings, None)._watch_topics
    task = asyncio.create_task(watching(app, owners, handover))
    await until(lambda: task.done() or asked > 2)
    assert (task.done(), owners.places(), app.read_topics) == (False, {A}, [])
    app.rebalancing = False
    await until(lambda: app.read_topics)
    seen = asked
    await until(lambda: tried > 3 and asked > seen + 2)
    assert (owners.places(), app.read_topics, old.settled) == (set(), [[A[0]]], False)
    away = False
    await until(lambda: old.settled)
    task.cancel()
    await handover.close()
