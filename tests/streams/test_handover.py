"""Partitions that move: what stays is not put down, what comes is opened beside it, what goes is stored before it is given up."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.checkpoints import Checkpoint
from streams import owners as owners_module
from streams.assignor import Assignor, Place, Share
from streams.handover import Handover
from streams.health import Health
from streams.letters import Letters
from streams.owners import Found, Owners
from streams.partition import PartitionOwner
from tests.streams.test_restored import Book
from topologies.errors import CheckpointError, NoTopic, ServerAway
from topologies.settings import Settings
from topologies.sources import Source

A, B, C = ("viewing-events", 0), ("viewing-events", 1), ("viewing-events", 2)
SETTINGS = Settings()


class Group(Assignor):
    """An assignor that is told its share by the test."""

    def give(self, assigned: Iterable[Place], release: Iterable[Place] = (), *, settled: bool = True) -> None:
        self._assigned = frozenset(assigned)
        self._claims = type(self._claims)(self._claims.round + 1, self._assigned | frozenset(release))
        self._share = Share(self._claims.round, frozenset(release), settled)


class Reader:
    """A consumer that only writes down what it is told."""

    def __init__(self) -> None:
        self.assignor = Group()
        self.read: list[tuple[Place, int]] = []
        self.rejoined = 0

    async def read_from(self, place: Place, offset: int) -> bool:
        self.read.append((place, offset))
        return True

    async def rejoin(self) -> None:
        self.rejoined += 1


class Checkpoints:
    """A CheckpointStore whose answers wait until `answers` is set, and raise `error` if there is one."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked: list[Source] = []
        self.error: Exception | None = None
        self.broken: set[int] = set()

    async def write(self, *_: Any, **__: Any) -> None:
        raise AssertionError("nothing is written here")

    async def newest(self, source: Source) -> Checkpoint | None:
        self.asked.append(source)
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        if source.partition in self.broken:
            raise CheckpointError("no checkpoint of it can be used")
        return None


class Scene:
    """A handover over owners without servers."""

    def __init__(self) -> None:
        self.checkpoints, self.reader, self.book = Checkpoints(), Reader(), Book()
        self.owners = Owners(SETTINGS, (), self.checkpoints, self.book, Letters(SETTINGS.kafka))
        self.asked: list[int] = []
        self.settled: list[int] = []
        self.storing = asyncio.Event()
        self.storing.set()
        self.refusals = 0
        """So many more times the durable stores take nothing."""
        self.cached = True
        self.ready: list[set[Place]] = []
        self.crashes: list[BaseException] = []
        self.handover = Handover(self.owners, self.settle, lambda places: self.ready.append(set(places)), release_s=0.2)
        self.handover.attach(self.reader, self.crash)

    async def settle(self, owner: PartitionOwner) -> bool:
        self.asked.append(owner.source.partition)
        await self.storing.wait()
        if self.refusals:
            self.refusals -= 1
            return False
        self.settled.append(owner.source.partition)
        owner.durable = owner.stored = owner.state.offset
        return self.cached

    async def folded(self, *places: Place) -> list[PartitionOwner]:
        """Their owners, each with records that are not stored."""
        self.give(*places)
        await until(lambda: self.owners.places() == set(places) and not self.handover._tasks)
        owners = self.owners.all()
        for owner in owners:
            owner.state.offset = 7
        return owners

    def cut(self, find: Callable[..., dict[Place, Found]]) -> Callable[..., dict[Place, Found]]:
        """The logs of all partitions begin at 3."""
        return lambda places: {place: dataclasses.replace(found, earliest=3) for place, found in find(places).items()}

    async def crash(self, error: BaseException) -> None:
        self.crashes.append(error)

    def give(self, *assigned: Place, release: Iterable[Place] = (), settled: bool = True) -> dict[Place, int]:
        self.reader.assignor.give(assigned, release, settled=settled)
        return self.handover.take_over()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # of whatever the condition looks at
            await asyncio.sleep(0.001)


def gone(_settings: Settings, topics: list[str]) -> dict[str, str]:
    raise NoTopic(f"there is no topic {topics[0]}")


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(owners_module, "topic_ids", lambda _settings, topics: dict.fromkeys(topics, "A" * 22))
    monkeypatch.setattr(owners_module, "partition_offsets", lambda _settings, _topic: dict.fromkeys(range(8), (0, 10)))
    return Scene()


async def test_what_stays_is_read_on_while_what_comes_is_still_being_opened(scene: Scene) -> None:
    scene.give(A)
    await until(lambda: scene.owners.get(A))
    scene.checkpoints.answers.clear()
    kept = scene.owners.get(A)
    assert scene.give(A, B) == {A: 0}
    assert scene.owners.get(A) is kept
    assert scene.give(A, B) == {A: 0}
    assert scene.reader.read == [(A, 0)]
    scene.checkpoints.answers.set()
    await until(lambda: len(scene.reader.read) == 2)
    assert [source.partition for source in scene.checkpoints.asked] == [0, 1]
    await until(lambda: scene.ready[-1:] == [{A, B}])


async def test_what_goes_is_stored_before_another_round_gives_it_away(scene: Scene) -> None:
    scene.give(A, B)
    await until(lambda: len(scene.owners.all()) == 2)
    scene.storing.clear()
    scene.give(A, release=[B], settled=False)
    await asyncio.sleep(0)
    assert scene.owners.get(B) is None
    assert B in scene.reader.assignor._claims.places
    assert scene.reader.rejoined == 0
    scene.storing.set()
    await until(lambda: scene.reader.rejoined == 1)
    assert scene.settled == [1]
    assert scene.reader.assignor._claims.places == {A}


async def test_what_cannot_be_stored_in_time_is_given_up_as_it_is(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    [owner] = await scene.folded(A)
    scene.storing.clear()
    scene.give(release=[A], settled=False)
    await until(lambda: scene.reader.rejoined == 1 and not scene.handover._tasks)
    assert "not stored within 0.2 s" in caplog.text
    assert f"{owner.source}: given up at offset 7 and durable up to 0: whoever owns it now replays the rest" in caplog.text
    assert scene.handover.last == set()


async def test_what_was_not_stored_in_time_and_whose_topic_is_deleted_meanwhile_is_stored_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    [owner] = await scene.folded(A)
    scene.storing.clear()
    monkeypatch.setattr(owners_module, "topic_ids", gone)
    scene.give(release=[A], settled=False)
    await until(lambda: scene.handover.last == {owner})
    assert "replays" not in caplog.text
    scene.storing.set()
    await until(lambda: not scene.handover._tasks)
    assert (owner.settled, scene.handover.last) == (True, set())


async def test_a_worker_that_ends_before_it_knows_what_went_with_its_topic_says_so(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    [owner] = await scene.folded(A)
    asked: list[str] = []

    def away(_settings: Settings, topics: list[str]) -> dict[str, str]:
        asked.extend(topics)
        raise ServerAway("gone")

    monkeypatch.setattr(owners_module, "topic_ids", away)
    scene.give()
    await until(lambda: asked)
    await scene.handover.close()
    await scene.handover.finish()
    assert f"{owner.source}: given up with offsets 0 to 6 not stored" in caplog.text


async def test_a_partition_that_is_given_back_before_it_was_given_up_keeps_its_state(scene: Scene) -> None:
    scene.give(A)
    await until(lambda: scene.owners.get(A))
    kept = scene.owners.get(A)
    scene.storing.clear()
    scene.give(release=[A], settled=False)
    await until(lambda: scene.asked)
    assert scene.give(A) == {A: 0}
    assert scene.owners.get(A) is kept
    scene.storing.set()
    await until(lambda: scene.settled == [0])
    await until(lambda: not scene.handover._tasks)
    assert scene.owners.get(A) is kept
    assert A in scene.reader.assignor._claims.places


async def test_what_another_owns_by_now_is_dropped_and_not_stored_over_it(scene: Scene) -> None:
    scene.give(A, B)
    await until(lambda: len(scene.owners.all()) == 2)
    scene.give(A)
    await until(lambda: not scene.handover._tasks)
    assert scene.owners.places() == {A}
    assert scene.settled == []
    assert scene.reader.rejoined == 0


async def test_what_went_with_its_topic_is_stored_for_nobody_replays_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.give(A, B)
    await until(lambda: scene.owners.places() == {A, B})

    monkeypatch.setattr(owners_module, "topic_ids", gone)
    scene.give()
    await until(lambda: not scene.handover._tasks)
    assert sorted(scene.settled) == [A[1], B[1]]
    assert (scene.owners.places(), scene.crashes) == (set(), [])


async def test_what_goes_of_a_topic_that_grew_is_not_taken_for_what_went_with_its_topic(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.give(A, B)
    await until(lambda: scene.owners.places() == {A, B})
    monkeypatch.setattr(owners_module, "partition_offsets", lambda _settings, _topic: dict.fromkeys(range(9), (0, 10)))
    scene.give(A)
    await until(lambda: not scene.handover._tasks)
    assert (scene.settled, scene.crashes) == ([], [])


async def test_the_topic_of_a_held_partition_may_be_deleted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.handover.HELD_AGAIN_S", 0.001)
    scene.checkpoints.broken = {A[1]}
    monkeypatch.setattr(scene.owners, "find", scene.cut(scene.owners.find))
    scene.give(A, B)
    await until(lambda: A in scene.handover.held and B in scene.owners.places())
    monkeypatch.setattr(owners_module, "topic_ids", gone)
    await until(lambda: scene.handover.held.get(A) == "topic viewing-events has no partition 0 any more")
    scene.give(B)
    await until(lambda: not scene.handover._tasks)
    assert (scene.handover.held, scene.owners.places(), scene.crashes) == ({}, {B}, [])


async def test_a_topic_that_is_deleted_before_it_is_opened_leaves_the_others_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.handover.HELD_AGAIN_S", 0.001)
    other = ("viewing-events.backfill.gone", 0)

    def ids(settings: Settings, topics: list[str]) -> dict[str, str]:
        return gone(settings, topics) if other[0] in topics else dict.fromkeys(topics, "A" * 22)

    monkeypatch.setattr(owners_module, "topic_ids", ids)
    scene.give(A, other)
    await until(lambda: scene.owners.places() == {A} and other in scene.handover.held)
    scene.give(A)
    await until(lambda: not scene.handover._tasks)
    assert (scene.handover.held, scene.crashes) == ({}, [])


async def test_what_was_taken_away_while_it_was_opened_is_not_owned(scene: Scene) -> None:
    scene.checkpoints.answers.clear()
    scene.give(A, B)
    await until(lambda: len(scene.checkpoints.asked) == 2)
    scene.give(A)
    scene.checkpoints.answers.set()
    await until(lambda: not scene.handover._tasks)
    assert scene.owners.places() == {A}


async def test_stores_that_are_away_are_waited_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    scene.checkpoints.error = ServerAway("gone")
    scene.give(A)
    await until(lambda: len(scene.checkpoints.asked) > 3)
    assert not scene.crashes
    health = Health(stage="working", away=lambda: scene.handover.away)
    assert health.ready()[1]["reason"] == "partitions cannot be opened yet: gone"
    scene.checkpoints.error = None
    await until(lambda: scene.owners.places() == {A})
    assert health.ready()[0]


async def test_a_partition_that_cannot_be_gone_on_with_is_held_and_the_others_are_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.handover.HELD_AGAIN_S", 0.001)
    scene.checkpoints.broken = {A[1]}
    monkeypatch.setattr(scene.owners, "find", scene.cut(scene.owners.find))
    scene.give(A, B)
    await until(lambda: A in scene.handover.held and B in scene.owners.places())
    assert scene.owners.places() == {B}
    assert "no checkpoint of it can be used" in scene.handover.held[A]
    assert scene.ready[-1] == {B}
    assert not scene.crashes

    scene.book.accept(10)  # what is lost was accepted
    await until(lambda: scene.owners.places() == {A, B})
    assert scene.handover.held == {}
    owner = scene.owners.get(A)
    assert owner is not None
    assert (owner.state.offset, owner.lost) == (3, 3)
    await until(lambda: scene.ready[-1] == {A, B})


async def test_a_held_partition_that_goes_is_tried_no_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.handover.HELD_AGAIN_S", 0.001)
    scene.checkpoints.broken = {A[1]}
    monkeypatch.setattr(scene.owners, "find", scene.cut(scene.owners.find))
    scene.give(A, B)
    await until(lambda: A in scene.handover.held)
    scene.give(B)
    await until(lambda: not scene.handover._tasks)
    assert (scene.handover.held, scene.owners.places()) == ({}, {B})


async def test_a_partition_whose_log_was_cut_under_it_is_stored_and_held(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.handover.HELD_AGAIN_S", 0.001)
    scene.give(A, B)
    await until(lambda: scene.owners.places() == {A, B} and not scene.handover._tasks)
    scene.checkpoints.broken = {A[1]}
    monkeypatch.setattr(scene.owners, "find", scene.cut(scene.owners.find))
    scene.handover.reopen(A)
    await until(lambda: A in scene.handover.held)
    assert scene.settled == [A[1]]
    assert scene.owners.places() == {B}


async def test_a_worker_that_ends_stores_what_was_about_to_go_and_takes_nothing_more(scene: Scene) -> None:
    scene.give(A, B)
    await until(lambda: len(scene.owners.all()) == 2)
    scene.storing.clear()
    scene.give(A, release=[B], settled=False)
    await until(lambda: scene.asked)
    await scene.handover.close()
    assert scene.owners.places() == {A, B}
    assert scene.give(A, B, C) == {}
    assert scene.owners.places() == {A, B}


async def test_one_that_is_given_back_while_another_of_its_group_is_held_is_opened_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.checkpoints.broken = {B[1]}
    monkeypatch.setattr(scene.owners, "find", scene.cut(scene.owners.find))
    scene.give(A, B)
    await until(lambda: scene.owners.places() == {A} and B in scene.handover.held)
    scene.give(B, release=[A], settled=False)
    await until(lambda: scene.reader.rejoined == 1)
    scene.give(A, B)
    await until(lambda: scene.owners.places() == {A})
    await until(lambda: len(scene.reader.read) == 2)
    scene.handover.reopen(A)
    await until(lambda: len(scene.reader.read) == 3)
    await scene.handover.close()


async def test_a_partition_whose_log_was_cut_is_not_opened_again_once_the_worker_ends(scene: Scene) -> None:
    scene.give(A)
    await until(lambda: scene.reader.read and not scene.handover._tasks)
    scene.storing.clear()
    scene.handover.reopen(A)
    await until(lambda: scene.asked)
    await scene.handover.close()
    scene.storing.set()
    await scene.handover.finish()
    assert scene.settled == [A[1]]
    assert scene.handover._tasks == set()
    assert scene.reader.read == [(A, 0)]
    scene.handover.reopen(A)
    assert scene.handover._tasks == set()


async def test_what_went_with_its_topic_is_stored_however_often_the_stores_refuse_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    acked: list[int] = []
    [owner] = await scene.folded(A)
    owner.await_durable(7, SimpleNamespace(ack=lambda: acked.append(7)), 1)
    monkeypatch.setattr(owners_module, "topic_ids", gone)
    scene.refusals = 3
    scene.give()
    await until(lambda: not scene.handover._tasks)
    assert (owner.settled, scene.asked, scene.crashes) == (True, [A[1]] * 4, [])
    owner.acknowledge()
    assert acked == [], "it would be committed in the log that has the name now"
    await scene.handover.close()
    await scene.handover.finish()
    assert len(scene.asked) == 4


async def test_what_an_absent_cache_does_not_take_is_waited_for_by_nobody(scene: Scene) -> None:
    [owner] = await scene.folded(A)
    scene.owners.keep([])
    scene.cached = False
    scene.handover.keep_storing(owner)
    await until(lambda: not scene.handover._tasks)
    assert scene.asked == [A[1]]


async def test_a_spoiled_state_is_tried_no_more_and_told_as_lost(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    [owner] = await scene.folded(A)
    scene.owners.keep([])
    owner.spoiled = True
    scene.refusals = 1_000_000
    scene.handover.keep_storing(owner)
    await until(lambda: not scene.handover._tasks)
    await scene.handover.close()
    await scene.handover.finish()
    assert len(scene.asked) == 2
    assert f"{owner.source}: offsets 0 to 6 were counted and are lost" in caplog.text


async def test_a_partition_whose_log_was_cut_is_opened_only_when_what_was_counted_is_stored(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    [owner] = await scene.folded(A)
    scene.refusals = 1_000_000
    scene.handover.reopen(A)
    await until(lambda: len(scene.asked) > 3)
    assert scene.give(A) == {}
    assert len(scene.checkpoints.asked) == 1
    scene.refusals = 0
    await until(lambda: len(scene.checkpoints.asked) == 2)
    assert owner.settled
    await until(lambda: scene.owners.places() == {A})


async def test_an_error_while_a_partition_is_stored_to_be_opened_again_ends_the_worker(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.folded(A)
    error = MemoryError()

    async def fail(_owner: PartitionOwner) -> bool:
        raise error

    monkeypatch.setattr(scene.handover, "_settle", fail)
    scene.handover.reopen(A)
    await until(lambda: scene.crashes)
    assert scene.crashes == [error]
    assert A not in scene.handover._opening


async def test_a_worker_that_ends_says_which_offsets_no_log_brings_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    gone_for_good, cut = await scene.folded(A, B)
    cut.durable, cut.stored = 5, 3
    scene.refusals = 1_000_000
    scene.owners.keep([B])
    scene.handover.keep_storing(gone_for_good)
    scene.handover.reopen(B)
    await until(lambda: len(scene.asked) > 3)
    await scene.handover.close()
    assert scene.owners.all() == [], "the name may be another topic's by now"
    assert "are lost" not in caplog.text
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(scene.handover.finish(), 0.01)
    assert f"{gone_for_good.source}: offsets 0 to 6 were counted and are lost" in caplog.text
    assert f"{cut.source}: offsets 3 to 6 were counted and are lost" in caplog.text


async def test_what_goes_is_tried_again_within_its_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    monkeypatch.setattr(scene.handover, "_release_s", 5.0)
    [owner] = await scene.folded(A)
    scene.refusals = 3
    scene.give(release=[A], settled=False)
    await until(lambda: scene.reader.rejoined == 1)
    assert (owner.settled, scene.refusals) == (True, 0)


async def test_what_is_given_back_while_the_stores_refuse_it_is_the_cycles_affair_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    monkeypatch.setattr(scene.handover, "_release_s", 60.0)
    [owner] = await scene.folded(A)
    scene.refusals = 1_000_000
    scene.give(release=[A], settled=False)
    await until(lambda: len(scene.asked) > 3)
    assert scene.give(A) == {A: 7}
    await until(lambda: not scene.handover._tasks)
    assert scene.owners.get(A) is owner


async def test_a_partition_that_waited_to_be_opened_is_judged_by_its_log_as_it_is_then(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another worker stored meanwhile may lie behind the log's end as it was when the partition came."""
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    asked = scene.checkpoints.asked
    monkeypatch.setattr(owners_module, "partition_offsets", lambda *_: dict.fromkeys(range(8), (0, 10 + len(asked))))
    ends: list[int] = []
    restore = scene.owners.restore

    async def restoring(found: Found) -> PartitionOwner:
        ends.append(found.end)
        return await restore(found)

    monkeypatch.setattr(scene.owners, "restore", restoring)
    scene.checkpoints.error = ServerAway("gone")
    scene.give(A)
    await until(lambda: len(asked) > 3)
    scene.checkpoints.error = None
    await until(lambda: scene.owners.places() == {A})
    assert ends == [10 + count for count in range(len(asked))]
