"""Pages of an answer. Without `top` its rows come in time, then by key: a place in that order stays where it is while cells change.

A cursor is the place behind which the next page begins.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import json
from dataclasses import dataclass, replace

from serving.answers import Answer
from serving.cells import Key, Row
from serving.questions import Question
from topologies.errors import UsageError


@dataclass(frozen=True)
class Page:
    """An answer with the rows of one page, and the cursor of the next one, None behind the last."""

    answer: Answer
    following: str | None


def is_ranked(question: Question, answer: Answer) -> bool:
    """Whether its rows have an order of their own, and are not to be put in that of time and key: a trend's always have."""
    return question.top is not None or "score" in answer.measures


def page(answer: Answer, limit: int, cursor: str | None, *, ranked: bool) -> Page:
    """The page of at most `limit` rows that begins behind `cursor`. ranked: the rows have their order already, and are one page.

    Raises UsageError for a cursor that is none of this question's.
    """
    if ranked and cursor is not None:
        raise UsageError("these rows are ranked, and one page: they take no cursor; ask for as many as you want by top")
    if ranked:
        return Page(replace(answer, rows=answer.rows[:limit]), None)
    rows = sorted(answer.rows, key=_place)
    first = bisect.bisect_right(rows, _decoded(cursor, answer), key=_place) if cursor else 0
    some = rows[first : first + limit]
    more = first + limit < len(rows)
    return Page(replace(answer, rows=tuple(some)), _encoded(some[-1]) if more else None)


def _place(row: Row) -> tuple[int, Key]:
    return row.start_ms, row.key


def _encoded(row: Row) -> str:
    return base64.urlsafe_b64encode(json.dumps([row.start_ms, *row.key], separators=(",", ":")).encode()).decode().rstrip("=")


def _decoded(cursor: str, answer: Answer) -> tuple[int, Key]:
    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):  # no base64; no JSON; brackets without end
        place = None
    if (
        isinstance(place, list)
        and len(place) == 1 + len(answer.dimensions)
        and type(place[0]) is int
        and all(isinstance(part, str) for part in place[1:])
    ):
        return place[0], tuple(place[1:])
    raise UsageError("this cursor is none of this question; take it, with the rest of the query, from `next` of an answer before it")
