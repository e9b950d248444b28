"""What a system sustains: the search, what is judged, what is said and drawn of it.

tests/marquee/test_driving.py has all of it on a system that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from marquee.applied import Course
from marquee.capacity import Capacity, Demand, Method, told
from marquee.capacity_chart import capacity_chart, demand_chart
from marquee.freshness import intended_waits_ms, percentiles, shown_waits_ms, waits_ms
from marquee.searching import Found, Search, fewest, highest, majority
from marquee.sustaining import Bounds, Trial

SVG = "{http://www.w3.org/2000/svg}"


def up_to(most: float, tried: list[float]) -> Callable[[float], bool]:
    """A system that sustains so much."""

    def passes(rate: float) -> bool:
        tried.append(rate)
        return rate <= most

    return passes


def never() -> bool:
    return False


@pytest.mark.parametrize("most", [3, 700, 19_999, 20_000, 23_700, 640_000])
@pytest.mark.parametrize("precision", [0.02, 0.1, 0.5])
def test_the_highest_rate_is_found_as_precisely_as_wanted(most: float, precision: float) -> None:
    tried: list[float] = []
    found = highest(up_to(most, tried), Search(20_000, precision), never)
    assert found.failed is not None
    assert found.best <= most < found.failed <= found.best * (1 + precision)
    assert found.whole
    assert len(tried) == len(set(tried)) <= 30


def test_a_linear_search_goes_up_until_a_rate_fails() -> None:
    tried: list[float] = []
    found = highest(up_to(1_300, tried), Search(1_000, 0.1, linear=True), never)
    assert found.best == pytest.approx(1_210)
    assert found.failed == pytest.approx(1_331)
    assert tried == sorted(tried)
    assert highest(up_to(900, tried), Search(1_000, linear=True), never) == Found(0.0, 1_000)


def test_a_search_whose_time_is_over_says_so() -> None:
    assert highest(up_to(10**9, []), Search(20_000), lambda: True) == Found(20_000, None, whole=False)
    assert highest(up_to(0, []), Search(20_000), never).best == 0


def test_more_than_half_of_the_trials_decide_and_no_more_are_made_than_needed() -> None:
    outcomes = iter([True, False, True, False])
    assert majority(lambda: next(outcomes), 3)
    assert next(outcomes) is False
    outcomes = iter([False, True, False])
    assert not majority(lambda: next(outcomes), 3)
    outcomes = iter([True, False])
    assert not majority(lambda: next(outcomes), 2)


def test_demand_is_the_fewest_workers_and_no_more_are_asked_for() -> None:
    asked: list[int] = []
    tried: list[float] = []

    def tests() -> Iterator[tuple[int, Callable[[float], bool]]]:
        for workers in (1, 2, 3, 4):
            asked.append(workers)
            yield workers, up_to(workers * 10_000, tried)

    assert fewest(tests(), [25_000, 5_000, 10_000]) == {5_000: 1, 10_000: 1, 25_000: 3}
    assert asked == [1, 2, 3]
    assert tried == [5_000, 10_000, 25_000, 25_000, 25_000]
    assert fewest(tests(), [90_000]) == {90_000: None}


def flushed(every_ms: int, wait_ms: int, until_ms: int) -> Course:
    """A partition with an event every millisecond, shown so long after it by a flush every so often; epoch 1,000,000."""
    course = Course()
    for at in range(every_ms, until_ms + 1, every_ms):
        course.note(at, 1_000_000.0 + at + wait_ms, clock_ms=1_000_000 + at, intended_ms=1_000_000 + at - 5)
    return course


def test_every_moment_waits_until_what_is_shown_is_as_of_then() -> None:
    assert waits_ms([10, 30, 20, 40], [11, 33, 34, 44], np.array([5, 10, 11, 31, 41])).tolist() == [6, 1, 22, 13, float("inf")]
    waits = intended_waits_ms([flushed(200, 50, 10_000)], 1_002_000, 1_008_000)
    assert len(waits) == 600
    assert (waits.min(), waits.max()) == (pytest.approx(55, abs=10), pytest.approx(255, abs=10))
    assert percentiles(waits, 50)[0] == pytest.approx(155, abs=10)
    assert percentiles(intended_waits_ms([Course()], 0, 1_000), 99) == (None,)


def test_what_was_shown_in_a_span_is_told_once_and_nothing_from_before_the_run() -> None:
    course = flushed(200, 50, 10_000)
    whole = shown_waits_ms([course], 1_000_500, 1_008_000, 0)
    parts = [shown_waits_ms([course], start, start + 500, 0) for start in range(1_000_500, 1_008_000, 500)]
    assert sum(map(len, parts)) == len(whole)
    assert max(part.max() for part in parts if len(part)) == whole.max() <= 250
    assert not len(shown_waits_ms([course], 1_000_500, 1_008_000, 1_020_000))
    assert shown_waits_ms([course], 1_000_500, 1_008_000, 1_000_900.5).max() <= 250  # a run begins at any part of a millisecond


def trial(rate: float, gave_out: str = "") -> Trial:
    """A trial of that rate."""
    return Trial(rate, 0.01, 0.4, 210.0, None if gave_out == "workers" else 640.0, 0.0, gave_out, round(rate * 24), 24.0, 12.0)


def test_a_capacity_says_what_it_took_and_the_chart_has_every_trial() -> None:
    found = Capacity(1, 24_000, 26_000, "workers", True, 120.0, (trial(20_000), trial(26_000, "workers"), trial(24_000)))
    document = found.document()
    assert (document["rate"], document["not_sustained"], document["limited_by"], document["p99_ms"]) == (24_000, 26_000, "workers", 640.0)
    assert document["events_per_core_second"] == 48_000
    none = Capacity(2, 0.0, 900, "freshness", False, 120.0, (trial(900, "freshness"),))
    assert (none.document()["p99_ms"], none.document()["events_per_core_second"]) == (None, None)
    drawn = ET.fromstring(capacity_chart([found, none], Method(bounds=Bounds(2_000))))
    assert len(drawn.findall(f"{SVG}rect[@class='bar']")) == 1
    assert len(drawn.findall(f"{SVG}circle")) == 2
    assert len(drawn.findall(f"{SVG}path")) == 2
    assert drawn.findtext(f"{SVG}title") == "Capacity: the highest rate that is sustained: 1 workers 24,000, 2 workers none"
    assert "freshness p99 within 2 s" in "".join(drawn.itertext())
    demand = Demand(20_000, 2, ((1, trial(20_000, "workers")), (2, trial(20_000))))
    assert "20,000 events/s 2" in (ET.fromstring(demand_chart([demand], Method())).findtext(f"{SVG}title") or "")


def test_a_trial_is_told_in_a_line() -> None:
    assert told(trial(20_000), Bounds(2_000)) == "20,000 events/s: lag 0.40 s, growing by +0.010 s/s, p99 0.64 s of 2 s: sustained"
    assert told(trial(26_000, "workers"), Bounds(2_000)).endswith("load ended before its time: workers gave out")
