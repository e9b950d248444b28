"""What is remembered of a session: one row of 16 words, so that an event touches two cache lines however many sessions live.

Seen sequence numbers are kept exactly: 64 bits below the highest, the run of seen numbers under those (`CLEAN_FROM`), and
a list of islands, the seen runs below a gap.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import Word, inlined, prefetch, signed, unsigned
from topologies.row_lookup import take_out
from topologies.sources import LATENESS_MS

SEQ_WINDOW: Final = 64
"""A sequence number this far below its session's highest is not applied any more (design §4)."""

# words of a session's row
ID_1, ID_2, SEEN, HIGHEST, CLEAN_FROM, LAST_TS, FRESH_AT, STATE_SEQ, STATE, DIMS_SEQ, FLAGS, NEXT, ISLANDS, DIMS = range(14)
WORDS: Final = 16
LIVE_DIMENSIONS: Final = WORDS - DIMS
"""So many dimensions of a session can be followed."""

# FLAGS: it is counted in its live cells; it stands in the expiry wheel; the row is nobody's; its first frame was applied; it is over, and
# the cells of sessions were told; it stands in the wheel of silence
COUNTED, WHEELED, FREE, STARTED, TOLD, WATCHED = 1, 2, 4, 8, 16, 32

# words of the table's hand: the row that it looks at next; first free row + 1 (the next one is its NEXT)
LOOKED_AT, FIRST_FREE = range(2)
HAND: Final = 2
LOOKED_AT_A_SESSION: Final = 16
"""Rows that the hand passes for each new session, one behind the other in memory: so a table has at most a fifteenth more rows than
sessions that must be remembered, and the hand has been everywhere before a sixteenth of them is new."""

# words of the partition's counters
CLOCK, MAX_TS, SWEPT_S, ROWS, ISLAND_ROWS, LIVE, RECEIVED, APPLIED_COUNT, DUPLICATE_COUNT, LATE_COUNT, DEAD_COUNT, SAMPLES = range(12)
COUNTERS: Final = 12

AHEAD: Final = 12
"""So many events ahead a session's row is asked for, and its place in the lookup twice as many: memory answers within that time."""

ISLANDS_AN_EVENT: Final = 40
"""An event makes fewer islands than this: every second number of a window of 64, one more, and one of content (topologies.spells)."""


class SessionArrays(NamedTuple):
    """A partition's sessions as kernels take them.

    counters i64[COUNTERS]. lookup i32[2^k]: row + 1 by hash of the identity, 0 where free. rows i64[capacity, WORDS].
    islands i64[capacity, 3]: lowest, highest, next island + 1. wheel i64[WHEEL]: first row + 1 of each second's list. hand i64[HAND].
    """

    counters: NDArray[np.int64]
    lookup: NDArray[np.int32]
    rows: NDArray[np.int64]
    islands: NDArray[np.int64]
    wheel: NDArray[np.int64]
    hand: NDArray[np.int64]


@inlined
def forgettable(row: np.ndarray, watermark: Word) -> Word:
    """Whether every event of the session would be late, and it is in no live cell: it need not be remembered."""
    return watermark - row[LAST_TS] > LATENESS_MS and not row[FLAGS] & COUNTED


@inlined
def has_row(table: SessionArrays) -> Word:
    """Whether there is a row for one more session."""
    return table.counters[ROWS] < table.rows.shape[0] or table.hand[FIRST_FREE] != 0


@inlined
def take_row(table: SessionArrays) -> Word:
    """The number of a row for a new session."""
    number = table.hand[FIRST_FREE] - 1
    if number >= 0:
        table.hand[FIRST_FREE] = table.rows[number, NEXT]
    else:
        number = table.counters[ROWS]
        table.counters[ROWS] = number + 1
    table.rows[number, FLAGS] = 0
    table.rows[number, NEXT] = 0
    return number


@inlined
def forget_some(watermark: Word, table: SessionArrays) -> None:
    """A session was made: the hand passes a few rows, and what can be forgotten makes room. So no table is ever cleared all at once."""
    rows, hand = table.rows, table.hand
    for _ in range(LOOKED_AT_A_SESSION):
        number = hand[LOOKED_AT]
        if number >= table.counters[ROWS]:
            number = signed(0)
        hand[LOOKED_AT] = number + 1
        row = rows[number]
        # what is in the wheel of silence was not found to be over yet
        if not row[FLAGS] & (WHEELED | FREE | WATCHED) and forgettable(row, watermark):
            take_out(number, table.lookup, rows)
            row[FLAGS] = FREE
            row[ISLANDS] = 0
            row[NEXT] = hand[FIRST_FREE]
            hand[FIRST_FREE] = number + 1


@inlined
def look_ahead(ids: np.ndarray, at: Word, lookup: np.ndarray, rows: np.ndarray, spells: np.ndarray) -> None:
    """Have what the events after `at` need of the table on its way: the place in `lookup` first, then the rows that it names.

    What a row that is no event has in `ids` may be anything.
    """
    mask = unsigned(lookup.shape[0] - 1)
    far = at + 2 * AHEAD
    if far < ids.shape[0]:
        prefetch(lookup, signed(unsigned(ids[far, 0]) & mask))
    near = at + AHEAD
    if near < ids.shape[0]:
        number = signed(lookup[unsigned(ids[near, 0]) & mask]) - 1
        if number >= 0:
            prefetch(rows, number * WORDS)
            prefetch(rows, number * WORDS + WORDS // 2)
            if spells.shape[0] > 0:
                prefetch(spells, number * spells.shape[1])


@inlined
def begin(row: np.ndarray, id_1: Word, id_2: Word, seq: Word, ts: Word) -> None:
    """A new life of the session, with `seq` as its only event. Its places in the wheels stay."""
    wheeled = row[FLAGS] & (WHEELED | WATCHED)
    following = row[NEXT]
    row[:] = 0
    row[ID_1] = id_1
    row[ID_2] = id_2
    row[SEEN] = 1
    row[HIGHEST] = seq
    row[CLEAN_FROM] = seq - SEQ_WINDOW + 1
    row[LAST_TS] = ts
    row[FRESH_AT] = -1
    row[STATE_SEQ] = -1
    row[STATE] = 1
    row[DIMS_SEQ] = -1
    row[FLAGS] = wheeled
    row[NEXT] = following


@inlined
def was_seen(row: np.ndarray, islands: np.ndarray, seq: Word) -> Word:
    """Whether `seq`, at or below the highest, was applied in this life."""
    behind = row[HIGHEST] - seq
    if behind < SEQ_WINDOW:
        return (unsigned(row[SEEN]) >> unsigned(behind)) & unsigned(1) != 0
    if seq >= row[CLEAN_FROM]:
        return True
    island = row[ISLANDS] - 1
    while island >= 0:
        if islands[island, 0] <= seq <= islands[island, 1]:
            return True
        island = islands[island, 2] - 1
    return False


@inlined
def _add_island(row: np.ndarray, islands: np.ndarray, counters: np.ndarray, low: Word, high: Word) -> None:
    if low > high:
        return
    made = counters[ISLAND_ROWS]
    islands[made, 0] = low
    islands[made, 1] = high
    islands[made, 2] = row[ISLANDS]
    row[ISLANDS] = made + 1
    counters[ISLAND_ROWS] = made + 1


@inlined
def _advance(row: np.ndarray, islands: np.ndarray, counters: np.ndarray, seq: Word) -> None:
    """Make `seq` the session's highest; what leaves the window of 64 is remembered as runs."""
    highest = row[HIGHEST]
    step = seq - highest
    seen = unsigned(row[SEEN])
    for out in range(min(step, SEQ_WINDOW)):
        number = highest - (SEQ_WINDOW - 1) + out
        if not (seen >> unsigned(SEQ_WINDOW - 1 - out)) & unsigned(1):
            _add_island(row, islands, counters, row[CLEAN_FROM], number - 1)
            row[CLEAN_FROM] = number + 1
    if step > SEQ_WINDOW:
        _add_island(row, islands, counters, row[CLEAN_FROM], highest)
        row[CLEAN_FROM] = seq - SEQ_WINDOW + 1
    row[SEEN] = signed(seen << unsigned(step) | unsigned(1)) if step < SEQ_WINDOW else signed(1)
    row[HIGHEST] = seq


@inlined
def remember(row: np.ndarray, islands: np.ndarray, counters: np.ndarray, seq: Word) -> None:
    """`seq`, not seen and above the highest − 64, is applied."""
    behind = row[HIGHEST] - seq
    if behind >= 0:
        row[SEEN] = signed(unsigned(row[SEEN]) | (unsigned(1) << unsigned(behind)))
    else:
        _advance(row, islands, counters, seq)
