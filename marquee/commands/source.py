"""`marquee source list|show|accept-gap`: the sources, what each has lost, and going on without it."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, instant, json_option, number, say, table
from topologies.errors import UsageError

if TYPE_CHECKING:
    from marquee.sources import SourceFile


@click.group()
def source() -> None:
    """Sources: a partition's log each, how far it is computed, and records that were gone before they were.

    \b
    Examples:
      marquee source list
      marquee source show local:4TFGKnUUTjGbQhzQDtyMkA:3
      marquee source accept-gap local:4TFGKnUUTjGbQhzQDtyMkA:3 --yes
    """


@source.command("list")
@json_option
@pass_invocation
def list_(invocation: Invocation, as_json: bool) -> None:
    """List every source: where its log begins and ends, how far Cassandra has it, how much it has lost, whether it has ended.

    \b
    Examples:
      marquee source list
      marquee source list --json
    """
    from marquee.sources import files, opened

    with opened(invocation.settings) as session:
        found = files(invocation.settings, session)
    if as_json:
        emit({"sources": [_document(one) for one in found]})
        return
    names = ("topic", "partition", "source", "log begins", "ends", "in Cassandra", "lost", "ended")
    table(names, [_row(one) for one in found], right=("partition", "log begins", "ends", "in Cassandra", "lost"))


@source.command()
@click.argument("text", metavar="SOURCE", callback=lambda _context, _parameter, text: _named(text))
@json_option
@pass_invocation
def show(invocation: Invocation, text: str, as_json: bool) -> None:
    """Show one source and each stretch of records that it has lost, with the reason.

    \b
    Examples:
      marquee source show local:4TFGKnUUTjGbQhzQDtyMkA:3
    """
    from marquee.sources import file_of, opened

    with opened(invocation.settings) as session:
        found = file_of(invocation.settings, session, text)
    if as_json:
        emit(_document(found))
        return
    click.echo(f"source        {found.source}")
    click.echo(f"place         {found.source.topic} partition {found.source.partition}")
    click.echo(f"log           {f'from {found.span[0]} to {found.span[1]}' if found.span else 'its topic is not there any more'}")
    click.echo(f"in Cassandra  {'never computed' if found.stored is None else f'up to {found.stored}'}")
    if found.ended_ms is not None:
        click.echo(f"ended         {instant(found.ended_ms)}: its windows count, its viewers do not")
    click.echo(f"lost          {number(found.lost)} records")
    for gap in found.gaps:
        click.echo(f"              {gap.first} to {gap.upto - 1}, found {instant(gap.at_ms)}: {gap.reason}")


@source.command("accept-gap")
@click.argument("text", metavar="SOURCE", callback=lambda _context, _parameter, text: _named(text))
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_invocation
def accept_gap(invocation: Invocation, text: str, yes: bool, as_json: bool) -> None:
    """Go on with a source although records are gone from its log that nobody has folded.

    Says exactly which; its worker then goes on within seconds, and they stay noted as lost (`marquee source show`).

    \b
    Examples:
      marquee source accept-gap local:4TFGKnUUTjGbQhzQDtyMkA:3
    """
    from connectors.operations import Operations
    from connectors.source_notes import Loss, SourceNotes
    from marquee.person import operation
    from marquee.sources import file_of, opened, resumes_at

    settings = invocation.settings
    if not yes and not sys.stdin.isatty():
        raise UsageError("nobody can be asked here; add --yes")
    with opened(settings) as session:
        found = file_of(settings, session, text)
        if found.span is None:
            raise UsageError(f"{text}: its topic is not there any more, so there is nothing to go on with")
        first, (begins, ends) = resumes_at(settings, session, found.source), found.span
        if begins == 0 or (first is not None and first >= begins):
            raise UsageError(f"{text}: nothing is gone; its log begins at {begins} and it is computed up to {first or 0}")
        told = _told(found, first, begins)
        if not yes:
            click.confirm(f"{told}; go on without?", abort=True, err=True)
        loss = Loss(text, tuple(offset for offset in (first, found.stored or 0) if offset is not None), ends)
        with Operations(session, settings.cassandra).recorded(operation("source accept-gap", f"{text}: {told}")):
            SourceNotes(session, settings.cassandra).accept(loss, time.time_ns() // 1_000_000)
    if as_json:
        emit({"source": text, "first": first, "upto": begins, "stored": found.stored, "accepted": ends})
    else:
        say(f"accepted: {told}")


def _named(text: str) -> str:
    """The argument; a mistyped one need not wait for a server to be found out."""
    if not re.fullmatch(r"[^:]+:[A-Za-z0-9_-]{22}:\d+", text):
        raise UsageError(f"{text!r} is no source: write REGION:TOPIC-ID:PARTITION as `marquee source list` shows it")
    return text


def _told(found: SourceFile, first: int | None, begins: int) -> str:
    place = f"{found.source.topic} partition {found.source.partition}"
    if first is not None:
        return f"{place}: records {first} to {begins - 1} ({number(begins - first)}) are gone and stay uncounted"
    stored = found.stored or 0
    return (
        f"{place}: no checkpoint can be read and the log begins at {begins}: {number(max(0, begins - stored))} records are gone, "
        f"and windows that were not final at offset {stored} are counted anew from {begins} on"
    )


def _row(one: SourceFile) -> tuple[object, ...]:
    begins, ends = one.span or ("-", "-")
    stored = "-" if one.stored is None else one.stored
    ended = "" if one.ended_ms is None else instant(one.ended_ms)
    return (one.source.topic, str(one.source.partition), str(one.source), begins, ends, stored, one.lost, ended)


def _document(one: SourceFile) -> dict[str, Any]:
    return {
        "source": str(one.source), "topic": one.source.topic, "partition": one.source.partition,
        "log_begins": one.span[0] if one.span else None, "log_ends": one.span[1] if one.span else None, "stored": one.stored,
        "ended": None if one.ended_ms is None else instant(one.ended_ms), "lost": one.lost,
        "gaps": [
            {"first": gap.first, "upto": gap.upto, "records": gap.records, "reason": gap.reason, "found": instant(gap.at_ms)}
            for gap in one.gaps
        ],
    }  # fmt: skip


COMMAND = source
