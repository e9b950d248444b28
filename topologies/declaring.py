"""What a declaration must hold. Each mistake gets a sentence that names what to change."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from topologies.bins import BINNED
from topologies.errors import DeclarationError
from topologies.events import TYPES
from topologies.measures import (
    COUNTABLE,
    DAY,
    DIMENSIONS,
    HOUR,
    IDENTITIES,
    LIVE,
    MAX_DIMENSIONS,
    MINUTE,
    SESSION_DIMENSIONS,
    SESSION_FACTS,
    SUMMABLE,
    Distinct,
    Extreme,
    Histogram,
    Measure,
    Rate,
    Trend,
)

if TYPE_CHECKING:
    from topologies.view import View

_NAME_LENGTH: Final = 21
_NAME: Final = f"at most {_NAME_LENGTH} lower-case letters, digits and single underscores between them, a letter first"
_WINDOWS: Final = {(window.name, window.length_ms, window.pack_ms) for window in (LIVE, MINUTE, HOUR, DAY)}
_TABLE_LENGTH: Final = 48
"""Characters that Cassandra lets a table's name have."""
_OF: Final = {"event": "an event", "session": "a session"}


def check(view: View) -> None:
    """Raise DeclarationError, saying what to change, for a view that cannot be."""
    _check_form(view)
    _check_names(view)
    _check_groupings(view)
    _check_measures(view)
    _check_others(view)


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
    _check_columns(view)
    apart: tuple[Histogram | Extreme | Distinct, ...] = (*view.histograms, *view.extremes, *view.distincts)
    for part in apart:
        if len(table := f"cells_{view.name}__{part.name}_{view.logic_version}") > _TABLE_LENGTH:
            raise DeclarationError(
                f"view {view.name}: {part.name} would stand in table {table}; make its name {len(table) - _TABLE_LENGTH} shorter"
            )


def _check_columns(view: View) -> None:
    """No two columns of an answer have one name: it is one row of JSON."""
    plain: tuple[tuple[Measure | Distinct | Extreme | Rate, ...], ...] = (view.measures, view.distincts, view.extremes, view.rates)
    columns = ["start", "start_ms", *(each.name for kind in plain for each in kind)]
    columns += [column for histogram in view.histograms for column in histogram.columns]
    columns += ["expected", "score"] if view.trend is not None else []
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise DeclarationError(f"view {view.name}: answers would have two columns {twice[0]}; rename what makes one of them")


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
        if measure.times is not None and any(window.cached for window in view.windows):
            raise DeclarationError(
                f"view {view.name}: {measure.name} is a product, and Redis adds up to 2^53 only; declare MINUTE, STORED_HOUR or STORED_DAY"
            )
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
