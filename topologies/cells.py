"""Cells of one view in one partition: what the fold adds to, and what flushes take from.

`TumblingCells` are frames, one a window and start: measures by key, dense. Minutes are many and mostly empty: sparse_cells.py keeps
those. LiveCells are the live counts by key and the minute samples taken of them, which never change once taken. Each cell remembers which
store lacks it (CACHE, DURABLE).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import Word, inlined, lean, signed
from topologies.dictionary import Dictionary
from topologies.flushes import CellBatch, Pack
from topologies.keys import KeyTable
from topologies.measuring import MeasureArrays, find_cell_key, keep, measure, measure_arrays
from topologies.packing import batches_of, packs_of_frame
from topologies.sources import LATENESS_MS
from topologies.view import View, Window

CACHE: Final = 1
DURABLE: Final = 2
BOTH: Final = CACHE | DURABLE
DONE, NEED_KEYS, NEED_FRAME = range(3)


class CellArrays(NamedTuple):
    """A view's cells as the kernel takes them.

    lengths i64[windows]: ms. lookup, words, used: a KeyTable's index, words and count. frames i64[slots, 2]: window and start.
    values i64[slots, keys, measures], dirty u8[slots, keys]. slots i64[windows] is the kernel's own room.
    """

    lengths: NDArray[np.int64]
    lookup: NDArray[np.int32]
    words: NDArray[np.int64]
    used: NDArray[np.int64]
    frames: NDArray[np.int64]
    values: NDArray[np.int64]
    dirty: NDArray[np.uint8]
    slots: NDArray[np.int64]


@inlined
def _find_frames(ts: Word, cells: CellArrays) -> Word:
    """The slot of each window's frame that holds `ts`; False if one is missing. The newest frames are the last."""
    for window in range(cells.lengths.shape[0]):
        slot = cells.frames.shape[0] - 1
        while slot >= 0 and not (cells.frames[slot, 0] == window and 0 <= ts - cells.frames[slot, 1] < cells.lengths[window]):
            slot -= 1
        if slot < 0:
            return False
        cells.slots[window] = slot
    return True


@lean
def _fold(
    first: Word,
    weights: np.ndarray,
    integers: np.ndarray,
    outcomes: np.ndarray,
    dims: np.ndarray,
    measures: MeasureArrays,
    cells: CellArrays,
) -> tuple[Word, Word]:
    """Add rows from `first` on to their cells, each as often as its weight says. Returns (rows done, what must grow before the next)."""
    groupings = measures.plan.shape[0]
    for at in range(first, weights.shape[0]):
        weight = signed(weights[at])
        if weight == 0 or not measure(integers, outcomes, dims, at, measures):
            continue
        if not _find_frames(integers[measures.ts, at], cells):
            return signed(at), signed(NEED_FRAME)
        needed = cells.used[0] + groupings
        if needed > cells.words.shape[0] or 2 * needed >= cells.lookup.shape[0]:
            return signed(at), signed(NEED_KEYS)
        for grouping in range(groupings):
            key = find_cell_key(dims, at, grouping, measures, cells.lookup, cells.words, cells.used)
            for window in range(cells.lengths.shape[0]):
                slot = cells.slots[window]
                cells.dirty[slot, key] = BOTH
                keep(cells.values[slot], key, weight, measures)
    return signed(weights.shape[0]), signed(DONE)


@dataclass(frozen=True)
class Taken:
    """What a flush took: to be put back (marked dirty again) if the store did not get it."""

    cells: tuple[tuple[int, int, NDArray[np.intp]], ...]
    """(window, start, keys) whose mark was cleared."""


class TumblingCells:
    """Cells of a part in those of its windows that are few and long."""

    def __init__(
        self, view: View, windows: tuple[Window, ...], dimensions: tuple[str, ...], dictionaries: Mapping[str, Dictionary]
    ) -> None:
        self.view = view
        self.name = view.name
        """Its name in a checkpoint."""
        self.keys = KeyTable(view, dictionaries)
        self._windows = windows
        self._dictionaries = dictionaries
        self._measures = measure_arrays(view, dimensions)
        self._lengths = np.array([window.length_ms for window in windows], dtype=np.int64)
        self._flying: set[tuple[int, int]] = set()
        """Frames (window, start) of which the last flush to the cache took cells; whether it succeeded is known at the next."""
        self._shape(0)

    def _shape(self, slots: int) -> None:
        capacity = len(self.keys.words)
        self._frames = np.full((slots, 2), -1, dtype=np.int64)
        self._values = np.zeros((slots, capacity, len(self.view.measures)), dtype=np.int64)
        self._dirty = np.zeros((slots, capacity), dtype=np.uint8)

    def rebind(self, dictionaries: Mapping[str, Dictionary]) -> None:
        """Take the dictionaries of a restored state."""
        self._dictionaries = dictionaries

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self._values.nbytes + self._dirty.nbytes

    def fold(self, weights: NDArray[np.int8], integers: NDArray[np.int64], outcomes: NDArray[np.int8], dims: NDArray[np.int32]) -> None:
        """Add n rows: events or sessions, as the view is of. weights i8[n]: how often each counts, −1 takes one back.

        integers i64[columns, n]: of events columns.INTEGER's, of sessions SESSION_COLUMN's. outcomes i8[n]: admission's, of events.
        """
        done, lack = 0, NEED_FRAME
        while lack != DONE:
            done, lack = _fold(done, weights, integers, outcomes, dims, self._measures, self._arrays())
            if lack == NEED_KEYS:
                self._grow_keys()
            elif lack == NEED_FRAME:
                self._open_frames(int(integers[self._measures.ts, done]))

    def _arrays(self) -> CellArrays:
        return CellArrays(
            self._lengths, self.keys.index, self.keys.words, self.keys.count, self._frames, self._values, self._dirty,
            np.zeros_like(self._lengths),
        )  # fmt: skip

    def _grow_keys(self) -> None:
        self.keys.grow()
        more = len(self.keys.words) - self._values.shape[1]
        self._values = np.concatenate([self._values, np.zeros((len(self._frames), more, self._values.shape[2]), dtype=np.int64)], axis=1)
        self._dirty = np.concatenate([self._dirty, np.zeros((len(self._frames), more), dtype=np.uint8)], axis=1)

    def _open_frames(self, ts_ms: int) -> None:
        for window, length in enumerate(self._lengths.tolist()):
            if [window, ts_ms - ts_ms % length] not in self._frames.tolist():
                self._open(window, ts_ms - ts_ms % length)

    def _open(self, window: int, start_ms: int) -> None:
        capacity, measures = self._values.shape[1:]
        self._frames = np.concatenate([self._frames, np.array([[window, start_ms]], dtype=np.int64)])
        self._values = np.concatenate([self._values, np.zeros((1, capacity, measures), dtype=np.int64)])
        self._dirty = np.concatenate([self._dirty, np.zeros((1, capacity), dtype=np.uint8)])

    def _slots(self) -> Iterator[tuple[int, int, Window, int]]:
        for slot, (window, start) in enumerate(self._frames.tolist()):
            yield slot, window, self._windows[window], start

    def take_cached(self) -> tuple[list[CellBatch], Taken]:
        """The cells that the cache lacks."""
        batches: list[CellBatch] = []
        taken: list[tuple[int, int, NDArray[np.intp]]] = []
        self._flying.clear()
        for slot, index, window, start in self._slots():
            keys = np.flatnonzero(self._dirty[slot, : len(self.keys)] & CACHE)
            if not len(keys):
                continue
            self._dirty[slot, keys] &= ~np.uint8(CACHE)
            if window.cached:
                self._flying.add((index, start))
                taken.append((index, start, keys))
                batches += batches_of(self.view, window, start, keys, self.keys, self._values[slot])
        return batches, Taken(tuple(taken))

    def take_packs(self) -> tuple[list[Pack], Taken]:
        """Every pack of which the durable store lacks a cell."""
        packs: list[Pack] = []
        taken: list[tuple[int, int, NDArray[np.intp]]] = []
        for slot, index, window, start in self._slots():
            keys = np.flatnonzero(self._dirty[slot, : len(self.keys)] & DURABLE)
            if not len(keys):
                continue
            self._dirty[slot, keys] &= ~np.uint8(DURABLE)
            taken.append((index, start, keys))
            packs += packs_of_frame(self.view, window, start, keys, self.keys, self._values[slot])
        return packs, Taken(tuple(taken))

    def put_back(self, taken: Taken, store: int) -> None:
        """Mark as lacking what a flush took and could not write."""
        for window, start, keys in taken.cells:
            for slot, index, _, begins in self._slots():
                if (index, begins) == (window, start):
                    self._dirty[slot, keys] |= np.uint8(store)

    def mark_all(self, store: int) -> None:
        """Mark every cell as lacking in that store."""
        for slot in range(len(self._frames)):
            held = self._values[slot, : len(self.keys)].any(axis=1)
            self._dirty[slot, : len(self.keys)][held] |= np.uint8(store)

    def close_final(self, watermark_ms: int) -> None:
        """Drop the frames that are final, and durable, and in the cache (or no longer wanted there)."""
        kept = [slot for slot, index, window, start in self._slots() if not self._is_done(slot, index, window, start, watermark_ms)]
        if len(kept) < len(self._frames):
            self._frames, self._values, self._dirty = self._frames[kept], self._values[kept], self._dirty[kept]

    def _is_done(self, slot: int, index: int, window: Window, start_ms: int, watermark_ms: int) -> bool:
        end_ms = start_ms + window.length_ms
        if watermark_ms < end_ms + LATENESS_MS or (self._dirty[slot] & DURABLE).any():
            return False
        wanted = window.cached and (not window.retention_s or watermark_ms < end_ms + window.retention_s * 1000)
        return not (wanted and ((index, start_ms) in self._flying or (self._dirty[slot] & CACHE).any()))

    def dump(self) -> dict[str, Any]:
        """For a checkpoint: the keys, and each frame's values and marks."""
        count = len(self.keys)
        return {
            "words": self.keys.words[:count].copy(),
            "frames": self._frames.copy(),
            "values": self._values[:, :count].copy(),
            "dirty": self._dirty[:, :count].copy(),
        }

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take what `dump` gave, but for the keys of which no frame has anything: each takes room in every frame."""
        used = dumped["values"].any(axis=(0, 2)) | dumped["dirty"].any(axis=0)
        self.keys = KeyTable(self.view, self._dictionaries, dumped["words"][used])
        self._shape(len(dumped["frames"]))
        self._frames[:] = dumped["frames"]
        count = len(self.keys)
        self._values[:, :count] = dumped["values"][:, used]
        self._dirty[:, :count] = dumped["dirty"][:, used]

    def canonical(self) -> dict[tuple[str, int, bytes, int], tuple[int, ...]]:
        """Every cell that is not zero: (window, start, key, grouping) → measures. For comparing states."""
        cells = {}
        groupings, texts = self.keys.groupings().tolist(), list(self.keys.texts())
        for slot, _, window, start in self._slots():
            for key in np.flatnonzero(self._values[slot, : len(texts)].any(axis=1)).tolist():
                cells[window.name, start, texts[key], groupings[key]] = tuple(self._values[slot, key].tolist())
        return cells
