"""Who is watching: sessions counted in and out of their live cells, expired by the clock, sampled at each whole minute.

Expiry is lazy inside a batch, and exact wherever the state can be looked at: at a minute of the clock, at the end of a
batch. So nothing depends on where a batch begins or ends.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import Word, inlined, lean, signed
from topologies.concurrents import EXPIRY_MS, STALE_MS
from topologies.events import Tells
from topologies.keys import find_key
from topologies.session_rows import (
    CLOCK,
    COUNTED,
    DIMS,
    DIMS_SEQ,
    FLAGS,
    FRESH_AT,
    LIVE,
    NEXT,
    SAMPLES,
    STATE,
    STATE_SEQ,
    SWEPT_S,
    WHEELED,
    SessionArrays,
)

MINUTE_MS: Final = 60_000
WHEEL: Final = 128
"""Seconds that the expiry wheel spans. More than the 30 s that a session lasts; a sweep that comes later visits every second's list."""
LACKING: Final = 3
"""Mark of a cell that both stores lack."""
_WATCHING_AT_MOST: Final = int(Tells.STALLED)
"""Starting, playing and stalled sessions count."""


class LiveArrays(NamedTuple):
    """A live view's cells as kernels take them.

    followed: how many dimensions of a session count, the first ones of the batch's. plan: keys.plan. lookup, words, used: a
    KeyTable's index, words and count. live i64[keys], dirty u8[keys]. sample_*: key, start and value of each sample, in the order of
    their starts.
    """

    followed: int
    plan: NDArray[np.int64]
    lookup: NDArray[np.int32]
    words: NDArray[np.int64]
    used: NDArray[np.int64]
    live: NDArray[np.int64]
    dirty: NDArray[np.uint8]
    sample_keys: NDArray[np.int32]
    sample_starts: NDArray[np.int64]
    sample_values: NDArray[np.int64]


def no_live_view() -> LiveArrays:
    """What stands in where no view has the live window."""
    words, numbers, marks = np.zeros((2, 3), dtype=np.int64), np.zeros(2, dtype=np.int32), np.zeros(2, dtype=np.uint8)
    plan = np.zeros((0, 5), dtype=np.int64)
    return LiveArrays(0, plan, numbers, words, words[0], words[0], marks, numbers, words[0], words[0])


@inlined
def has_room(live: LiveArrays) -> Word:
    """Whether a session may enter a new cell of every grouping."""
    needed = live.used[0] + live.plan.shape[0]
    return needed <= live.words.shape[0] and 2 * needed < live.lookup.shape[0]


@inlined
def _count(row: np.ndarray, sign: Word, live: LiveArrays) -> None:
    """Add the session to, or take it from, its cell of every grouping."""
    for grouping in range(live.plan.shape[0]):
        first = signed(grouping)
        second = signed(0)
        if live.plan[grouping, 0] >= 0:
            first |= row[DIMS + live.plan[grouping, 0]] << signed(8)
        if live.plan[grouping, 1] >= 0:
            second |= row[DIMS + live.plan[grouping, 1]]
        if live.plan[grouping, 2] >= 0:
            second |= row[DIMS + live.plan[grouping, 2]] << signed(32)
        key = find_key(live.lookup, live.words, live.used, first, second, signed(0))
        live.live[key] += sign
        live.dirty[key] = LACKING


@inlined
def uncount(row: np.ndarray, counters: np.ndarray, live: LiveArrays) -> None:
    """Take the session out of its live cells, if it is in them."""
    if row[FLAGS] & COUNTED:
        row[FLAGS] &= ~COUNTED
        counters[LIVE] -= 1
        _count(row, -1, live)


@inlined
def into_wheel(wheel: np.ndarray, rows: np.ndarray, number: Word) -> None:
    """Have the session visited in the second of its expiry."""
    second = ((rows[number, FRESH_AT] + EXPIRY_MS) // 1000) % WHEEL
    rows[number, NEXT] = wheel[second]
    rows[number, FLAGS] |= WHEELED
    wheel[second] = number + 1


@lean
def sweep(to_ms: Word, table: SessionArrays, live: LiveArrays) -> None:
    """Let every session go whose freshest record is EXPIRY_MS old at clock `to_ms`."""
    counters, rows, wheel = table.counters, table.rows, table.wheel
    last = to_ms // 1000
    for second in range(max(counters[SWEPT_S], last - WHEEL + 1), last + 1):
        number = wheel[second % WHEEL] - 1
        wheel[second % WHEEL] = 0
        while number >= 0:
            following = rows[number, NEXT] - 1
            rows[number, FLAGS] &= ~WHEELED
            if rows[number, FLAGS] & COUNTED:
                if rows[number, FRESH_AT] + EXPIRY_MS <= to_ms:
                    uncount(rows[number], counters, live)
                else:
                    into_wheel(wheel, rows, number)
            number = following
    counters[SWEPT_S] = max(counters[SWEPT_S], last)


@inlined
def _sample(minute: Word, counters: np.ndarray, live: LiveArrays) -> None:
    for key in range(live.used[0]):
        if live.live[key] != 0:
            sample = counters[SAMPLES]
            live.sample_keys[sample] = key
            live.sample_starts[sample] = minute
            live.sample_values[sample] = live.live[key]
            counters[SAMPLES] = sample + 1


@inlined
def move_clock(clock: Word, table: SessionArrays, live: LiveArrays) -> Word:
    """Move the clock on to `clock`; each whole minute that it reaches is sampled as it stood before. False: there is no room for
    a sample, and the clock stands at the minute before it; go on with the same `clock` when there is."""
    counters = table.counters
    if counters[CLOCK] < 0:
        counters[SWEPT_S] = clock // 1000
        counters[CLOCK] = clock
        return True
    minute = (counters[CLOCK] // MINUTE_MS + 1) * MINUTE_MS
    # with nobody live, what is left of the minutes has no sample
    while minute <= clock and counters[LIVE] > 0:
        if counters[SAMPLES] + live.used[0] > live.sample_keys.shape[0]:
            return False
        sweep(minute, table, live)
        _sample(minute, counters, live)
        counters[CLOCK] = minute
        minute += MINUTE_MS
    counters[CLOCK] = clock
    return True


@inlined
def follow(
    number: Word, seq: Word, ts: Word, rts: Word, tells: Word, dims: np.ndarray, at: Word, table: SessionArrays, live: LiveArrays
) -> None:
    """An event of the session was applied: what it tells of the session, and whether and where that counts now."""
    counters = table.counters
    row = table.rows[number]
    if counters[CLOCK] - row[FRESH_AT] >= EXPIRY_MS:
        # In batches cut otherwise it had left by now, and a store may have been told so: whoever replays the log must write the cell again.
        uncount(row, counters, live)
    if rts - ts <= STALE_MS and rts > row[FRESH_AT]:
        row[FRESH_AT] = rts
    if tells >= 0 and seq > row[STATE_SEQ]:
        row[STATE_SEQ] = seq
        row[STATE] = tells
    moved = False
    if seq > row[DIMS_SEQ]:
        row[DIMS_SEQ] = seq
        for place in range(live.followed):
            if row[DIMS + place] != dims[at, place]:
                moved = True
    counts = row[STATE] <= _WATCHING_AT_MOST and row[FRESH_AT] >= 0 and counters[CLOCK] - row[FRESH_AT] < EXPIRY_MS
    if moved or not counts:
        uncount(row, counters, live)
    if moved:
        for place in range(live.followed):
            row[DIMS + place] = dims[at, place]
    if counts and not row[FLAGS] & COUNTED:
        row[FLAGS] |= COUNTED
        counters[LIVE] += 1
        _count(row, 1, live)
        if not row[FLAGS] & WHEELED:
            into_wheel(table.wheel, table.rows, number)
