"""Waiting for other processes, on a machine that may stand still meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster import process
from cluster.process import Guarded, wait_until
from topologies.errors import ServerAway


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


def test_a_process_yields_as_far_as_it_was_told(tmp_path: Path) -> None:
    words = "import os; print(os.getpriority(os.PRIO_PROCESS, 0)); g = '/proc/self/autogroup'; print(os.path.exists(g) and open(g).read())"
    log = tmp_path / "polite.log"
    polite = Guarded([sys.executable, "-c", words], log, niceness=7)
    ended = polite.ended(60)
    assert ended is not None
    assert ended.status == 0
    niceness, group = log.read_text().splitlines()[:2]
    assert niceness == "7"
    assert group == "False" or group.endswith("nice 7")


def test_what_the_system_refuses_is_told_as_one_that_could_not_be_started(tmp_path: Path) -> None:
    with pytest.raises(ServerAway, match=r"could not be started: .*No such file"):
        Guarded([sys.executable, "-c", ""], tmp_path / "nowhere" / "log")
    with pytest.raises(ServerAway, match=r"could not be started: .*No such file"):
        Guarded([sys.executable, "-c", ""], tmp_path / "log", cwd=tmp_path / "nowhere")
