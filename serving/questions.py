"""A question about a view, and the plan that answers it: which grouping, which stored window, which span. Pure.

concurrents  by region=eu            the grouping (region) holds exactly that
watch_time   by title=T              only (title, region) is kept: its measures are sums, so they are added over region
watch_time   by region=eu  top 10    the best ten of what is left free: titles in eu
audience     by title=T              sketches are united over region: a viewer counts once
concurrents  window hour             kept by the minute: an hour's value is the greatest of its minutes' sums
trending     by region=eu  window 5m a span of the view's trend: the best ten of the grouping (region, title)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from topologies.errors import UsageError
from topologies.packs import BUCKETS, bucket_of
from topologies.view import DAY, HOUR, LIVE, MINUTE, View, Window
from topologies.views import view_named

MOST_MS: Final = 32_503_680_000_000
MOST_WINDOWS: Final = 3_000
"""A question may span so many stored windows: two days of minutes, four months of hours."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", re.ASCII)
_DATE: Final = re.compile(r"(19[7-9]|2[0-9]{2})[0-9](0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")
TREND_TOP: Final = 10
"""So many of a trend are shown when the question does not say."""


@dataclass(frozen=True)
class Question:
    """What is asked. by: dimension → its value, or None for every value of it. Instants in epoch milliseconds, `to` exclusive."""

    view: str
    by: Mapping[str, str | None] = field(default_factory=dict)
    top: int | None = None
    window: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None


@dataclass(frozen=True)
class Plan:
    """How it is answered. `kept`: positions of the grouping's dimensions that the answer shows; `fixed`: position → value asked for.

    `stored` is the window read; `shown` the one answered in: longer than `stored` when it is a peak of it. `span_s`: of a trend, how long
    a span is asked for; 0 when the cells themselves are.
    """

    view: View
    grouping: int
    kept: tuple[int, ...]
    fixed: Mapping[int, str]
    stored: Window
    shown: Window
    top: int | None
    notes: tuple[str, ...]
    span_s: int = 0

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the dimensions in the answer."""
        return tuple(self.view.groupings[self.grouping][position] for position in self.kept)

    @property
    def first(self) -> str | None:
        """The first dimension value of all cells that are asked for, "" of those that have no dimension; None if they may have any."""
        return self.fixed.get(0) if self.view.groupings[self.grouping] else ""

    @property
    def buckets(self) -> list[int]:
        """Those of a span that may hold what is asked for."""
        return list(range(BUCKETS)) if self.first is None else [bucket_of((self.first,))]


def additive(view: View) -> bool:
    """Whether cells of different windows and dimensions may be merged: those of every part, a live view's viewers excepted."""
    return view.is_part or all(measure.sum_of or measure.count_of for measure in view.measures)


def span_name(span_s: int) -> str:
    """How a trend's span is asked for: 5m, 1h."""
    return f"{span_s // 3600}h" if span_s % 3600 == 0 else f"{span_s // 60}m"


def plan(question: Question, declared: View | None = None) -> Plan:
    """The plan. Raises UsageError, saying what there is instead, for what the view does not keep. declared: the view as the edition that
    answers declares it; as this version does when None."""
    view = declared or view_named(question.view)
    if question.top is not None and question.top < 1:
        raise UsageError(f"top {question.top}: ask for one or more")
    span_s = _span_s(view, question)
    if span_s:
        return _trend(view, question, span_s)
    grouping, kept, notes = _grouping(view, question.by, question.top is not None)
    names = view.groupings[grouping]
    fixed = {names.index(name): value for name, value in question.by.items() if value is not None}
    stored, shown = _windows(view, question)
    if shown is not stored:
        notes = (*notes, f"kept by the {stored.name}: each {shown.name} shows the greatest of its {stored.name}s' sums")
    return Plan(view, grouping, kept, fixed, stored, shown, question.top, notes)


def _trend(view: View, question: Question, span_s: int) -> Plan:
    """Ranked is what `by` leaves free, unless a grouping is by just that."""
    exact = any(set(names) == set(question.by) for names in view.groupings)
    grouping, kept, notes = _grouping(view, question.by, question.top is not None or not exact)
    names = view.groupings[grouping]
    fixed = {names.index(name): value for name, value in question.by.items() if value is not None}
    minute = view.window(MINUTE.name)
    return Plan(view, grouping, kept, fixed, minute, minute, question.top or TREND_TOP, notes, span_s)


def _span_s(view: View, question: Question) -> int:
    """Seconds of the trend's span that is asked for; 0 when the view's windows are, or it has no trend."""
    if view.trend is None:
        return 0
    spanned = question.from_ms is not None or question.to_ms is not None
    if question.window is None:
        return 0 if spanned else view.trend.spans_s[0]
    span_s = next((span_s for span_s in view.trend.spans_s if span_name(span_s) == question.window), 0)
    if span_s and spanned:
        windows = " or ".join(window.name for window in view.windows)
        raise UsageError(f"a trend is as of now and takes no from and to; for what was counted then ask for window {windows}")
    return span_s


def _grouping(view: View, by: Mapping[str, str | None], ranked: bool) -> tuple[int, tuple[int, ...], tuple[str, ...]]:
    """Index of the grouping to read, the positions of its dimensions to show, what to say about it."""
    known = dict.fromkeys(name for grouping in view.groupings for name in grouping)
    for name in by:
        if name not in known:
            raise UsageError(f"{view.name} is not kept by {name!r}; it is kept by {_kept_by(view)}")
    whole = [(index, tuple(range(len(names)))) for index, names in enumerate(view.groupings)]
    exact = [found for found in whole if set(view.groupings[found[0]]) == set(by)]
    wider = sorted((found for found in whole if set(view.groupings[found[0]]) > set(by)), key=lambda found: len(found[1]))
    if ranked and wider and None not in by.values():  # everything named is fixed: what is left free is ranked
        return *wider[0], ()
    if exact:
        return *exact[0], ()
    if wider and not by:
        return *wider[0], ()
    if wider and additive(view):
        index = wider[0][0]
        names = view.groupings[index]
        over = ", ".join(name for name in names if name not in by)
        return index, tuple(names.index(name) for name in names if name in by), (f"{'summed' if view.measures else 'united'} over {over}",)
    raise UsageError(f"{view.name} is not kept by {' and '.join(by)} together; it is kept by {_kept_by(view)}")


def _kept_by(view: View) -> str:
    return ", or by ".join(" and ".join(names) or "nothing (the total)" for names in view.groupings)


def _windows(view: View, question: Question) -> tuple[Window, Window]:
    """The window to read and the window to show."""
    spanned = question.from_ms is not None or question.to_ms is not None
    if question.to_ms is not None and question.to_ms <= (question.from_ms or 0):
        raise UsageError("the span is empty: to must be after from")
    stored = {window.name: window for window in view.windows}
    shown = dict(stored)
    if not additive(view) and MINUTE.name in stored:
        shown = {HOUR.name: HOUR, DAY.name: DAY, **stored}
    name = question.window
    if name is None:
        name = next((window.name for window in view.windows if window.length_ms or not spanned), view.windows[0].name)
    if name not in shown:
        spans = [span_name(span_s) for span_s in view.trend.spans_s] if view.trend is not None else []
        there = [*spans, *stored, *(name for name in shown if name not in stored)]
        raise UsageError(f"{view.name} has no window {name!r}; it has {', '.join(there)}")
    if name == LIVE.name and spanned:
        raise UsageError("the live window is now and takes no from and to; ask for another window")
    return stored.get(name, MINUTE), shown[name]


def starts(plan: Plan, question: Question, newest_ms: int) -> list[int]:
    """Starts of the stored windows to read, ascending. Without a span: the shown window that holds `newest_ms`
    (the last hour when minutes are shown). Raises UsageError when the span holds too many."""
    length = plan.stored.length_ms
    if not length:
        return [0]
    if question.from_ms is None and question.to_ms is None:
        last = max(0, newest_ms)
        first = max(0, last - 59 * length) if plan.shown.name == MINUTE.name else last
    else:
        last = question.to_ms - 1 if question.to_ms is not None else max(newest_ms, question.from_ms or 0)
        first = question.from_ms if question.from_ms is not None else max(0, last)
    first, end = plan.shown.start_of(first), plan.shown.start_of(last) + plan.shown.length_ms
    count = (end - first) // length
    if count > MOST_WINDOWS:
        raise UsageError(f"the span holds {count:,} windows of a {plan.stored.name}; ask for {MOST_WINDOWS:,} at the most")
    return list(range(first, end, length))


def parse_instant(text: str, zone: tzinfo = UTC) -> int:
    """Epoch milliseconds of an instant written in ISO 8601 (in `zone` unless it says otherwise) or as epoch seconds or milliseconds.

    Eight digits that are a date are one, 20260131: as seconds they would be of the seventies. Of an hour that a zone has twice the first is
    meant, and one that it leaves out is reckoned as if it did not.
    """
    if re.fullmatch(r"[0-9]{1,15}", text) and not _DATE.fullmatch(text):
        value = int(text)
        return _within_time(value if value >= 10**11 else value * 1000, text)
    try:
        parsed = datetime.fromisoformat(text)
        since = (parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)) - _EPOCH
        return _within_time(since // timedelta(milliseconds=1), text)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no instant; write 2026-01-31T20:15, 2026-01-31T20:15:00Z or seconds since 1970") from None


def _within_time(instant_ms: int, text: str) -> int:
    if not 0 <= instant_ms < MOST_MS:
        raise UsageError(f"{text!r} is not between the years 1970 and 2999")
    return instant_ms


def parse_zone(name: str) -> tzinfo:
    """The time zone of that name. Raises UsageError when there is none."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    try:
        if _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # what is not there; what is no zone's file; what is a folder of names
        pass
    raise UsageError(f"{name!r} is no time zone; write a name of the IANA database, Europe/Berlin or UTC")
