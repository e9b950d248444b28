"""What ends again and again is started again later and later, and never given up."""

from __future__ import annotations

import pytest

from cluster.backoff import LASTS_S, MOST_S, BackOff


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def back_off(clock: Clock) -> BackOff:
    return BackOff(clock)


def ends_at_once(back_off: BackOff, clock: Clock, times: int) -> list[float]:
    """How long it was left so each time, by what was said; that long it was indeed."""
    waits = []
    for _ in range(times):
        process = object()
        wait_s = back_off.ended("worker-0", process)
        assert wait_s is not None
        assert back_off.ended("worker-0", process) is None  # that is known now
        if wait_s:
            assert not back_off.begins("worker-0")
            clock.now_s += wait_s
        assert back_off.begins("worker-0")
        assert not back_off.begins("worker-0")
        waits.append(wait_s)
    return waits


def test_at_once_and_then_twice_as_late_each_time_up_to_a_bound(back_off: BackOff, clock: Clock) -> None:
    assert ends_at_once(back_off, clock, 9) == [0, 1, 2, 4, 8, 16, 32, MOST_S, MOST_S]
    assert back_off.ended("worker-1", object()) == 0  # which is another


def test_one_that_has_lasted_is_started_at_once(back_off: BackOff, clock: Clock) -> None:
    ends_at_once(back_off, clock, 5)
    clock.now_s += LASTS_S - 0.1
    assert ends_at_once(back_off, clock, 1) == [16]
    clock.now_s += LASTS_S
    assert ends_at_once(back_off, clock, 2) == [0, 1]


def test_one_that_could_not_be_started_has_ended_once_more(back_off: BackOff) -> None:
    process = object()
    assert back_off.ended("kafka", process) == 0
    assert back_off.begins("kafka")
    assert back_off.ended("kafka", process) == 1


def test_one_that_another_hand_started_meanwhile_is_said_to_have_ended_anew(back_off: BackOff, clock: Clock) -> None:
    ends_at_once(back_off, clock, 1)
    assert back_off.ended("worker-0", object()) == 1
    clock.now_s += 10.0  # long due
    assert back_off.ended("worker-0", object()) == 2
    assert not back_off.begins("worker-0")
