"""`marquee status`: how everything stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, instant, json_option, number, say, table

if TYPE_CHECKING:
    from serving.overview import Overview, SourceStanding


@click.command()
@json_option
@pass_invocation
def status(invocation: Invocation, as_json: bool) -> int:
    """Show the health of each server, the workers, and each partition's owner, lag and clock.

    Says also which views another edition answers for. Works with part of the servers away and says which; then the exit code is 1.

    \b
    Examples:
      marquee status
      marquee status --json
    """
    from serving.overview import look

    seen = look(invocation.settings)
    if as_json:
        emit(seen.document())
    else:
        _show(seen)
    return 0 if seen.ok else 1


def _show(seen: Overview) -> None:
    from serving.overview import SILENT_S

    rows = [
        (server.name, "up" if server.ok else "AWAY", server.address, server.detail, f"{server.took_ms:.0f} ms") for server in seen.servers
    ]
    table(("server", "", "address", "", "answered in"), rows, right=("answered in",))
    click.echo()
    if seen.sources:
        table(
            ("topic", "partition", "worker", "applied", "end", "lag", "in Cassandra", "as of", "heard"),
            [_row(seen, source) for source in seen.sources],
            right=("partition", "applied", "end", "lag", "in Cassandra", "heard"),
        )
        click.echo()
    for name, owned in seen.workers().items():
        heard_s = min((source.heard_s for source in owned if source.heard_s is not None), default=None)
        silent = heard_s is None or heard_s > SILENT_S
        address = next((f", {source.http}" for source in owned if source.http), "")
        say(f"worker {name}: {len(owned)} partitions{address}" + (f", SILENT for {number(heard_s or 0.0)} s" if silent else ""))
    lag = "unknown" if seen.lag is None else number(seen.lag)
    say(f"lag {lag}, as of {instant(seen.as_of_ms)}, {len(seen.sources)} sources")
    for pointer in seen.pointers:
        say(f"{pointer.view.name} is {pointer.note}, since {instant(pointer.at_ms)} by {pointer.by}")
    for trouble in seen.troubles:
        say(trouble)


def _row(seen: Overview, source: SourceStanding) -> tuple[object, ...]:
    def shown(offset: int | None) -> object:
        return "-" if offset is None else offset

    behind = "-" if source.clock_ms < 0 else f"{instant(source.clock_ms)} ({(seen.at_ms - source.clock_ms) / 1000:,.1f} s ago)"
    heard = "-" if source.heard_s is None else f"{source.heard_s:,.1f} s ago"
    worker = "(ended)" if source.ended else source.worker or "-"
    place = (source.source.topic or str(source.source), str(source.source.partition), worker)
    return (*place, shown(source.redis), shown(source.end), shown(source.lag), shown(source.cassandra), behind, heard)


COMMAND = status
