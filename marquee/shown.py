"""What `marquee query` shows: a question is opened, and may then be looked at as often as one likes. Each look is an answer as JSON has it,
as a table, and its standing in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo

from marquee.output import Sheet, instant
from marquee.sparklines import behind_sheet, series_sheet, told
from serving.answers import Answer, ask, ask_accounting
from serving.api.paging import is_ranked, page
from serving.courses import behind, over_time
from serving.instants import iso
from serving.questions import Question
from serving.shelves import Shelf, Shelves, whose
from serving.stores import Stores
from topologies import accounting, continue_watching
from topologies.settings import Settings


@dataclass(frozen=True)
class Wanted:
    """A question, and how its answer is to be told: in which zone, at most how many rows, with sparklines; as the API tells it."""

    question: Question
    zone: tzinfo = UTC
    limit: int | None = None
    spark: bool = False
    as_json: bool = False


@dataclass(frozen=True)
class Shown:
    """An answer. sheet: for so many columns of a terminal; line: told so many seconds after it was asked."""

    document: Callable[[], object]
    sheet: Callable[[int], Sheet]
    line: Callable[[float], str]


Look = Callable[[], Shown]
"""Asks now. Raises ServerAway when a store that is needed does not answer, StoreError when it has no tables, UsageError for what cannot be
asked."""


@contextmanager
def opened(settings: Settings, wanted: Wanted) -> Iterator[Look]:
    """What looks. Raises UsageError for a shelf that is nobody's."""
    question = wanted.question
    if question.view == continue_watching.NAME:
        account, profile = whose(question.by)  # what cannot be asked is said before a store is
        with Shelves(settings) as shelves:
            yield lambda: of_shelf(shelves.shelf(account, profile))
        return
    with Stores(settings) as stores:
        if question.view == accounting.NAME:
            yield lambda: of_answer(_paged(wanted, ask_accounting(stores)), wanted.zone)
        elif wanted.spark:
            yield lambda: _with_sparks(stores, wanted, ask(stores, question))
        else:
            yield lambda: of_answer(_paged(wanted, ask(stores, question)), wanted.zone)


def _paged(wanted: Wanted, answer: Answer) -> Answer:
    """The rows that are wanted. Where it has to be the API's answer, or its first page, they have the API's order."""
    limit, rows = wanted.limit, len(answer.rows)
    if limit is None and not wanted.as_json:
        return answer
    some = page(answer, limit or max(1, rows), None, ranked=is_ranked(wanted.question, answer)).answer
    return replace(some, notes=(*some.notes, *_cut(limit, rows)))


def _cut(limit: int | None, rows: int) -> tuple[str, ...]:
    return (f"the first {limit:,} of {rows:,} rows",) if limit is not None and rows > limit else ()


def of_answer(answer: Answer, zone: tzinfo = UTC) -> Shown:
    """A view's answer."""

    def sheet(_width: int) -> Sheet:
        rows = [(*([iso(row.start_ms, zone)] if answer.timed else []), *row.key, *row.values) for row in answer.rows]
        return Sheet((*([answer.window] if answer.timed else []), *answer.dimensions, *answer.measures), rows, right=answer.measures)

    return Shown(lambda: answer.document(zone), sheet, lambda later_s: answer.line(zone, later_s))


def _with_sparks(stores: Stores, wanted: Wanted, answer: Answer) -> Shown:
    courses = over_time(answer)
    if courses is not None:
        noted = replace(answer, notes=(*answer.notes, *_cut(wanted.limit, len(courses.of)), told(courses, 0, wanted.zone)))
        series = courses
        return replace(of_answer(noted, wanted.zone), sheet=lambda width: series_sheet(series, answer.dimensions, width, wanted.limit))
    some = _paged(wanted, answer)
    past = behind(lambda question: ask(stores, question), wanted.question, some)
    plain = of_answer(replace(some, notes=(*some.notes, told(past, len(some.rows), wanted.zone))), wanted.zone)
    return replace(plain, sheet=lambda width: behind_sheet(plain.sheet(width), past, width))


def of_shelf(shelf: Shelf) -> Shown:
    """A profile's shelf."""

    def sheet(_width: int) -> Sheet:
        rows = [(title, _known(mark.position_s), _known(mark.runtime_s), instant(mark.ts)) for title, mark in shelf.rows]
        return Sheet(continue_watching.COLUMNS, rows, right=("position_s", "runtime_s"))

    def line(later_s: float) -> str:
        return shelf.line() + (f"; asked {later_s:.0f} s ago" if later_s >= 1 else "")

    return Shown(shelf.document, sheet, line)


def _known(seconds: int) -> int | None:
    return seconds if seconds >= 0 else None
