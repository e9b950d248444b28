"""What a chaos run holds against the workers, and for how long nothing moved."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from cluster.local import LocalCluster, quietly
from cluster.process import wait_until
from cluster.supervisor import Workers
from connectors.redis import at_shelves
from marquee.chaos.ground import Exit, Ground
from marquee.chaos.kinds import BY_NAME, KINDS
from marquee.chaos.lanes import Lanes
from marquee.chaos.outsider import Outsider
from marquee.chaos.plan import Plan, Planned, make_plan
from marquee.chaos.standstill import NOT_BEFORE_S, Standstill
from marquee.chaos.targets import Visit, lane_of
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


LATE_STANDIN = """
import time
while time.process_time() < 0.3: pass
print("starts", flush=True)
""" + STANDIN.format(status=4)
"""Half a start goes by before it hears of anything, as a real worker's imports do."""
NEVER_READY = "import signal; print('starts', flush=True); signal.pause()"


def ground_of(settings: Settings, directory: Path, status: int) -> Ground:
    """Two workers that run and end by this status when they are asked to drain."""
    ground = ground_with(settings, directory, STANDIN.format(status=status), 2)
    ground.workers.wait_ready()
    return ground


def ground_with(settings: Settings, directory: Path, code: str, workers: int) -> Ground:
    """Workers that run this code."""
    started = Workers(settings, workers, directory, command=(sys.executable, "-c", code))
    started.start()
    return Ground(settings, LocalCluster(directory, settings), started, Outsider(settings.kafka, "none"))


def test_a_drain_that_ends_badly_is_a_finding(bare_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marquee.chaos.ground.EXCUSE_S", 600.0)
    ground = ground_of(bare_settings, tmp_path, 3)
    assert ground.drain(0)
    assert [(exit_.status, exit_.excused) for exit_ in ground.exits] == [(3, False)]
    ground.struck_until["cassandra"] = ground.elapsed_s() - 300
    ground.drain(1)
    assert [(exit_.status, exit_.excused) for exit_ in ground.exits] == [(3, False), (3, True)]


def test_a_drain_that_ends_well_is_none(bare_settings: Settings, tmp_path: Path) -> None:
    ground = ground_of(bare_settings, tmp_path, 0)
    ground.drain(0)
    ground.workers.stop_all()
    assert ground.exits == []


def test_guests_leave_after_they_joined_however_long_their_start_took(bare_settings: Settings, tmp_path: Path) -> None:
    ground = ground_with(bare_settings, tmp_path, LATE_STANDIN, 0)
    visits = [Visit(0, 0.0, 0.0, drains=True), Visit(1, 0.0, 0.0, drains=False), Visit(2, 0.0, 0.0, drains=True)]
    assert ground.host(visits) == ground.guests_joined == 3
    for _ in range(2):
        ground.see_off()
        ends = sorted((exit_.worker, exit_.status, exit_.excused) for exit_ in ground.exits)
        assert [(status, excused) for _, status, excused in ends] == [(4, False)] * 2, "the killed one was meant to end so"
    ground.workers.stop_all()


def test_a_storm_whose_guests_never_join_hit_nothing(bare_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marquee.chaos.ground.GUEST_READY_S", 0.2)
    ground = ground_with(bare_settings, tmp_path, NEVER_READY, 0)
    storm = Planned(0, "rebalance-storm", "group", 0.0, 0.1, 5)
    assert BY_NAME[storm.kind].strike(ground, storm) is False
    assert ground.guests_joined == 0
    BY_NAME[storm.kind].heal(ground, storm)
    assert len(ground.workers) >= 2
    assert ground.workers.alive() == []
    assert all(exit_.excused for exit_ in ground.exits), "there was nothing to drain"


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS if kind.lane == "worker"])
def test_a_worker_that_has_no_partitions_yet_or_is_gone_is_not_hit(bare_settings: Settings, tmp_path: Path, kind: str) -> None:
    ground = ground_with(bare_settings, tmp_path, NEVER_READY, 1)
    fault = Planned(0, kind, lane_of(0), 0.0, 0.0, 5)
    assert not ground.stands(fault.lane)
    assert BY_NAME[kind].strike(ground, fault) is False
    assert wait_until(lambda: ground.workers[0].log.read_text() == "starts\n", 120)
    assert ground.workers.watch() == []
    ground.workers[0].ready_file.write_text("{}")
    ground.workers[0].process.kill()
    assert not ground.stands(fault.lane)
    assert BY_NAME[kind].strike(ground, fault) is False
    assert ground.exits == []


def test_a_fault_waits_until_its_worker_is_up_again(bare_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marquee.chaos.lanes.BY_NAME", {name: replace(kind, settle_s=0.0) for name, kind in BY_NAME.items()})
    ground = ground_with(bare_settings, tmp_path, LATE_STANDIN, 1)
    lanes = Lanes(Plan(1, 1, tuple(Planned(number, "worker-kill", lane_of(0), 0.0, 0.0, 1) for number in range(2)), 0.0), ground, quietly)
    assert lanes.healed_for_s() == 0
    lanes.begin()
    lanes.finish()
    assert (lanes.struck, lanes.missed) == ({"worker-kill": 2}, ())
    assert lanes.healed_for_s() > 0
    ground.workers.stop_all()
    assert ground.workers[0].log.read_text().startswith("starts\n" * 2), "it was up again before it was struck again"


def test_a_fault_whose_worker_never_comes_is_missed(bare_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marquee.chaos.lanes.PATIENCE_S", 0.2)
    ground = ground_with(bare_settings, tmp_path, NEVER_READY, 1)
    faults = (Planned(0, "worker-zombie", lane_of(0), 0.0, 0.0, 1),)
    lanes = Lanes(Plan(1, 1, faults, 0.0), ground, quietly)
    lanes.begin()
    lanes.finish()
    assert (lanes.struck, lanes.missed) == ({}, faults)
    ground.workers.stop_all()


def test_what_was_not_struck_when_the_load_ends_is_missed(bare_settings: Settings, tmp_path: Path) -> None:
    ground = ground_with(bare_settings, tmp_path, STANDIN, 0)
    plan = make_plan(2, 3, faults=5)
    lanes = Lanes(plan, ground, quietly)
    lanes.begin()
    lanes.end()
    lanes.finish()
    assert lanes.struck == {}
    assert lanes.missed == plan.faults


@pytest.mark.parametrize(
    ("missed", "shortfall"), [(0, ""), (2, "only 3 of 5 faults hit something under load; not: {0.kind} of {0.lane}, {1.kind} of {1.lane}")]
)
def test_a_run_with_a_fault_that_hit_nothing_has_not_passed(bare_settings: Settings, missed: int, shortfall: str) -> None:
    plan = make_plan(2, 3, faults=5)
    trial = Trial(bare_settings, ChaosOptions(plan, 100.0, ""), Screen("chaos"))
    trial.result = cast(Any, SimpleNamespace(proven=True))
    trial.missed = plan.faults[:missed]
    assert trial.passed is (missed == 0)
    assert trial.shortfall == shortfall.format(*plan.faults)


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


def test_what_redis_is_made_to_lose_is_of_shelves_too(bare_settings: Settings, tmp_path: Path) -> None:
    with LocalCluster(tmp_path, bare_settings, services=("redis",), preferred={"redis": 0}, short_lived=True) as cluster:
        ground = Ground(cluster.settings, cluster, Workers(cluster.settings, 0, tmp_path), Outsider(cluster.settings.kafka, "none"))
        places = [redis.Redis.from_url(place.url) for place in (cluster.settings.redis, at_shelves(cluster.settings.redis))]
        for kind, fewest, most in (("redis-forget", 1, 29), ("redis-flush", 0, 0)):
            fault = Planned(0, kind, "redis", 0.0, 0.0, 5)
            assert BY_NAME[kind].strike(ground, fault) is False, "there is nothing of Marquee's"
            for place in places:
                place.mset({f"{cluster.settings.redis.prefix}{number}": 1 for number in range(30)})
            assert BY_NAME[kind].strike(ground, fault) is True
            assert all(fewest <= place.dbsize() <= most for place in places)
            places[0].flushall()
        for place in places:
            place.close()


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
