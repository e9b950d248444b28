"""The state of one partition, as a function of its log: decode, admit, fold into every view.

`PartitionState.apply` takes the next records of the log and nothing else: no wall clock, no random. Any split of the
same log into blocks gives the same state (tests/topologies/test_fold.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.cells import CACHE, DURABLE, Taken, TumblingCells
from topologies.decode import INTEGER, TEXT, Columns, decode
from topologies.dictionary import Dictionary
from topologies.errors import SourceError
from topologies.flushes import CellBatch, Pack
from topologies.live_cells import LiveCells
from topologies.sessions import (
    APPLIED_COUNT,
    CLOCK,
    DEAD_COUNT,
    DEAD_MALFORMED,
    DONE,
    DUPLICATE_COUNT,
    LATE,
    LATE_COUNT,
    NEED_ISLANDS,
    NEED_KEYS,
    NEED_ROWS,
    REASONS,
    RECEIVED,
    SAMPLES,
    SessionTable,
    admit,
    identities,
    sweep,
)
from topologies.sources import Source, SourceStatus
from topologies.view import LIVE, View

LIVE_VIEWS_AT_MOST: Final = 1


@dataclass(frozen=True)
class RecordBlock:
    """The next n records of a partition's log.

    Values are `buffer[starts[i] : ends[i]]` and keys likewise (start −1: null), with compiled.PADDING spare bytes behind the last;
    offsets and timestamps (epoch ms) i64[n]. It was fetched from `first_offset`; the next fetch is from `next_offset`.
    """

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    key_starts: NDArray[np.int64]
    key_ends: NDArray[np.int64]
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    first_offset: int
    next_offset: int

    def __len__(self) -> int:
        return len(self.starts)

    def value(self, row: int) -> bytes | None:
        """The raw value of that row."""
        return self.buffer[self.starts[row] : self.ends[row]].tobytes() if self.starts[row] >= 0 else None

    def key(self, row: int) -> bytes | None:
        """The key of that row."""
        return self.buffer[self.key_starts[row] : self.key_ends[row]].tobytes() if self.key_starts[row] >= 0 else None


@dataclass(frozen=True)
class Refused:
    """A row of a block that is not counted in any view: dead with its reason, or late (reason "late")."""

    row: int
    reason: str


@dataclass(frozen=True)
class FlushTaken:
    """What a flush took, by view; `PartitionState.put_back` marks it lacking again."""

    store: int
    by_view: tuple[tuple[str, Taken], ...]


class PartitionState:
    """All that is known of one source at `offset`: dictionaries, sessions, cells, counters."""

    def __init__(self, source: Source, views: Sequence[View], offset: int = 0) -> None:
        self.source = source
        self.views = tuple(views)
        self.offset = offset
        self.dimensions = tuple(sorted({d for view in views for grouping in view.groupings for d in grouping}))
        self.dictionaries = {dimension: Dictionary() for dimension in self.dimensions}
        self.sessions = SessionTable()
        live = [view for view in views if LIVE in view.windows]
        if len(live) > LIVE_VIEWS_AT_MOST:
            raise SourceError(f"only {LIVE_VIEWS_AT_MOST} view may have the live window; {', '.join(v.name for v in live)} have it")
        self.live = LiveCells(live[0], self.dimensions, self.dictionaries) if live else None
        self.tumbling = [TumblingCells(view, self.dimensions, self.dictionaries) for view in views if view not in live]

    @property
    def nbytes(self) -> int:
        """Bytes that the state's tables take."""
        cells = sum(cells.nbytes for cells in self.tumbling) + (self.live.nbytes if self.live else 0)
        return cells + self.sessions.nbytes + sum(dictionary.nbytes for dictionary in self.dictionaries.values())

    def status(self) -> SourceStatus:
        """How far the source is computed."""
        c = self.sessions.counters.tolist()
        return SourceStatus(
            self.source, self.offset, c[CLOCK], self.sessions.watermark_ms(),
            c[RECEIVED], c[APPLIED_COUNT], c[DUPLICATE_COUNT], c[LATE_COUNT], c[DEAD_COUNT],
        )  # fmt: skip

    def apply(self, block: RecordBlock) -> list[Refused]:
        """Fold the next block in; returns the rows that became dead or late.

        Raises SourceError, untouched, when the block was not fetched from the state's own offset.
        """
        if block.first_offset != self.offset:
            raise SourceError(f"{self.source}: a batch from offset {block.first_offset} does not follow the state at {self.offset}")
        refused: list[Refused] = []
        if len(block):
            columns = decode(block.buffer, block.starts, block.ends)
            dims = self._dimension_numbers(columns)
            classes = self._admit(columns, block.timestamps, dims)
            for cells in self.tumbling:
                cells.fold(classes, columns.integers, dims)
            self._sweep()
            refused = _refused(classes, columns)
        self.offset = block.next_offset
        return refused

    def _dimension_numbers(self, columns: Columns) -> NDArray[np.int32]:
        dims = np.empty((len(columns.kind), len(self.dimensions)), dtype=np.int32)
        events = columns.kind == 0
        for place, dimension in enumerate(self.dimensions):
            spans = columns.spans[:, TEXT[dimension]]
            if not events.all():
                spans = np.where(events[:, None], spans, 0)
            dims[:, place] = self.dictionaries[dimension].intern(columns.buffer, spans)
        return dims

    def _admit(self, columns: Columns, timestamps: NDArray[np.int64], dims: NDArray[np.int32]) -> NDArray[np.uint8]:
        ids, tells = identities(columns)
        classes = np.zeros(len(ids), dtype=np.uint8)
        table = self.sessions
        live = self.live
        done, why = 0, NEED_ROWS
        while why != DONE:
            done, why = admit(
                done, columns.kind, timestamps, columns.integers, INTEGER["ts"], INTEGER["seq"], ids, tells, dims, classes,
                table.counters, table.index, table.rows, table.islands, table.wheel, *_live_arrays(live),
            )  # fmt: skip
            if why == NEED_ROWS:
                table.make_room()
            elif why == NEED_ISLANDS:
                table.make_island_room()
            elif live is not None and why == NEED_KEYS:
                live.grow_keys()
            elif live is not None and why != DONE:
                live.grow_samples(int(table.counters[SAMPLES]))
        return classes

    def _sweep(self) -> None:
        if self.live is not None and self.sessions.counters[CLOCK] >= 0:
            table = self.sessions
            sweep(int(table.counters[CLOCK]), table.counters, table.rows, table.wheel, *_live_arrays(self.live)[:6])

    # -- flushes ------------------------------------------------------------------------------------------------

    def _cells(self) -> Iterator[TumblingCells | LiveCells]:
        yield from self.tumbling
        if self.live is not None:
            yield self.live

    def take_cached(self) -> tuple[list[CellBatch], FlushTaken]:
        """The cells that the cache lacks, as they stand at `offset`."""
        batches: list[CellBatch] = []
        taken: list[tuple[str, Taken]] = []
        for cells in self._cells():
            more, marks = cells.take_cached()
            batches += more
            taken.append((cells.view.name, marks))
        return batches, FlushTaken(CACHE, tuple(taken))

    def take_packs(self) -> tuple[list[Pack], FlushTaken]:
        """The packs of which the durable store lacks a cell, as they stand at `offset`."""
        packs: list[Pack] = []
        taken: list[tuple[str, Taken]] = []
        for cells in self._cells():
            more, marks = cells.take_packs(int(self.sessions.counters[SAMPLES])) if isinstance(cells, LiveCells) else cells.take_packs()
            packs += more
            taken.append((cells.view.name, marks))
        return packs, FlushTaken(DURABLE, tuple(taken))

    def put_back(self, taken: FlushTaken) -> None:
        """The store did not get it: it lacks these cells still."""
        marks = dict(taken.by_view)
        for cells in self._cells():
            cells.put_back(marks[cells.view.name], taken.store)

    def mark_all(self, store: int) -> None:
        """That store is to get every cell again."""
        for cells in self._cells():
            cells.mark_all(store)

    def close_final(self) -> None:
        """Drop what can never change again and is durable. Not while a flush to the durable store is under way."""
        watermark = self.sessions.watermark_ms()
        for cells in self._cells():
            if isinstance(cells, LiveCells):
                self.sessions.counters[SAMPLES] = cells.close_final(watermark, int(self.sessions.counters[SAMPLES]))
            else:
                cells.close_final(watermark)

    def canonical(self) -> dict[str, Any]:
        """The state without the accidents of its tables, for comparing two of them."""
        samples = int(self.sessions.counters[SAMPLES])
        return {
            "status": self.status(),
            "cells": {c.view.name: c.canonical(samples) if isinstance(c, LiveCells) else c.canonical() for c in self._cells()},
            "sessions": self.sessions.canonical(),
        }


def _live_arrays(live: LiveCells | None) -> tuple[NDArray[Any], ...]:
    if live is None:
        return _NO_LIVE
    return (
        live.plan, live.keys.index, live.keys.words, live.keys.count, live.live, live.dirty,
        live.sample_keys, live.sample_starts, live.sample_values,
    )  # fmt: skip


_NO_LIVE: Final[tuple[NDArray[Any], ...]] = (
    np.zeros((0, 3), dtype=np.int64),
    np.zeros(2, dtype=np.int32),
    np.zeros((1, 2), dtype=np.int64),
    np.zeros(1, dtype=np.int64),
    np.zeros(1, dtype=np.int64),
    np.zeros(1, dtype=np.uint8),
    np.zeros(1, dtype=np.int32),
    np.zeros(1, dtype=np.int64),
    np.zeros(1, dtype=np.int64),
)


def _refused(classes: NDArray[np.uint8], columns: Columns) -> list[Refused]:
    refused: list[Refused] = []
    for row in np.flatnonzero(classes >= LATE).tolist():
        kind = int(classes[row])
        if kind == LATE:
            refused.append(Refused(row, "late"))
        else:
            refused.append(Refused(row, columns.reasons[row] if kind == DEAD_MALFORMED else REASONS[kind]))
    return refused
