"""`marquee bench checkpoint`: what it takes to write a partition's checkpoint to where they are kept, and to come back from it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from connectors import cassandra
from connectors.cassandra_schema import ensure_schema
from connectors.checkpoint_store import checkpoint_store
from connectors.checkpoints import CheckpointStore
from connectors.source_notes import SourceNotes
from loadgen.live_sessions import PLACES, LiveSessions
from marquee.arena import arena, cluster_option, show
from marquee.invocation import Invocation, pass_invocation
from marquee.log_blocks import block_of
from marquee.output import json_option, say
from streams.restoring import restored
from topologies.errors import MarqueeError
from topologies.fold import PartitionState, RecordBlock
from topologies.settings import Settings
from topologies.sources import Source
from topologies.state_codec import SnapshotRoom, dump_state, pack_state
from topologies.views import every_part
from topologies.warm import warm

SIZES: Final = (10_000, 100_000, 1_000_000)
ROUNDS: Final = 3
"""Events of each session before its checkpoint."""
_BLOCK: Final = 20_000
_START_MS: Final = 1_760_000_400_000


@click.command()
@click.option("--live-sessions", "sizes", type=click.IntRange(min=1), multiple=True, help="So many; 10 k, 100 k and 1 M unless given.")
@click.option("--repeat", type=click.IntRange(min=1), default=5, show_default=True, help="The figures are medians of so many.")
@cluster_option
@json_option
@pass_invocation
def checkpoint(invocation: Invocation, sizes: tuple[int, ...], repeat: int, given: bool, as_json: bool) -> int:
    """Write and restore the checkpoint of one partition with so many live sessions, all views, where checkpoints.url says.

    write_s is from the state to durable, restore_s from nothing to a state that folds on; the fold stands still for pause_s only. cpu_s is
    this process's CPU of a write, all threads.

    \b
    Examples:
      marquee bench checkpoint --json
      marquee bench checkpoint --live-sessions 1000000
      marquee -s checkpoints.url=file:///srv/marquee bench checkpoint
    """
    asked = sizes or SIZES
    logs = {size: LiveSessions(size, max(ROUNDS * size, PLACES), _START_MS) for size in asked}
    with arena(invocation.settings, "checkpoint", given, services=("cassandra",)) as (settings, _, _cluster):
        warm()
        found = {str(size): asyncio.run(_measured(settings, log, repeat)) for size, log in logs.items()}
    show({"live_sessions": asked[0], **found[str(asked[0])]} if len(asked) == 1 else {"by_live_sessions": found}, as_json)
    return 0


async def _measured(settings: Settings, log: LiveSessions, repeat: int) -> dict[str, Any]:
    say(f"folding {log.events:,} events of {log.sessions:,} sessions")
    state = _state(log)
    session = cassandra.connect(settings.cassandra)
    try:
        ensure_schema(session, settings.cassandra, ())
        store, notes = checkpoint_store(settings, session), SourceNotes(session, settings.cassandra)
        return await _written_and_restored(store, notes, state, repeat)
    finally:
        cassandra.close(session)


async def _written_and_restored(store: CheckpointStore, notes: SourceNotes, state: PartitionState, repeat: int) -> dict[str, Any]:
    room, figures, payload = SnapshotRoom(), [], b""
    room.reserve(len(state.sessions.rows()), len(state.sessions.spell_rows()))
    for _ in range(repeat):
        begun, cpu_s = time.perf_counter(), time.process_time()
        snapshot = dump_state(state, room)
        paused = time.perf_counter()
        payload = await asyncio.to_thread(pack_state, snapshot)
        packed = time.perf_counter()
        await store.write(state.source, state.offset, "bench", payload)
        written = time.perf_counter()
        cpu_s = time.process_time() - cpu_s
        again = (await restored(state.source, state.views, store, notes, 0)).state
        restored_at = time.perf_counter()
        if again.status() != state.status():
            raise MarqueeError("the restored state is another than the written one")
        figures.append((written - begun, restored_at - written, paused - begun, packed - paused, cpu_s))
        del again
    write_s, restore_s, pause_s, encode_s, cpu_s = (statistics.median(column) for column in zip(*figures, strict=True))
    return {
        "write_s": round(write_s, 4),
        "restore_s": round(restore_s, 4),
        "bytes": len(payload),
        "pause_ms": round(pause_s * 1000, 2),
        "encode_s": round(encode_s, 4),
        "cpu_s": round(cpu_s, 4),
        "state_mb": round(state.nbytes / 2**20, 1),
    }


def _state(log: LiveSessions) -> PartitionState:
    state = PartitionState(Source("bench", "live-sessions", f"{log.sessions:022d}", 0), every_part())
    for block in _blocks(log):
        state.apply(block)
    return state


def _blocks(log: LiveSessions) -> Iterator[RecordBlock]:
    for first in range(0, log.events, _BLOCK):
        rows = list(log.values(first, min(_BLOCK, log.events - first)))
        yield block_of([value for _, _, value in rows], [at_ms for at_ms, _, _ in rows], first)


COMMAND = checkpoint
