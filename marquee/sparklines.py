"""Sparklines: a row's course over time in a line of marks, and the tables that they stand in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Final

from marquee.output import Sheet, text
from serving.courses import MOST_ROWS, Course, Courses
from serving.instants import iso

MARKS: Final = "▁▂▃▄▅▆▇█"
LEVEL: Final = "▄"
"""What stands for a value that never changed, and is not 0."""
MOST_MARKS: Final = 60
LEAST_MARKS: Final = 20
"""So many on a terminal however narrow it is."""
GAP: Final = 2
"""Columns between two columns of a table."""

Value = int | float | None


def sparkline(values: Sequence[Value], each: int = 1) -> str:
    """A mark for each `each` values, of which it shows the greatest, on a scale from the least of all to the greatest; a blank for None."""
    known = [value for value in values if value is not None]
    if not known:
        return " " * -(-len(values) // each)
    least, most = min(known), max(known)
    marks = []
    for at in range(0, len(values), each):
        together = [value for value in values[at : at + each] if value is not None]
        marks.append(_mark(max(together), least, most) if together else " ")
    return "".join(marks)


def _mark(value: float, least: float, most: float) -> str:
    if least == most:
        return LEVEL if value else MARKS[0]
    return MARKS[min(len(MARKS) - 1, int((value - least) / (most - least) * len(MARKS)))]


def series_sheet(courses: Courses, dimensions: Sequence[str], width: int, limit: int | None) -> Sheet:
    """A row for each course: its first value, its last, its least and its greatest, and its sparkline. width: columns that there are."""
    numbers = ("first", "last", "min", "max")
    held = courses.of[:limit]
    rows = [(*one.key, one.measure, *_ends(one), *_scale(one)) for one in held]
    return _beside(Sheet((*dimensions, "measure", *numbers), rows, right=numbers), held, courses, "", width)


def behind_sheet(sheet: Sheet, courses: Courses, width: int) -> Sheet:
    """The table with each row's course behind it. width: columns that there are."""
    if not courses.of:
        return sheet
    held: list[Course | None] = [*courses.of, *(None for _ in sheet.rows[len(courses.of) :])]
    least, most = f"min {courses.of[0].measure}", f"max {courses.of[0].measure}"
    scales = [(None, None) if one is None else _scale(one) for one in held]
    rows = [(*row, *scale) for row, scale in zip(sheet.rows, scales, strict=True)]
    wider = Sheet((*sheet.headers, least, most), rows, right=(*sheet.right, least, most))
    return _beside(wider, held, courses, f"{courses.of[0].measure} ", width)


def told(courses: Courses, rows: int, zone: tzinfo = UTC) -> str:
    """What has to be known of them, in one line. rows: of the answer behind which they stand."""
    if not courses.starts_ms:
        return "no window is over yet, so there is no sparkline"
    windows, name = len(courses.starts_ms), courses.window.name
    first, end = iso(courses.starts_ms[0], zone), iso(courses.starts_ms[-1] + courses.window.length_ms, zone)
    cut = f", of the first {MOST_ROWS} rows" if rows > MOST_ROWS else ""
    span = f"{windows} {name}{'' if windows == 1 else 's'} from {first} to {end}"
    return f"sparklines: {span}{cut}, each from its min to its max, blank where nothing was counted"


def _ends(course: Course) -> tuple[Value, Value]:
    known = course.known
    return (known[0], known[-1]) if known else (None, None)


def _scale(course: Course) -> tuple[Value, Value]:
    return min(course.known, default=None), max(course.known, default=None)


def _beside(sheet: Sheet, held: Sequence[Course | None], courses: Courses, of: str, width: int) -> Sheet:
    """The table and, as its last column, the sparkline of each row's course."""
    columns = zip(sheet.headers, *sheet.rows, strict=True)
    room = width - sum(max(map(_wide, column)) + GAP for column in columns)
    windows = len(courses.starts_ms)
    each = max(1, -(-windows // min(MOST_MARKS, max(LEAST_MARKS, room))))
    header = f"{of}by the {courses.window.name}" if each == 1 else f"{of}greatest of {each} {courses.window.name}s"
    lines = ["" if one is None else sparkline(one.values, each) for one in held]
    rows = [(*row, line) for row, line in zip(sheet.rows, lines, strict=True)]
    return Sheet((*sheet.headers, header), rows, sheet.right, whole=(header,))


def _wide(cell: object) -> int:
    """Columns of the terminal that it takes."""
    from rich.cells import cell_len

    return cell_len(text(cell))
