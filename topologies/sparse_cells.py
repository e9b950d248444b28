"""Cells of one part in windows that are short and many: a cell a key and window start that has something, in one pool.

Minutes of trending would be 75 dense frames of 120,000 keys (150 MB a partition); of these a few in a hundred are not empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.cells import BOTH, CACHE, DONE, DURABLE, NEED_KEYS, Taken
from topologies.compiled import Word, inlined, lean, mix, signed, unsigned
from topologies.dictionary import Dictionary
from topologies.flushes import CellBatch, Pack
from topologies.keys import KeyTable
from topologies.measuring import MeasureArrays, find_cell_key, keep, measure, measure_arrays
from topologies.packing import packs_of
from topologies.packs import BUCKETS
from topologies.sources import LATENESS_MS
from topologies.view import View, Window

NEED_CELLS: Final = 3
_ROOM: Final = 1024


class PoolArrays(NamedTuple):
    """The pool as kernels take it.

    lengths i64[windows]: ms. lookup, words, used: a KeyTable's index, words and count. places i32[2^k]: cell + 1 by hash of key and mark,
    0 where free. keys i32, marks i64[cells]: a mark is the window's start + its place among the windows, whose lengths are whole minutes.
    values i64[cells, measures], dirty u8[cells]. held i64[1]: cells in use.
    """

    lengths: NDArray[np.int64]
    lookup: NDArray[np.int32]
    words: NDArray[np.int64]
    used: NDArray[np.int64]
    places: NDArray[np.int32]
    keys: NDArray[np.int32]
    marks: NDArray[np.int64]
    values: NDArray[np.int64]
    dirty: NDArray[np.uint8]
    held: NDArray[np.int64]


@inlined
def _home(key: Word, mark: Word, mask: Word) -> Word:
    return mix(unsigned(mark) ^ (unsigned(key) * unsigned(0x9E3779B97F4A7C15))) & mask


@inlined
def find_cell(key: Word, mark: Word, pool: PoolArrays) -> Word:
    """The cell's place, made if new; the pool has room."""
    mask = unsigned(pool.places.shape[0] - 1)
    slot = _home(key, mark, mask)
    while True:
        cell = signed(pool.places[slot]) - 1
        if cell < 0:
            cell = pool.held[0]
            pool.keys[cell] = key
            pool.marks[cell] = mark
            pool.places[slot] = cell + 1
            pool.held[0] = cell + 1
            return cell
        if pool.keys[cell] == key and pool.marks[cell] == mark:
            return cell
        slot = (slot + unsigned(1)) & mask


@lean
def _reindex(keys: np.ndarray, marks: np.ndarray, held: Word, places: np.ndarray) -> None:
    mask = unsigned(places.shape[0] - 1)
    for cell in range(held):
        slot = _home(signed(keys[cell]), marks[cell], mask)
        while places[slot] != 0:
            slot = (slot + unsigned(1)) & mask
        places[slot] = cell + 1


@lean
def _fold(
    first: Word,
    weights: np.ndarray,
    integers: np.ndarray,
    outcomes: np.ndarray,
    dims: np.ndarray,
    measures: MeasureArrays,
    pool: PoolArrays,
) -> tuple[Word, Word]:
    """Add rows from `first` on to their cells. Returns (rows done, what must grow before the next)."""
    groupings, windows = measures.plan.shape[0], pool.lengths.shape[0]
    for at in range(first, weights.shape[0]):
        weight = signed(weights[at])
        if weight == 0 or not measure(integers, outcomes, dims, at, measures):
            continue
        needed = pool.used[0] + groupings
        if needed > pool.words.shape[0] or 2 * needed >= pool.lookup.shape[0]:
            return signed(at), signed(NEED_KEYS)
        if pool.held[0] + groupings * windows > pool.keys.shape[0]:
            return signed(at), signed(NEED_CELLS)
        ts = integers[measures.ts, at]
        for grouping in range(groupings):
            key = find_cell_key(dims, at, grouping, measures, pool.lookup, pool.words, pool.used)
            for window in range(windows):
                cell = find_cell(key, ts - ts % pool.lengths[window] + window, pool)
                pool.dirty[cell] = BOTH
                keep(pool.values, cell, weight, measures)
    return signed(weights.shape[0]), signed(DONE)


class SparseCells:
    """Cells of a part in those of its windows that are short. Taken and put back as TumblingCells' are."""

    def __init__(
        self, view: View, windows: tuple[Window, ...], dimensions: tuple[str, ...], dictionaries: Mapping[str, Dictionary]
    ) -> None:
        self.view = view
        self.name = f"{view.name}:{'+'.join(window.name for window in windows)}"
        """Its name in a checkpoint."""
        self.keys = KeyTable(view, dictionaries)
        self._windows = windows
        self._dictionaries = dictionaries
        self._measures = measure_arrays(view, dimensions)
        self._lengths = np.array([window.length_ms for window in windows], dtype=np.int64)
        self._cached = np.array([window.cached for window in windows])
        self._flying: set[int] = set()
        """Marks of which the last flush to the cache took cells; whether it succeeded is known at the next."""
        self._held = np.zeros(1, dtype=np.int64)
        self._keys, self._marks = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64)
        self._values, self._dirty = np.zeros((0, len(view.measures)), dtype=np.int64), np.zeros(0, dtype=np.uint8)
        self._places = np.zeros(0, dtype=np.int32)
        self._shape(_ROOM)

    def _shape(self, capacity: int) -> None:
        """Make room for so many cells, and keep those in use."""
        held = len(self)
        keys, marks, values, dirty = self._keys[:held], self._marks[:held], self._values[:held], self._dirty[:held]
        self._keys, self._marks = np.zeros(capacity, dtype=np.int32), np.zeros(capacity, dtype=np.int64)
        self._values, self._dirty = np.zeros((capacity, values.shape[1]), dtype=np.int64), np.zeros(capacity, dtype=np.uint8)
        self._keys[:held], self._marks[:held], self._values[:held], self._dirty[:held] = keys, marks, values, dirty
        self._places = np.zeros(1 << (2 * capacity - 1).bit_length(), dtype=np.int32)
        _reindex(self._keys, self._marks, held, self._places)

    def __len__(self) -> int:
        return int(self._held[0])

    def rebind(self, dictionaries: Mapping[str, Dictionary]) -> None:
        """Take the dictionaries of a restored state."""
        self._dictionaries = dictionaries

    @property
    def nbytes(self) -> int:
        pool = (self._keys, self._marks, self._values, self._dirty, self._places)
        return self.keys.nbytes + sum(column.nbytes for column in pool)

    def fold(self, weights: NDArray[np.int8], integers: NDArray[np.int64], outcomes: NDArray[np.int8], dims: NDArray[np.int32]) -> None:
        """Add n rows, as TumblingCells does."""
        done, lack = 0, NEED_CELLS
        while lack != DONE:
            done, lack = _fold(done, weights, integers, outcomes, dims, self._measures, self._arrays())
            if lack == NEED_KEYS:
                self.keys.grow()
            elif lack == NEED_CELLS:
                self._shape(2 * len(self._keys))

    def _arrays(self) -> PoolArrays:
        return PoolArrays(
            self._lengths, self.keys.index, self.keys.words, self.keys.count, self._places, self._keys, self._marks, self._values,
            self._dirty, self._held,
        )  # fmt: skip

    # -- flushes ------------------------------------------------------------------------------------------------

    def _take(self, store: int) -> NDArray[np.intp]:
        """The cells that the store lacks, from the earliest mark on; they are not lacking any more."""
        held = len(self)
        cells = np.flatnonzero(self._dirty[:held] & store)
        self._dirty[cells] &= ~np.uint8(store)
        return cells[np.argsort(self._marks[cells], kind="stable")]

    def _by_mark(self, cells: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """Cells in the order of their marks, a mark at a time."""
        if not len(cells):
            return
        marks, begins = np.unique(self._marks[cells], return_index=True)
        yield from zip(marks.tolist(), np.split(cells, begins[1:]), strict=True)

    def _window_of(self, mark: int) -> tuple[int, int]:
        """Place of the mark's window, and its start."""
        return mark % 60_000, mark - mark % 60_000

    def _taken(self, cells: NDArray[np.intp]) -> Taken:
        return Taken(tuple((*self._window_of(mark), self._keys[part].astype(np.intp)) for mark, part in self._by_mark(cells)))

    def take_cached(self) -> tuple[list[CellBatch], Taken]:
        """The cells that the cache lacks. Most of these parts are in Cassandra alone: nothing is looked through for them."""
        if not self._cached.any():
            return [], Taken(())
        self._flying.clear()
        cells = self._take(CACHE)
        cells = cells[self._cached[self._marks[cells] % 60_000]]
        batches: list[CellBatch] = []
        groupings = self.keys.groupings()
        for mark, part in self._by_mark(cells):
            place, start = self._window_of(mark)
            self._flying.add(mark)
            for grouping in range(len(self.view.groupings)):
                chosen = part[groupings[self._keys[part]] == grouping]
                if len(chosen):
                    texts = self.keys.chosen(self._keys[chosen].astype(np.intp))
                    batches.append(CellBatch(self.view, self._windows[place], start, grouping, texts, self._values[chosen]))
        return batches, self._taken(cells)

    def take_packs(self) -> tuple[list[Pack], Taken]:
        """Every pack of which the durable store lacks a cell, whole."""
        cells = self._take(DURABLE)
        packs: list[Pack] = []
        if len(cells):
            buckets = self.keys.buckets()
            spans = self._spans()
            for span in np.unique(spans[cells]).tolist():
                wanted = np.zeros(BUCKETS, dtype=np.bool_)
                wanted[buckets[self._keys[cells[spans[cells] == span]]]] = True
                packs += self._packs_of(span, np.flatnonzero(spans == span), wanted)
        return packs, self._taken(cells)

    def _spans(self) -> NDArray[np.int64]:
        """Of each cell the start of the span that its pack covers + its window's place."""
        marks = self._marks[: len(self)]
        places = marks % 60_000
        lengths = np.array([window.pack_ms for window in self._windows], dtype=np.int64)[places]
        return (marks - places) // lengths * lengths + places

    def _packs_of(self, span: int, cells: NDArray[np.intp], wanted: NDArray[np.bool_]) -> list[Pack]:
        place, pack_ms = self._window_of(span)
        cells = cells[wanted[self.keys.buckets()[self._keys[cells]]] & self._values[cells].any(axis=1)]
        starts = self._marks[cells] - place
        return packs_of(
            self.view, self._windows[place], pack_ms, self.keys, self._keys[cells].astype(np.intp), starts, self._values[cells], wanted
        )

    def put_back(self, taken: Taken, store: int) -> None:
        """Mark as lacking what a flush took and could not write."""
        held = len(self)
        for place, start, keys in taken.cells:
            cells = np.flatnonzero(self._marks[:held] == start + place)
            self._dirty[cells[np.isin(self._keys[cells], keys)]] |= np.uint8(store)

    def mark_all(self, store: int) -> None:
        """Mark every cell as lacking in that store."""
        held = len(self)
        self._dirty[:held][self._values[:held].any(axis=1)] |= np.uint8(store)

    def close_final(self, watermark_ms: int) -> None:
        """Drop the spans that are final, and durable, and in the cache (or no longer wanted there): a pack is written whole."""
        if not len(self):
            return
        spans = self._spans()
        done = [span for span in np.unique(spans).tolist() if self._is_done(span, spans == span, watermark_ms)]
        if done:
            self._keep_cells(~np.isin(spans, done))

    def _is_done(self, span: int, cells: NDArray[np.bool_], watermark_ms: int) -> bool:
        place, pack_ms = self._window_of(span)
        window, dirty = self._windows[place], self._dirty[: len(self)][cells]
        end_ms = pack_ms + window.pack_ms
        if watermark_ms < end_ms + LATENESS_MS or (dirty & DURABLE).any():
            return False
        wanted = window.cached and (not window.retention_s or watermark_ms < end_ms + window.retention_s * 1000)
        flying = self._flying.intersection(self._marks[: len(self)][cells].tolist())
        return not (wanted and (flying or (dirty & CACHE).any()))

    def _keep_cells(self, kept: NDArray[np.bool_]) -> None:
        held, count = len(self), int(kept.sum())
        columns: tuple[NDArray[Any], ...] = (self._keys, self._marks, self._values, self._dirty)
        for column in columns:
            column[:count] = column[:held][kept]
            column[count:held] = 0
        self._held[0] = count
        self._shape(max(_ROOM, 1 << (count + count // 2).bit_length()))

    # -- checkpoints --------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """For a checkpoint: the keys, and the cells with their marks."""
        held = len(self)
        pool: dict[str, NDArray[Any]] = {"keys": self._keys, "marks": self._marks, "values": self._values, "dirty": self._dirty}
        return {"words": self.keys.words[: len(self.keys)].copy(), **{name: column[:held].copy() for name, column in pool.items()}}

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take what `dump` gave, but for the keys that no cell has."""
        used, keys = np.unique(dumped["keys"], return_inverse=True)
        self.keys = KeyTable(self.view, self._dictionaries, dumped["words"][used])
        held = len(dumped["keys"])
        self._held[0] = 0
        self._shape(max(_ROOM, 2 * held))
        self._keys[:held], self._marks[:held] = keys, dumped["marks"]
        self._values[:held], self._dirty[:held] = dumped["values"], dumped["dirty"]
        self._held[0] = held
        _reindex(self._keys, self._marks, held, self._places)

    def canonical(self) -> dict[tuple[str, int, bytes, int], tuple[int, ...]]:
        """Every cell that is not zero: (window, start, key, grouping) → measures. For comparing states."""
        groupings, texts = self.keys.groupings().tolist(), list(self.keys.texts())
        found: dict[tuple[str, int, bytes, int], tuple[int, ...]] = {}
        for cell in np.flatnonzero(self._values[: len(self)].any(axis=1)).tolist():
            place, start = self._window_of(int(self._marks[cell]))
            key = int(self._keys[cell])
            found[self._windows[place].name, start, texts[key], groupings[key]] = self._content(cell)
        return found

    def _content(self, cell: int) -> tuple[int, ...]:
        return tuple(self._values[cell].tolist())
