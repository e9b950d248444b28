"""Partitions that move: what stays is not put down, what goes is stored before it is given up."""

from __future__ import annotations

import asyncio

import pytest

from tests.streams.handover_scene import A, B, C, Scene, until


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


async def test_what_cannot_be_stored_in_time_is_given_up_as_it_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scene.handover, "_release_s", 0.2)
    [owner] = await scene.folded(A)
    scene.storing.clear()
    scene.give(release=[A], settled=False)
    await until(lambda: scene.reader.rejoined == 1 and not scene.handover._tasks)
    assert "not stored within 0.2 s" in caplog.text
    assert f"{owner.source}: given up at offset 7 and durable up to 0: whoever owns it now replays the rest" in caplog.text
    assert scene.handover._last == set()


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


async def test_what_goes_is_tried_again_within_its_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    [owner] = await scene.folded(A)
    scene.refusals = 3
    scene.give(release=[A], settled=False)
    await until(lambda: scene.reader.rejoined == 1)
    assert (owner.settled, scene.refusals) == (True, 0)


async def test_what_is_given_back_while_the_stores_refuse_it_is_the_cycles_affair_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.handover.OPEN_AGAIN_S", 0.001)
    [owner] = await scene.folded(A)
    scene.refusals = 1_000_000
    scene.give(release=[A], settled=False)
    await until(lambda: len(scene.asked) > 3)
    assert scene.give(A) == {A: 7}
    await until(lambda: not scene.handover._tasks)
    assert scene.owners.get(A) is owner
