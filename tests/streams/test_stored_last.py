"""What no log has any more is stored as it is, and what is not stored is said to be lost."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from streams import owners as owners_module
from streams.partition import PartitionOwner
from tests.streams.handover_scene import A, B, Scene, gone, until
from topologies.errors import ServerAway
from topologies.settings import Settings


async def test_what_was_not_stored_in_time_and_whose_topic_is_deleted_meanwhile_is_stored_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scene.handover, "_release_s", 0.2)
    [owner] = await scene.folded(A)
    scene.storing.clear()
    monkeypatch.setattr(owners_module, "topic_ids", gone)
    scene.give(release=[A], settled=False)
    await until(lambda: scene.handover._last == {owner})
    assert "replays" not in caplog.text
    scene.storing.set()
    await until(lambda: not scene.handover._tasks)
    assert (owner.settled, scene.handover._last) == (True, set())


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
