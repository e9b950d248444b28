"""`marquee operations`: the audit log."""

from __future__ import annotations

import time

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, instant, json_option, table


@click.command()
@click.option("--since", metavar="T", help="From this instant: ISO 8601 (UTC unless it says otherwise) or epoch seconds; else of a day.")
@json_option
@pass_invocation
def operations(invocation: Invocation, since: str | None, as_json: bool) -> None:
    """Show what was operated, by whom, and how it ended: requests for addresses of scope operate, admitted or refused; tokens that were
    made and revoked, views that were switched, gaps that were accepted. It is kept for 90 days.

    Equal reads, as a dashboard makes them, are one line a minute, with their number.

    \b
    Examples:
      marquee operations
      marquee operations --since 2026-01-31
      marquee operations --since 2026-01-31T20:00 --json
    """
    from connectors.cassandra import close, connect
    from connectors.cassandra_schema import OPERATIONS_KEPT_S, require_schema
    from connectors.operations import Operations
    from serving.questions import parse_instant
    from topologies.events import DAY_MS

    now_ms = time.time_ns() // 1_000_000
    from_ms = now_ms - DAY_MS if since is None else max(parse_instant(since), now_ms - OPERATIONS_KEPT_S * 1_000)
    settings = invocation.settings.cassandra
    session = connect(settings)
    try:
        require_schema(session, settings)
        found = list(Operations(session, settings).between(from_ms, now_ms + DAY_MS))  # clocks differ
    finally:
        close(session)
    if as_json:
        documents = [
            {
                "at": instant(one.at_ms), "at_ms": one.at_ms, "who": one.who, "address": one.address or None, "method": one.method,
                "target": one.target, "outcome": one.outcome, "times": one.times, "id": one.id,
            }
            for one in found
        ]  # fmt: skip
        emit({"operations": documents})
        return
    rows = [(instant(one.at_ms), one.who, one.address or None, f"{one.method} {one.target}", one.outcome, one.times) for one in found]
    table(("at", "who", "from", "what", "outcome", "times"), rows, right=("times",))


COMMAND = operations
