"""The sessions of one partition: the tables that admission works on, and how they grow and forget."""

from __future__ import annotations

import contextlib
import mmap
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import Word, lean, unsigned
from topologies.live_counts import WHEEL, into_wheel
from topologies.session_columns import SessionColumns, into_rows
from topologies.session_rows import (
    CLEAN_FROM,
    CLOCK,
    COUNTED,
    COUNTERS,
    DIMS,
    DIMS_SEQ,
    FLAGS,
    FREE,
    FRESH_AT,
    HAND,
    HIGHEST,
    ID_1,
    ID_2,
    ISLAND_ROWS,
    ISLANDS,
    ISLANDS_AN_EVENT,
    LAST_TS,
    MAX_TS,
    ROW_BYTES,
    ROWS,
    SEEN,
    SEQ_WINDOW,
    STARTED,
    STATE,
    STATE_SEQ,
    WORDS,
    SessionArrays,
    forgettable,
)
from topologies.sources import LATENESS_MS, watermark_ms


@lean
def _index(rows: np.ndarray, count: Word, lookup: np.ndarray) -> None:
    """Have each row found; `lookup` is empty."""
    mask = unsigned(lookup.shape[0] - 1)
    for number in range(count):
        if rows[number, FLAGS] & FREE:
            continue
        slot = unsigned(rows[number, ID_1]) & mask
        while lookup[slot] != 0:
            slot = (slot + unsigned(1)) & mask
        lookup[slot] = number + 1


@lean
def _into_wheels(count: Word, table: SessionArrays) -> None:
    """Have each session that is live visited when it expires; the wheel is empty."""
    for number in range(count):
        if table.rows[number, FLAGS] & COUNTED:
            into_wheel(table.wheel, table.rows, number)


@lean
def _keep_islands(watermark: Word, table: SessionArrays, kept: np.ndarray) -> Word:
    """Copy the islands of what must be remembered; how many there are."""
    count = 0
    for number in range(table.counters[ROWS]):
        row = table.rows[number]
        island = row[ISLANDS] - 1
        row[ISLANDS] = 0
        if forgettable(row, watermark):
            continue
        while island >= 0:
            kept[count, 0] = table.islands[island, 0]
            kept[count, 1] = table.islands[island, 1]
            kept[count, 2] = row[ISLANDS]
            count += 1
            row[ISLANDS] = count
            island = table.islands[island, 2] - 1
    return count


class _Rows:
    """Memory of rows that grows where it is: its pages are moved, none is copied (0.1 ms for 128 MB; a copy takes 30 ms, or 200 ms of
    fresh memory). A row takes two cache lines, not three, since it begins with one."""

    def __init__(self, capacity: int) -> None:
        self._memory = _mapped(capacity)

    def array(self) -> NDArray[np.int64]:
        return np.frombuffer(self._memory, dtype=np.int64).reshape(-1, WORDS)

    def grow(self, capacity: int) -> None:
        """Every array that was given out should be gone by now; else the memory must be copied after all."""
        try:
            self._memory.resize(capacity * ROW_BYTES)
        except BufferError:
            before, self._memory = self.array(), _mapped(capacity)
            self.array()[: len(before)] = before
        _in_huge_pages(self._memory)


def _mapped(capacity: int) -> mmap.mmap:
    memory = mmap.mmap(-1, capacity * ROW_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _in_huge_pages(memory)
    return memory


def _in_huge_pages(memory: mmap.mmap) -> None:
    with contextlib.suppress(OSError):  # a kernel without them is a little slower, and no worse
        memory.madvise(mmap.MADV_HUGEPAGE)


class SessionTable:
    """The arrays of one partition's sessions, and how they grow: never in time that grows with them, but for the lookup, which is made
    anew when the rows have doubled (40 ms at 1 M sessions)."""

    def __init__(self, capacity: int = 1024) -> None:
        counters = np.zeros(COUNTERS, dtype=np.int64)
        counters[CLOCK] = counters[MAX_TS] = -1
        self._begin(counters, capacity, np.zeros((256, 3), dtype=np.int64))

    def _begin(self, counters: NDArray[np.int64], capacity: int, islands: NDArray[np.int64]) -> None:
        self._rows = _Rows(capacity)
        wheel, hand = np.zeros(WHEEL, dtype=np.int64), np.zeros(HAND, dtype=np.int64)
        self.arrays = SessionArrays(counters, _lookup(capacity), self._rows.array(), islands, wheel, hand)

    @property
    def counters(self) -> NDArray[np.int64]:
        return self.arrays.counters

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays) - self.arrays.rows.nbytes + self.rows().nbytes

    def watermark_ms(self) -> int:
        return watermark_ms(int(self.counters[CLOCK]), int(self.counters[MAX_TS]))

    def rows(self) -> NDArray[np.int64]:
        """The rows in use, and free ones among them; a view, not to be kept."""
        return self.arrays.rows[: int(self.counters[ROWS])]

    def islands(self) -> NDArray[np.int64]:
        """The islands in use; a view."""
        return self.arrays.islands[: int(self.counters[ISLAND_ROWS])]

    def make_room(self) -> None:
        """Room for as many sessions again."""
        capacity = 2 * len(self.arrays.rows)
        lookup = _lookup(capacity)
        _index(self.arrays.rows, int(self.counters[ROWS]), lookup)
        self.arrays = self.arrays._replace(lookup=lookup, rows=_NO_ROWS)
        self._rows.grow(capacity)
        self.arrays = self.arrays._replace(rows=self._rows.array())

    def make_island_room(self) -> None:
        """Drop the islands that nobody needs; if the table is still more than half full, double it."""
        kept = np.zeros_like(self.arrays.islands)
        count = _keep_islands(self.watermark_ms(), self.arrays, kept)
        if 2 * (count + ISLANDS_AN_EVENT) > len(kept):
            kept = np.concatenate([kept, np.zeros_like(kept)])
        self.counters[ISLAND_ROWS] = count
        self.arrays = self.arrays._replace(islands=kept)

    def load(self, columns: SessionColumns, islands: NDArray[np.int64], counters: NDArray[np.int64]) -> None:
        """Take the sessions of a checkpoint."""
        count = len(columns.ids)
        room = np.zeros((max(256, 2 * len(islands)), 3), dtype=np.int64)
        room[: len(islands)] = islands
        self._begin(counters.copy(), max(1024, 1 << (count + count // 8).bit_length()), room)
        self.counters[ROWS] = count
        into_rows(columns, self.arrays.rows)
        _index(self.arrays.rows, count, self.arrays.lookup)
        _into_wheels(count, self.arrays)

    def canonical(self) -> dict[tuple[int, int], tuple[Any, ...]]:
        """What is remembered of each session that is not forgotten, without the accidents of the tables."""
        found: dict[tuple[int, int], tuple[Any, ...]] = {}
        for row in self.rows().tolist():
            if row[FLAGS] & FREE or self.watermark_ms() - row[LAST_TS] > LATENESS_MS:
                continue
            seen = {row[HIGHEST] - bit for bit in range(SEQ_WINDOW) if row[SEEN] >> bit & 1}
            runs = [(row[CLEAN_FROM], row[HIGHEST] - SEQ_WINDOW)] if row[CLEAN_FROM] <= row[HIGHEST] - SEQ_WINDOW else []
            island = row[ISLANDS] - 1
            while island >= 0:
                low, high, following = self.arrays.islands[island].tolist()
                runs.append((low, high))
                island = following - 1
            words = (row[HIGHEST], row[LAST_TS], row[FRESH_AT], row[STATE_SEQ], row[STATE], row[DIMS_SEQ], row[FLAGS] & (COUNTED | STARTED))
            found[row[ID_1], row[ID_2]] = (*words, tuple(row[DIMS:]), frozenset(seen), tuple(sorted(runs)))
        return found


def _lookup(capacity: int) -> NDArray[np.int32]:
    """An empty one, a quarter full when all rows are."""
    return np.zeros(1 << (4 * capacity - 1).bit_length(), dtype=np.int32)


_NO_ROWS: Final = np.zeros((0, WORDS), dtype=np.int64)
