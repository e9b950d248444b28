"""The owned partitions, without servers: an error ends the worker, and nobody stores what it left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from connectors.checkpoints import Checkpoint
from streams import owners as owners_module
from streams.app import make_app
from streams.assignor import Place
from streams.handover import Handover
from streams.letters import Letters
from streams.owners import Found, Owners
from streams.partition import PartitionOwner
from streams.records import FetchedBatches
from streams.transport import Consumer
from tests.streams.test_restored import NOW, SOURCE, Book, at
from topologies.errors import SourceError
from topologies.settings import Settings
from topologies.sources import Source
from topologies.views import VIEWS

PLACE: Place = ("viewing-events", 0)


class NoCheckpoints:
    """A CheckpointStore in which there has never been one."""

    asked = 0

    async def write(self, *_: Any, **__: Any) -> None:
        raise AssertionError("nothing is written here")

    async def newest(self, source: Source) -> Checkpoint | None:  # noqa: ARG002
        self.asked += 1
        await asyncio.sleep(0)
        return None


@pytest.fixture
def checkpoints() -> NoCheckpoints:
    return NoCheckpoints()


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch, checkpoints: NoCheckpoints) -> Owners:
    monkeypatch.setattr(owners_module, "topic_ids", lambda _settings, topics: dict.fromkeys(topics, "A" * 22))
    settings = Settings()
    spans = dict.fromkeys(range(settings.kafka.partitions), (0, 10))
    monkeypatch.setattr(owners_module, "partition_offsets", lambda _settings, _topic: spans)
    return Owners(settings, tuple(VIEWS.values()), checkpoints, Book(), Letters(settings.kafka))


async def opened(owners: Owners) -> None:
    owners.adopt(PLACE, await owners.restore(owners.find([PLACE])[PLACE]))


async def test_a_topic_that_grew_is_not_read_on(owners: Owners, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners_module, "partition_offsets", lambda _settings, _topic: dict.fromkeys(range(9), (0, 10)))
    with pytest.raises(SourceError, match="cut over"):
        owners.find([PLACE])


async def test_a_batch_that_fails_half_way_leaves_no_state_to_store(owners: Owners, monkeypatch: pytest.MonkeyPatch) -> None:
    await opened(owners)

    def half(_owner: PartitionOwner, _fetched: FetchedBatches, _now_s: float) -> None:
        raise MemoryError

    async def seek(_place: Place, _offset: int) -> None:
        raise AssertionError("nothing is read again")

    monkeypatch.setattr(PartitionOwner, "fold", half)
    with pytest.raises(MemoryError):
        await owners.fold(PLACE, FetchedBatches((), 0, 5, 0), None, seek)
    assert owners.all() == []


async def test_an_error_of_the_agent_ends_the_worker(owners: Owners) -> None:
    async def room() -> None:
        """There always is some."""

    async def settle(_owner: PartitionOwner) -> bool:
        return True

    app = make_app(Settings(), ["viewing-events"], owners, Handover(owners, settle, lambda _places: None, 1.0), room)
    error = SourceError("the log was cut")
    assert isinstance(app.consumer, Consumer)
    await app.agents["fold"]._on_error(app.agents["fold"], error)
    await asyncio.wait_for(app.wait_until_stopped(), 5)
    assert app.crash_reason is error


async def test_a_log_that_ends_below_its_checkpoint_is_not_read() -> None:
    settings = Settings()
    owners = Owners(settings, NOW, at(12), Book(stored=12), Letters(settings.kafka))
    with pytest.raises(SourceError, match=r"stands at offset 12 and the log ends at 11; the log was cut, so nothing is read"):
        await owners.restore(Found(SOURCE, 0, 11))
    assert (await owners.restore(Found(SOURCE, 0, 12))).state.offset == 12
