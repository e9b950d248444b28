"""The owned partitions, without servers: an error ends the worker, and nobody stores what it left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from connectors.cassandra_store import CellStore
from connectors.checkpoints import Checkpoint
from connectors.redis_cache import CellCache, FlushOutcome
from streams import owners as owners_module
from streams.app import make_app
from streams.assignor import Place
from streams.checkpointing import CheckpointFlush, Pace
from streams.flush import CacheFlush, DurableFlush
from streams.handover import Handover
from streams.letters import Letters
from streams.owners import Found, Owners
from streams.partition import PartitionOwner
from streams.records import FetchedBatches
from streams.transport import Consumer
from tests.streams.test_restored import NOW, SOURCE, Book, at
from tests.topologies.logs import T0, Record, block
from topologies.errors import SourceError
from topologies.fold import PartitionState, RecordBlock, Refused
from topologies.settings import KafkaSettings, Settings
from topologies.sources import Source
from topologies.views import every_part

Flush = Callable[[PartitionOwner], Coroutine[Any, Any, None]]
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
def letters() -> Letters:
    return Letters(KafkaSettings())


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch, checkpoints: NoCheckpoints, letters: Letters) -> Owners:
    monkeypatch.setattr(owners_module, "topic_ids", lambda _settings, topics: dict.fromkeys(topics, "A" * 22))
    settings = Settings()
    spans = dict.fromkeys(range(settings.kafka.partitions), (0, 10))
    monkeypatch.setattr(owners_module, "partition_offsets", lambda _settings, _topic: spans)
    return Owners(settings, every_part(), checkpoints, Book(), letters)


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

    monkeypatch.setattr(PartitionOwner, "fold", half)
    with pytest.raises(MemoryError):
        await owners.fold(PLACE, FetchedBatches((), 0, 5, 0), None, no_seek)
    assert owners.all() == []


async def no_seek(_place: Place, _offset: int) -> None:
    raise AssertionError("nothing is read again")


class Busy(asyncio.Lock):
    """A lock that is held; `asked` is set when somebody else wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def acquire(self) -> Literal[True]:
        if self.locked():
            self.asked.set()
        return await super().acquire()


class NoCells(CellStore):
    """Nothing is to be written there."""

    def __init__(self) -> None:
        """Nothing is connected."""

    async def write_packs(self, *_: Any, **__: Any) -> None:
        raise AssertionError("nothing is written here")


class NoCache(CellCache):
    """Nothing is to be written there."""

    def __init__(self) -> None:
        """Nothing is connected."""

    async def flush(self, *_: Any, **__: Any) -> FlushOutcome:
        raise AssertionError("nothing is written here")


async def test_a_state_with_half_of_a_batch_is_not_stored_by_who_flushes_it_already(
    owners: Owners, checkpoints: NoCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint would have the sessions with the batch and the cells without, at the old offset: a replay would count nothing."""
    await opened(owners)
    owner = owners.all()[0]
    owner.state.offset = 3  # something is to be stored

    def half(_state: PartitionState, _block: RecordBlock) -> list[Refused]:
        raise MemoryError

    monkeypatch.setattr(PartitionState, "apply", half)
    flushes: list[Flush] = [DurableFlush(NoCells()), CheckpointFlush(checkpoints, Letters(KafkaSettings()), "w", lambda: 0.0)]
    waiting: list[asyncio.Task[None]] = []
    owner.storing = busy = Busy()
    async with busy:
        for flush in flushes:
            waiting.append(asyncio.create_task(flush(owner)))
            await asyncio.wait_for(busy.asked.wait(), 60)
            busy.asked.clear()
        with pytest.raises(MemoryError):
            await owners.fold(PLACE, FetchedBatches((), 3, 5, 0), None, no_seek)
    await asyncio.gather(*waiting, CacheFlush(NoCache(), "w")(owner), *(flush(owner) for flush in flushes))
    assert (owner.durable, owner.stored, owner.cached) == (0, None, None)


async def test_a_batch_whose_letters_fail_is_not_in_a_checkpoint(
    owners: Owners, checkpoints: NoCheckpoints, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint, copied when the batch was folded, waits for the letters; but one cannot be written."""
    await opened(owners)
    owner = owners.all()[0]

    def unwritable(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Letters, "_written", unwritable)
    monkeypatch.setattr(FetchedBatches, "block", lambda _fetched: block([Record(T0, b"nonsense")], 0))
    event = SimpleNamespace(message=SimpleNamespace())
    letters._handing = busy = Busy()
    async with busy:
        folding = asyncio.create_task(owners.fold(PLACE, FetchedBatches((), 0, 1, 9), event, no_seek))
        await asyncio.wait_for(busy.asked.wait(), 60)
        busy.asked.clear()
        assert owner.state.offset == 1
        storing = asyncio.create_task(CheckpointFlush(checkpoints, letters, "w", lambda: 0.0)(owner))
        await asyncio.wait_for(busy.asked.wait(), 60)
    with pytest.raises(MemoryError):
        await folding
    await storing
    assert owner.durable == 0
    assert owners.all() == []


async def test_an_error_of_the_agent_ends_the_worker(owners: Owners) -> None:
    async def room() -> None:
        """There always is some."""

    async def settle(_owner: PartitionOwner) -> bool:
        return True

    app = make_app(Settings(), ["viewing-events"], owners, Handover(owners, settle, lambda *_: None, 1.0), room)
    error = SourceError("the log was cut")
    assert isinstance(app.consumer, Consumer)
    await app.agents["fold"]._on_error(app.agents["fold"], error)
    await asyncio.wait_for(app.wait_until_stopped(), 60)
    assert app.crash_reason is error


async def test_a_log_that_ends_below_its_checkpoint_is_not_read() -> None:
    settings = Settings()
    owners = Owners(settings, NOW, at(12), Book(stored=12), Letters(settings.kafka))
    with pytest.raises(SourceError, match=r"stands at offset 12 and the log ends at 11; the log was cut, so nothing is read"):
        await owners.restore(Found(SOURCE, 0, 11))
    assert (await owners.restore(Found(SOURCE, 0, 12))).state.offset == 12


@pytest.mark.parametrize(("first", "end", "sought"), [(0, 3, []), (0, 2, []), (0, 5, [3]), (4, 5, [3]), (5, 5, [3])])
async def test_a_batch_that_does_not_follow_is_passed_over_and_what_the_consumer_went_past_is_read_again(
    owners: Owners, first: int, end: int, sought: list[int]
) -> None:
    """Of a quiet log nothing else would come: the consumer stands where the batch ends."""
    await opened(owners)
    owner = owners.all()[0]
    owner.state.offset = 3
    before, asked = owner.state.canonical(), list[int]()

    async def seek(place: Place, offset: int) -> None:
        assert place == PLACE
        asked.append(offset)

    await owners.fold(PLACE, FetchedBatches((), first, end, 0), None, seek)
    assert (asked, owner.state.canonical()) == (sought, before)


async def test_a_state_that_was_moved_past_a_gap_has_its_checkpoint_written_though_nothing_comes() -> None:
    settings = Settings()
    owners = Owners(settings, NOW, at(12), Book(stored=12, accepted=20), Letters(settings.kafka))
    owner = await owners.restore(Found(SOURCE, 20, 20))
    owner.stored = owner.state.offset
    assert (owner.state.offset, owner.durable, owner.settled) == (20, 12, False)
    assert Pace(0.05, 5.0).chosen([owner], 100.0) is owner
    kept = at(12)
    await CheckpointFlush(kept, Letters(settings.kafka), "w", lambda: 0.0)(owner)
    assert owner.settled
    again = await Owners(settings, NOW, kept, Book(stored=20), Letters(settings.kafka)).restore(Found(SOURCE, 20, 20))
    assert (again.state.offset, again.durable) == (20, 20)
