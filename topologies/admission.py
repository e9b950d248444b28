"""Admission, event by event: the rules are docs/architecture.md's "Admission, exactly"."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.columns import EVENT, INTEGER, MALFORMED, TEXT, TICK_ROW, Columns
from topologies.compiled import Word, hash_bytes, inlined, lean, mix, signed
from topologies.events import STATE_OF_TYPE, TYPES, Tells
from topologies.live_counts import LiveArrays, follow, has_room, move_clock
from topologies.row_lookup import find_slot
from topologies.session_rows import (
    APPLIED_COUNT,
    CLOCK,
    DEAD_COUNT,
    DUPLICATE_COUNT,
    FLAGS,
    HIGHEST,
    ISLAND_ROWS,
    ISLANDS_AN_EVENT,
    LAST_TS,
    LATE_COUNT,
    MAX_TS,
    RECEIVED,
    SEQ_WINDOW,
    STARTED,
    SessionArrays,
    begin,
    forget_some,
    has_row,
    look_ahead,
    remember,
    take_row,
    was_seen,
)
from topologies.sources import LATENESS_MS, SKEW_MS
from topologies.spells import SpellArrays, attend, begin_spell, end_life, has_telling_room, take_back

SEQ_JUMP: Final = 10_000
"""A sequence number more than this above its session's highest is dead (design §4)."""

# classes of a row
NONE, APPLIED, DUPLICATE, LATE, DEAD_MALFORMED, DEAD_AHEAD, DEAD_JUMP = range(7)
REASONS: Final = {DEAD_AHEAD: "ahead", DEAD_JUMP: "seq_jump"}
_COUNTER_OF: Final = np.array([RECEIVED, APPLIED_COUNT, DUPLICATE_COUNT, LATE_COUNT, DEAD_COUNT, DEAD_COUNT, DEAD_COUNT], dtype=np.int64)

# why the kernel stopped
DONE, NEED_ROWS, NEED_KEYS, NEED_ISLANDS, NEED_SAMPLES, NEED_TELLINGS = range(6)

_SEED: Final = np.uint64(0x243F6A8885A308D3)
_BY_TYPE: Final = np.array([STATE_OF_TYPE.get(name, Tells.NOTHING) for name in TYPES], dtype=np.int8)
_BY_PROGRESS: Final = np.array([name in ("heartbeat", "seek", "rendition") for name in TYPES])
_ERROR: Final = TYPES.index("error")
_PLAY_START: Final = TYPES.index("play_start")
NOTHING_CAME, START_FAILED, PLAYBACK_FAILED = range(3)
"""Outcomes of an applied event."""
_PLAYING, _STALLED, _ENDED = int(Tells.PLAYING), int(Tells.STALLED), int(Tells.ENDED)
_ACCOUNT, _SESSION = TEXT["account"], TEXT["session"]
_TYPE, _FATAL, _WATCHED, _STALL, _TS, _SEQ = (INTEGER[name] for name in ("type", "fatal", "watched_ms", "stall_ms", "ts", "seq"))


class Batch(NamedTuple):
    """n decoded records as the kernel takes them: what they are, and `classes` u8[n] and `outcomes` i8[n], which it fills in.

    kinds u8[n], integers i64[fields, n]: Columns'. timestamps i64[n]: the records', epoch ms. ids i64[n, 2], tells i8[n]: identities'.
    dims i32[n, dimensions]: numbers of the dimensions' texts.
    """

    kinds: NDArray[np.uint8]
    timestamps: NDArray[np.int64]
    integers: NDArray[np.int64]
    ids: NDArray[np.int64]
    tells: NDArray[np.int8]
    dims: NDArray[np.int32]
    classes: NDArray[np.uint8]
    outcomes: NDArray[np.int8]


@inlined
def identify(buffer: np.ndarray, account: Word, account_length: Word, session: Word, session_length: Word, ids: np.ndarray) -> None:
    """ids i64[2]: 128 bits of an (account, session); texts by their start in the buffer and their length."""
    key = hash_bytes(buffer, account, account_length, _SEED)
    ids[0] = signed(hash_bytes(buffer, session, session_length, key))
    ids[1] = signed(hash_bytes(buffer, session, session_length, mix(key ^ _SEED)))


@inlined
def told(integers: np.ndarray, row: Word) -> Word:
    """The state that an event tells of its session."""
    kind = integers[_TYPE, row]
    if _BY_PROGRESS[kind]:
        if integers[_WATCHED, row] > 0:
            return signed(_PLAYING)
        if integers[_STALL, row] > 0:
            return signed(_STALLED)
    elif kind == _ERROR and integers[_FATAL, row] == 1:
        return signed(_ENDED)
    return signed(_BY_TYPE[kind])


@lean
def _identify(buffer: np.ndarray, kinds: np.ndarray, spans: np.ndarray, integers: np.ndarray, ids: np.ndarray, tells: np.ndarray) -> None:
    """Per event: 128 bits of its (account, session), and the state that it tells of its session."""
    for row in range(kinds.shape[0]):
        if kinds[row] == EVENT:
            account, session = spans[row, _ACCOUNT], spans[row, _SESSION]
            identify(buffer, account[0], account[1], session[0], session[1], ids[row])
            tells[row] = told(integers, row)


def identities(columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """ids i64[n, 2] and tells i8[n] of decoded columns (undefined where the row is no event)."""
    count = len(columns.kind)
    ids = np.empty((count, 2), dtype=np.int64)
    tells = np.empty(count, dtype=np.int8)
    _identify(columns.buffer, columns.kind, columns.spans, columns.integers, ids, tells)
    return ids, tells


@inlined
def _outcome(integers: np.ndarray, at: Word, row: np.ndarray) -> Word:
    """What an applied event makes of its session: a fatal error is a video start failure if no first frame was applied before it, else a
    playback failure (CTA-2066)."""
    kind = integers[_TYPE, at]
    if kind == _PLAY_START:
        row[FLAGS] |= STARTED
    elif kind == _ERROR and integers[_FATAL, at] == 1:
        return PLAYBACK_FAILED if row[FLAGS] & STARTED else START_FAILED
    return NOTHING_CAME


@inlined
def _class(batch: Batch, at: Word, counters: np.ndarray, kind: Word) -> None:
    batch.classes[at] = kind
    counters[RECEIVED] += 1
    counters[_COUNTER_OF[kind]] += 1


@inlined
def _room(table: SessionArrays, live: LiveArrays, spells: SpellArrays) -> Word:
    """DONE if any one event can be applied, else what must grow."""
    if not has_row(table):
        return NEED_ROWS
    if not has_room(live):
        return NEED_KEYS
    if table.counters[ISLAND_ROWS] + ISLANDS_AN_EVENT > table.islands.shape[0]:
        return NEED_ISLANDS
    if not has_telling_room(spells):
        return NEED_TELLINGS
    return DONE


@inlined
def _new_life(batch: Batch, at: Word, slot: Word, seq: Word, ts: Word, watermark: Word, table: SessionArrays, spells: SpellArrays) -> Word:
    """The row of a session that is not known, with this event as its first: a new one, or that of what it was before.

    What it was before is in no live cell: it was last fresh 13 minutes ago or more, and the clock has passed whole minutes since.
    """
    number = signed(table.lookup[slot]) - 1
    if number < 0:
        number = take_row(table)
        table.lookup[slot] = number + 1
    else:
        end_life(number, table, spells)
    begin_spell(number, ts, spells)
    begin(table.rows[number], batch.ids[at, 0], batch.ids[at, 1], seq, ts)
    forget_some(watermark, table)
    return number


@inlined
def _admit_event(batch: Batch, at: Word, table: SessionArrays, live: LiveArrays, spells: SpellArrays) -> Word:
    """Class one event, in the order of the rules, and move its session. DONE, or what must grow before it can be."""
    counters, rows = table.counters, table.rows
    rts = batch.timestamps[at]
    ts = batch.integers[_TS, at]
    seq = batch.integers[_SEQ, at]
    if ts > rts + SKEW_MS:
        _class(batch, at, counters, DEAD_AHEAD)
        return DONE
    clock = max(counters[CLOCK], rts)
    watermark = max(counters[MAX_TS], clock - SKEW_MS)
    slot = find_slot(table.lookup, rows, batch.ids[at, 0], batch.ids[at, 1])
    number = signed(table.lookup[slot]) - 1
    known = number >= 0 and watermark - rows[number, LAST_TS] <= LATENESS_MS
    if known and seq > rows[number, HIGHEST] + SEQ_JUMP:
        _class(batch, at, counters, DEAD_JUMP)
        return DONE
    lack = _room(table, live, spells)
    if lack != DONE:
        return lack
    if not move_clock(clock, table, live):
        return NEED_SAMPLES
    if watermark - ts > LATENESS_MS:
        _class(batch, at, counters, LATE)
        return DONE
    if known:
        row = rows[number]
        if seq <= row[HIGHEST] and was_seen(row, table.islands, seq):
            _class(batch, at, counters, DUPLICATE)
            return DONE
        if seq <= row[HIGHEST] - SEQ_WINDOW:
            _class(batch, at, counters, LATE)
            return DONE
        take_back(number, watermark, table, spells)
        remember(row, table.islands, counters, seq)
        row[LAST_TS] = max(row[LAST_TS], ts)
    else:
        number = _new_life(batch, at, slot, seq, ts, watermark, table, spells)
    _class(batch, at, counters, APPLIED)
    counters[MAX_TS] = max(counters[MAX_TS], ts)
    batch.outcomes[at] = _outcome(batch.integers, at, rows[number])
    follow(number, seq, ts, rts, batch.tells[at], batch.dims, at, table, live)
    attend(number, batch.integers, batch.dims, at, table, spells)
    return DONE


@lean
def admit(first: Word, batch: Batch, table: SessionArrays, live: LiveArrays, spells: SpellArrays) -> tuple[Word, Word]:
    """Class each record from `first` on and move the sessions. Returns (records done, why it stopped); call again when what it names
    has grown. Stopping and going on changes nothing: an event is done, or has at most moved the clock on its way."""
    for at in range(first, batch.kinds.shape[0]):
        kind = batch.kinds[at]
        lack = signed(DONE)
        look_ahead(batch.ids, at, table.lookup, table.rows, spells.rows)
        if kind == EVENT:
            lack = _admit_event(batch, at, table, live, spells)
        elif kind == MALFORMED:
            _class(batch, at, table.counters, DEAD_MALFORMED)
        elif kind == TICK_ROW:
            if not move_clock(max(table.counters[CLOCK], batch.timestamps[at]), table, live):
                lack = signed(NEED_SAMPLES)
            batch.classes[at] = NONE
        if lack != DONE:
            return signed(at), lack
    return signed(batch.kinds.shape[0]), signed(DONE)
