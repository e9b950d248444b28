"""`marquee dead list|show|replay`: events that were not valid."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, instant, json_option, number, say
from topologies.errors import MarqueeError

if TYPE_CHECKING:
    from connectors.letters import Letter

MOST_BYTES: Final = 4_096


@click.group()
def dead() -> None:
    """Dead letters: events that were not valid, each with its reason, place in the log and bytes.

    \b
    Examples:
      marquee dead list
      marquee dead show local:4TFGKnUUTjGbQhzQDtyMkA:3@1017
      marquee dead replay --reason not_json --yes
    """


@dead.command("list")
@click.option("--reason", help="Only of this reason.")
@click.option("--limit", type=click.IntRange(min=0), default=3, show_default=True, help="Newest examples of each reason.")
@json_option
@pass_invocation
def list_(invocation: Invocation, reason: str | None, limit: int, as_json: bool) -> None:
    """Count dead letters by reason and show the newest of each.

    \b
    Examples:
      marquee dead list
      marquee dead list --reason wrong_type:ts --limit 20 --json
    """
    from connectors.letters import read_letters
    from marquee.letters import grouped, show_list

    settings = invocation.settings
    topic = settings.kafka.dead_topic
    show_list(topic, grouped(read_letters(settings, topic), reason, limit), as_json)


@dead.command()
@click.argument("letter", metavar="SOURCE@OFFSET[#ROW]")
@click.option("--raw", is_flag=True, help="Only the bytes, as they are, on stdout.")
@json_option
@pass_invocation
def show(invocation: Invocation, letter: str, raw: bool, as_json: bool) -> None:
    """Print a dead letter's reason, place and bytes; as a hex dump when they do not print, and an Arrow record's row as JSON.

    \b
    Examples:
      marquee dead show local:4TFGKnUUTjGbQhzQDtyMkA:3@1017
      marquee dead show local:4TFGKnUUTjGbQhzQDtyMkA:3@1017 --raw > event.bin
    """
    from marquee.letters import document, name_of, readable, row_text

    found = _chosen(invocation, letter, None)
    if raw:
        click.echo(b"".join(one.value or b"" for one in found), nl=False)
        return
    if as_json:
        emit({"letters": [document(one) for one in found]})
        return
    for one in found:
        click.echo(f"letter   {name_of(one)}")
        click.echo(f"reason   {one.reason}")
        click.echo(f"place    {one.topic} partition {one.partition} offset {one.offset} row {one.row}")
        click.echo(f"time     {instant(one.record_ts_ms)} (its record's)")
        click.echo(f"key      {'(null)' if one.key is None else one.key.decode(errors='backslashreplace')}")
        click.echo(f"value    {'(null)' if one.value is None else f'{number(len(one.value))} bytes'}")
        if (row := row_text(one)) is not None:
            click.echo(row)
            continue
        for line in readable(one.value or b"", MOST_BYTES):
            click.echo(line)


@dead.command()
@click.argument("letter", metavar="[SOURCE@OFFSET[#ROW]]", required=False)
@click.option("--reason", help="Every dead letter of this reason.")
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_invocation
def replay(invocation: Invocation, letter: str | None, reason: str | None, everything: bool, yes: bool, as_json: bool) -> None:
    """Send dead letters again, as new records with their old key and bytes, to the topics that they came from.

    They are judged anew: what is still not valid becomes a dead letter again, under its new offset. The old letters stay.

    \b
    Examples:
      marquee dead replay local:4TFGKnUUTjGbQhzQDtyMkA:3@1017
      marquee dead replay --reason ahead --yes
    """
    if sum((letter is not None, reason is not None, everything)) != 1:
        raise click.UsageError("say which: one SOURCE@OFFSET[#ROW], --reason R, or --all")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here; add --yes")
    from connectors.kafka import produce_bytes

    found = _chosen(invocation, letter, reason)
    topics = Counter(one.topic for one in found)
    plan = ", ".join(f"{number(count)} to {topic}" for topic, count in sorted(topics.items())) or "nothing"
    if found and not yes:
        click.confirm(f"send {plan}?", abort=True, err=True)
    sent = {}
    for topic in sorted(topics):
        sent[topic] = produce_bytes(
            invocation.settings, topic, [(one.key, one.value, one.content_headers()) for one in found if one.topic == topic]
        )
    if as_json:
        emit({"sent": sum(sent.values()), "topics": sent})
    else:
        say(f"sent {plan}")


def _chosen(invocation: Invocation, text: str | None, reason: str | None) -> list[Letter]:
    """The letters of this name, of this reason, or all. MarqueeError when a named one is not there."""
    from marquee.letters import parse_name

    wanted = None if text is None else parse_name(text)
    from connectors.letters import read_letters

    topic = invocation.settings.kafka.dead_topic
    letters = read_letters(invocation.settings, topic)
    found = [one for one in letters if (wanted is None or wanted.names(one)) and (reason is None or one.reason == reason)]
    if wanted is not None and not found:
        raise MarqueeError(f"there is no dead letter {wanted} in {topic}; `marquee dead list` shows some of each reason")
    return found


COMMAND = dead
