"""What answers show of each kind of part: quantiles within their error, rates that are null, extremes; merged over whatever is left out."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from serving.cells import Found, Key, Place, Row, Values, ordered
from serving.columns import Integers, Kept, Quantiles, columns_of, joined
from serving.questions import Plan, Question, plan
from topologies.bins import RELATIVE_ERROR, bin_of
from topologies.quality import QUALITY
from topologies.view import HOUR, MINUTE, MOST, Extreme, Histogram, Measure, Rate, View

MINUTE_MS = 60_000
PLACE = ("cdn1", "eu", "tv", "app1")
DOZEN: Values = tuple(range(1, 9))
"""Of quality: attempts 1, plays 2, start failures 3, playback failures 4, watched 5, stalled 6, stalls 7, bits 8."""
EXTREMES = View(
    name="bitrates",
    summary="",
    groupings=(("title", "region"),),
    windows=(HOUR,),
    measures=(Measure("stalls", "", count_of="stall"),),
    extremes=(
        Extreme("least", "", keep="min", of="bitrate_kbps", unit="kbit/s"),
        Extreme("most", "", keep="max", of="bitrate_kbps"),
        Extreme("newest", "", keep="last", of="bitrate_kbps"),
    ),
)


def rows(asked: Plan, cells: Mapping[str, list[list[Found[Values]]]]) -> list[dict[str, int | float | None]]:
    """The answer's rows, by column; cells: of each part by name, those of each source."""
    columns = columns_of(asked)
    shown = []
    for one in columns:
        sums = one.sums()
        for found in cells.get(one.plan.view.name, []):
            sums.take(found, {start_ms for start_ms, *_ in found})
        shown.append(one.shown(sums.settled()))
    names = [name for one in columns for name in one.names]
    return [dict(zip(names, row.values, strict=True)) for row in ordered(joined(columns, shown), 0, asked.top)]


def bins(values: list[int], key: tuple[str, ...] = PLACE, start_ms: int = 0) -> list[Found[Values]]:
    """Cells of the histogram of these values, one a bin."""
    numbers = [bin_of(value) for value in values]
    return [(start_ms, 0, (*key, str(number)), (numbers.count(number),)) for number in sorted(set(numbers))]


def exact(values: list[int], quantile: float) -> int:
    return sorted(values)[math.ceil(round(quantile * len(values), 6)) - 1]


@pytest.mark.parametrize("seed", range(5))
def test_a_quantile_is_within_its_error_of_the_exact_one_over_sources_minutes_and_dimensions(seed: int) -> None:
    draw = random.Random(seed)
    parts = [[int(draw.lognormvariate(7, 1.5)) for _ in range(draw.randrange(1, 400))] for _ in range(4)]
    everything = [value for part in parts for value in part]
    other = ("cdn2", *PLACE[1:])
    sources = [bins(parts[0]) + bins(parts[1], start_ms=MINUTE_MS), bins(parts[2]), bins(parts[3], other)]
    (row,) = rows(plan(Question("quality", {"region": None}, top=1)), {"quality.startup": sources})
    assert row["startup_count"] == len(everything)
    for quantile, name in ((0.5, "startup_p50"), (0.95, "startup_p95"), (0.99, "startup_p99")):
        told, truth = row[name], exact(everything, quantile)
        assert told is not None
        assert abs(told - truth) <= RELATIVE_ERROR * truth


def test_a_quantile_has_the_rank_that_is_rounded_up() -> None:
    """⌈0.5 · 4⌉ = 2, ⌈0.95 · 20⌉ = 19: binary fractions do not make it 20."""
    (row,) = rows(plan(Question("quality", top=1)), {"quality.startup": [bins([1, 2, 3, 4])]})
    assert (row["startup_p50"], row["startup_p99"]) == (2.0, 4.0)
    (row,) = rows(plan(Question("quality", top=1)), {"quality.startup": [bins(list(range(20)))]})
    assert row["startup_p95"] == 18.0


def test_each_minute_has_its_own_quantiles() -> None:
    found = rows(plan(Question("quality")), {"quality.startup": [bins([10]) + bins([20, 30], start_ms=MINUTE_MS)]})
    assert [(row["startup_count"], row["startup_p50"]) for row in found] == [(1, 10.0), (2, 20.0)]


def test_rates_are_reckoned_from_the_rows_integers() -> None:
    sources: list[list[Found[Values]]] = [[(0, 0, PLACE, DOZEN)], [(0, 0, PLACE, DOZEN)]]
    (row,) = rows(plan(Question("quality", {"cdn": None})), {"quality": sources})
    assert row["watched_ms"] == 10
    assert row["rebuffer_pct"] == round(100 * 12 / 22, 4) == 54.5455
    assert (row["bitrate_kbps"], row["start_failure_pct"]) == (1.6, 300.0)
    assert (row["startup_count"], row["startup_p50"]) == (0, None)


def test_a_rate_of_nothing_is_null() -> None:
    (row,) = rows(plan(Question("quality")), {"quality": [[(0, 0, PLACE, (0, 0, 3, 0, 0, 0, 0, 0))]]})
    assert [row[rate.name] for rate in QUALITY.rates] == [None] * 4


def test_a_row_that_only_a_histogram_has_shows_zeros_and_nulls() -> None:
    (row,) = rows(plan(Question("quality")), {"quality.startup": [bins([7])]})
    assert (row["attempts"], row["rebuffer_pct"], row["startup_p50"]) == (0, None, 7.0)


def test_a_top_is_of_the_ranked_integers_with_the_quantiles_of_its_rows() -> None:
    better = ("cdn2", *PLACE[1:])
    integers: list[Found[Values]] = [(0, 0, PLACE, DOZEN), (MINUTE_MS, 0, better, (5, 0, 0, 0, 0, 0, 0, 0))]
    found = rows(plan(Question("quality", top=1)), {"quality": [integers], "quality.startup": [bins([9], better), bins([3])]})
    assert [(row["attempts"], row["startup_p50"]) for row in found] == [(5, 9.0)]


def extremes(kept: tuple[int, ...], cells: Mapping[str, list[list[Found[Values]]]]) -> list[dict[str, int | float | None]]:
    found = rows(Plan(EXTREMES, 0, kept, {}, HOUR, HOUR, None, ()), cells)
    return [{name: value for name, value in row.items() if name != "stalls"} for row in found]


def test_extremes_are_merged_over_sources_and_what_is_left_out_and_none_never_counts() -> None:
    eu, us = ("t", "eu"), ("t", "us")
    cells: dict[str, list[list[Found[Values]]]] = {
        "bitrates.least": [[(0, 0, eu, (101,)), (0, 0, us, (0,))], [(0, 0, eu, (41,))]],
        "bitrates.most": [[(0, 0, eu, (101,)), (0, 0, us, (901,))], [(0, 0, eu, (41,))]],
        "bitrates.newest": [[(0, 0, eu, (11, 5, 101)), (0, 0, us, (11, 6, 41))], [(0, 0, eu, (10, 9, 901))]],
    }
    assert extremes((0,), cells) == [{"least": 40, "most": 900, "newest": 40}]
    assert extremes((0, 1), cells) == [
        {"least": 40, "most": 100, "newest": 100},
        {"least": None, "most": 900, "newest": 40},
    ]


def test_the_value_0_is_a_value() -> None:
    assert extremes((0, 1), {"bitrates.least": [[(0, 0, ("t", "eu"), (1,))]]}) == [{"least": 0, "most": None, "newest": None}]


def test_columns_tell_their_units_and_errors() -> None:
    integers, startup = columns_of(plan(Question("quality")))
    assert isinstance(integers, Integers)
    assert isinstance(startup, Quantiles)
    assert integers.units["bitrate_kbps"] == "kbit/s"
    assert startup.units == {"startup_p50": "ms", "startup_p95": "ms", "startup_p99": "ms"}
    assert startup.errors == {"startup": 1 / 64}
    least = columns_of(Plan(EXTREMES, 0, (0,), {}, HOUR, HOUR, None, ()))[1]
    assert isinstance(least, Kept)
    assert least.units == {"least": "kbit/s"}


def test_a_fine_quantile_has_a_name_without_a_point() -> None:
    view = replace(QUALITY, histograms=(Histogram("startup", "", of="startup_ms", quantiles=(0.25, 0.999)),))
    assert columns_of(Plan(view, 0, (), {}, MINUTE, MINUTE, None, ()))[1].names == ("startup_count", "startup_p25", "startup_p99_9")


def test_what_decays_is_not_shown_as_it_stands() -> None:
    assert columns_of(plan(Question("trending", window="day")))[0].names == ("plays",)


def test_a_rate_may_count_a_measure_in_both_its_sums() -> None:
    view = View("v", "", ((),), (HOUR,), (Measure("a", "", count_of="stall"),), rates=(Rate("r", "", of=("a",), over=("a", "a")),))
    shown = Integers(Plan(view, 0, (), {}, HOUR, HOUR, None, ())).shown({(0, ()): (3,)})
    assert ordered(shown, 0, None) == [Row(0, (), (3, 0.5))]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ({"title": "a"}, [("a",)]),
        ({"region": None}, [("eu",), ("",)]),
        ({"title": None, "region": None}, [("a", "eu"), ("b", ""), ("", "")]),
    ],
)
def test_cells_that_are_remembered_are_as_they_were(by: dict[str, str | None], keys: list[Key]) -> None:
    """Integers and extremes, and sketches, each in a pack as Cassandra has them, with what the answer keeps of their keys."""
    places: list[Place] = [(start_ms, key) for start_ms in (0, 7) for key in keys]
    integers = columns_of(plan(Question("watch_time", by)))[0]
    sums = {place: (MOST, 0, place[0]) for place in places}
    payload = integers.packed(sums)
    assert payload is not None
    assert integers.unpacked(payload) == sums
    assert integers.unpacked(integers.packed({}) or b"") == {}
    assert integers.packed(sums | {places[0]: (MOST + 1, 0, 0)}) is None, "a sum of cells, which answers show in full"
    estimates = columns_of(plan(Question("audience", by)))[-1]
    coupons = [np.arange(64, 64 * (2 + number), 64, dtype=np.uint32) + 1 for number in range(len(places))]
    payload = estimates.packed({place: (held, held[:1]) for place, held in zip(places, coupons, strict=True)})
    assert payload is not None
    read = {place: held.tolist() for place, (held,) in estimates.unpacked(payload).items()}
    assert read == dict(zip(places, [held.tolist() for held in coupons], strict=True))
    assert estimates.unpacked(estimates.packed({}) or b"") == {}


def test_what_has_no_dimension_is_remembered_without_one() -> None:
    total = columns_of(plan(Question("concurrents", window="minute")))[0]
    assert total.unpacked(total.packed({(0, ()): (5,)}) or b"") == {(0, ()): (5,)}
