"""What can be asked, as JSON has it: every view with what it is by, its windows, and the columns of its answers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from serving.questions import additive, span_name
from topologies import accounting, continue_watching
from topologies.measures import quantile_name
from topologies.view import DAY, HOUR, MINUTE, View
from topologies.views import VIEWS


def catalogue() -> list[dict[str, Any]]:
    """A document of each view that is declared, and of what is computed besides."""
    return [*(_document(view) for view in VIEWS.values()), _BOOKMARKS, _ACCOUNTING]


def spans_of(view: View) -> list[str]:
    """How the spans of its trend are asked for; none when it has no trend."""
    return [span_name(span_s) for span_s in view.trend.spans_s] if view.trend is not None else []


def windows_of(view: View) -> list[str]:
    """Every window and span that it can be asked in, the first one first."""
    peaks = [HOUR.name, DAY.name] if not additive(view) and any(window.name == MINUTE.name for window in view.windows) else []
    return list(dict.fromkeys([*spans_of(view), *(window.name for window in view.windows), *peaks]))


def shown_of(view: View) -> list[str]:
    """What answers show of it, in their order; of a histogram its quantiles together."""
    scored = ["expected", "score"] if view.trend is not None else []
    binned = [f"{one.name} ({', '.join(quantile_name(quantile) for quantile in one.quantiles)})" for one in view.histograms]
    visible = [measure.name for measure in view.measures if not measure.half_life_s]
    others = [one.name for kind in (view.extremes, view.distincts) for one in kind]
    return [*visible, *scored, *(rate.name for rate in view.rates), *binned, *others]


def _document(view: View) -> dict[str, Any]:
    return {
        "view": view.name,
        "summary": view.summary,
        "groupings": [list(grouping) for grouping in view.groupings],
        "windows": [window.name for window in view.windows],
        "measures": [{"name": m.name, "summary": m.summary, "unit": m.unit} for m in view.measures],
        "rates": [asdict(rate) for rate in view.rates],
        "histograms": [asdict(histogram) for histogram in view.histograms],
        "extremes": [asdict(extreme) for extreme in view.extremes],
        "distincts": [asdict(distinct) for distinct in view.distincts],
        "trend": asdict(view.trend) | {"spans": spans_of(view)} if view.trend is not None else None,
        "of": view.of,
        "leaderboard": view.leaderboard,
        "logic_version": view.logic_version,
        "address": f"/v1/views/{view.name}",
        "dimensions": list(view.dimensions),
        "asked_in": windows_of(view),
    }


# address: where it is asked, {…} what has to be said in it; dimensions: what may be named in the question; asked_in: its windows and spans
_BOOKMARKS: Final[dict[str, Any]] = {
    "view": continue_watching.NAME,
    "summary": continue_watching.SUMMARY,
    "groupings": [list(continue_watching.DIMENSIONS)],
    "windows": ["live"],
    "measures": [{"name": name, "summary": f"{name} of a bookmark", "unit": ""} for name in continue_watching.COLUMNS],
    "leaderboard": None,
    "logic_version": 1,
    "address": "/v1/profiles/{account}/{profile}/continue-watching",
    "dimensions": list(continue_watching.DIMENSIONS),
    "asked_in": [],
}
_ACCOUNTING: Final[dict[str, Any]] = {
    "view": accounting.NAME,
    "summary": accounting.SUMMARY,
    "groupings": [["source"]],
    "windows": ["live"],
    "measures": [{"name": name, "summary": f"{name} events", "unit": ""} for name in accounting.MEASURES],
    "leaderboard": None,
    "logic_version": 1,
    "address": f"/v1/views/{accounting.NAME}",
    "dimensions": [],
    "asked_in": [],
}
