"""`marquee members`: who is up, who leads, and how many workers are wanted."""

from __future__ import annotations

from typing import Any, Final

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, instant, json_option, say, table
from topologies.errors import UsageError

PATIENCE_S: Final = 5.0


@click.command()
@json_option
@pass_invocation
def members(invocation: Invocation, as_json: bool) -> int:
    """Show who is up: workers, APIs, collectors and autoscalers, where each answers, its version, how busy it is, who leads, and how many
    workers the autoscaler wants.

    Asks ZooKeeper (zookeeper.hosts, which `marquee up` has), else shows the list of discovery.members. load: cores that the process was
    busy for lately. Exit 1 when ZooKeeper does not answer.

    \b
    Examples:
      marquee members
      marquee members --json
      marquee -s zookeeper.hosts=10.0.0.5:2181 members
    """
    settings = invocation.settings
    if not settings.zookeeper.hosts and not settings.discovery.members:
        raise UsageError("nobody says who is up: set zookeeper.hosts, or list discovery.members; `marquee up` runs a ZooKeeper")
    from cluster.roster import roster_of

    found = roster_of(settings, PATIENCE_S)
    if as_json:
        emit(found)
        return 0
    table(("role", "id", "address", "version", "load", "since", ""), list(map(_row, found["members"])), right=("load",))
    led, workers = found["leader"], found["workers"]
    say("nobody leads" if led is None else f"{led['id']} leads in epoch {led['epoch']}, since {instant(led['since_ms'])}")
    if workers["wanted"] is not None:
        say(f"{workers['running']} workers run, {workers['wanted']} are wanted ({workers['why']}, {instant(workers['ordered_ms'])})")
    return 0


def _row(member: dict[str, Any]) -> tuple[object, ...]:
    gone_s = member["vanished_s"]
    note = "leads" if member["leader"] else "" if gone_s is None else f"vanished {gone_s:.0f} s ago"
    since = instant(member["since_ms"] or None)
    return (member["role"], member["id"], member["address"] or None, member["version"] or None, member["load"], since, note)


COMMAND = members
