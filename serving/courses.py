"""How the rows of an answer went: their values window by window.

    in time, over several windows      the answer is its rows' courses
    ranked over several windows        the same windows, asked for the rows that there are
    one window, or now                 the last 60 minutes, 24 hours or 30 days that are over, of the shortest window that the view has

Courses behind an answer are asked for as anything is: row by row where a row is a cell of its grouping, which is read by its key; in one
question where it is a sum of cells, for then all of them have to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from serving.answers import Answer
from serving.cells import Key, Shown
from serving.questions import Question
from topologies.errors import UsageError
from topologies.view import DAY, HOUR, MINUTE, View, Window
from topologies.views import view_named

BACK: Final = {MINUTE.name: 60, HOUR.name: 24, DAY.name: 30}
"""So many windows are asked for behind an answer that has one window or none."""
MOST_ROWS: Final = 50
"""The courses of so many of an answer's rows are asked for."""


@dataclass(frozen=True)
class Course:
    """One measure of one row, in each window: None where nothing was counted, or what was is no number."""

    key: Key
    measure: str
    values: tuple[int | float | None, ...]

    @property
    def known(self) -> list[int | float]:
        """Its numbers, in their order."""
        return [value for value in self.values if value is not None]


@dataclass(frozen=True)
class Courses:
    """Those of an answer. starts_ms: of their windows, epoch milliseconds."""

    window: Window
    starts_ms: range
    of: tuple[Course, ...]


def over_time(answer: Answer) -> Courses | None:
    """An answer in time as the courses of its keys, each measure by itself, keys with the greatest sums first; None when it has one window
    only, or is not in time."""
    spanned = _spanned(view_named(answer.view), answer) if answer.timed else None
    if spanned is None:
        return None
    window, starts_ms = spanned
    found = _by_key(answer, starts_ms)
    greatest = sorted(found, key=lambda key: (-sum(shown[0] or 0 for shown in found[key] if shown is not None), key))
    of = (_course(key, measure, at, found[key]) for key in greatest for at, measure in enumerate(answer.measures))
    return Courses(window, starts_ms, tuple(of))


def behind(asked: Callable[[Question], Answer], question: Question, answer: Answer) -> Courses:
    """The courses of an answer's first rows, in its rows' order, of the measure that ranks the view, else of its first one. asked: answers.

    Raises UsageError for a view that is kept in no window but now, and what `asked` raises.
    """
    view = view_named(answer.view)
    window, starts_ms = _spanned(view, answer) or _before(view, answer.standing.as_of_ms)
    found: dict[Key, list[Shown | None]] = {}
    measure = view.leaderboard if view.leaderboard in answer.measures else None
    at = 0
    for one in _questions(view, question, answer, window, starts_ms):
        told = asked(one)
        measure = measure or next((name for name in told.measures if name in answer.measures), told.measures[0])
        at = told.measures.index(measure)
        found.update(_by_key(told, starts_ms))
    nothing: list[Shown | None] = [None] * len(starts_ms)
    first = [row.key for row in answer.rows[:MOST_ROWS]]
    return Courses(window, starts_ms, tuple(_course(key, measure or "", at, found.get(key, nothing)) for key in first))


def _questions(view: View, question: Question, answer: Answer, window: Window, starts_ms: range) -> Iterator[Question]:
    """What to ask for the windows of an answer's first rows."""
    if not starts_ms:
        return
    spanned = replace(question, top=None, window=window.name, from_ms=starts_ms[0], to_ms=starts_ms[-1] + window.length_ms)
    if any(set(names) == set(answer.dimensions) for names in view.groupings):
        for row in answer.rows[:MOST_ROWS]:
            yield replace(spanned, by=dict(zip(answer.dimensions, row.key, strict=True)))
    elif answer.rows:
        yield replace(spanned, by={name: question.by.get(name) for name in answer.dimensions})


def _spanned(view: View, answer: Answer) -> tuple[Window, range] | None:
    """The window that an answer is in and the starts of those it spans, up to the one that every source is in; None when that is one."""
    window = next((window for window in (*view.windows, HOUR, DAY) if window.name == answer.window and window.length_ms), None)
    if window is None or answer.span_ms is None or answer.span_ms[1] - answer.span_ms[0] <= window.length_ms:
        return None
    start_ms, end_ms = answer.span_ms
    return window, range(start_ms, max(start_ms, min(end_ms, answer.standing.as_of_ms + 1)), window.length_ms)


def _before(view: View, as_of_ms: int) -> tuple[Window, range]:
    """The view's shortest window, and the starts of the last of them that are over."""
    window = min((window for window in view.windows if window.length_ms), key=lambda window: window.length_ms, default=None)
    if window is None:
        raise UsageError(f"{view.name} is kept in no window but now: there is nothing behind its answers")
    end_ms = window.start_of(max(0, as_of_ms))
    return window, range(max(0, end_ms - BACK[window.name] * window.length_ms), end_ms, window.length_ms)


def _by_key(answer: Answer, starts_ms: range) -> dict[Key, list[Shown | None]]:
    """What an answer in time has of each key in each of these windows."""
    found: dict[Key, list[Shown | None]] = {}
    for row in answer.rows:
        if row.start_ms in starts_ms:
            found.setdefault(row.key, [None] * len(starts_ms))[starts_ms.index(row.start_ms)] = row.values
    return found


def _course(key: Key, measure: str, at: int, values: list[Shown | None]) -> Course:
    return Course(key, measure, tuple(None if shown is None else shown[at] for shown in values))
