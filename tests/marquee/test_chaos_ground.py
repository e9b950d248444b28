"""What a chaos run holds against the workers, and for how long nothing moved."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cluster.local import LocalCluster
from cluster.process import wait_until
from cluster.supervisor import Workers
from marquee.chaos.ground import EXCUSE_S, Exit, Ground
from marquee.chaos.outsider import Outsider
from marquee.chaos.plan import make_plan
from marquee.chaos.standstill import NOT_BEFORE_S, Standstill
from marquee.chaos.trial import ChaosOptions, Trial
from marquee.screen import Screen
from topologies.settings import Settings
from topologies.sources import Source, SourceStatus

STANDIN = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit({status}))
pathlib.Path(sys.argv[-1]).write_text("{{}}")
signal.pause()
"""


def ground_of(settings: Settings, directory: Path, status: int) -> Ground:
    """Two workers that run and end by this status when they are asked to drain."""
    workers = Workers(settings, 2, directory, command=(sys.executable, "-c", STANDIN.format(status=status)))
    workers.start()
    workers.wait_ready()
    return Ground(settings, LocalCluster(directory, settings), workers, Outsider(settings.kafka, "none"))


def test_a_drain_that_ends_badly_is_a_finding(bare_settings: Settings, tmp_path: Path) -> None:
    ground = ground_of(bare_settings, tmp_path, 3)
    ground.drain(0)
    assert [(exit_.status, exit_.excused) for exit_ in ground.exits] == [(3, False)]
    ground.struck_until["cassandra"] = ground.elapsed_s() - EXCUSE_S / 2
    ground.drain(1)
    assert [(exit_.status, exit_.excused) for exit_ in ground.exits] == [(3, False), (3, True)]


def test_a_drain_that_ends_well_is_none(bare_settings: Settings, tmp_path: Path) -> None:
    ground = ground_of(bare_settings, tmp_path, 0)
    ground.drain(0)
    ground.workers.stop_all()
    assert ground.exits == []


def test_guests_that_were_asked_to_drain_are_held_to_it_and_killed_ones_are_not(bare_settings: Settings, tmp_path: Path) -> None:
    ground = ground_of(bare_settings, tmp_path, 4)
    ground.host([(0.0, guest, "join") for guest in range(3)])
    assert wait_until(lambda: all(ground.workers.ready(index) is not None for index in range(2, 5)), 30)
    ground.host([(0.0, 0, "drain"), (0.0, 1, "kill")])
    for _ in range(2):
        ground.see_off()
        assert [(exit_.worker[-1], exit_.status, exit_.excused) for exit_ in ground.exits] == [("2", 4, False), ("4", 4, False)]
    ground.workers.stop_all()


@pytest.mark.parametrize(("excused", "passed"), [(True, True), (False, False)])
def test_a_run_with_an_unexpected_exit_has_not_passed(bare_settings: Settings, excused: bool, passed: bool) -> None:
    trial = Trial(bare_settings, ChaosOptions(make_plan(2, 3, faults=3), 100.0, ""), Screen("chaos"))
    trial.result = cast(Any, SimpleNamespace(proven=True))
    assert trial.passed
    trial.exits = [Exit("worker-1", 3.0, 1, "why", excused)]
    assert trial.passed is passed


def test_the_load_is_json_of_an_even_seed_and_arrow_of_an_odd_one() -> None:
    options = [ChaosOptions(make_plan(seed, 3, faults=3), 100.0, "").load("run") for seed in range(4)]
    assert [load.format for load in options] == ["json", "arrow"] * 2


@dataclass
class Offsets:
    """Applied offsets, in memory."""

    offset: int = 0
    closed: bool = field(default=False)

    def statuses(self) -> dict[str, SourceStatus]:
        return {"one": SourceStatus(Source("local", "t", "id", 0), self.offset, 0, 0, 0, 0, 0, 0, 0)}

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("complete", "longest_s"), [(True, 5.0), (False, 60.0)])
def test_a_standstill_that_never_ended_counts_unless_all_was_applied(complete: bool, longest_s: float) -> None:
    offsets, now_s = Offsets(), 1.0
    standstill = Standstill(offsets, lambda: now_s)
    standstill.look()
    for pause_s in (NOT_BEFORE_S, 5.0, 1.0):
        now_s += pause_s
        offsets.offset += 1
        standstill.look()
    now_s += 60
    assert standstill.end(complete=complete) == longest_s
    assert offsets.closed
