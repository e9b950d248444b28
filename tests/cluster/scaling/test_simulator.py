"""The simulator on small days: each contender sees what it would see, and the verdicts say what came of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import pytest

from cluster.scaling.contenders import DECIDE_S, ByPolicy, Contender, HpaOnCpu, KedaOnLag, run_day
from cluster.scaling.days import MINUTES, PLAIN, Day, read_days
from cluster.scaling.fleet import Fleets, Ground, Ints
from cluster.scaling.hpa import Behaviour
from cluster.scaling.measured import Measured
from cluster.scaling.policy import SLOTS, Decision, Measurement, Past, Rules, decide
from cluster.scaling.simulator import FIXED, FIXED_OWN, KEDA, OURS, Judged, Outcome, holds, judge, usual_of, verdicts
from tests.cluster.scaling.scenes import hill
from tests.traces import recorded
from topologies.settings import Settings

GROUND: Final = Ground(Measured(capacity_per_s=1_000.0), 8, 1, 8)
STEADY: Final = np.full((1, MINUTES), 2_500.0)


def scaled(by_minute: np.typing.NDArray[np.float64], contender: str) -> Fleets:
    """A day of one fleet that begins with one worker."""
    fleets = Fleets(GROUND, by_minute, np.array([0]), np.array([1]))
    behaviour = Behaviour(1, 8, np.array([300]))
    whole = slice(0, 1)
    made: dict[str, Contender] = {
        "policy": ByPolicy(whole, Rules(), [Past(1)]),
        "hpa": HpaOnCpu(whole, np.array([0.7]), behaviour, fleets),
        "keda": KedaOnLag(whole, np.array([0.7 * 1_000 * 3.8]), [False], behaviour),
    }
    run_day(fleets, [made[contender]])
    return fleets


@pytest.mark.parametrize(("contender", "workers"), [("policy", 3), ("hpa", 4), ("keda", 4)])
def test_a_steady_load_is_given_what_it_needs_and_the_lag_ends(contender: str, workers: int) -> None:
    fleets = scaled(STEADY, contender)
    assert fleets.workers_at[0, -1] == workers
    assert fleets.lag_s[0, 60:].max() == 0
    assert fleets.backlog()[0] == 0


@pytest.mark.parametrize("contender", ["policy", "hpa", "keda"])
def test_workers_follow_the_load_up_and_down(contender: str) -> None:
    workers: Ints = scaled(hill("hill", 5_000.0, 200.0).by_minute[None, :], contender).workers_at[0]
    assert workers[7 * 60] == 1
    assert workers[19 * 60] > 4
    assert workers[-1] < workers[19 * 60]


def test_the_policy_is_asked_as_often_as_it_says_and_never_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day's later minutes change no earlier decision."""
    cut = hill("hill", 5_000.0, 200.0).by_minute[None, :].copy()
    whole = scaled(cut, "policy").workers_at[0].copy()
    cut[0, 900:] = 50.0
    assert (scaled(cut, "policy").workers_at[0, :900] == whole[:900]).all()
    asked: list[float] = []

    def noted(rules: Rules, past: Past, seen: Measurement | None, now_s: float) -> Decision:
        asked.append(now_s)
        return decide(rules, past, seen, now_s)

    monkeypatch.setattr("cluster.scaling.contenders.decide", noted)
    scaled(STEADY, "policy")
    assert set(np.diff(asked)) == {DECIDE_S}


def test_fixed_fleets_are_sized_for_the_plain_day_and_for_each_day() -> None:
    """On the plain day they are the same; a day with a wave is too much for the one, never for the other."""
    plain = hill(PLAIN, 2_600.0, 400.0)
    wave = Day("wave", np.where(np.abs(np.arange(MINUTES) - 600) < 20, 6_000.0, plain.by_minute))
    judged = judge(GROUND, [plain, wave], np.random.default_rng(1), plain_days=1)
    assert {judged.of(name, PLAIN).setting for name in (FIXED, FIXED_OWN)} == {"3 workers"}
    assert judged.of(FIXED, "wave").violated_s > 600
    assert judged.of(FIXED_OWN, "wave").violated_s == 0
    assert judged.of(FIXED_OWN, "wave").worker_hours == 8 * 24
    assert judged.of(OURS, "wave").violated_s < judged.of(KEDA, "wave").violated_s
    assert [one.day for one in verdicts(judged)] == [PLAIN, "wave"]
    assert len(judged.on_plain_days) == 1


def outcome(contender: str, violated_s: int, worker_hours: float, day: str = "a day") -> Outcome:
    nothing = np.zeros(MINUTES)
    return Outcome(contender, "", day, violated_s, 0.0, worker_hours, 0, nothing.astype(np.int64), nothing)


@pytest.mark.parametrize(
    ("ours", "no_more", "saved", "better"),
    [((0, 60.0), True, 0.4, True), ((9, 60.0), False, 0.4, True), ((10, 60.0), False, 0.4, False), ((0, 71.0), True, 0.29, False)],
)
def test_a_verdict_compares_with_the_fixed_fleets_and_with_keda(ours: tuple[int, float], no_more: bool, saved: float, better: bool) -> None:
    others = (outcome(FIXED, 5, 96.0), outcome(FIXED_OWN, 0, 100.0), outcome(KEDA, 10, 70.0), outcome("KEDA, tuned on that day", 0, 80.0))
    (found,) = verdicts(Judged(GROUND, (*others, outcome(OURS, *ours)), ()))
    assert (found.no_more_violations_than_fixed, found.better_than_keda) == (no_more, better)
    assert found.saved == pytest.approx(saved)
    four = [replace(found, day=str(day)) for day in range(4)]
    assert holds(four) is (no_more and saved >= 0.3 and better)


def test_what_is_usual_of_a_day_is_its_slots_means() -> None:
    usual = usual_of(Day("steps", np.repeat(np.arange(SLOTS, dtype=np.float64), MINUTES // SLOTS)))
    assert usual == tuple(range(SLOTS))


def test_what_must_be_shown_holds_on_the_four_days(bare_settings: Settings) -> None:
    days = read_days(recorded(bare_settings, "days"))
    judged = judge(Ground(partitions=bare_settings.kafka.partitions), days, np.random.default_rng(1), plain_days=3)
    assert holds(verdicts(judged)), verdicts(judged)
    assert all(one.violated_s == 0 for one in judged.on_plain_days)
