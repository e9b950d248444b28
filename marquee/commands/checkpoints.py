"""`marquee checkpoints copy`: from one store of checkpoints to another, before `checkpoints.url` is changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, json_option, say, table
from topologies.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from connectors.checkpoints import CheckpointStore
    from topologies.settings import Settings
    from topologies.sources import Source


@click.group()
def checkpoints() -> None:
    """Checkpoints: each source's state at an offset, in Cassandra or among objects (docs/objects.md).

    \b
    Examples:
      marquee checkpoints copy --from cassandra: --to file:///srv/marquee
    """


@checkpoints.command()
@click.option("--from", "origin", metavar="URL", help="Where they are; checkpoints.url unless given.")
@click.option("--to", "target", metavar="URL", required=True, help="Where they are to be, written as checkpoints.url.")
@json_option
@pass_invocation
def copy(invocation: Invocation, origin: str | None, target: str, as_json: bool) -> int:
    """Copy the newest checkpoint of every source that goes on to another store. Stop the workers first; set checkpoints.url after it.

    What is there already, at the same offset or a greater one, is left. Exit 1 if of a source there are checkpoints and none verifies.

    \b
    Examples:
      marquee checkpoints copy --to 's3://films/marquee?region=eu-west-1'
    """
    from connectors.checkpoint_store import checkpoint_store, require_checkpoints
    from connectors.source_notes import SourceNotes
    from marquee.sources import opened

    settings = invocation.settings
    from_there, to_there = (_at(settings, url) for url in (origin or settings.checkpoints.url, target))
    with opened(settings) as session:
        sources = [source for source, ended in SourceNotes(session, settings.cassandra).sources() if not ended]
        stores = [checkpoint_store(each, session) for each in (from_there, to_there)]
        for each in (from_there, to_there):
            asyncio.run(require_checkpoints(each))
        found = {source: asyncio.run(_copied(source, *stores)) for source in sources}
    documents = [{"source": str(source), "offset": offset, "outcome": outcome} for source, (offset, outcome) in found.items()]
    if as_json:
        emit({"sources": documents})
    else:
        table(("source", "offset", "outcome"), [tuple(one.values()) for one in documents], right=("offset",))
        say(f"{sum(outcome == 'copied' for _, outcome in found.values())} of {len(found)} copied")
    return 1 if any(offset is None and outcome != "none" for offset, outcome in found.values()) else 0


def _at(settings: Settings, url: str) -> Settings:
    """With checkpoints there. Raises UsageError for what is no such URL."""
    from connectors.object_url import ObjectUrl
    from topologies.settings import IN_CASSANDRA

    if url != IN_CASSANDRA:
        try:
            ObjectUrl.of(url)
        except UsageError as error:
            raise UsageError(f"{error}; or write {IN_CASSANDRA} for Cassandra") from None
    return replace(settings, checkpoints=replace(settings.checkpoints, url=url))


async def _copied(source: Source, origin: CheckpointStore, target: CheckpointStore) -> tuple[int | None, str]:
    """The offset at which the target has it now, and what was done: copied, or why not."""
    try:
        newest = await origin.newest(source)
    except CheckpointError as error:
        return None, str(error)
    if newest is None:
        return None, "none"
    try:
        there = await target.newest(source)
    except CheckpointError:
        there = None  # what is there is no use
    if there is not None and there.offset >= newest.offset:
        return there.offset, "there already"
    await target.write(source, newest.offset, newest.writer, newest.payload)
    return newest.offset, "copied"


COMMAND = checkpoints
