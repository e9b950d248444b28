"""Sparklines: the scale is the least to the greatest, what is not known is blank, many values share a mark that shows the greatest."""

from __future__ import annotations

import pytest

from marquee.output import Sheet
from marquee.sparklines import LEAST_MARKS, MARKS, MOST_MARKS, behind_sheet, series_sheet, sparkline, told
from serving.courses import Course, Courses
from topologies.view import MINUTE

HOUR = Courses(MINUTE, range(0, 3_600_000, 60_000), (Course(("eu",), "viewers", (None, *range(1, 58), None, 7)),))


@pytest.mark.parametrize(
    ("values", "each", "drawn"),
    [
        ((0, 1, 2, 3, 4, 5, 6, 7), 1, MARKS),
        ((100, None, 107), 1, "▁ █"),
        ((None, None), 1, "  "),
        ((), 1, ""),
        ((5, 5), 1, "▄▄"),
        ((0, 0), 1, "▁▁"),
        ((0.25, 0.75, None), 1, "▁█ "),
        ((0, 7, None, None, 3), 2, "█ ▄"),
    ],
)
def test_a_value_is_a_mark_between_the_least_and_the_greatest(values: tuple[float | None, ...], each: int, drawn: str) -> None:
    assert sparkline(values, each) == drawn


def test_a_series_has_its_ends_and_its_scale_beside_it() -> None:
    sheet = series_sheet(HOUR, ("region",), 200, None)
    assert sheet.headers == ("region", "measure", "first", "last", "min", "max", "by the minute")
    (row,) = sheet.rows
    assert row[:6] == ("eu", "viewers", 1, 7, 1, 57)
    assert len(str(row[6])) == MOST_MARKS
    assert told(HOUR, 1) == (
        "sparklines: 60 minutes from 1970-01-01T00:00:00.000Z to 1970-01-01T01:00:00.000Z, "
        "each from its min to its max, blank where nothing was counted"
    )


def test_on_a_narrow_terminal_minutes_share_a_mark_and_the_header_says_so() -> None:
    sheet = series_sheet(HOUR, ("region",), 60, None)
    (row,) = sheet.rows
    assert (sheet.headers[-1], len(str(row[6]))) == ("greatest of 3 minutes", LEAST_MARKS)


def test_behind_a_table_stand_the_courses_of_the_rows_that_have_one() -> None:
    sheet = behind_sheet(Sheet(("region", "viewers"), [("eu", 9), ("us", 1)], right=("viewers",)), HOUR, 200)
    assert sheet.headers == ("region", "viewers", "min viewers", "max viewers", "viewers by the minute")
    first, second = sheet.rows
    assert first[:4] == ("eu", 9, 1, 57)
    assert second == ("us", 1, None, None, "")


def test_without_a_window_there_is_nothing_to_draw() -> None:
    nothing = Courses(MINUTE, range(0), ())
    sheet = Sheet(("viewers",), [])
    assert behind_sheet(sheet, nothing, 80) is sheet
    assert "no window is over yet" in told(nothing, 0)
