"""Sessions of one partition: admission event by event, and who is watching.

One row of 16 words a session, so that an event touches two cache lines whatever the number of live sessions; the rules
are docs/architecture.md's "Admission, exactly" and "concurrents". Nothing depends on where a batch begins or ends:
expiry is lazy inside a batch, and exact wherever the state can be looked at (a minute of the clock, the end of a batch).

Seen sequence numbers are kept exactly: 64 bits below the highest, the run of seen numbers under those (`CLEAN_FROM`), and
a list of islands, the seen runs below a gap.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import hash_bytes, inlined, kernel, mix
from topologies.concurrents import EXPIRY_MS, STALE_MS
from topologies.decode import EVENT, INTEGER, MALFORMED, TEXT, TICK_ROW, Columns
from topologies.events import STATE_OF_TYPE, TYPES, Tells
from topologies.keys import find_key
from topologies.sources import LATENESS_MS, SKEW_MS

SEQ_JUMP: Final = 10_000
SEQ_WINDOW: Final = 64
MINUTE_MS: Final = 60_000
WHEEL: Final = 128
"""Seconds that the expiry wheel spans: a minute between two sweeps at most, and 30 s ahead."""

# words of a session's row
ID_1, ID_2, SEEN, HIGHEST, CLEAN_FROM, LAST_TS, FRESH_AT, STATE_SEQ, STATE, DIMS_SEQ, FLAGS, NEXT, ISLANDS, DIMS = range(14)
WORDS: Final = 16
LIVE_DIMENSIONS: Final = WORDS - DIMS
COUNTED, WHEELED = 1, 2

# words of the partition's counters
CLOCK, MAX_TS, SWEPT_S, ROWS, ISLAND_ROWS, LIVE, RECEIVED, APPLIED_COUNT, DUPLICATE_COUNT, LATE_COUNT, DEAD_COUNT, SAMPLES = range(12)
COUNTERS: Final = 12

# classes of a row
NONE, APPLIED, DUPLICATE, LATE, DEAD_MALFORMED, DEAD_AHEAD, DEAD_JUMP = range(7)
REASONS: Final = {DEAD_AHEAD: "ahead", DEAD_JUMP: "seq_jump"}

# why the kernel stopped
DONE, NEED_ROWS, NEED_KEYS, NEED_ISLANDS, NEED_SAMPLES = range(5)
_ISLANDS_AN_EVENT: Final = 40

_SEED: Final = np.uint64(0x243F6A8885A308D3)
_BY_TYPE: Final = np.array([STATE_OF_TYPE.get(name, Tells.NOTHING) for name in TYPES], dtype=np.int8)
_BY_PROGRESS: Final = np.array([name in ("heartbeat", "seek", "rendition") for name in TYPES])
_ERROR: Final = TYPES.index("error")
_ACCOUNT, _SESSION = TEXT["account"], TEXT["session"]
_TYPE, _FATAL, _WATCHED, _STALL = (INTEGER[name] for name in ("type", "fatal", "watched_ms", "stall_ms"))


@kernel
def identify(buffer: np.ndarray, kinds: np.ndarray, spans: np.ndarray, integers: np.ndarray, ids: np.ndarray, tells: np.ndarray) -> None:
    """Per event: 128 bits of its (account, session), and the state that it tells of its session."""
    for row in range(kinds.shape[0]):
        if kinds[row] != EVENT:
            continue
        account = hash_bytes(buffer, spans[row, _ACCOUNT, 0], spans[row, _ACCOUNT, 1], _SEED)
        ids[row, 0] = np.int64(hash_bytes(buffer, spans[row, _SESSION, 0], spans[row, _SESSION, 1], account))
        ids[row, 1] = np.int64(hash_bytes(buffer, spans[row, _SESSION, 0], spans[row, _SESSION, 1], mix(account ^ _SEED)))
        kind = integers[row, _TYPE]
        told = np.int64(_BY_TYPE[kind])
        if _BY_PROGRESS[kind]:
            if integers[row, _WATCHED] > 0:
                told = 1
            elif integers[row, _STALL] > 0:
                told = 2
        elif kind == _ERROR and integers[row, _FATAL] == 1:
            told = 4
        tells[row] = told


def identities(columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """ids i64[n, 2] and tells i8[n] of decoded columns (undefined where the row is no event)."""
    count = len(columns.kind)
    ids = np.empty((count, 2), dtype=np.int64)
    tells = np.empty(count, dtype=np.int8)
    identify(columns.buffer, columns.kind, columns.spans, columns.integers, ids, tells)
    return ids, tells


@inlined
def _find_session(index: np.ndarray, rows: np.ndarray, id_1: int, id_2: int) -> int:
    """The slot of the session in `index`, or of the free place where it would stand."""
    mask = np.uint64(index.shape[0] - 1)
    slot = np.uint64(id_1) & mask
    while True:
        found = index[slot]
        if found == 0 or (rows[found - 1, ID_1] == id_1 and rows[found - 1, ID_2] == id_2):
            return np.int64(slot)
        slot = (slot + np.uint64(1)) & mask


@inlined
def _count(row: np.ndarray, sign: int, plan: np.ndarray, index: np.ndarray, words: np.ndarray, keys: np.ndarray, live: np.ndarray, dirty: np.ndarray) -> None:
    """Add the session to, or take it from, its cell of every grouping."""
    for grouping in range(plan.shape[0]):
        first = np.int64(grouping)
        second = np.int64(0)
        if plan[grouping, 0] >= 0:
            first |= row[DIMS + plan[grouping, 0]] << np.int64(8)
        if plan[grouping, 1] >= 0:
            second |= row[DIMS + plan[grouping, 1]]
        if plan[grouping, 2] >= 0:
            second |= row[DIMS + plan[grouping, 2]] << np.int64(32)
        key = find_key(index, words, keys, first, second)
        live[key] += sign
        dirty[key] = 3


@inlined
def _into_wheel(wheel: np.ndarray, rows: np.ndarray, number: int) -> None:
    second = ((rows[number, FRESH_AT] + EXPIRY_MS) // 1000) % WHEEL
    rows[number, NEXT] = wheel[second]
    rows[number, FLAGS] |= WHEELED
    wheel[second] = number + 1


@kernel
def sweep(
    to_ms: int,
    counters: np.ndarray,
    rows: np.ndarray,
    wheel: np.ndarray,
    plan: np.ndarray,
    key_index: np.ndarray,
    key_words: np.ndarray,
    keys: np.ndarray,
    live: np.ndarray,
    dirty: np.ndarray,
) -> None:
    """Let every session go whose freshest record is EXPIRY_MS old at clock `to_ms`."""
    last = to_ms // 1000
    for second in range(max(counters[SWEPT_S], last - WHEEL + 1), last + 1):
        number = wheel[second % WHEEL] - 1
        wheel[second % WHEEL] = 0
        while number >= 0:
            following = rows[number, NEXT] - 1
            rows[number, FLAGS] &= ~WHEELED
            if rows[number, FLAGS] & COUNTED:
                if rows[number, FRESH_AT] + EXPIRY_MS <= to_ms:
                    rows[number, FLAGS] &= ~COUNTED
                    counters[LIVE] -= 1
                    _count(rows[number], -1, plan, key_index, key_words, keys, live, dirty)
                else:
                    _into_wheel(wheel, rows, number)
            number = following
    counters[SWEPT_S] = max(counters[SWEPT_S], last)


@inlined
def _add_island(row: np.ndarray, islands: np.ndarray, counters: np.ndarray, low: int, high: int) -> None:
    if low > high:
        return
    made = counters[ISLAND_ROWS]
    islands[made, 0] = low
    islands[made, 1] = high
    islands[made, 2] = row[ISLANDS]
    row[ISLANDS] = made + 1
    counters[ISLAND_ROWS] = made + 1


@inlined
def _advance(row: np.ndarray, islands: np.ndarray, counters: np.ndarray, seq: int) -> None:
    """Make `seq` the session's highest; what leaves the window of 64 is remembered as runs."""
    highest = row[HIGHEST]
    step = seq - highest
    seen = np.uint64(row[SEEN])
    for out in range(min(step, SEQ_WINDOW)):
        number = highest - (SEQ_WINDOW - 1) + out
        if not (seen >> np.uint64(SEQ_WINDOW - 1 - out)) & np.uint64(1):
            _add_island(row, islands, counters, row[CLEAN_FROM], number - 1)
            row[CLEAN_FROM] = number + 1
    if step > SEQ_WINDOW:
        _add_island(row, islands, counters, row[CLEAN_FROM], highest)
        row[CLEAN_FROM] = seq - SEQ_WINDOW + 1
    row[SEEN] = np.int64(seen << np.uint64(step) | np.uint64(1)) if step < SEQ_WINDOW else np.int64(1)
    row[HIGHEST] = seq


@inlined
def _below_window_seen(row: np.ndarray, islands: np.ndarray, seq: int) -> bool:
    if seq >= row[CLEAN_FROM]:
        return True
    island = row[ISLANDS] - 1
    while island >= 0:
        if islands[island, 0] <= seq <= islands[island, 1]:
            return True
        island = islands[island, 2] - 1
    return False


@inlined
def _begin(row: np.ndarray, id_1: int, id_2: int, seq: int, ts: int) -> None:
    """A new life of the session, with `seq` as its only event."""
    wheeled = row[FLAGS] & WHEELED
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


@kernel
def admit(
    first: int,
    kinds: np.ndarray,
    record_ts: np.ndarray,
    integers: np.ndarray,
    ts_column: int,
    seq_column: int,
    ids: np.ndarray,
    tells: np.ndarray,
    dims: np.ndarray,
    classes: np.ndarray,
    counters: np.ndarray,
    index: np.ndarray,
    rows: np.ndarray,
    islands: np.ndarray,
    wheel: np.ndarray,
    plan: np.ndarray,
    key_index: np.ndarray,
    key_words: np.ndarray,
    keys: np.ndarray,
    live: np.ndarray,
    dirty: np.ndarray,
    sample_keys: np.ndarray,
    sample_starts: np.ndarray,
    sample_values: np.ndarray,
) -> tuple[int, int]:
    """Class each event from `first` on and move the sessions. Returns (events done, why it stopped); call again when the
    named table has grown. Stopping and going on changes nothing: an event is either done or untouched."""
    for at in range(first, kinds.shape[0]):
        kind = kinds[at]
        if kind == MALFORMED:
            classes[at] = DEAD_MALFORMED
            counters[RECEIVED] += 1
            counters[DEAD_COUNT] += 1
            continue
        rts = record_ts[at]
        clock = max(counters[CLOCK], rts)
        slot = np.int64(-1)
        number = np.int64(-1)
        known = False
        ts = np.int64(0)
        seq = np.int64(0)
        if kind == EVENT:
            ts = integers[at, ts_column]
            seq = integers[at, seq_column]
            if ts > rts + SKEW_MS:
                classes[at] = DEAD_AHEAD
                counters[RECEIVED] += 1
                counters[DEAD_COUNT] += 1
                continue
            slot = _find_session(index, rows, ids[at, 0], ids[at, 1])
            number = np.int64(index[slot]) - 1
            watermark = max(counters[MAX_TS], clock - SKEW_MS)
            known = number >= 0 and watermark - rows[number, LAST_TS] <= LATENESS_MS
            if known and seq > rows[number, HIGHEST] + SEQ_JUMP:
                classes[at] = DEAD_JUMP
                counters[RECEIVED] += 1
                counters[DEAD_COUNT] += 1
                continue
            if counters[ROWS] >= rows.shape[0]:
                return at, NEED_ROWS
            if keys[0] + plan.shape[0] > key_words.shape[0] or 2 * (keys[0] + plan.shape[0]) >= key_index.shape[0]:
                return at, NEED_KEYS
            if counters[ISLAND_ROWS] + _ISLANDS_AN_EVENT > islands.shape[0]:
                return at, NEED_ISLANDS
        # the clock moves: each whole minute that it reaches is sampled as it stood before this event
        if counters[CLOCK] >= 0:
            minute = (counters[CLOCK] // MINUTE_MS + 1) * MINUTE_MS
            while minute <= clock:
                if counters[LIVE] > 0:
                    if counters[SAMPLES] + keys[0] > sample_keys.shape[0]:
                        return at, NEED_SAMPLES
                    sweep(minute, counters, rows, wheel, plan, key_index, key_words, keys, live, dirty)
                    for key in range(keys[0]):
                        if live[key] != 0:
                            sample = counters[SAMPLES]
                            sample_keys[sample] = key
                            sample_starts[sample] = minute
                            sample_values[sample] = live[key]
                            counters[SAMPLES] = sample + 1
                    counters[CLOCK] = minute
                    minute += MINUTE_MS
                else:
                    minute = clock + 1
        else:
            counters[SWEPT_S] = clock // 1000
        counters[CLOCK] = clock
        if kind == TICK_ROW:
            classes[at] = NONE
            continue
        counters[RECEIVED] += 1
        if max(counters[MAX_TS], clock - SKEW_MS) - ts > LATENESS_MS:
            classes[at] = LATE
            counters[LATE_COUNT] += 1
            continue
        if known:
            row = rows[number]
            behind = row[HIGHEST] - seq
            if behind >= SEQ_WINDOW:
                if _below_window_seen(row, islands, seq):
                    classes[at] = DUPLICATE
                    counters[DUPLICATE_COUNT] += 1
                else:
                    classes[at] = LATE
                    counters[LATE_COUNT] += 1
                continue
            if behind >= 0:
                bit = np.uint64(1) << np.uint64(behind)
                if np.uint64(row[SEEN]) & bit:
                    classes[at] = DUPLICATE
                    counters[DUPLICATE_COUNT] += 1
                    continue
                row[SEEN] = np.int64(np.uint64(row[SEEN]) | bit)
            else:
                _advance(row, islands, counters, seq)
            if ts > row[LAST_TS]:
                row[LAST_TS] = ts
        else:
            if number < 0:
                number = counters[ROWS]
                counters[ROWS] = number + 1
                index[slot] = number + 1
                rows[number, FLAGS] = 0
            elif rows[number, FLAGS] & COUNTED:
                rows[number, FLAGS] &= ~COUNTED
                counters[LIVE] -= 1
                _count(rows[number], -1, plan, key_index, key_words, keys, live, dirty)
            row = rows[number]
            _begin(row, ids[at, 0], ids[at, 1], seq, ts)
        classes[at] = APPLIED
        counters[APPLIED_COUNT] += 1
        if ts > counters[MAX_TS]:
            counters[MAX_TS] = ts
        # who is watching
        if rts - ts <= STALE_MS and rts > row[FRESH_AT]:
            row[FRESH_AT] = rts
        if tells[at] >= 0 and seq > row[STATE_SEQ]:
            row[STATE_SEQ] = seq
            row[STATE] = tells[at]
        moved = False
        if seq > row[DIMS_SEQ]:
            row[DIMS_SEQ] = seq
            for place in range(dims.shape[1]):
                if row[DIMS + place] != dims[at, place]:
                    moved = True
        counts = row[STATE] <= 2 and row[FRESH_AT] >= 0 and clock - row[FRESH_AT] < EXPIRY_MS
        counted = (row[FLAGS] & COUNTED) != 0
        if counted and (moved or not counts):
            row[FLAGS] &= ~COUNTED
            counters[LIVE] -= 1
            _count(row, -1, plan, key_index, key_words, keys, live, dirty)
            counted = False
        if moved:
            for place in range(dims.shape[1]):
                row[DIMS + place] = dims[at, place]
        if counts and not counted:
            row[FLAGS] |= COUNTED
            counters[LIVE] += 1
            _count(row, 1, plan, key_index, key_words, keys, live, dirty)
            if not row[FLAGS] & WHEELED:
                _into_wheel(wheel, rows, number)
    return kinds.shape[0], DONE


@kernel
def compact(
    watermark: int, counters: np.ndarray, index: np.ndarray, old: np.ndarray, rows: np.ndarray, old_islands: np.ndarray, islands: np.ndarray, wheel: np.ndarray
) -> None:
    """Copy what must be remembered into fresh tables (`index` and `wheel` zeroed): a session whose every event would be late goes."""
    kept = 0
    kept_islands = 0
    mask = np.uint64(index.shape[0] - 1)
    for wheel_slot in range(wheel.shape[0]):
        wheel[wheel_slot] = 0
    for number in range(counters[ROWS]):
        if watermark - old[number, LAST_TS] > LATENESS_MS and not old[number, FLAGS] & COUNTED:
            continue
        row = rows[kept]
        row[:] = old[number]
        row[NEXT] = 0
        row[ISLANDS] = 0
        island = old[number, ISLANDS] - 1
        while island >= 0:
            islands[kept_islands, 0] = old_islands[island, 0]
            islands[kept_islands, 1] = old_islands[island, 1]
            islands[kept_islands, 2] = row[ISLANDS]
            kept_islands += 1
            row[ISLANDS] = kept_islands
            island = old_islands[island, 2] - 1
        row[FLAGS] &= ~WHEELED
        if row[FLAGS] & COUNTED:
            _into_wheel(wheel, rows, kept)
        slot = np.uint64(row[ID_1]) & mask
        while index[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        kept += 1
        index[slot] = kept
    counters[ROWS] = kept
    counters[ISLAND_ROWS] = kept_islands


class SessionTable:
    """The arrays of one partition's sessions, and how they grow."""

    def __init__(self, capacity: int = 1024) -> None:
        self.counters = np.zeros(COUNTERS, dtype=np.int64)
        self.counters[CLOCK] = self.counters[MAX_TS] = -1
        self.rows = np.zeros((capacity, WORDS), dtype=np.int64)
        self.index = np.zeros(4 * capacity, dtype=np.int32)
        self.islands = np.zeros((256, 3), dtype=np.int64)
        self.wheel = np.zeros(WHEEL, dtype=np.int64)

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.index.nbytes + self.islands.nbytes

    def watermark_ms(self) -> int:
        return int(max(self.counters[MAX_TS], self.counters[CLOCK] - SKEW_MS, -1))

    def make_room(self) -> None:
        """Forget what can be forgotten; if the table is still more than half full, double it."""
        self._rebuild(len(self.rows), len(self.islands))
        if 2 * int(self.counters[ROWS]) > len(self.rows):
            self._rebuild(2 * len(self.rows), len(self.islands))

    def make_island_room(self) -> None:
        self._rebuild(len(self.rows), len(self.islands))
        if 2 * (int(self.counters[ISLAND_ROWS]) + _ISLANDS_AN_EVENT) > len(self.islands):
            self._rebuild(len(self.rows), 2 * len(self.islands))

    def load(self, rows: NDArray[np.int64], islands: NDArray[np.int64], counters: NDArray[np.int64]) -> None:
        """Take the tables of a checkpoint."""
        self.counters[:] = counters
        size = max(1024, 1 << int(2 * len(rows)).bit_length())
        self.rows = np.zeros((size, WORDS), dtype=np.int64)
        self.rows[: len(rows)] = rows
        self.islands = np.zeros((max(256, 2 * len(islands)), 3), dtype=np.int64)
        self.islands[: len(islands)] = islands
        self._rebuild(size, len(self.islands))

    def canonical(self) -> dict[tuple[int, int], tuple[Any, ...]]:
        """What is remembered of each session that is not forgotten, without the accidents of the tables."""
        found: dict[tuple[int, int], tuple[Any, ...]] = {}
        for row in self.rows[: int(self.counters[ROWS])].tolist():
            if self.watermark_ms() - row[LAST_TS] > LATENESS_MS:
                continue
            seen = {row[HIGHEST] - bit for bit in range(SEQ_WINDOW) if row[SEEN] >> bit & 1}
            runs = [(row[CLEAN_FROM], row[HIGHEST] - SEQ_WINDOW)] if row[CLEAN_FROM] <= row[HIGHEST] - SEQ_WINDOW else []
            island = row[ISLANDS] - 1
            while island >= 0:
                low, high, following = self.islands[island].tolist()
                runs.append((low, high))
                island = following - 1
            words = (row[HIGHEST], row[LAST_TS], row[FRESH_AT], row[STATE_SEQ], row[STATE], row[DIMS_SEQ], row[FLAGS] & COUNTED)
            found[row[ID_1], row[ID_2]] = (*words, tuple(row[DIMS:]), frozenset(seen), tuple(sorted(runs)))
        return found

    def _rebuild(self, capacity: int, islands: int) -> None:
        rows = np.zeros((capacity, WORDS), dtype=np.int64)
        index = np.zeros(1 << (4 * capacity - 1).bit_length(), dtype=np.int32)
        fresh_islands = np.zeros((islands, 3), dtype=np.int64)
        compact(self.watermark_ms(), self.counters, index, self.rows, rows, self.islands, fresh_islands, self.wheel)
        self.rows, self.index, self.islands = rows, index, fresh_islands
