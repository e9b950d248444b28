"""Waiting for other processes, on a machine that may stand still meanwhile."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cluster import process
from cluster.process import wait_until


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands still unless somebody sleeps, or moves it."""
    made = SimpleNamespace(now_s=0.0)

    def sleep(seconds: float) -> None:
        made.now_s += seconds

    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=lambda: made.now_s, sleep=sleep))
    return made


def test_what_came_true_while_who_waits_was_stopped_is_seen(clock: SimpleNamespace) -> None:
    looks = 0

    def condition() -> bool:
        nonlocal looks
        looks += 1
        clock.now_s += 100
        return looks == 2

    assert wait_until(condition, 10)


def test_what_does_not_come_true_is_given_up_in_time(clock: SimpleNamespace) -> None:
    assert not wait_until(lambda: False, 10)
    assert 10 < clock.now_s < 11
