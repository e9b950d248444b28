"""Partitions that come: opened beside the fold, held while they cannot be gone on with, judged by broker and stores as they are then."""

from __future__ import annotations

import pytest

from streams import owners as owners_module
from streams.health import Health
from streams.owners import Found
from streams.partition import PartitionOwner
from tests.streams.handover_scene import A, B, Scene, gone, until
from topologies.errors import ServerAway
from topologies.settings import Settings


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
