"""The View declaration: what a view is by, in which windows, and what it measures.

From a declaration follow the fold's cell tables, the Cassandra tables, the Redis keys, the query, the audit and the documentation.
A view is folded and stored in parts, which are views themselves (`View.parts`): its integers, each histogram with the bin as one more
dimension, each kept extreme, each distinct count.

    WATCH_TIME = View(
        name="watch_time", summary="…",
        groupings=(("title", "region"),),
        windows=(HOUR, DAY),
        measures=(Measure("watched_ms", "sum of watched_ms", sum_of="watched_ms"),
                  Measure("plays", "first frames", count_of="play_start")),
    )

docs/own-view.md has a worked example.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal

from topologies.bins import BINNED
from topologies.errors import DeclarationError
from topologies.events import TYPES

DIMENSIONS: Final = ("title", "region", "country", "device", "os", "app", "cdn", "asn", "kind")
SUMMABLE: Final = ("watched_ms", "stall_ms", "stalls", "startup_ms", "bitrate_kbps", "dropped_frames")
ANY: Final = "any"
START_FAILURE: Final = "start_failure"
PLAYBACK_FAILURE: Final = "playback_failure"
COUNTABLE: Final = (*TYPES, ANY, START_FAILURE, PLAYBACK_FAILURE)
"""What of an event can be counted: its type, that it is one, or what it makes of its session (topologies.admission.OUTCOMES)."""
SESSION_FACTS: Final = ("sessions", "ended", "closed", "complete", "exits_before_start", "length_s")
"""What a session that has ended, or was closed by silence, adds to a view of sessions (topologies.spells)."""
SESSION_DIMENSIONS: Final = ("title", "device")
"""A session stands under those of its event of the greatest sequence number."""
IDENTITIES: Final = (("account", "profile"), ("account",), ("account", "session"))
"""What a distinct count may be of."""
MAX_DIMENSIONS: Final = 4
"""So many dimensions, and a bin, fit a cell's key."""
KEY_SEPARATOR: Final = "\x1f"
_NAME_LENGTH: Final = 21
_NAME: Final = f"at most {_NAME_LENGTH} lower-case letters, digits and single underscores between them, a letter first"
BIN_MARK: Final = "~"
"""Behind a field's name: the dimension of its bins."""


@dataclass(frozen=True)
class Window:
    """How a view cuts time.

    `length_ms` is 0 for the live window (now). `pack_ms` is the span that shares a stored pack.
    `cached` windows are kept in Redis as well as in Cassandra; `retention_s` counts from the window's end (0: for ever).
    """

    name: str
    length_ms: int
    pack_ms: int
    cached: bool
    retention_s: int

    def start_of(self, ts_ms: int) -> int:
        """Start of the window that holds `ts_ms` (epoch milliseconds, UTC)."""
        return ts_ms - ts_ms % self.length_ms if self.length_ms else 0

    def pack_of(self, start_ms: int) -> int:
        """Start of the pack that holds the window starting at `start_ms`."""
        return start_ms - start_ms % self.pack_ms if self.pack_ms else 0


LIVE: Final = Window("live", 0, 0, cached=True, retention_s=0)
MINUTE: Final = Window("minute", 60_000, 900_000, cached=False, retention_s=0)
RECENT_MINUTE: Final = Window("minute", 60_000, 900_000, cached=True, retention_s=2 * 3600)
"""A minute that is asked for while it is recent."""
HOUR: Final = Window("hour", 3_600_000, 3_600_000, cached=True, retention_s=26 * 3600)
DAY: Final = Window("day", 86_400_000, 86_400_000, cached=True, retention_s=8 * 86_400)
STORED_HOUR: Final = replace(HOUR, cached=False)
STORED_DAY: Final = replace(DAY, cached=False)
"""Windows that are read from Cassandra alone."""
_WINDOWS: Final = {(window.name, window.length_ms, window.pack_ms) for window in (LIVE, MINUTE, HOUR, DAY)}
_TABLE_LENGTH: Final = 48
"""Characters that Cassandra lets a table's name have."""


@dataclass(frozen=True)
class Measure:
    """One integer of a cell, which adds up over events, sources and windows.

    Exactly one of: the sum of a field over applied events (times another field, if `times` names one); the number of those that
    `count_of` names (COUNTABLE); or neither, a value that the view's own fold keeps. With a half-life, each event counts
    2^16 · 2^(minutes from the window's start ÷ half-life): forward decay (Cormode et al., ICDE 2009, §III), which stays additive; readers
    divide by how old it has become. Of a view of sessions `sum_of` names one of SESSION_FACTS.
    """

    name: str
    summary: str
    sum_of: str | None = None
    count_of: str | None = None
    unit: str = ""
    times: str | None = None
    half_life_s: int = 0


@dataclass(frozen=True)
class Histogram:
    """How often each value of a field came, in bins of at most 1/64 from their middle (topologies.bins), so quantiles are as near.

    on: only of events of this type. An event without the field is in no bin.
    """

    name: str
    summary: str
    of: str
    on: str | None = None
    unit: str = ""
    quantiles: tuple[float, ...] = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Distinct:
    """How many different values there are of these texts together, estimated by HyperLogLog with p = 14 (topologies.sketches)."""

    name: str
    summary: str
    of: tuple[str, ...] = ("account", "profile")


@dataclass(frozen=True)
class Extreme:
    """The least, the greatest or the last (by ts, then seq) value of a field; events without it do not count."""

    name: str
    summary: str
    keep: Literal["min", "max", "last"]
    of: str
    unit: str = ""


@dataclass(frozen=True)
class Rate:
    """`scale` × the sum of the measures `of` ÷ the sum of the measures `over`, reckoned where it is read; null when that is 0."""

    name: str
    summary: str
    of: tuple[str, ...]
    over: tuple[str, ...]
    scale: float = 1.0
    unit: str = ""


@dataclass(frozen=True)
class Trend:
    """Ranks what is counted by `count` against its own decayed past, `baseline` (a measure with a half-life), over each of `spans_s`:
    the count in the span ÷ max(floor, what the baseline leads to expect in so long a span)."""

    count: str
    baseline: str
    spans_s: tuple[int, ...] = (300, 3600)
    floor: float = 10.0


@dataclass(frozen=True)
class View:
    """One view. Raises DeclarationError, naming what to change, when it is declared wrongly."""

    name: str
    summary: str
    groupings: tuple[tuple[str, ...], ...]
    windows: tuple[Window, ...]
    measures: tuple[Measure, ...] = ()
    leaderboard: str | None = None
    """The measure whose totals are ranked, for top-K."""
    logic_version: int = 1
    histograms: tuple[Histogram, ...] = ()
    distincts: tuple[Distinct, ...] = ()
    extremes: tuple[Extreme, ...] = ()
    rates: tuple[Rate, ...] = ()
    trend: Trend | None = None
    of: Literal["event", "session"] = "event"
    """What is folded: applied events, or sessions when they end or close."""
    histogram: Histogram | None = None
    """Of a part: the histogram that it is."""
    distinct: Distinct | None = None
    """Of a part: the distinct count that it is."""
    extreme: Extreme | None = None
    """Of a part: the extreme that it is."""

    def __post_init__(self) -> None:
        if not self.is_part:
            check(self)

    @property
    def is_part(self) -> bool:
        """Whether it is a part of another view, beside that one's integers."""
        return self.histogram is not None or self.distinct is not None or self.extreme is not None

    @property
    def family(self) -> str:
        """Name of the view that it is, or is a part of."""
        return self.name.partition(".")[0]

    @cached_property
    def parts(self) -> tuple[View, ...]:
        """The views that it is folded and stored as. Its own integers come first, under its own name; of the others the name is
        `view.measure`."""
        if self.is_part:
            return (self,)
        bare = replace(self, **_NOTHING) if self.measures else self
        parts = [bare] if self.measures else []
        for histogram in self.histograms:
            by = tuple((*grouping, histogram.of + BIN_MARK) for grouping in self.groupings)
            counted = Measure(histogram.name, histogram.summary, count_of=histogram.on or ANY)
            if self.of == "session":
                counted = Measure(histogram.name, histogram.summary, sum_of="sessions")
            parts.append(self._part(bare, histogram.name, groupings=by, measures=(counted,), histogram=histogram))
        for extreme in self.extremes:
            kept: tuple[Measure, ...] = (Measure(extreme.name, extreme.summary, sum_of=extreme.of, unit=extreme.unit),)
            if extreme.keep == "last":
                kept = (Measure("ts", "its time"), Measure("seq", "its place in the session"), *kept)
            parts.append(self._part(bare, extreme.name, measures=kept, extreme=extreme))
        parts += [self._part(bare, distinct.name, measures=(), distinct=distinct) for distinct in self.distincts]
        return tuple(parts)

    def _part(self, bare: View, name: str, **fields: object) -> View:
        windows = tuple(replace(window, cached=False) for window in self.windows)
        return replace(bare, name=f"{self.name}.{name}", windows=windows, leaderboard=None, **{**_NOTHING, **fields})

    def part(self, name: str) -> View:
        """The part of that measure's name."""
        return next(part for part in self.parts if part.name == f"{self.name}.{name}")

    @property
    def table(self) -> str:
        """Name of its table of packs, one of its parts'."""
        return f"cells_{self.name.replace('.', '__')}_{self.logic_version}"

    @property
    def ranked(self) -> int | None:
        """Which of its measures, from 0, the leaderboard ranks; None without one."""
        return None if self.leaderboard is None else [measure.name for measure in self.measures].index(self.leaderboard)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """All dimensions of its groupings, in their order there."""
        return tuple(dict.fromkeys(dimension for grouping in self.groupings for dimension in grouping))

    def window(self, name: str) -> Window:
        """The declared window of that name; DeclarationError if there is none."""
        for window in self.windows:
            if window.name == name:
                return window
        raise DeclarationError(f"view {self.name} has no window {name!r}; it has {', '.join(w.name for w in self.windows)}")


_NOTHING: Final[dict[str, Any]] = {"histograms": (), "distincts": (), "extremes": (), "rates": (), "trend": None}
"""What a part has none of."""


def parts_of(views: Iterable[View]) -> tuple[View, ...]:
    """What these views are folded and stored as."""
    return tuple(part for view in views for part in view.parts)


# -- what a declaration must hold ---------------------------------------------------------------------------------------


def check(view: View) -> None:
    """Raise DeclarationError, saying what to change, for a view that cannot be."""
    _check_form(view)
    _check_names(view)
    _check_groupings(view)
    _check_measures(view)
    _check_others(view)


_OF: Final = {"event": "an event", "session": "a session"}


def _check_form(view: View) -> None:
    """What a type checker would have said."""
    for name in ("groupings", "windows", "measures", "histograms", "distincts", "extremes", "rates"):
        if not isinstance(getattr(view, name), tuple):
            raise DeclarationError(f"view {view.name}: {name} is no tuple; put a comma behind the only one, as in (HOUR,)")
    if not all(isinstance(grouping, tuple) for grouping in view.groupings):
        raise DeclarationError(f"view {view.name}: a grouping is no tuple; write them as in (('title',), ('title', 'region'))")
    if view.of not in _OF:
        raise DeclarationError(f"view {view.name}: there are no views of {view.of!r}; choose from {', '.join(_OF)}")


def _check_names(view: View) -> None:
    if not _is_name(view.name):
        raise DeclarationError(f"view name {view.name!r}: use {_NAME}")
    if not view.windows or len({window.name for window in view.windows}) != len(view.windows):
        raise DeclarationError(f"view {view.name}: declare at least one window, each once")
    for window in view.windows:
        if (window.name, window.length_ms, window.pack_ms) not in _WINDOWS:
            raise DeclarationError(
                f"view {view.name}: there is no window {window.name} of {window.length_ms} ms; choose from LIVE, MINUTE, HOUR, DAY"
            )
    declared: tuple[tuple[Measure | Histogram | Distinct | Extreme | Rate, ...], ...] = (
        view.measures, view.histograms, view.distincts, view.extremes, view.rates
    )  # fmt: skip
    names = [each.name for kind in declared for each in kind]
    if not names or len(set(names)) != len(names):
        raise DeclarationError(f"view {view.name}: declare at least one measure, each with a name of its own")
    for name in names:
        if not _is_name(name) or name in DIMENSIONS:
            raise DeclarationError(f"view {view.name}: measure name {name!r}: use {_NAME}, and no dimension's name")
    apart: tuple[Histogram | Extreme | Distinct, ...] = (*view.histograms, *view.extremes, *view.distincts)
    for part in apart:
        if len(table := f"cells_{view.name}__{part.name}_{view.logic_version}") > _TABLE_LENGTH:
            raise DeclarationError(
                f"view {view.name}: {part.name} would stand in table {table}; make its name {len(table) - _TABLE_LENGTH} shorter"
            )


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[a-z](_?[a-z0-9])*", name) is not None and len(name) <= _NAME_LENGTH


def _check_groupings(view: View) -> None:
    if not view.groupings or len({tuple(sorted(grouping)) for grouping in view.groupings}) != len(view.groupings):
        raise DeclarationError(f"view {view.name}: declare at least one grouping, each once; () is the grand total")
    known = DIMENSIONS if view.of == "event" else SESSION_DIMENSIONS
    for grouping in view.groupings:
        if len(set(grouping)) != len(grouping) or len(grouping) > MAX_DIMENSIONS:
            raise DeclarationError(f"view {view.name}: a grouping is by at most {MAX_DIMENSIONS} dimensions, each once; {grouping} is not")
        for dimension in grouping:
            if dimension not in known:
                raise DeclarationError(f"view {view.name}: {dimension!r} is no dimension of {_OF[view.of]}; choose from {', '.join(known)}")


def _check_measures(view: View) -> None:
    summable = SUMMABLE if view.of == "event" else SESSION_FACTS
    for measure in view.measures:
        if measure.sum_of is not None and measure.count_of is not None:
            raise DeclarationError(f"view {view.name}: {measure.name} is a sum or a count, not both; make two measures of it")
        if measure.sum_of is None and measure.count_of is None and LIVE not in view.windows:
            raise DeclarationError(f"view {view.name}: {measure.name} is neither a sum nor a count; give it sum_of or count_of")
        if measure.count_of is not None and (measure.count_of not in COUNTABLE or view.of == "session"):
            there = ", ".join(COUNTABLE) if view.of == "event" else f"none of a session; sum one of {', '.join(SESSION_FACTS)}"
            raise DeclarationError(f"view {view.name}: {measure.count_of!r} cannot be counted; there are {there}")
        for field in (measure.sum_of, measure.times):
            if field is not None and field not in summable:
                raise DeclarationError(f"view {view.name}: {field!r} cannot be summed; choose from {', '.join(summable)}")
        if measure.times is not None and measure.sum_of is None:
            raise DeclarationError(f"view {view.name}: {measure.name} is {measure.times} times nothing; name a field with sum_of")
        if measure.half_life_s and not (measure.count_of and 2 * 3600 <= measure.half_life_s <= 30 * 86_400):
            raise DeclarationError(f"view {view.name}: {measure.name} may decay if it is a count, with a half-life of 2 hours to 30 days")
        if measure.half_life_s and any(window.length_ms > DAY.length_ms for window in view.windows):
            raise DeclarationError(f"view {view.name}: {measure.name} decays, so its windows may be a day long at most")
    if view.leaderboard is not None and view.leaderboard not in [measure.name for measure in view.measures]:
        names = ", ".join(measure.name for measure in view.measures)
        raise DeclarationError(f"view {view.name}: leaderboard {view.leaderboard!r} is none of its measures {names}")


def _check_others(view: View) -> None:
    for histogram in view.histograms:
        binned = [field for field in BINNED if (field in SESSION_FACTS) == (view.of == "session")]
        if histogram.of not in binned:
            raise DeclarationError(f"view {view.name}: {histogram.of!r} of {_OF[view.of]} has no bins; choose from {', '.join(binned)}")
        if histogram.on is not None and (histogram.on not in TYPES or view.of == "session"):
            raise DeclarationError(f"view {view.name}: {histogram.on!r} is no type of event; choose from {', '.join(TYPES)}")
        if not histogram.quantiles or not all(0 < quantile < 1 for quantile in histogram.quantiles):
            raise DeclarationError(f"view {view.name}: {histogram.name} has quantiles {histogram.quantiles}; give some between 0 and 1")
    for extreme in view.extremes:
        if extreme.keep not in ("min", "max", "last"):
            raise DeclarationError(f"view {view.name}: {extreme.name} keeps {extreme.keep!r}; choose from min, max, last")
        if extreme.of not in (*SUMMABLE, "position_s") or view.of == "session":
            there = f"choose from {', '.join(SUMMABLE)}, position_s" if view.of == "event" else "declare it in a view of events"
            raise DeclarationError(f"view {view.name}: {extreme.of!r} of {_OF[view.of]} is not kept; {there}")
    for distinct in view.distincts:
        if distinct.of not in IDENTITIES or view.of == "session":
            there = (
                "choose (account,), (account, profile) or (account, session)" if view.of == "event" else "declare it in a view of events"
            )
            raise DeclarationError(f"view {view.name}: different ({', '.join(distinct.of)}) of {_OF[view.of]} are not counted; {there}")
    if LIVE in view.windows and (view.histograms or view.extremes or view.distincts or any(m.sum_of or m.count_of for m in view.measures)):
        raise DeclarationError(f"view {view.name}: the live window holds viewers and nothing else; declare the rest in a view of its own")
    names = {measure.name for measure in view.measures}
    for rate in view.rates:
        if not rate.of or not rate.over or not {*rate.of, *rate.over} <= names:
            raise DeclarationError(f"view {view.name}: {rate.name} is of measures that it does not have; it has {', '.join(sorted(names))}")
    if view.trend is not None:
        _check_trend(view, view.trend)


def _check_trend(view: View, trend: Trend) -> None:
    measures = {measure.name: measure for measure in view.measures}
    count, baseline = measures.get(trend.count), measures.get(trend.baseline)
    if count is None or not count.count_of or count.half_life_s or baseline is None or not baseline.half_life_s:
        raise DeclarationError(
            f"view {view.name}: its trend is of a count without a half-life and of a baseline with one; declare both as measures"
        )
    if not {"minute", "day"} <= {window.name for window in view.windows}:
        raise DeclarationError(f"view {view.name}: a trend is read from minutes and days; declare both windows")
    if trend.floor <= 0 or not trend.spans_s or not all(60 <= span <= 3600 and span % 60 == 0 for span in trend.spans_s):
        raise DeclarationError(f"view {view.name}: a trend has a floor above 0, and spans of whole minutes up to an hour")
