"""The sessions of one partition: the tables that admission works on, and how they grow and forget."""

from __future__ import annotations

from typing import Any

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
    FRESH_AT,
    HIGHEST,
    ID_1,
    ID_2,
    ISLAND_ROWS,
    ISLANDS,
    ISLANDS_AN_EVENT,
    LAST_TS,
    MAX_TS,
    NEXT,
    ROWS,
    SEEN,
    SEQ_WINDOW,
    STATE,
    STATE_SEQ,
    WHEELED,
    WORDS,
    SessionArrays,
    forgettable,
)
from topologies.sources import LATENESS_MS, watermark_ms


@lean
def _compact(watermark: Word, old: SessionArrays, new: SessionArrays) -> None:
    """Copy what must be remembered into fresh tables: a session whose every event would be late goes."""
    kept = 0
    kept_islands = 0
    mask = unsigned(new.lookup.shape[0] - 1)
    for number in range(old.counters[ROWS]):
        if forgettable(old.rows[number], watermark):
            continue
        row = new.rows[kept]
        for word in range(WORDS):
            row[word] = old.rows[number, word]
        row[NEXT] = 0
        row[ISLANDS] = 0
        island = old.rows[number, ISLANDS] - 1
        while island >= 0:
            new.islands[kept_islands, 0] = old.islands[island, 0]
            new.islands[kept_islands, 1] = old.islands[island, 1]
            new.islands[kept_islands, 2] = row[ISLANDS]
            kept_islands += 1
            row[ISLANDS] = kept_islands
            island = old.islands[island, 2] - 1
        row[FLAGS] &= ~WHEELED
        if row[FLAGS] & COUNTED:
            into_wheel(new.wheel, new.rows, kept)
        slot = unsigned(row[ID_1]) & mask
        while new.lookup[slot] != 0:
            slot = (slot + unsigned(1)) & mask
        kept += 1
        new.lookup[slot] = kept
    new.counters[ROWS] = kept
    new.counters[ISLAND_ROWS] = kept_islands


class SessionTable:
    """The arrays of one partition's sessions, and how they grow."""

    def __init__(self, capacity: int = 1024) -> None:
        counters = np.zeros(COUNTERS, dtype=np.int64)
        counters[CLOCK] = counters[MAX_TS] = -1
        self.arrays = _empty(counters, capacity, 256)

    @property
    def counters(self) -> NDArray[np.int64]:
        return self.arrays.counters

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)

    def watermark_ms(self) -> int:
        return watermark_ms(int(self.counters[CLOCK]), int(self.counters[MAX_TS]))

    def rows(self) -> NDArray[np.int64]:
        """The rows in use; a view."""
        return self.arrays.rows[: int(self.counters[ROWS])]

    def islands(self) -> NDArray[np.int64]:
        """The islands in use; a view."""
        return self.arrays.islands[: int(self.counters[ISLAND_ROWS])]

    def make_room(self) -> None:
        """Forget what can be forgotten; if the table is still more than half full, double it."""
        capacity, islands = len(self.arrays.rows), len(self.arrays.islands)
        self._rebuild(capacity, islands)
        if 2 * int(self.counters[ROWS]) > capacity:
            self._rebuild(2 * capacity, islands)

    def make_island_room(self) -> None:
        """The same for the islands."""
        capacity, islands = len(self.arrays.rows), len(self.arrays.islands)
        self._rebuild(capacity, islands)
        if 2 * (int(self.counters[ISLAND_ROWS]) + ISLANDS_AN_EVENT) > islands:
            self._rebuild(capacity, 2 * islands)

    def load(self, columns: SessionColumns, islands: NDArray[np.int64], counters: NDArray[np.int64]) -> None:
        """Take the sessions of a checkpoint."""
        count = len(columns.ids)
        capacity = max(1024, 1 << int(2 * count).bit_length())
        self.arrays = _empty(counters.copy(), capacity, max(256, 2 * len(islands)))
        into_rows(columns, self.arrays.rows)
        self.counters[ROWS] = count
        self.arrays.islands[: len(islands)] = islands
        self._rebuild(capacity, len(self.arrays.islands))

    def canonical(self) -> dict[tuple[int, int], tuple[Any, ...]]:
        """What is remembered of each session that is not forgotten, without the accidents of the tables."""
        found: dict[tuple[int, int], tuple[Any, ...]] = {}
        for row in self.rows().tolist():
            if self.watermark_ms() - row[LAST_TS] > LATENESS_MS:
                continue
            seen = {row[HIGHEST] - bit for bit in range(SEQ_WINDOW) if row[SEEN] >> bit & 1}
            runs = [(row[CLEAN_FROM], row[HIGHEST] - SEQ_WINDOW)] if row[CLEAN_FROM] <= row[HIGHEST] - SEQ_WINDOW else []
            island = row[ISLANDS] - 1
            while island >= 0:
                low, high, following = self.arrays.islands[island].tolist()
                runs.append((low, high))
                island = following - 1
            words = (row[HIGHEST], row[LAST_TS], row[FRESH_AT], row[STATE_SEQ], row[STATE], row[DIMS_SEQ], row[FLAGS] & COUNTED)
            found[row[ID_1], row[ID_2]] = (*words, tuple(row[DIMS:]), frozenset(seen), tuple(sorted(runs)))
        return found

    def _rebuild(self, capacity: int, islands: int) -> None:
        fresh = _empty(self.counters, capacity, islands)
        _compact(self.watermark_ms(), self.arrays, fresh)
        self.arrays = fresh


def _empty(counters: NDArray[np.int64], capacity: int, islands: int) -> SessionArrays:
    return SessionArrays(
        counters,
        np.zeros(1 << (4 * capacity - 1).bit_length(), dtype=np.int32),
        np.zeros((capacity, WORDS), dtype=np.int64),
        np.zeros((islands, 3), dtype=np.int64),
        np.zeros(WHEEL, dtype=np.int64),
    )
