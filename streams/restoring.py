"""What a partition begins with: its checkpoint, the log's start, or a refusal that says what is lost and how to go on.

    newest checkpoint that verifies          gone on from there; those that did not verify are told. If its views were otherwise in
                                             Redis alone, that gets all cells again
    none verifies, or another version's,     the log is recounted from its start, if it is whole
      or of other views
    the log begins above the checkpoint,     the partition is held until an operator accepts the loss (`marquee source accept-gap`)
      or it cannot be recounted
    never computed, log begins above 0       begun there; what was before is noted as lost

docs/operations.md has the whole table. What is lost is noted in Cassandra before a record behind it is folded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from connectors.checkpoints import Checkpoint, CheckpointStore
from connectors.logs import at
from connectors.source_notes import Gap, Loss
from streams import metrics
from streams.partition import FOREIGN
from topologies.errors import CheckpointError
from topologies.fold import PartitionState
from topologies.sources import Source
from topologies.state_codec import Loaded, load
from topologies.view import View

log = logging.getLogger(__name__)
Make = Callable[..., PartitionState]
"""Makes the source's state at an offset, with nothing in it."""
WAY_ON: Final = "`marquee source accept-gap {source}` goes on without them"


class Notes(Protocol):
    """connectors.source_notes.SourceNotes, as far as it is needed here."""

    def stored(self, source: Source) -> int | None: ...
    def accepted(self, source: Source) -> Loss | None: ...
    def note(self, gap: Gap) -> None: ...
    def gaps(self) -> list[Gap]: ...


@dataclass(frozen=True)
class Restored:
    """durable: offset of the checkpoint that stands; that of the state where there is none, and nothing in the state to be kept.
    cached: version that the cache must hold at least; None when it is to get every cell, FOREIGN when what it has is to go.
    lost: how many records of the source were ever gone before they were folded."""

    state: PartitionState
    durable: int
    cached: int | None
    lost: int = 0


async def restored(
    source: Source, views: Sequence[View], checkpoints: CheckpointStore, notes: Notes, earliest: int, *, bookmarks: bool = False
) -> Restored:
    """The partition's beginning, `earliest` being where its log begins now; of these views, and of continue_watching with `bookmarks`.

    Raises CheckpointError when it cannot be gone on with and nobody has accepted the loss; ServerAway or StoreError when that cannot
    be known.
    """
    with metrics.RESTORE_SECONDS.time():
        make = partial(PartitionState, source, views, bookmarks=bookmarks)
        found = await _found(make, source, checkpoints, notes, earliest)
        lost = sum(gap.records for gap in await asyncio.to_thread(notes.gaps) if gap.source == str(source))
        return replace(found, lost=lost)


async def _found(make: Make, source: Source, checkpoints: CheckpointStore, notes: Notes, earliest: int) -> Restored:
    try:
        checkpoint = await checkpoints.newest(source)
        if checkpoint is None:
            return await _first(make, source, notes, earliest)
        loaded = await _loaded(checkpoint, make())
    except CheckpointError as error:
        if earliest > 0:
            return await _anew(make, source, notes, earliest, str(error))
        log.warning("%s: recounting the log from its start", error, extra=at(source, 0))
        return Restored(make(0), 0, FOREIGN)
    state = loaded.state
    if state.offset < earliest:
        await _pass_over(source, notes, state.offset, state.offset, earliest, f"its checkpoint stands at offset {state.offset}")
        state.offset = earliest
    log.info("%s: restored at offset %d", source, state.offset, extra=at(source, state.offset))
    return Restored(state, checkpoint.offset, FOREIGN if loaded.recached else checkpoint.offset)


async def _loaded(checkpoint: Checkpoint, empty: PartitionState) -> Loaded:
    source = empty.source
    for sentence in checkpoint.skipped:
        metrics.CHECKPOINTS_SKIPPED.inc()
        log.error("%s: %s; going on from the one at offset %d", source, sentence, checkpoint.offset, extra=at(source, checkpoint.offset))
    return await asyncio.to_thread(load, checkpoint.payload, source, empty.views, bookmarks=empty.bookmarks is not None)


async def _first(make: Make, source: Source, notes: Notes, earliest: int) -> Restored:
    """There has never been a checkpoint."""
    if earliest > 0:
        if await asyncio.to_thread(notes.stored, source) is not None:
            return await _anew(make, source, notes, earliest, f"{source} has been computed and has no checkpoint any more")
        reason = "the log began there when it was first read"
        log.warning("%s: the log begins at offset %d; what was before was never counted", source, earliest, extra=at(source, earliest))
        await _noted(notes, Gap(str(source), 0, earliest, reason, _now_ms()))
    return Restored(make(earliest), earliest, None)


async def _anew(make: Make, source: Source, notes: Notes, earliest: int, reason: str) -> Restored:
    """Its state is gone and the log's beginning too: from here on only what comes is counted, if that was accepted."""
    stored = await asyncio.to_thread(notes.stored, source) or 0
    told = f"{reason}; what was not final at offset {stored} is counted anew from offset {earliest} on"
    await _pass_over(source, notes, stored, min(stored, earliest), earliest, told)
    return Restored(make(earliest), earliest, FOREIGN)


async def _pass_over(source: Source, notes: Notes, stood_at: int, first: int, earliest: int, reason: str) -> None:
    """Go on behind what is lost: records `first` to `earliest` − 1. Raises CheckpointError unless that was accepted of a source that
    stood where it does."""
    accepted = await asyncio.to_thread(notes.accepted, source)
    if accepted is None or not accepted.covers(stood_at, earliest):
        raise CheckpointError(
            f"{source} ({source.topic} partition {source.partition}): {reason}, and the log begins at {earliest}: "
            f"{earliest - first} records are gone; {WAY_ON.format(source=source)}"
        )
    log.error("%s: %d records from offset %d on are lost: %s", source, earliest - first, first, reason, extra=at(source, first))
    await _noted(notes, Gap(str(source), first, earliest, reason, _now_ms()))


async def _noted(notes: Notes, gap: Gap) -> None:
    await asyncio.to_thread(notes.note, gap)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
