"""`marquee token make|list|revoke`: who may ask what over HTTP. What is made and revoked stands in the audit log (`marquee operations`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import emit, instant, json_option, say, table
from topologies.errors import UsageError
from topologies.scopes import SCOPES

if TYPE_CHECKING:
    from connectors.operations import Operation, Operations
    from connectors.tokens import Token, Tokens


@click.group()
def token() -> None:
    """Tokens of the HTTP API: made, listed, revoked. api.access says when one is needed.

    \b
    Examples:
      marquee token make grafana --scope read
      marquee token make players --scope write --requests-per-s 500
      marquee token list
      marquee token revoke 3f9a0c1d2b4e
    """


@token.command("make")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(list(SCOPES)), help="What it is for. Repeatable.")
@click.option("--requests-per-s", type=FiniteRange(min=0), help="So many it may make; api.requests_per_s when not given, no limit when 0.")
@json_option
@pass_invocation
def make_(invocation: Invocation, name: str, scopes: tuple[str, ...], requests_per_s: float | None, as_json: bool) -> None:
    """Make a token for NAME and print it: it is told this once, and only its hash is kept.

    read: what is counted. profile: what one profile has watched. write: events into the log. operate: how servers and workers stand.

    \b
    Examples:
      marquee token make grafana --scope read
      marquee token make players --scope write --requests-per-s 500 --json
    """
    from connectors.tokens import make

    if not name.strip() or len(name) > 100:
        raise click.UsageError("NAME has 1 to 100 characters, and not only blanks: it says in lists and logs whose token it is")
    made, text = make(name, scopes, _now_ms(), requests_per_s)
    with _opened(invocation) as (tokens, operations), operations.recorded(_operation("make", made)):
        tokens.put(made)
    if as_json:
        emit({**_document(made), "token": text})
        return
    click.echo(text)
    say(f"token {made.id} for {name}: {', '.join(sorted(made.scopes))}. It is not told again.")


@token.command("list")
@json_option
@pass_invocation
def list_(invocation: Invocation, as_json: bool) -> None:
    """List the tokens, the revoked ones too.

    \b
    Examples:
      marquee token list
      marquee token list --json
    """
    with _opened(invocation) as (tokens, _):
        found = sorted(tokens.all().values(), key=lambda one: (one.made_ms, one.id))
    if as_json:
        emit({"tokens": [_document(one) for one in found]})
        return
    rows = [
        (one.id, one.name, ", ".join(sorted(one.scopes)), one.requests_per_s, instant(one.made_ms), instant(one.revoked_ms))
        for one in found
    ]
    table(("id", "name", "scopes", "requests/s", "made", "revoked"), rows, right=("requests/s",))


@token.command()
@click.argument("identity", metavar="ID")
@pass_invocation
def revoke(invocation: Invocation, identity: str) -> None:
    """Let nobody in by the token of that ID any more; it takes 2 s to be so everywhere. Again changes nothing.

    \b
    Examples:
      marquee token revoke 3f9a0c1d2b4e
    """
    with _opened(invocation) as (tokens, operations):
        found = tokens.all().get(identity)
        if found is None:
            raise UsageError(f"there is no token {identity!r}; `marquee token list` shows them by their id")
        if found.revoked_ms is None:
            with operations.recorded(_operation("revoke", found)):
                tokens.revoke(identity, _now_ms())
    say(f"token {identity} ({found.name}) is revoked")


@contextmanager
def _opened(invocation: Invocation) -> Iterator[tuple[Tokens, Operations]]:
    from connectors.cassandra import close, connect
    from connectors.cassandra_schema import require_schema
    from connectors.operations import Operations
    from connectors.tokens import Tokens

    settings = invocation.settings.cassandra
    session = connect(settings)
    try:
        require_schema(session, settings)
        yield Tokens(session, settings), Operations(session, settings)
    finally:
        close(session)


def _operation(verb: str, one: Token) -> Operation:
    from marquee.person import operation

    return operation(f"token {verb}", f"{one.name} ({one.id}) for {', '.join(sorted(one.scopes))}")


def _document(one: Token) -> dict[str, object]:
    return {
        "id": one.id,
        "name": one.name,
        "scopes": sorted(one.scopes),
        "requests_per_s": one.requests_per_s,
        "made": instant(one.made_ms),
        "revoked": instant(one.revoked_ms) if one.revoked_ms is not None else None,
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


COMMAND = token
