"""`marquee query VIEW`: asks a view."""

from __future__ import annotations

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, instant, json_option, say, table
from topologies import continue_watching


@click.command()
@click.argument("view")
@click.option("--by", multiple=True, metavar="DIMENSION[=VALUE]", help="Cells of this value; without one, a row for each. Repeatable.")
@click.option("--top", type=click.IntRange(min=1), help="The best so many by the view's leaderboard; of a trend by its score.")
@click.option("--window", help="live, minute, hour or day, or a trend's span (5m, 1h); the view's first when not given.")
@click.option("--from", "from_text", metavar="T", help="From this instant: ISO 8601 (UTC unless it says otherwise) or epoch seconds.")
@click.option("--to", "to_text", metavar="T", help="Up to this instant, which is not part of it.")
@json_option
@pass_invocation
def query(
    invocation: Invocation,
    view: str,
    by: tuple[str, ...],
    top: int | None,
    window: str | None,
    from_text: str | None,
    to_text: str | None,
    as_json: bool,
) -> None:
    """Ask a view. Numbers that can still change are called provisional.

    Live windows come from Redis, what is final from Cassandra; every answer says as of when, from how many sources, and how old it is.
    A quantile is at most 1/64 (1.6 %) from the exact one; a rate is empty (in JSON null) where it would be divided by 0.
    How many different viewers there are is estimated, with a standard error of 0.81 %.

    \b
    Examples:
      marquee query concurrents                               # everybody watching now
      marquee query concurrents --top 10                      # the ten titles with most viewers now
      marquee query concurrents --by region                   # by region
      marquee query concurrents --by region=eu --window minute --from 2026-01-31T20:00 --to 2026-01-31T21:00
      marquee query watch_time --by title=t00042 --window day
      marquee query watch_time --by region=eu --top 10 --json
      marquee query trending                                  # the ten titles most above what their past leads to expect
      marquee query trending --by region=eu --window 1h --top 20
      marquee query trending --by title=t00042 --window day   # the plays themselves
      marquee query quality --by cdn --top 5                  # the last hour: startup, rebuffering, bitrate, failures
      marquee query quality --by region=eu --from 2026-01-31T20:00 --to 2026-01-31T20:15
      marquee query audience --by title=t00042 --window day   # its different viewers, in all regions together
      marquee query audience --by region=eu --top 10 --from 2026-01-31T18:00 --to 2026-02-01T00:00
      marquee query accounting
      marquee query continue_watching --by account=a17 --by profile=p1
    """
    from serving.answers import ask, ask_accounting
    from serving.questions import Question, parse_instant
    from serving.stores import Stores

    named = dict(dimensions := [_dimension(text) for text in by])
    if len(named) < len(dimensions):
        raise click.UsageError("--by names a dimension twice; ask once for each value, or leave the value out for all of them")
    start = None if from_text is None else parse_instant(from_text)
    end = None if to_text is None else parse_instant(to_text)
    question = Question(view, named, top, window, start, end)
    if view == continue_watching.NAME:
        if top or window or from_text or to_text:
            raise click.UsageError("continue_watching is by account and profile, and now: it takes no --top, --window, --from or --to")
        _show_shelf(invocation, named, as_json)
        return
    accounting = view == "accounting"
    if accounting and (by or top or window or from_text or to_text):
        raise click.UsageError("accounting is by source and now: it takes no --by, --top, --window, --from or --to")
    with Stores(invocation.settings) as stores:
        answer = ask_accounting(stores) if accounting else ask(stores, question)
    if as_json:
        emit(answer.document())
        return
    rows = [
        (*([instant(row.start_ms)] if answer.timed else []), *row.key, *row.values)
        for row in answer.rows
    ]  # fmt: skip
    table((*([answer.window] if answer.timed else []), *answer.dimensions, *answer.measures), rows, right=answer.measures)
    say(answer.line())


def _show_shelf(invocation: Invocation, by: dict[str, str | None], as_json: bool) -> None:
    from serving.shelves import Shelves, whose

    account, profile = whose(by)  # what cannot be asked is said before a store is
    with Shelves(invocation.settings) as shelves:
        shelf = shelves.shelf(account, profile)
    if as_json:
        emit(shelf.document())
        return
    rows = [(title, _told(mark.position_s), _told(mark.runtime_s), instant(mark.ts)) for title, mark in shelf.rows]
    table(continue_watching.COLUMNS, rows, right=("position_s", "runtime_s"))
    say(shelf.line())


def _told(seconds: int) -> int | str:
    return seconds if seconds >= 0 else "-"


def _dimension(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name or (equals and not value):
        raise click.BadParameter(f"{text!r}: write region=eu, or region for all of them", param_hint="--by")
    return name, value if equals else None


COMMAND = query
