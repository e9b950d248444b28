"""`marquee views`: what can be asked."""

from __future__ import annotations

import click

from marquee.output import emit, json_option, table
from topologies import accounting, continue_watching
from topologies.view import View
from topologies.views import VIEWS


@click.command()
@json_option
def views(as_json: bool) -> None:
    """List the views: what each is by, its windows and its measures.

    \b
    Examples:
      marquee views
      marquee views --json
    """
    if as_json:
        emit({"views": [*(_document(view) for view in VIEWS.values()), _BOOKMARKS, _ACCOUNTING]})
        return
    rows = [_row(view) for view in VIEWS.values()]
    rows.append((continue_watching.NAME, " × ".join(continue_watching.DIMENSIONS), "live", _MARKED, continue_watching.SUMMARY))
    rows.append((accounting.NAME, "source", "live", ", ".join(accounting.MEASURES), accounting.SUMMARY))
    table(("view", "by", "windows", "measures", "what it tells"), rows)


def _row(view: View) -> tuple[str, ...]:
    by = " | ".join(" × ".join(grouping) or "total" for grouping in view.groupings)
    windows = ", ".join(window.name for window in view.windows)
    return view.name, by, windows, ", ".join(measure.name for measure in view.measures), view.summary


def _document(view: View) -> dict[str, object]:
    return {
        "view": view.name,
        "summary": view.summary,
        "groupings": [list(grouping) for grouping in view.groupings],
        "windows": [window.name for window in view.windows],
        "measures": [{"name": m.name, "summary": m.summary, "unit": m.unit} for m in view.measures],
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
