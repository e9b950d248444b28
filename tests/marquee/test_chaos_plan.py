"""The plan of a chaos run: a function of the seed and nothing else."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from marquee.chaos import strays
from marquee.chaos.kinds import BY_NAME, SETS
from marquee.chaos.plan import FIRST_S, TAIL_S, Plan, make_plan
from tests.marquee.running import ENVIRONMENT, ROOT
from topologies.errors import UsageError
from topologies.events import Malformed, decode_event

SEEDS = range(40)


def test_the_same_seed_makes_the_same_plan_in_every_process(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "marquee", "chaos", "--seed", "11", "--faults", "30", "--plan", "--json"]
    said = [
        subprocess.run(
            words, cwd=tmp_path, env={**ENVIRONMENT, "PYTHONHASHSEED": salt}, capture_output=True, check=True, timeout=300
        ).stdout
        for salt in ("1", "2")
    ]
    assert said[0] == said[1]
    assert json.loads(said[0]) == json.loads(json.dumps(make_plan(11, 3, faults=30).document()))


def test_other_seeds_make_other_plans() -> None:
    assert len({make_plan(seed, 3, faults=20).faults for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_plan_strikes_every_kind_before_any_twice_and_each_lane_one_at_a_time(seed: int, which: str) -> None:
    kinds = SETS[which]
    plan = make_plan(seed, 3, faults=60, kinds=kinds)
    assert len(plan.faults) == 60
    assert {fault.kind for fault in plan.faults[: len(kinds)]} == {kind.name for kind in kinds}
    assert plan.has_doors == (which == "front")
    assert [fault.at_s for fault in plan.faults] == sorted(fault.at_s for fault in plan.faults)
    assert plan.faults[0].at_s >= FIRST_S
    assert sum(plan.counts().values()) == 60
    for faults in plan.by_lane().values():
        for earlier, later in itertools.pairwise(faults):
            assert later.at_s >= earlier.at_s + earlier.for_s + BY_NAME[earlier.kind].settle_s - 0.02
    for fault in plan.faults:
        kind = BY_NAME[fault.kind]
        assert kind.for_s[0] <= fault.for_s <= kind.for_s[1]
        assert fault.lane in kind.lanes(3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plan_is_dense_and_its_faults_overlap(seed: int) -> None:
    plan = make_plan(seed, 3, faults=20)
    assert plan.faults[-1].at_s < 80
    overlaps = [(one.lane, other.lane) for one in plan.faults for other in plan.faults if one.at_s < other.at_s < one.at_s + one.for_s]
    assert len(overlaps) >= 3
    assert all(lane != other for lane, other in overlaps)


def test_minutes_and_faults_are_two_ends_of_one_plan() -> None:
    by_time = make_plan(5, 3, seconds=120)
    by_count = make_plan(5, 3, faults=len(by_time.faults))
    assert by_time.faults == by_count.faults
    assert by_time.load_s == 120
    assert max(fault.at_s + fault.for_s for fault in by_time.faults) + TAIL_S <= 120


def test_a_plan_needs_room_and_one_measure() -> None:
    for faults, seconds in ((None, None), (2, 60.0), (None, 3.0)):
        with pytest.raises(UsageError):
            make_plan(1, 3, faults=faults, seconds=seconds)


def test_strays_are_functions_of_seed_and_time_and_are_what_they_say() -> None:
    now_ms = 1_790_000_000_000
    for make in (strays.garbage, strays.stepping_clocks, strays.crowd):
        records = list(make(3, now_ms))
        assert records == list(make(3, now_ms))
        assert records != list(make(4, now_ms))
        assert all(key is None or key.startswith(b"stray") for key, _ in records)
    for make in (strays.stepping_clocks, strays.crowd):
        events = [decode_event(value) for _, value in make(3, now_ms)]
        assert all(event is not None for event in events)
    assert strays.FLOOD[0] <= len(list(strays.garbage(3, now_ms))) <= strays.FLOOD[1]
    reasons = {_reason(value) for _, value in strays.garbage(3, now_ms)}
    assert {"empty", "too_big", "encoding", "not_json", "not_object", "version", "type"} <= reasons


def _reason(value: bytes | None) -> str:
    """Why a record is no event; empty for one that needs the partition's state to be told from one."""
    try:
        decode_event(value)
    except Malformed as wrong:
        return str(wrong.reason)
    return ""


def test_every_kind_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "chaos.md").read_text()
    for kind in BY_NAME.values():
        assert f"| `{kind.name}` | " in page
        assert f" | {kind.lane} |" in page


def test_a_plan_can_be_written_down() -> None:
    plan = make_plan(2, 1, faults=3)
    assert isinstance(plan, Plan)
    assert [set(fault) for fault in plan.document()["faults"]] == [{"number", "kind", "lane", "at_s", "for_s", "seed"}] * 3
