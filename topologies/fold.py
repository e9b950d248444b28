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

from topologies.admission import (
    APPLIED,
    DEAD_MALFORMED,
    DONE,
    LATE,
    NEED_ISLANDS,
    NEED_KEYS,
    NEED_ROWS,
    NEED_SAMPLES,
    NEED_TELLINGS,
    REASONS,
    Batch,
    admit,
)
from topologies.blocks import RecordBlock as RecordBlock
from topologies.bookmarks import Bookmarks
from topologies.cells import CACHE, DURABLE, Taken, TumblingCells
from topologies.dictionary import Dictionary
from topologies.errors import DeclarationError, SourceError
from topologies.flushes import CellBatch, Pack
from topologies.live_cells import LiveCells
from topologies.live_counts import LiveArrays, no_live_view, sweep
from topologies.rows import KNOWN_TEXTS, RowReader, Rows
from topologies.session_rows import (
    APPLIED_COUNT,
    CLOCK,
    DEAD_COUNT,
    DUPLICATE_COUNT,
    LATE_COUNT,
    LIVE_DIMENSIONS,
    RECEIVED,
    SAMPLES,
)
from topologies.sessions import SessionTable
from topologies.sketch_cells import SketchCells
from topologies.sources import Source, SourceStatus
from topologies.sparse_cells import SparseCells
from topologies.spells import SPELL_DIMENSIONS, TELLINGS, close_silent
from topologies.view import LIVE, SESSION_DIMENSIONS, View, Window


@dataclass(frozen=True)
class Refused:
    """An event that is not counted in any view: dead with its reason, or late (reason "late").

    record: which of its block's; row: which of that record's, 0 for JSON.
    """

    record: int
    row: int
    reason: str


@dataclass(frozen=True)
class FlushTaken:
    """What a flush took, by view; `PartitionState.put_back` marks it lacking again."""

    store: int
    by_view: tuple[tuple[str, Taken], ...]


class PartitionState:
    """All that is known of one source at `offset`: dictionaries, sessions, cells, counters."""

    def __init__(self, source: Source, views: Sequence[View], offset: int = 0, *, bookmarks: bool = False) -> None:
        """bookmarks: whether those of continue_watching are kept, which is no View."""
        self.source = source
        self.views = tuple(views)
        self.offset = offset
        live = _live_view(self.views)
        self.dimensions = _dimensions(self.views, live, ("title",) if bookmarks else ())
        """The live view's first."""
        self._asked = _asked(self.views) | ({"position_s", "runtime_s"} if bookmarks else frozenset())
        self._hashed = frozenset(view.distinct.of for view in self.views if view.distinct is not None)
        of_sessions = any(view.of == "session" for view in self.views)
        known = dict.fromkeys((*self.dimensions, *(SPELL_DIMENSIONS if of_sessions else ())))
        self.dictionaries = {dimension: Dictionary(KNOWN_TEXTS.get(dimension)) for dimension in known}
        places = {name: self.dimensions.index(name) for name in SESSION_DIMENSIONS} if of_sessions else {}
        self.sessions = SessionTable(**places)
        self.live = LiveCells(live, self.dimensions, self.dictionaries) if live is not None else None
        self.tumbling = [
            made(view, windows, self.dimensions if view.of == "event" else SPELL_DIMENSIONS, self.dictionaries)
            for view in self.views
            if view is not live
            for made, windows in _tables(view)
            if windows
        ]
        self.bookmarks = Bookmarks(self.dictionaries["title"]) if bookmarks else None

    @property
    def nbytes(self) -> int:
        """Bytes that the state's tables take."""
        cells = sum(cells.nbytes for cells in self.tumbling) + (self.live.nbytes if self.live else 0)
        cells += self.bookmarks.nbytes if self.bookmarks else 0
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
            viewers = self.bookmarks.profiles if self.bookmarks is not None else None
            rows = RowReader(self.dimensions, self.dictionaries, self._asked, self._hashed, viewers).read(block)
            clock = int(self.sessions.counters[CLOCK])
            classes, outcomes = self._admit(rows)
            weights = (classes == APPLIED).view(np.int8)
            for cells in self.tumbling:
                if cells.view.of == "event":
                    cells.fold(weights, rows.integers, outcomes, rows.dims)
            if self.bookmarks is not None:
                batch = Batch(rows.kinds, rows.timestamps, rows.integers, rows.ids, rows.tells, rows.dims, classes, outcomes)
                self.bookmarks.fold(batch, self.dimensions.index("title"), len(self.dimensions), clock)
            self._sweep()
            refused = _refused(classes, rows)
        self.offset = block.next_offset
        return refused

    def _live_arrays(self) -> LiveArrays:
        return self.live.arrays() if self.live is not None else _NO_LIVE_VIEW

    def _admit(self, rows: Rows) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
        """Each row's class and outcome."""
        classes, outcomes = np.zeros(len(rows.kinds), dtype=np.uint8), np.zeros(len(rows.kinds), dtype=np.int8)
        batch = Batch(rows.kinds, rows.timestamps, rows.integers, rows.ids, rows.tells, rows.dims, classes, outcomes)
        done, lack = 0, NEED_ROWS
        while lack != DONE:
            done, lack = admit(done, batch, self.sessions.arrays, self._live_arrays(), self.sessions.spells)
            if lack == NEED_ROWS:
                self.sessions.make_room()
            elif lack == NEED_ISLANDS:
                self.sessions.make_island_room()
            elif lack == NEED_TELLINGS:
                self._fold_tellings()
            elif self.live is not None and lack == NEED_KEYS:
                self.live.grow_keys()
            elif self.live is not None and lack == NEED_SAMPLES:
                self.live.grow_samples(int(self.sessions.counters[SAMPLES]))
        return classes, outcomes

    def _sweep(self) -> None:
        if self.sessions.counters[CLOCK] >= 0:
            sweep(int(self.sessions.counters[CLOCK]), self.sessions.arrays, self._live_arrays())
        while not close_silent(self.sessions.arrays, self.sessions.spells):
            self._fold_tellings()
        self._fold_tellings()

    def _fold_tellings(self) -> None:
        """Have the views of sessions know what they were told."""
        spells = self.sessions.spells
        count = int(spells.waiting[0])
        if not count:
            return
        for cells in self.tumbling:
            if cells.view.of == "session":
                cells.fold(spells.weights[:count], spells.facts, _NO_OUTCOMES[:count], spells.dims)
        spells.waiting[0] = 0

    # -- flushes ------------------------------------------------------------------------------------------------

    def _cells(self) -> Iterator[TumblingCells | SparseCells | LiveCells]:
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
            taken.append((cells.name, marks))
        return batches, FlushTaken(CACHE, tuple(taken))

    def take_packs(self) -> tuple[list[Pack], FlushTaken]:
        """The packs of which the durable store lacks a cell, as they stand at `offset`."""
        packs: list[Pack] = []
        taken: list[tuple[str, Taken]] = []
        for cells in self._cells():
            more, marks = cells.take_packs(int(self.sessions.counters[SAMPLES])) if isinstance(cells, LiveCells) else cells.take_packs()
            packs += more
            taken.append((cells.name, marks))
        return packs, FlushTaken(DURABLE, tuple(taken))

    def put_back(self, taken: FlushTaken) -> None:
        """The store did not get it: it lacks these cells still."""
        marks = dict(taken.by_view)
        for cells in self._cells():
            cells.put_back(marks[cells.name], taken.store)

    def mark_all(self, store: int) -> None:
        """That store is to get every cell again."""
        for cells in self._cells():
            cells.mark_all(store)
        if self.bookmarks is not None:
            self.bookmarks.mark_all(store)

    def close_final(self) -> None:
        """Drop what can never change again and is durable. Not while a flush to the durable store is under way."""
        watermark = self.sessions.watermark_ms()
        for cells in self._cells():
            if isinstance(cells, LiveCells):
                self.sessions.counters[SAMPLES] = cells.close_final(watermark, int(self.sessions.counters[SAMPLES]))
            else:
                cells.close_final(watermark)
        if self.bookmarks is not None:
            self.bookmarks.close(watermark)

    def canonical(self) -> dict[str, Any]:
        """The state without the accidents of its tables, for comparing two of them."""
        samples = int(self.sessions.counters[SAMPLES])
        return {
            "status": self.status(),
            "cells": {c.name: c.canonical(samples) if isinstance(c, LiveCells) else c.canonical() for c in self._cells()},
            "sessions": self.sessions.canonical(),
            "bookmarks": self.bookmarks.canonical(self.sessions.watermark_ms()) if self.bookmarks is not None else {},
        }


_NO_LIVE_VIEW: Final = no_live_view()
_NO_OUTCOMES: Final = np.zeros(TELLINGS, dtype=np.int8)


def _tables(view: View) -> tuple[tuple[type[TumblingCells | SparseCells], tuple[Window, ...]], ...]:
    """Which tables keep the view's cells, in which of its windows."""
    if view.distinct is not None:
        return ((SketchCells, view.windows),)
    return (TumblingCells, _long(view)), (SparseCells, _short(view))


def _long(view: View) -> tuple[Window, ...]:
    """Windows that fill a pack."""
    return tuple(window for window in view.windows if window.length_ms >= window.pack_ms)


def _short(view: View) -> tuple[Window, ...]:
    """Windows of which a pack holds several."""
    return tuple(window for window in view.windows if window.length_ms < window.pack_ms)


def _asked(views: Sequence[View]) -> frozenset[str]:
    """The integers of events that these views are made of."""
    measures = [measure for view in views if view.of == "event" for measure in view.measures]
    fields = {field for measure in measures for field in (measure.sum_of, measure.times) if field}
    return frozenset(fields | {"position_s", "runtime_s"} if any(view.of == "session" for view in views) else fields)


def _live_view(views: Sequence[View]) -> View | None:
    live = [view for view in views if LIVE in view.windows]
    if len(live) > 1:
        raise DeclarationError(f"only one view may have the live window; {', '.join(view.name for view in live)} have it")
    return live[0] if live else None


def _dimensions(views: Sequence[View], live: View | None, more: tuple[str, ...]) -> tuple[str, ...]:
    followed = sorted(live.dimensions) if live is not None else []
    if live is not None and len(followed) > LIVE_DIMENSIONS:
        raise DeclarationError(f"view {live.name}: a live view may be by {LIVE_DIMENSIONS} dimensions; {', '.join(followed)} are more")
    asked = {*more, *(dimension for view in views if view.of == "event" for dimension in view.dimensions)}
    if any(view.of == "session" for view in views):
        asked |= set(SESSION_DIMENSIONS)
    others = sorted(asked - set(followed))
    return (*followed, *others)


def _refused(classes: NDArray[np.uint8], rows: Rows) -> list[Refused]:
    refused: list[Refused] = []
    for row in np.flatnonzero(classes >= LATE).tolist():
        kind = int(classes[row])
        reason = "late" if kind == LATE else rows.reasons[row] if kind == DEAD_MALFORMED else REASONS[kind]
        refused.append(Refused(*rows.place(row), reason))
    return refused
