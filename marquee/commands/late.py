"""`marquee late list`: events that came too late to be counted."""

from __future__ import annotations

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option


@click.group()
def late() -> None:
    """Late events: more than 15 minutes behind their partition's watermark, or too far behind their session; in no view.

    \b
    Examples:
      marquee late list
    """


@late.command("list")
@click.option("--reason", help="Only of this reason.")
@click.option("--limit", type=click.IntRange(min=0), default=3, show_default=True, help="Newest examples of each reason.")
@json_option
@pass_invocation
def list_(invocation: Invocation, reason: str | None, limit: int, as_json: bool) -> None:
    """Count late events by reason and show the newest of each.

    \b
    Examples:
      marquee late list --limit 10
      marquee late list --json
    """
    from connectors.letters import read_letters
    from marquee.letters import grouped, show_list

    settings = invocation.settings
    topic = settings.kafka.late_topic
    show_list(topic, grouped(read_letters(settings, topic), reason, limit), as_json)


COMMAND = late
