"""Cells for the cache's tests: two views, one with a leaderboard of three measures, one with a single measure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import numpy as np

from connectors.cell_id import CellId, join_key
from connectors.redis import BOARD_FEWEST
from connectors.redis_cache import CellCache
from connectors.redis_reader import CellReader
from topologies.flushes import CellBatch
from topologies.settings import Settings
from topologies.sources import Source, SourceStatus
from topologies.texts import Texts
from topologies.view import HOUR, LIVE, Measure, View

NOW_MS: Final = 4_000_000_000_000
"""A time far ahead (2096), so that no window of the tests expires while they run."""
START_MS: Final = NOW_MS - NOW_MS % HOUR.length_ms
WATCHED: Final = View(
    name="watched",
    summary="time watched",
    groupings=(("title", "region"),),
    windows=(HOUR,),
    measures=(
        Measure("plays", "plays", count_of="play_start"),
        Measure("watched_ms", "time", sum_of="watched_ms"),
        Measure("attempts", "requests", count_of="play_request"),
    ),
    leaderboard="watched_ms",
)
VIEWERS: Final = View(
    name="viewers",
    summary="viewers now",
    groupings=(("title",), ()),
    windows=(LIVE,),
    measures=(Measure("viewers", "sessions"),),
    leaderboard="viewers",
)
VIEWS: Final = (WATCHED, VIEWERS)

Cells = Mapping[tuple[str, ...], tuple[int, ...]]


def source(partition: int) -> Source:
    return Source("local", "viewing-events", "AAAAAAAAAAAAAAAAAAAA-_", partition)


def status(partition: int, offset: int) -> SourceStatus:
    return SourceStatus(source(partition), offset, 1000 + offset, 900 + offset, offset, offset, 0, 0, 0)


def watched(cells: Cells, start_ms: int = START_MS) -> CellBatch:
    return _batch(WATCHED, cells, start_ms, 0)


def viewers(cells: Cells, grouping: int = 0) -> CellBatch:
    return _batch(VIEWERS, cells, 0, grouping)


def _batch(view: View, cells: Cells, start_ms: int, grouping: int) -> CellBatch:
    values = np.array(list(cells.values()), dtype=np.int64).reshape(len(cells), len(view.measures))
    return CellBatch(view, view.windows[0], start_ms, grouping, Texts.of([join_key(key) for key in cells]), values)


def named(batch: CellBatch, key: tuple[str, ...]) -> CellId:
    return CellId(batch.view.name, 1, batch.window.name, batch.start_ms, batch.grouping, key)


@asynccontextmanager
async def open_cache(settings: Settings) -> AsyncIterator[CellCache]:
    cache = CellCache(settings.redis, VIEWS)
    try:
        await cache.connect()
        yield cache
    finally:
        await cache.close()


def assert_totals_are_sums(reader: CellReader, partitions: int) -> None:
    """Totals, and the leaderboard, are what the sources' cells add up to; no zero stands anywhere."""
    for look in reader.snapshot([source(partition) for partition in range(partitions)]):
        place = 1 if look.view == WATCHED.name else 0
        sums: dict[tuple[str, ...], tuple[int, ...]] = {}
        for cells in look.sources.values():
            for key, values in cells.items():
                assert any(values)
                sums[key] = tuple(a + b for a, b in zip(sums.get(key, (0,) * len(values)), values, strict=True))
        assert look.totals == {key: values for key, values in sums.items() if any(values)}
        ranked = {key: values[place] for key, values in look.totals.items()}
        assert look.board is not None
        floor = min(look.board.values(), default=0)
        assert look.board == {key: total for key, total in ranked.items() if total >= floor}
        assert len(look.board) >= min(len(ranked), BOARD_FEWEST)
