"""`marquee history export`: what is final, as Parquet, in a bucket, a container or a directory."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, json_option, number, say, table
from topologies.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.exports import ExportedDay


@click.group()
def history() -> None:
    """Finished history: windows that no event can change any more, for DuckDB, Spark, Athena and the like.

    \b
    Examples:
      marquee history export --all --to file:///srv/marquee
      marquee history export watch_time
    """


@history.command()
@click.argument("views", metavar="[VIEW]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every view that has windows.")
@click.option("--to", "url", metavar="URL", help="s3://bucket/prefix, az://container/prefix or file:///directory; else history.url.")
@json_option
@pass_invocation
def export(invocation: Invocation, views: tuple[str, ...], every: bool, url: str | None, as_json: bool) -> None:
    """Write what is final of these views as Parquet, a file a day of each window of each part of a view.

    Run it as often as you like: a day is written again only when more of it became final, and its file is replaced whole. What is to be
    seen by whoever reads the files stands in docs/objects.md.

    \b
    Examples:
      marquee history export --all --to 's3://films/marquee?region=eu-west-1'
      marquee history export watch_time quality --to file:///srv/marquee --json
    """
    if bool(views) == every:
        raise click.UsageError("name views, or give --all")
    settings = invocation.settings
    target = url or settings.history.url
    if not target:
        raise UsageError("nothing says where to: give --to URL, or set history.url")

    from connectors.objects import Objects
    from serving.exports import Exporter
    from serving.stores import Stores
    from topologies import accounting
    from topologies.views import OTHERS, VIEWS, view_named

    if timeless := [name for name in views if name in (*OTHERS, accounting.NAME)]:
        raise UsageError(f"{timeless[0]} has no windows that end: there is no history of it")
    named = tuple(VIEWS) if every else tuple(dict.fromkeys(view_named(name).name for name in views))
    objects = Objects(target, settings.checkpoints.timeout_s)
    days: list[ExportedDay] = []
    with Stores(settings) as stores:
        exporter = Exporter(stores, objects)
        for name in named:
            days += exporter.export(name)
    _show(objects.url.shown, days, as_json)


def _show(target: str, days: Sequence[ExportedDay], as_json: bool) -> None:
    if as_json:
        emit({"to": target, "days": [asdict(day) for day in days], **_counted(days)})
        return
    places = dict.fromkeys((day.part, day.window) for day in days)
    rows = [_row(*place, [day for day in days if (day.part, day.window) == place]) for place in places]
    headers = ("view", "window", "days", "written", "waiting", "rows", "MiB")
    table(headers, rows, right=headers[2:])
    counted = _counted(days)
    waiting = f"; {counted['waiting']} wait for their final rows, run it again in a minute" if counted["waiting"] else ""
    say(f"{target}: {counted['written']} days written, {counted['kept']} there already{waiting}")


def _counted(days: Sequence[ExportedDay]) -> dict[str, int]:
    return {state: sum(day.state == state for day in days) for state in ("written", "kept", "waiting")}


def _row(part: str, window: str, days: Sequence[ExportedDay]) -> tuple[Any, ...]:
    counted = _counted(days)
    mib = f"{sum(day.bytes for day in days) / 2**20:.2f}"
    return (part, window, len(days), counted["written"], counted["waiting"], number(sum(day.rows for day in days)), mib)


COMMAND = history
