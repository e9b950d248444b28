"""Waiting for other processes, on a machine that may stand still meanwhile."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster import process
from cluster.guardian import PROMPT_SLICE_NS, SCHED_SETATTR
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


CAP_SYS_NICE = 23
WEIGHT = """
import ctypes, os, sys
from pathlib import Path
from cluster.guardian import SCHED_SETATTR, SchedAttr
found = SchedAttr()
number = SCHED_SETATTR.get(os.uname().machine, -2) + 1  # sched_getattr's
got = ctypes.CDLL(None).syscall(number, 0, ctypes.byref(found), ctypes.sizeof(found), 0)
group = Path("/proc/self/autogroup")
print(os.getpriority(os.PRIO_PROCESS, 0), found.runtime if got == 0 else None, group.read_text().split()[-1] if group.exists() else None)
"""


@pytest.mark.parametrize("niceness", [7, 0, -7])
def test_a_process_weighs_as_it_was_told(niceness: int, tmp_path: Path) -> None:
    """More than others only where one may: as root; and its turns are short then, where the kernel knows slices (Linux 6.12)."""
    log = tmp_path / "weight.log"
    ended = Guarded([sys.executable, "-c", WEIGHT], log, niceness=niceness).ended(60)
    assert ended is not None
    assert ended.status == 0, log.read_text()
    own, slice_ns, group = log.read_text().split()
    granted = niceness if niceness > 0 or may_weigh_more() else 0
    assert own == str(granted)
    assert group in ("None", str(granted))
    assert (slice_ns == str(PROMPT_SLICE_NS)) == (niceness < 0 and knows_slices())


def may_weigh_more() -> bool:
    held = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert held is not None
    return bool(int(held[1], 16) >> CAP_SYS_NICE & 1)


def knows_slices() -> bool:
    return tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 12) and os.uname().machine in SCHED_SETATTR


def test_what_the_system_refuses_is_told_as_one_that_could_not_be_started(tmp_path: Path) -> None:
    with pytest.raises(ServerAway, match=r"could not be started: .*No such file"):
        Guarded([sys.executable, "-c", ""], tmp_path / "nowhere" / "log")
    with pytest.raises(ServerAway, match=r"could not be started: .*No such file"):
        Guarded([sys.executable, "-c", ""], tmp_path / "log", cwd=tmp_path / "nowhere")
