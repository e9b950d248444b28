"""Cells of one view in one partition: what the fold adds to, and what flushes take from.

`TumblingCells` are frames, one a window and start: measures by key, dense. `LiveCells` are the live counts by key and the
minute samples taken of them, which never change once taken. Each cell remembers which store lacks it (CACHE, DURABLE).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.columns import INTEGER
from topologies.compiled import Word, inlined, lean, signed
from topologies.dictionary import Dictionary
from topologies.events import TYPES
from topologies.flushes import CellBatch, Pack
from topologies.keys import KeyTable, find_key, plan
from topologies.packing import batches_of, packs_of_frame
from topologies.sources import LATENESS_MS
from topologies.view import View, Window

CACHE: Final = 1
DURABLE: Final = 2
_BOTH: Final = CACHE | DURABLE
_APPLIED: Final = 1
DONE, NEED_KEYS, NEED_FRAME = range(3)
_TS, _TYPE = INTEGER["ts"], INTEGER["type"]


class CellArrays(NamedTuple):
    """A view's cells as the kernel takes them.

    plan: keys.plan. lengths i64[windows]: ms. sums, counts i64[measures]: the column that is summed, or the type that is counted, else
    negative. lookup, words, used: a KeyTable's index, words and count. frames i64[slots, 2]: window and start.
    values i64[slots, keys, measures], dirty u8[slots, keys]. amounts i64[measures] and slots i64[windows] are the kernel's own room.
    """

    plan: NDArray[np.int64]
    lengths: NDArray[np.int64]
    sums: NDArray[np.int64]
    counts: NDArray[np.int64]
    lookup: NDArray[np.int32]
    words: NDArray[np.int64]
    used: NDArray[np.int64]
    frames: NDArray[np.int64]
    values: NDArray[np.int64]
    dirty: NDArray[np.uint8]
    amounts: NDArray[np.int64]
    slots: NDArray[np.int64]


@inlined
def _measure(integers: np.ndarray, at: Word, cells: CellArrays) -> Word:
    """The event's amount of each measure; whether one is not 0."""
    anything = False
    for measure in range(cells.sums.shape[0]):
        amount = signed(0)
        if cells.sums[measure] >= 0:
            amount = max(integers[cells.sums[measure], at], signed(0))
        elif cells.counts[measure] == integers[_TYPE, at]:
            amount = signed(1)
        cells.amounts[measure] = amount
        if amount != 0:
            anything = True
    return anything


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


@inlined
def _add(dims: np.ndarray, at: Word, cells: CellArrays) -> None:
    """Add the amounts to the event's cell of every grouping, in every window's frame."""
    for grouping in range(cells.plan.shape[0]):
        first = signed(grouping)
        second = signed(0)
        if cells.plan[grouping, 0] >= 0:
            first |= signed(dims[at, cells.plan[grouping, 0]]) << signed(8)
        if cells.plan[grouping, 1] >= 0:
            second |= signed(dims[at, cells.plan[grouping, 1]])
        if cells.plan[grouping, 2] >= 0:
            second |= signed(dims[at, cells.plan[grouping, 2]]) << signed(32)
        key = find_key(cells.lookup, cells.words, cells.used, first, second)
        for window in range(cells.lengths.shape[0]):
            slot = cells.slots[window]
            cells.dirty[slot, key] = _BOTH
            for measure in range(cells.amounts.shape[0]):
                cells.values[slot, key, measure] += cells.amounts[measure]


@lean
def _fold(first: Word, classes: np.ndarray, integers: np.ndarray, dims: np.ndarray, cells: CellArrays) -> tuple[Word, Word]:
    """Add applied events from `first` on to their cells. Returns (events done, what must grow before the next)."""
    for at in range(first, classes.shape[0]):
        if classes[at] != _APPLIED or not _measure(integers, at, cells):
            continue
        if not _find_frames(integers[_TS, at], cells):
            return signed(at), signed(NEED_FRAME)
        needed = cells.used[0] + cells.plan.shape[0]
        if needed > cells.words.shape[0] or 2 * needed >= cells.lookup.shape[0]:
            return signed(at), signed(NEED_KEYS)
        _add(dims, at, cells)
    return signed(classes.shape[0]), signed(DONE)


@dataclass(frozen=True)
class Taken:
    """What a flush took: to be put back (marked dirty again) if the store did not get it."""

    cells: tuple[tuple[int, int, NDArray[np.intp]], ...]
    """(window, start, keys) whose mark was cleared."""


class TumblingCells:
    """Cells of a view with windows of fixed length."""

    def __init__(self, view: View, dimensions: tuple[str, ...], dictionaries: Mapping[str, Dictionary]) -> None:
        self.view = view
        self.keys = KeyTable(view, dictionaries)
        self._dictionaries = dictionaries
        self._plan = plan(view, dimensions)
        self._lengths = np.array([window.length_ms for window in view.windows], dtype=np.int64)
        self._sums = np.array([INTEGER[m.sum_of] if m.sum_of else -1 for m in view.measures], dtype=np.int64)
        self._counts = np.array([TYPES.index(m.count_of) if m.count_of else -2 for m in view.measures], dtype=np.int64)
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

    def fold(self, classes: NDArray[np.uint8], integers: NDArray[np.int64], dims: NDArray[np.int32]) -> None:
        """Add the applied events of a batch."""
        done, lack = 0, NEED_FRAME
        while lack != DONE:
            done, lack = _fold(done, classes, integers, dims, self._arrays())
            if lack == NEED_KEYS:
                self._grow_keys()
            elif lack == NEED_FRAME:
                self._open_frames(int(integers[_TS, done]))

    def _arrays(self) -> CellArrays:
        return CellArrays(
            self._plan, self._lengths, self._sums, self._counts, self.keys.index, self.keys.words, self.keys.count,
            self._frames, self._values, self._dirty, np.zeros_like(self._sums), np.zeros_like(self._lengths),
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
            yield slot, window, self.view.windows[window], start

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
        """Take what `dump` gave."""
        self.keys = KeyTable(self.view, self._dictionaries, dumped["words"])
        self._shape(len(dumped["frames"]))
        self._frames[:] = dumped["frames"]
        count = len(self.keys)
        self._values[:, :count] = dumped["values"]
        self._dirty[:, :count] = dumped["dirty"]

    def canonical(self) -> dict[tuple[str, int, bytes, int], tuple[int, ...]]:
        """Every cell that is not zero: (window, start, key, grouping) → measures. For comparing states."""
        cells = {}
        groupings, texts = self.keys.groupings().tolist(), list(self.keys.texts())
        for slot, _, window, start in self._slots():
            for key in np.flatnonzero(self._values[slot, : len(texts)].any(axis=1)).tolist():
                cells[window.name, start, texts[key], groupings[key]] = tuple(self._values[slot, key].tolist())
        return cells
