"""`marquee bench views`: what each view costs in the fold, and what its cells weigh and take to be written."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any, Final

import click

from connectors import cassandra
from connectors.cassandra_schema import ensure_schema
from connectors.cassandra_store import CellStore
from connectors.redis_cache import CellCache, FlushOutcome
from loadgen.audience import make_plan, make_world
from loadgen.faults import Faults
from loadgen.shard import Shard
from marquee.arena import apart, arena, cluster_option, show
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.log_blocks import block_of
from marquee.output import json_option, say
from topologies.blocks import RecordBlock
from topologies.errors import MarqueeError
from topologies.fold import PartitionState
from topologies.settings import Settings
from topologies.sources import Source
from topologies.view import View
from topologies.views import VIEWS, every_part
from topologies.warm import warm

SPAN_MS: Final = 3_600_000
TITLES: Final = 18_214
REGIONS: Final = 6
RECORDS: Final = {"json": 8_192, "arrow": 4}
"""Of a block: what a fetch brings."""
_CHUNK_MS: Final = 60_000


@click.command()
@click.option(
    "--events", type=click.IntRange(min=1), default=1_250_000, show_default=True, help="Of one partition: an eighth of the drain's."
)
@format_option
@click.option("--repeat", type=click.IntRange(min=1), default=5, show_default=True, help="Figures of the fold are medians of so many.")
@cluster_option
@json_option
@pass_invocation
def views(invocation: Invocation, events: int, encoding: str, repeat: int, given: bool, as_json: bool) -> int:
    """Fold one partition's hour of events with each view alone, with none and with all; then write each view's cells.

    us_an_event is the CPU of one thread from a fetched batch to the folded cells: of a view what it adds to decoding and admission, which
    are done with no view too. Cells are written to real servers as a flush of all of them does it, by wall time, the encoding included.

    \b
    Examples:
      marquee bench views --json
      marquee bench views --format arrow --events 300000 --repeat 3
    """
    say(f"making {events:,} events")
    log = made(events, encoding)
    warm()
    document = {"events": events, "format": encoding, **folded(log, events, repeat)}
    with arena(invocation.settings, "views", given, services=("redis", "cassandra")) as (settings, _, _cluster):
        own = apart(settings, f"views{os.getpid()}")  # sources that nobody reads on would hold up what is live for ever
        for name, figures in asyncio.run(_written(own, log)).items():
            document["views"][name] |= figures
    show(document, as_json)
    return 0


def made(events: int, encoding: str) -> list[RecordBlock]:
    """One partition's log of the hour that ends now: the audience of the drain benchmark, without faults."""
    limits = Faults().limits()
    world = make_world(
        seed=1, span_ms=SPAN_MS, live=False, titles=TITLES, regions=REGIONS, vanish=0.02, faults=limits, first_hour=0
    )  # fmt: skip
    shard = Shard(make_plan(world, events), "bench", REGIONS, int(time.time() * 1000) - SPAN_MS, 1, frozenset({0}), encoding)
    blocks: list[RecordBlock] = []
    first = 0
    for chunk in shard.chunks(_CHUNK_MS):
        times_ms = chunk.arrivals_ms.tolist()
        for low in range(0, len(chunk.values), RECORDS[encoding]):
            part = slice(low, low + RECORDS[encoding])
            blocks.append(block_of(chunk.values[part], times_ms[part], first))
            first = blocks[-1].next_offset
    return blocks


def folded(log: Sequence[RecordBlock], events: int, repeat: int) -> dict[str, Any]:
    """µs an event with no view, with each alone and with all. One after the other in each round, so that none has a quieter machine."""
    chosen: dict[str, tuple[View, ...]] = {"": (), **{name: view.parts for name, view in VIEWS.items()}, "all": every_part()}
    rounds: list[dict[str, float]] = []
    for number in range(repeat + 1):  # what is compiled for one view alone is compiled in the first, which does not count
        say(f"folding, round {number} of {repeat}" if number else "folding")
        rounds.append({name: _cpu_s(log, parts) / events * 1e6 for name, parts in chosen.items()})
    rounds = rounds[1:]
    alone = {name: statistics.median(found[name] - found[""] for found in rounds) for name in VIEWS}
    return {
        "no_view_us_an_event": round(statistics.median(found[""] for found in rounds), 4),
        "all_views_us_an_event": round(statistics.median(found["all"] for found in rounds), 4),
        "views": {name: {"us_an_event": round(us, 4)} for name, us in alone.items()},
    }


def _cpu_s(log: Sequence[RecordBlock], parts: Sequence[View]) -> float:
    state = PartitionState(Source("bench", "views", "0" * 22, 0), parts)
    begun = time.thread_time()
    for block in log:
        state.apply(block)
    return time.thread_time() - begun


async def _written(settings: Settings, log: Sequence[RecordBlock]) -> dict[str, dict[str, Any]]:
    """Of each view: its cells, their bytes in memory and in Cassandra, and how many a second each store took."""
    parts = every_part()
    session = cassandra.connect(settings.cassandra)
    cache = CellCache(settings.redis, parts)
    try:
        ensure_schema(session, settings.cassandra, parts)
        store = CellStore(session, settings.cassandra, parts)
        found = {}
        for number, (name, view) in enumerate(VIEWS.items()):
            say(f"writing {name}")
            state = PartitionState(Source("bench", "views", f"{number:022d}", 0), view.parts)
            for block in log:
                state.apply(block)
            found[name] = await _stored(store, state) | await _cached(cache, state)
        return found
    finally:
        await cache.close()
        cassandra.close(session)


async def _stored(store: CellStore, state: PartitionState) -> dict[str, Any]:
    cells = sum(len(held) for held in state.canonical()["cells"].values())
    begun = time.perf_counter()
    packs, _ = state.take_packs()
    await store.write_packs(state.source, state.offset, packs)
    wall_s = time.perf_counter() - begun
    await store.write_status(state.status())
    if not cells:
        raise MarqueeError("a view has no cell after the whole log; give more --events")
    return {
        "cells": cells,
        "packs": len(packs),
        "bytes_a_cell": round(sum(len(pack.blob) for pack in packs) / cells, 1),
        "cassandra_cells_per_s": round(cells / wall_s),
    }


async def _cached(cache: CellCache, state: PartitionState) -> dict[str, Any]:
    begun = time.perf_counter()
    batches, _ = state.take_cached()
    cells = sum(len(batch.keys) for batch in batches)
    if not cells:
        return {}
    outcome = await cache.flush(state.status(), batches, last_applied=None, worker="bench", at_ms=int(time.time() * 1000))
    if outcome is not FlushOutcome.WRITTEN:
        raise MarqueeError(f"Redis did not take the cells of {state.views[0].family}: {outcome.name.lower()}")
    return {"redis_cells": cells, "redis_cells_per_s": round(cells / (time.perf_counter() - begun))}


COMMAND = views
