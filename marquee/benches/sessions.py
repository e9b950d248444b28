"""`marquee bench sessions`: what an event costs with few and with many sessions alive in one partition."""

from __future__ import annotations

import click

from marquee.arena import cluster_option, show
from marquee.benches.drain import drained_sessions
from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option, say


@click.command()
@click.option("--events", type=click.IntRange(min=1), default=10_000_000, show_default=True, help="How many events, each time.")
@click.option("--few", type=click.IntRange(min=1), default=10_000, show_default=True, help="Live sessions of the one drain.")
@click.option("--many", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="Live sessions of the other.")
@cluster_option
@json_option
@pass_invocation
def sessions(invocation: Invocation, events: int, few: int, many: int, given: bool, as_json: bool) -> int:
    """Drain two logs that differ only in how many sessions they are of, with checkpoints; the ratio of CPU an event, and exactness.

    \b
    Examples:
      marquee bench sessions --json
      marquee bench sessions --events 3000000 --many 500000
    """
    if not few < many <= events:
        raise click.UsageError("--few has to be less than --many, and --many at most --events")
    documents = {}
    for count in (few, many):
        documents[count] = drained_sessions(invocation.settings, count, events, given)
        say(f"{count:,} live sessions: {documents[count]['events_per_core_second']:,} events per core-second")
    us = {count: document["cpu_s"] / document["events"] * 1e6 for count, document in documents.items()}
    document = {
        "events": events,
        "cpu_us_an_event": {str(count): round(value, 3) for count, value in us.items()},
        "ratio": round(us[many] / us[few], 3),
        "same_cells": documents[few]["cells"] == documents[many]["cells"],
        "exact": all(found["exact"] for found in documents.values()),
        "by_live_sessions": {str(count): found for count, found in documents.items()},
    }
    show(document, as_json)
    return 0 if document["exact"] and document["same_cells"] else 1


COMMAND = sessions
