"""`marquee views`: what can be asked."""

from __future__ import annotations

import click

from marquee.output import emit, json_option, table
from topologies import accounting, continue_watching
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
    # both find the installed ones too: --help is to work where one of those is wrong
    from serving.catalogue import catalogue
    from topologies.views import VIEWS

    if as_json:
        emit({"views": catalogue()})
        return
    rows = [_row(view) for view in VIEWS.values()]
    rows.append((continue_watching.NAME, " × ".join(continue_watching.DIMENSIONS), "live", _MARKED, continue_watching.SUMMARY))
    rows.append((accounting.NAME, "source", "live", ", ".join(accounting.MEASURES), accounting.SUMMARY))
    table(("view", "by", "windows", "measures", "what it tells"), rows)


def _row(view: View) -> tuple[str, ...]:
    from serving.catalogue import shown_of, spans_of

    by = " | ".join(" × ".join(grouping) or "total" for grouping in view.groupings)
    windows = ", ".join([*spans_of(view), *(window.name for window in view.windows)])
    return view.name, by, windows, ", ".join(shown_of(view)), view.summary


_MARKED = ", ".join(continue_watching.COLUMNS)

COMMAND = views
