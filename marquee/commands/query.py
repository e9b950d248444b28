"""`marquee query VIEW`: asks a view, once or again and again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option
from marquee.signals import interruptible
from topologies import accounting, continue_watching

if TYPE_CHECKING:
    from marquee.shown import Wanted
    from topologies.settings import Settings

EVERY_S: Final = 2.0
LEAST_S: Final = 0.1


@click.command()
@click.argument("view")
@click.option("--by", multiple=True, metavar="DIMENSION[=VALUE]", help="Cells of this value; without one, a row for each. Repeatable.")
@click.option("--top", type=click.IntRange(min=1), help="The best so many by the view's leaderboard; of a trend by its score.")
@click.option("--window", help="live, minute, hour or day, or a trend's span (5m, 1h); the view's first when not given.")
@click.option("--from", "start", metavar="T", help="From this instant: ISO 8601 (in --tz unless it says otherwise) or epoch seconds.")
@click.option("--to", "end", metavar="T", help="Up to this instant, which is not part of it.")
@click.option("--tz", metavar="ZONE", help="Zone of instants that name none, and of those shown: Europe/Berlin; UTC when not given.")
@click.option("--limit", type=click.IntRange(min=1), help="The first so many rows in time, then by key; the best so many are --top.")
@click.option("--spark", is_flag=True, help="Draw how each row went: over the windows asked for, else over those that have just ended.")
@click.option("--watch", is_flag=True, help="Ask again until Ctrl-C: replaced in place on a terminal, else one answer after another.")
@click.option("--every", "every_s", type=FiniteRange(min=LEAST_S), metavar="S", help="Seconds from one question of --watch to the next, 2.")
@json_option
@pass_invocation
def query(
    invocation: Invocation,
    view: str,
    by: tuple[str, ...],
    top: int | None,
    window: str | None,
    start: str | None,
    end: str | None,
    tz: str | None,
    limit: int | None,
    spark: bool,
    watch: bool,
    every_s: float | None,
    as_json: bool,
) -> None:
    """Ask a view. Numbers that can still change are called provisional.

    Live windows come from Redis, what is final from Cassandra; every answer says as of when, from how many sources, and how old it is.
    A quantile is at most 1/64 (1.6 %) from the exact one; a rate is empty (in JSON null) where it would be divided by 0.
    How many different viewers there are is estimated, with a standard error of 0.81 %.
    --json is what the HTTP API answers, in its order; with --watch it is an answer a line.

    \b
    Examples:
      marquee query concurrents                               # everybody watching now
      marquee query concurrents --top 10                      # the ten titles with most viewers now
      marquee query concurrents --top 10 --spark --watch      # and how they went in the last hour, until Ctrl-C
      marquee query concurrents --by region                   # by region
      marquee query concurrents --by region --window minute --spark
      marquee query concurrents --by region=eu --window minute --from 2026-01-31T20:00 --to 2026-01-31T21:00
      marquee query watch_time --by title=t00042 --window day
      marquee query watch_time --by region=eu --top 10 --json
      marquee query watch_time --by region --from 2026-01-31T18:00 --to 2026-01-31T23:00 --tz America/Sao_Paulo
      marquee query trending                                  # the ten titles most above what their past leads to expect
      marquee query trending --by region=eu --window 1h --top 20
      marquee query trending --by title=t00042 --window day   # the plays themselves
      marquee query quality --by cdn --top 5                  # the last hour: startup, rebuffering, bitrate, failures
      marquee query quality --by region=eu --from 2026-01-31T20:00 --to 2026-01-31T20:15
      marquee query audience --by title=t00042 --window day   # its different viewers, in all regions together
      marquee query audience --by region=eu --top 10 --from 2026-01-31T18:00 --to 2026-02-01T00:00
      marquee query accounting --watch --every 5 --json | jq -c .cells
      marquee query continue_watching --by account=a17 --by profile=p1
    """
    from marquee.shown import Wanted
    from serving.questions import Question, parse_instant, parse_zone

    span = {"--from": start, "--to": end}
    _check(view, {"--by": by, "--top": top, "--window": window, **span, "--tz": tz, "--limit": limit, "--spark": spark})
    if every_s is not None and not watch:
        raise click.UsageError("--every says how often --watch asks; add --watch")
    if spark and as_json:
        raise click.UsageError("--spark draws what --json has as numbers; leave one of them out")
    zone = parse_zone(tz or "UTC")
    from_ms, to_ms = (None if text is None else parse_instant(text, zone) for text in span.values())
    wanted = Wanted(Question(view, _dimensions(by), top, window, from_ms, to_ms), zone, limit, spark, as_json)
    if watch:
        _watch(invocation.settings, wanted, every_s or EVERY_S)
    else:
        _ask(invocation.settings, wanted)


def _ask(settings: Settings, wanted: Wanted) -> None:
    from marquee.following import show
    from marquee.shown import opened

    with opened(settings, wanted) as look:
        show(look(), as_json=wanted.as_json)


def _watch(settings: Settings, wanted: Wanted, every_s: float) -> None:
    """Until it is interrupted, which is how it ends well."""
    from marquee.following import follow
    from marquee.shown import opened

    with interruptible(), suppress(KeyboardInterrupt), opened(settings, wanted) as look:
        follow(look, every_s, as_json=wanted.as_json)


def _check(view: str, given: Mapping[str, object]) -> None:
    """Refuses what says nothing of what is kept now only."""
    taken: dict[str, tuple[str, Iterable[str]]] = {
        continue_watching.NAME: ("by account and profile, and now", ("--by",)),
        accounting.NAME: ("by source and now", ("--tz", "--limit")),
    }
    what, takes = taken.get(view, ("", given))
    wrong = [name for name, value in given.items() if value and name not in takes]
    if wrong:
        raise click.UsageError(f"{view} is {what}: it takes no {' and no '.join(wrong)}")


def _dimensions(by: tuple[str, ...]) -> dict[str, str | None]:
    named = dict(dimensions := [_dimension(text) for text in by])
    if len(named) < len(dimensions):
        raise click.UsageError("--by names a dimension twice; ask once for each value, or leave the value out for all of them")
    return named


def _dimension(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name or (equals and not value):
        raise click.BadParameter(f"{text!r}: write region=eu, or region for all of them", param_hint="--by")
    return name, value if equals else None


COMMAND = query
