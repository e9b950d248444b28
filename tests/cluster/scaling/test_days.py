"""Days of load out of files, and what the simulator takes from the benchmarks' results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cluster.scaling.days import MINUTES, PLAIN, Day, others_like, read_day, read_days
from cluster.scaling.measured import Measured, measured
from tests.cluster.scaling.scenes import hill
from topologies.errors import UsageError


def write(directory: Path, day: Day) -> Path:
    file = directory / f"{day.name}.csv"
    file.write_text("minute,events_per_s\n" + "".join(f"{minute},{rate}\n" for minute, rate in enumerate(day.by_minute)))
    return file


def test_the_plain_day_comes_first(tmp_path: Path) -> None:
    for name in ("calm", PLAIN, "storm"):
        write(tmp_path, hill(name, 900, 100))
    days = read_days(tmp_path)
    assert [day.name for day in days] == [PLAIN, "calm", "storm"]
    assert (days[0].by_minute == hill(PLAIN, 900, 100).by_minute).all()


@pytest.mark.parametrize("text", ["", "minute,events_per_s\n0,1\n", "minute,events_per_s\n0,x\n", "a,b\n1,2\n"])
def test_what_is_no_day_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "some.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match="no day of load"):
        read_day(file)


def test_rates_below_zero_are_no_load(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rate of 0 or more"):
        read_day(write(tmp_path, Day("below", np.full(MINUTES, -1.0))))


def test_without_the_plain_day_nothing_can_be_judged(tmp_path: Path) -> None:
    write(tmp_path, hill("storm", 900, 100))
    with pytest.raises(UsageError, match=r"diurnal\.csv"):
        read_days(tmp_path)


def test_other_plain_days_have_the_same_course_and_other_noise() -> None:
    noisy = Day(PLAIN, hill(PLAIN, 90_000, 10_000).by_minute * np.random.default_rng(0).normal(1, 0.04, MINUTES))
    others = others_like(noisy, 3, np.random.default_rng(1))
    assert [day.name for day in others] == [f"{PLAIN} 1", f"{PLAIN} 2", f"{PLAIN} 3"]
    for day in others:
        assert (day.by_minute != noisy.by_minute).mean() > 0.9
        hours, as_it_was = (one.by_minute.reshape(12, 120).mean(axis=1) for one in (day, noisy))
        assert hours == pytest.approx(as_it_was, rel=0.02)
    again = others_like(noisy, 3, np.random.default_rng(1))
    assert all((one.by_minute == other.by_minute).all() for one, other in zip(others, again, strict=True))


def test_capacity_and_delays_are_those_of_the_newest_results(tmp_path: Path) -> None:
    def result(name: str, **figures: object) -> None:
        (tmp_path / name).write_text(json.dumps({"measured": figures}))

    assert measured(tmp_path) == Measured()
    moved = {"join_moved_s": 1.0, "join_again_moved_s": 2.0, "join_pause_s": 0.5, "join_again_pause_s": 0.7}
    result("2026-01-01-capacity-workers-1..2.json", capacity=[{"workers": 1, "rate": 1}])
    result("2026-01-02-capacity-workers-1..2.json", capacity=[{"workers": 2, "rate": 70_000}, {"workers": 1, "rate": 40_000}])
    result("2026-01-03-rebalance.json", **moved, leave_moved_s=0.9, leave_pause_s=1.1, join_ready_s=12.5)
    found = measured(tmp_path)
    assert (found.capacity_per_s, found.join_stands_s, found.leave_stands_s, found.start_s) == (40_000.0, 2.0, 1.1, 12.5)
    assert dict(found.sources)["capacity_per_s"] == "2026-01-02-capacity-workers-1..2.json"
    result("2026-01-04-rebalance.json", **moved, leave_moved_s=0.9, leave_pause_s=1.1, join_ready_s=3.5)
    assert measured(tmp_path).start_s == 3.5
