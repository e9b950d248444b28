"""The sessions of one partition: the tables that admission works on, and how they grow and forget."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import Word, inlined, lean, signed
from topologies.growing_rows import GrowingRows
from topologies.live_counts import WHEEL, into_wheel
from topologies.row_lookup import enter
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
    ROWS,
    SEEN,
    SEQ_WINDOW,
    STARTED,
    STATE,
    STATE_SEQ,
    TOLD,
    WATCHED,
    WORDS,
    SessionArrays,
    forgettable,
)
from topologies.sources import LATENESS_MS, watermark_ms
from topologies.spells import NO_SPELLS, RUN, RUNS, SPELL_WORDS, spell_arrays, watch_all


@lean
def _index(rows: np.ndarray, count: Word, lookup: np.ndarray) -> None:
    """Have each row found; `lookup` is empty."""
    for number in range(count):
        if not rows[number, FLAGS] & FREE:
            enter(number, lookup, rows)


@lean
def _into_wheels(count: Word, table: SessionArrays) -> None:
    """Have each session that is live visited when it expires; the wheel is empty."""
    for number in range(count):
        if table.rows[number, FLAGS] & COUNTED:
            into_wheel(table.wheel, table.rows, number)


@inlined
def _keep_list(row: np.ndarray, head: Word, forgotten: Word, islands: np.ndarray, count: Word, kept: np.ndarray) -> Word:
    """Copy the list that begins at row[head] behind the `count` islands that are kept; how many there are then."""
    island = row[head] - 1
    row[head] = 0
    while island >= 0 and not forgotten:
        kept[count, 0] = islands[island, 0]
        kept[count, 1] = islands[island, 1]
        kept[count, 2] = row[head]
        count += 1
        row[head] = count
        island = islands[island, 2] - 1
    return count


@lean
def _keep_islands(watermark: Word, table: SessionArrays, spells: np.ndarray, kept: np.ndarray) -> Word:
    """Copy the islands of what must be remembered; how many there are."""
    count = signed(0)
    for number in range(table.counters[ROWS]):
        row = table.rows[number]
        forgotten = forgettable(row, watermark)
        count = _keep_list(row, ISLANDS, forgotten, table.islands, count, kept)
        if spells.shape[0] > 0:
            # who was not found to be silent yet still has to tell what was seen
            count = _keep_list(spells[number], RUNS, forgotten and not row[FLAGS] & WATCHED, table.islands, count, kept)
    return count


class SessionTable:
    """The arrays of one partition's sessions, and how they grow: never in time that grows with them, but for the lookup, which is made
    anew when the rows have doubled (40 ms at 1 M sessions). title, device: their columns of a batch's dims, where views are of sessions:
    then there are spells too."""

    def __init__(self, capacity: int = 1024, title: int = -1, device: int = -1) -> None:
        self._places = title, device
        counters = np.zeros(COUNTERS, dtype=np.int64)
        counters[CLOCK] = counters[MAX_TS] = -1
        self._begin(counters, capacity, np.zeros((256, 3), dtype=np.int64))

    def _begin(self, counters: NDArray[np.int64], capacity: int, islands: NDArray[np.int64]) -> None:
        self._rows = GrowingRows(capacity, WORDS)
        self._spells = GrowingRows(capacity, SPELL_WORDS) if self._places[0] >= 0 else None
        self.spells = spell_arrays(*self._places, self._spells.array() if self._spells is not None else NO_SPELLS)
        wheel, hand = np.zeros(WHEEL, dtype=np.int64), np.zeros(HAND, dtype=np.int64)
        self.arrays = SessionArrays(counters, _lookup(capacity), self._rows.array(), islands, wheel, hand)

    @property
    def counters(self) -> NDArray[np.int64]:
        return self.arrays.counters

    @property
    def nbytes(self) -> int:
        arrays = sum(array.nbytes for array in (*self.arrays, *self.spells[2:]))
        return arrays - self.arrays.rows.nbytes - self.spells.rows.nbytes + self.rows().nbytes + self.spell_rows().nbytes

    def watermark_ms(self) -> int:
        return watermark_ms(int(self.counters[CLOCK]), int(self.counters[MAX_TS]))

    def silence_ms(self) -> int:
        """How far the clock is beyond the greatest ts applied: less than nothing while players' clocks are ahead, decades while no event
        was applied."""
        return int(self.counters[CLOCK] - self.counters[MAX_TS])

    def rows(self) -> NDArray[np.int64]:
        """The rows in use, and free ones among them; a view, not to be kept."""
        return self.arrays.rows[: int(self.counters[ROWS])]

    def spell_rows(self) -> NDArray[np.int64]:
        """The spells of these rows, none where no view is of sessions; a view, not to be kept."""
        return self.spells.rows[: int(self.counters[ROWS])]

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
        if self._spells is not None:
            self.spells = self.spells._replace(rows=NO_SPELLS)
            self._spells.grow(capacity)
            self.spells = self.spells._replace(rows=self._spells.array())

    def make_island_room(self) -> None:
        """Drop the islands that nobody needs; if the table is still more than half full, double it."""
        kept = np.zeros_like(self.arrays.islands)
        count = _keep_islands(self.watermark_ms(), self.arrays, self.spells.rows, kept)
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
        into_rows(columns, self.arrays.rows, self.spells.rows)
        _index(self.arrays.rows, count, self.arrays.lookup)
        _into_wheels(count, self.arrays)
        if self._spells is not None:
            watch_all(count, self.arrays, self.spells)

    def canonical(self) -> dict[tuple[int, int], tuple[Any, ...]]:
        """What is remembered of each session that is not forgotten, without the accidents of the tables."""
        found: dict[tuple[int, int], tuple[Any, ...]] = {}
        for number, row in enumerate(self.rows().tolist()):
            if row[FLAGS] & FREE or self.watermark_ms() - row[LAST_TS] > LATENESS_MS:
                continue
            seen = {row[HIGHEST] - bit for bit in range(SEQ_WINDOW) if row[SEEN] >> bit & 1}
            runs = [(row[CLEAN_FROM], row[HIGHEST] - SEQ_WINDOW)] if row[CLEAN_FROM] <= row[HIGHEST] - SEQ_WINDOW else []
            runs += self._list(row[ISLANDS])
            flags = row[FLAGS] & (COUNTED | STARTED | TOLD)
            words = (row[HIGHEST], row[LAST_TS], row[FRESH_AT], row[STATE_SEQ], row[STATE], row[DIMS_SEQ], flags)
            spell = self._canonical_spell(number) if self._spells is not None else ()
            found[row[ID_1], row[ID_2]] = (*words, tuple(row[DIMS:]), frozenset(seen), tuple(sorted(runs)), *spell)
        return found

    def _canonical_spell(self, number: int) -> tuple[Any, ...]:
        spell = self.spells.rows[number].tolist()
        runs = [divmod(spell[RUN], 1 << 32)] if spell[RUN] else []
        return (*spell[:RUN], tuple(sorted([*runs, *self._list(spell[RUNS])])))

    def _list(self, head: int) -> list[tuple[int, int]]:
        """The islands of a list."""
        found: list[tuple[int, int]] = []
        while head:
            low, high, head = self.arrays.islands[head - 1].tolist()
            found.append((low, high))
        return found


def _lookup(capacity: int) -> NDArray[np.int32]:
    """An empty one, a quarter full when all rows are."""
    return np.zeros(1 << (4 * capacity - 1).bit_length(), dtype=np.int32)


_NO_ROWS: Final = np.zeros((0, WORDS), dtype=np.int64)
