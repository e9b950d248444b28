"""`marquee views`: what can be asked."""

from __future__ import annotations

from dataclasses import asdict

import click

from marquee.output import emit, json_option, table
from topologies import accounting, continue_watching
from topologies.measures import quantile_name
from topologies.view import View


@click.command()
@json_option
def views(as_json: bool) -> None:
    """List the views: what each is by, its windows and its measures, with rates, quantiles and trends.

    \b
    Examples:
      marquee views
      marquee views --json
    """
    from topologies.views import VIEWS  # which finds the installed ones too: --help is to work where one of those is wrong

    if as_json:
        emit({"views": [*(_document(view) for view in VIEWS.values()), _BOOKMARKS, _ACCOUNTING]})
        return
    rows = [_row(view) for view in VIEWS.values()]
    rows.append((continue_watching.NAME, " × ".join(continue_watching.DIMENSIONS), "live", _MARKED, continue_watching.SUMMARY))
    rows.append((accounting.NAME, "source", "live", ", ".join(accounting.MEASURES), accounting.SUMMARY))
    table(("view", "by", "windows", "measures", "what it tells"), rows)


def _row(view: View) -> tuple[str, ...]:
    by = " | ".join(" × ".join(grouping) or "total" for grouping in view.groupings)
    windows = ", ".join([*_spans(view), *(window.name for window in view.windows)])
    return view.name, by, windows, ", ".join(_measures(view)), view.summary


def _spans(view: View) -> list[str]:
    from serving.questions import span_name

    return [span_name(span_s) for span_s in view.trend.spans_s] if view.trend is not None else []


def _measures(view: View) -> list[str]:
    """What answers show of it, in their order; of a histogram its quantiles together."""
    scored = ["expected", "score"] if view.trend is not None else []
    binned = [f"{one.name} ({', '.join(quantile_name(quantile) for quantile in one.quantiles)})" for one in view.histograms]
    visible = [measure.name for measure in view.measures if not measure.half_life_s]
    others = [one.name for kind in (view.extremes, view.distincts) for one in kind]
    return [*visible, *scored, *(rate.name for rate in view.rates), *binned, *others]


def _document(view: View) -> dict[str, object]:
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
        "trend": asdict(view.trend) | {"spans": _spans(view)} if view.trend is not None else None,
        "of": view.of,
        "leaderboard": view.leaderboard,
        "logic_version": view.logic_version,
    }


_MARKED = ", ".join(continue_watching.COLUMNS)
_BOOKMARKS: dict[str, object] = {
    "view": continue_watching.NAME,
    "summary": continue_watching.SUMMARY,
    "groupings": [list(continue_watching.DIMENSIONS)],
    "windows": ["live"],
    "measures": [{"name": name, "summary": f"{name} of a bookmark", "unit": ""} for name in continue_watching.COLUMNS],
    "leaderboard": None,
    "logic_version": 1,
}
_ACCOUNTING: dict[str, object] = {
    "view": accounting.NAME,
    "summary": accounting.SUMMARY,
    "groupings": [["source"]],
    "windows": ["live"],
    "measures": [{"name": name, "summary": f"{name} events", "unit": ""} for name in accounting.MEASURES],
    "leaderboard": None,
    "logic_version": 1,
}

COMMAND = views
