"""What a question means: the grouping, the window and the span that answer it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cells import Found, Row, Values, ordered
from serving.columns import columns_of
from serving.instants import iso, isos
from serving.questions import MOST_MS, Question, parse_instant, parse_zone, plan, starts
from topologies.errors import UsageError

HOUR_MS = 3_600_000


def answered(question: Question, *sources: list[Found[Values]]) -> list[Row]:
    """The rows of a view of integers alone, of whose sources these are the cells; every start is wanted but the 120th second."""
    (integers,) = columns_of(plan(question))
    sums = integers.sums()
    for cells in sources:
        sums.take(cells, {start_ms for start_ms, _, _, _ in cells} - {120_000})
    return ordered(integers.shown(sums.settled()), 0, question.top)


def grouping(question: Question) -> tuple[str, ...]:
    found = plan(question)
    return found.view.groupings[found.grouping]


def test_the_grouping_holds_exactly_the_dimensions_named() -> None:
    assert grouping(Question("concurrents", {"region": "eu"})) == ("region",)
    assert grouping(Question("concurrents", {"device": None})) == ("device",)
    assert grouping(Question("concurrents")) == ()


def test_a_sum_is_added_over_the_dimension_not_named_and_says_so() -> None:
    found = plan(Question("watch_time", {"title": "T"}))
    assert found.dimensions == ("title",)
    assert found.notes == ("summed over region",)


def test_a_top_ranks_what_is_left_free() -> None:
    assert grouping(Question("concurrents", top=10)) == ("title",)
    in_eu = plan(Question("watch_time", {"region": "eu"}, top=10))
    assert in_eu.dimensions == ("title", "region")
    assert in_eu.fixed == {1: "eu"}
    assert in_eu.notes == ()


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (Question("concurrnts"), "there is no view"),
        (Question("concurrents", {"cdn": "x"}), "not kept by 'cdn'"),
        (Question("concurrents", {"title": "x", "region": "y"}), "not kept by title and region together"),
        (Question("watch_time", window="live"), "no window 'live'"),
        (Question("concurrents", window="live", from_ms=1), "the live window is now"),
        (Question("watch_time", from_ms=5, to_ms=5), "the span is empty"),
        (Question("watch_time", top=0), "ask for one or more"),
        (Question("trending", window="10m"), "no window '10m'; it has 5m, 1h, minute, day"),
        (Question("trending", window="1h", from_ms=0), "a trend is as of now"),
    ],
)
def test_what_is_not_kept_is_refused_with_what_there_is(question: Question, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        plan(question)


def test_a_trend_ranks_the_best_ten_of_the_last_five_minutes_unless_told_otherwise() -> None:
    found = plan(Question("trending"))
    assert (found.dimensions, found.span_s, found.top) == (("title",), 300, 10)
    assert plan(Question("trending", window="1h", top=3)).span_s == 3600
    in_eu = plan(Question("trending", {"region": "eu"}))
    assert (in_eu.dimensions, in_eu.fixed) == (("region", "title"), {0: "eu"})
    assert plan(Question("trending", {"title": "T"})).dimensions == ("title",)
    regions = plan(Question("trending", {"region": None}))
    assert (regions.dimensions, regions.notes) == (("region",), ("summed over title",))


def test_what_a_trend_is_made_of_is_asked_by_its_windows() -> None:
    assert plan(Question("trending", window="day")).span_s == 0
    span = plan(Question("trending", from_ms=0, to_ms=60_000))
    assert (span.span_s, span.stored.name) == (0, "minute")


def test_without_a_span_the_window_of_the_newest_clock_is_read() -> None:
    question = Question("watch_time")
    assert starts(plan(question), question, 5 * HOUR_MS + 7) == [5 * HOUR_MS]
    live = Question("concurrents")
    assert starts(plan(live), live, 5 * HOUR_MS) == [0]


def test_minutes_without_a_span_are_the_last_hour() -> None:
    question = Question("concurrents", window="minute")
    found = starts(plan(question), question, 5 * HOUR_MS)
    assert (len(found), found[-1]) == (60, 5 * HOUR_MS)


def test_an_hour_of_samples_reads_all_its_minutes() -> None:
    question = Question("concurrents", window="hour", from_ms=HOUR_MS + 5, to_ms=HOUR_MS + 10)
    assert starts(plan(question), question, 0) == list(range(HOUR_MS, 2 * HOUR_MS, 60_000))


def test_a_span_of_too_many_windows_is_refused() -> None:
    question = Question("concurrents", window="minute", from_ms=0, to_ms=400 * 24 * HOUR_MS)
    with pytest.raises(UsageError, match="3,000 at the most"):
        starts(plan(question), question, 0)


def test_a_span_without_window_is_answered_from_history() -> None:
    assert plan(Question("concurrents", from_ms=0, to_ms=1)).shown.name == "minute"


def test_the_peak_of_an_hour_is_the_greatest_of_its_minutes_sums() -> None:
    """Two sources peak in different minutes: the peak is of the sums, not the sum of the peaks."""
    one: list[Found[Values]] = [(0, 3, (), (5,)), (60_000, 3, (), (1,)), (0, 1, ("eu",), (99,))]
    other: list[Found[Values]] = [(0, 3, (), (1,)), (60_000, 3, (), (7,)), (120_000, 3, (), (90,))]
    assert answered(Question("concurrents", window="hour"), one, other) == [Row(0, (), (8,))]


def test_ties_are_ordered_by_key_and_a_top_is_cut_after_them() -> None:
    cells: list[Found[Values]] = [(0, 0, ("c",), (5,)), (0, 0, ("a",), (5,)), (0, 0, ("b",), (9,)), (0, 0, ("z",), (0,))]
    assert [row.key for row in answered(Question("concurrents", top=2), cells)] == [("b",), ("a",)]


def test_a_top_over_a_span_adds_sums_over_its_windows() -> None:
    one: list[Found[Values]] = [(0, 0, ("a", "eu"), (5, 1, 1)), (HOUR_MS, 0, ("a", "us"), (6, 0, 1))]
    other: list[Found[Values]] = [(0, 0, ("b", "eu"), (9, 1, 1))]
    assert answered(Question("watch_time", {"title": None}, top=1), one, other) == [Row(0, ("a",), (11, 1, 2))]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("1700000000", 1_700_000_000_000),
        ("1700000000123", 1_700_000_000_123),
        ("1970-01-01T01:00", HOUR_MS),
        ("1970-01-01T01:00+01:00", 0),
        ("20260131", 1_769_817_600_000),
        ("20260131T200000Z", 1_769_889_600_000),
        ("2026-W05-6", 1_769_817_600_000),
        ("2026-01-31T20:00:00.001Z", 1_769_889_600_001),
        ("2026-01-31T20:00:00.0019Z", 1_769_889_600_001),
    ],
)
def test_instants_are_iso_or_epoch(text: str, ms: int) -> None:
    assert parse_instant(text) == ms


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-10-25T02:30", "2026-10-25T00:30Z"),  # of the two half past two of that night the first
        ("2026-03-29T02:30", "2026-03-29T01:30Z"),  # which no clock there shows: half an hour past the two that became three
        ("2026-07-01", "2026-06-30T22:00Z"),
    ],
)
def test_an_instant_without_an_offset_is_of_the_zone(text: str, utc: str) -> None:
    assert parse_instant(text, ZoneInfo("Europe/Berlin")) == parse_instant(utc)


@given(st.integers(0, MOST_MS - 1), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"]))
def test_what_is_shown_of_an_instant_means_it(instant_ms: int, zone: str) -> None:
    assert parse_instant(iso(instant_ms, ZoneInfo(zone))) == instant_ms


def test_another_text_is_no_instant() -> None:
    with pytest.raises(UsageError, match="is no instant"):
        parse_instant("yesterday")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_many_instants_are_told_as_each_of_them(zone: str) -> None:
    instants_ms = [0, 1, 999, 1_769_900_400_123, MOST_MS - 1]
    assert isos(instants_ms, parse_zone(zone)) == [iso(instant_ms, parse_zone(zone)) for instant_ms in instants_ms]
    assert isos([]) == []


def test_a_series_stands_in_time_in_whatever_order_it_was_found() -> None:
    rows = [Row(start_ms, (key,), (value,)) for start_ms, key, value in ((0, "b", 1), (1, "a", 9), (2, "b", None))]
    assert ordered({(row.start_ms, row.key): row.values for row in rows[::-1]}, 0, None) == rows
    assert [row.key for row in ordered({(0, ("a",)): (1,), (0, ("b",)): (2,)}, 0, None)] == [("b",), ("a",)]
