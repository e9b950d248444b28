"""`marquee members`: who is up, and who leads."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, instant, json_option, say, table
from topologies.errors import ServerAway, UsageError

if TYPE_CHECKING:
    from cluster.discovery import Listed
    from cluster.leadership import Term
    from topologies.settings import Settings

PATIENCE_S: Final = 5.0


@click.command()
@json_option
@pass_invocation
def members(invocation: Invocation, as_json: bool) -> int:
    """Show who is up: workers, APIs, collectors and autoscalers, where each answers, its version, how busy it is, and who leads.

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
    found, term = _asked(settings)
    if as_json:
        emit({"members": [_document(one, term) for one in found], "leader": None if term is None else msgspec.to_builtins(term)})
        return 0
    rows = [_row(one, term) for one in found]
    table(("role", "id", "address", "version", "load", "since", ""), rows, right=("load",))
    say("nobody leads" if term is None else f"{term.id} leads in epoch {term.epoch}, since {instant(term.since_ms)}")
    return 0


def _asked(settings: Settings) -> tuple[list[Listed], Term | None]:
    from cluster.discovery import Role
    from cluster.registries import open_registry

    with ExitStack() as stack:
        registry = stack.enter_context(open_registry(settings))
        if not registry.wait_heard(PATIENCE_S):
            raise ServerAway(f"ZooKeeper at {','.join(settings.zookeeper.hosts)} does not answer, so who is up is not known.")
        found = [one for role in Role for one in registry.members(role).members]
        if not settings.zookeeper.hosts:
            return found, None
        from cluster.leadership import AUTOSCALER, leader
        from connectors.zookeeper import opened

        return found, leader(stack.enter_context(opened(settings.zookeeper, PATIENCE_S)), AUTOSCALER)


def _leads(one: Listed, term: Term | None) -> bool:
    from cluster.discovery import Role

    return term is not None and one.member.role == Role.AUTOSCALER and one.member.id == term.id


def _document(one: Listed, term: Term | None) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(one.member)
    return {**told, "leader": _leads(one, term), "vanished_s": one.vanished_s}


def _row(one: Listed, term: Term | None) -> tuple[object, ...]:
    member = one.member
    note = "leads" if _leads(one, term) else "" if one.vanished_s is None else f"vanished {one.vanished_s:.0f} s ago"
    return (member.role, member.id, member.address or None, member.version or None, member.load, instant(member.since_ms or None), note)


COMMAND = members
