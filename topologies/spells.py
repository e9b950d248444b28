"""What sessions add to the views of sessions: a row beside the session's own, and when it counts (topologies.playbacks).

What an over session adds is a function of its two rows. It is told to the cells when the session is found to be over, and taken back by the
next event that is applied to it, which reckons it from the rows as they still stand. Silence is found lazily, by a wheel, at the end of a
batch; but whatever a session added at any record of the log is told at least once: so an owner that cuts the log otherwise than
the last one did writes each cell that that one wrote.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.binning import bin_number
from topologies.columns import INTEGER
from topologies.compiled import Word, inlined, lean, signed
from topologies.events import DAY_MS, Tells
from topologies.measuring import SESSION_COLUMN
from topologies.playbacks import COMPLETE_PCT, MOST_RUNS, SILENCE_MS
from topologies.session_rows import CLOCK, FLAGS, HIGHEST, ISLAND_ROWS, LAST_TS, MAX_TS, STARTED, STATE, TOLD, WATCHED, SessionArrays
from topologies.sources import SKEW_MS

# words of a spell's row: first ts; (seq + 1) and runtime of the event of the greatest seq that has one, 0 for none; numbers of title and
# device; the content seconds seen last, (low, high], 0 for none; island + 1 of the others; row + 1 that follows in the wheel
FIRST_TS, RUNTIME, PLACE, RUN, RUNS, FOLLOWING = range(6)
SPELL_WORDS: Final = 8
"""A cache line."""
SPELL_DIMENSIONS: Final = ("title", "device", "length_s~")
"""Columns of SpellArrays.dims."""
RUNTIME_BITS: Final = 20
"""No runtime, and no position, is beyond a million seconds."""
SILENCE_WHEEL: Final = 1024
"""Seconds that the wheel spans: more than the 600 s after which a session is silent."""
TELLINGS: Final = 1024
"""Tellings that wait for the cells at most."""
TELLINGS_AN_EVENT: Final = 3
"""What it was, taken back; or what a silent one was, told and taken back; and what it is."""

_RUNTIME_MASK: Final = (1 << RUNTIME_BITS) - 1
_LOW_WORD: Final = 0xFFFFFFFF
_SCATTERED: Final = 1 << 32 | 1
"""The run of a session that had too many: an empty one, as no other is."""
_ENDED: Final = int(Tells.ENDED)
_RUNTIME_S, _POSITION, _WATCHED_MS, _TS, _SEQ = (INTEGER[name] for name in ("runtime_s", "position_s", "watched_ms", "ts", "seq"))
_SESSIONS, _ENDS, _CLOSED, _COMPLETE, _EXITS, _LENGTH_S, _LAST_TS = (
    SESSION_COLUMN[name] for name in ("sessions", "ended", "closed", "complete", "exits_before_start", "length_s", "ts")
)


class SpellArrays(NamedTuple):
    """A partition's spells as kernels take them.

    title, device: their columns of a batch's dims; −1 where no view is of sessions. rows i64[capacity, SPELL_WORDS]: as the sessions'.
    wheel i64[SILENCE_WHEEL]: first row + 1 of each second's list. swept_s i64[1]: the watermark's second at the last sweep.
    waiting i64[1]: tellings that wait; of each: facts i64[SESSION_COLUMN, room], dims i32[room, 3] by SPELL_DIMENSIONS, weights i8[room].
    """

    title: int
    device: int
    rows: NDArray[np.int64]
    wheel: NDArray[np.int64]
    swept_s: NDArray[np.int64]
    waiting: NDArray[np.int64]
    facts: NDArray[np.int64]
    dims: NDArray[np.int32]
    weights: NDArray[np.int8]


NO_SPELLS: Final = np.zeros((0, SPELL_WORDS), dtype=np.int64)


def spell_arrays(title: int, device: int, rows: NDArray[np.int64]) -> SpellArrays:
    """With these rows, and nothing in the wheel."""
    wheel, swept_s, waiting = (np.zeros(words, dtype=np.int64) for words in (SILENCE_WHEEL, 1, 1))
    room = TELLINGS if title >= 0 else TELLINGS_AN_EVENT
    facts, dims = np.zeros((len(SESSION_COLUMN), room), dtype=np.int64), np.zeros((room, len(SPELL_DIMENSIONS)), dtype=np.int32)
    return SpellArrays(title, device, rows, wheel, swept_s, waiting, facts, dims, np.zeros(room, dtype=np.int8))


# -- content ------------------------------------------------------------------------------------------------------------


@inlined
def _unite(spell: np.ndarray, low: Word, high: Word, islands: np.ndarray) -> Word:
    """Make one run of (low, high] and every island that touches it. Returns how many runs there are then."""
    runs = signed(1)
    before = signed(-1)
    island = spell[RUNS] - 1
    while island >= 0:
        following = islands[island, 2]
        if low <= islands[island, 1] and high >= islands[island, 0]:
            low, high = min(low, islands[island, 0]), max(high, islands[island, 1])
            if before < 0:
                spell[RUNS] = following
            else:
                islands[before, 2] = following
        else:
            before = island
            runs += 1
        island = following - 1
    spell[RUN] = low << signed(32) | high
    return runs


@inlined
def _see(spell: np.ndarray, low: Word, high: Word, islands: np.ndarray, counters: np.ndarray) -> None:
    """Unite the content seconds (low, high] with those that were seen. What touches is one run, so the runs are the same in any order; at
    which event there are too many is the log's."""
    run = spell[RUN]
    if run == _SCATTERED:
        return
    if run == 0:
        spell[RUN] = low << signed(32) | high
        return
    run_low = run >> signed(32)
    run_high = run & signed(_LOW_WORD)
    if low <= run_high and high >= run_low:
        if run_low <= low and high <= run_high:
            return
        low, high = min(low, run_low), max(high, run_high)
    else:
        made = counters[ISLAND_ROWS]
        islands[made, 0] = run_low
        islands[made, 1] = run_high
        islands[made, 2] = spell[RUNS]
        spell[RUNS] = made + 1
        counters[ISLAND_ROWS] = made + 1
    if _unite(spell, low, high, islands) > MOST_RUNS:
        spell[RUN] = _SCATTERED
        spell[RUNS] = 0


@inlined
def _seen_s(spell: np.ndarray, islands: np.ndarray) -> Word:
    """How many content seconds were seen."""
    seen = (spell[RUN] & signed(_LOW_WORD)) - (spell[RUN] >> signed(32))
    island = spell[RUNS] - 1
    while island >= 0:
        seen += islands[island, 1] - islands[island, 0]
        island = islands[island, 2] - 1
    return seen


# -- tellings -----------------------------------------------------------------------------------------------------------


@inlined
def has_telling_room(spells: SpellArrays) -> Word:
    """Whether any one event, or silence, can tell."""
    return spells.waiting[0] + TELLINGS_AN_EVENT <= spells.weights.shape[0]


@inlined
def _tell(number: Word, weight: Word, table: SessionArrays, spells: SpellArrays) -> None:
    """What the session adds as it stands, told with that weight; there is room."""
    row, spell = table.rows[number], spells.rows[number]
    at = spells.waiting[0]
    spells.waiting[0] = at + 1
    ended = row[STATE] == _ENDED
    runtime_s = spell[RUNTIME] & signed(_RUNTIME_MASK)
    length_ms = row[LAST_TS] - spell[FIRST_TS]
    spells.facts[_SESSIONS, at] = 1
    spells.facts[_ENDS, at] = 1 if ended else 0
    spells.facts[_CLOSED, at] = 0 if ended else 1
    spells.facts[_COMPLETE, at] = 1 if runtime_s > 0 and _seen_s(spell, table.islands) * 100 >= COMPLETE_PCT * runtime_s else 0
    spells.facts[_EXITS, at] = 0 if row[FLAGS] & STARTED else 1
    spells.facts[_LENGTH_S, at] = length_ms // 1000
    spells.facts[_LAST_TS, at] = row[LAST_TS]
    spells.dims[at, 0] = spell[PLACE] >> signed(32)
    spells.dims[at, 1] = spell[PLACE] & signed(_LOW_WORD)
    spells.dims[at, 2] = bin_number(min(length_ms // 1000, signed(DAY_MS)))
    spells.weights[at] = weight


@inlined
def _watermark(counters: np.ndarray) -> Word:
    return max(counters[MAX_TS], counters[CLOCK] - SKEW_MS)


@inlined
def watch(number: Word, table: SessionArrays, spells: SpellArrays) -> None:
    """Have the session looked at in the second of the watermark that finds it silent, if it says nothing more."""
    second = ((table.rows[number, LAST_TS] + SILENCE_MS) // 1000) % SILENCE_WHEEL
    spells.rows[number, FOLLOWING] = spells.wheel[second]
    table.rows[number, FLAGS] |= WATCHED
    spells.wheel[second] = number + 1


@inlined
def take_back(number: Word, watermark: Word, table: SessionArrays, spells: SpellArrays) -> None:
    """An event will be applied to the session: what it adds until then is added no more."""
    if spells.title < 0:
        return
    row = table.rows[number]
    if row[FLAGS] & TOLD:
        row[FLAGS] &= ~TOLD
        _tell(number, signed(-1), table, spells)
    elif watermark - row[LAST_TS] > SILENCE_MS:
        # in batches cut otherwise silence had closed it, and a store may have been told so
        _tell(number, signed(1), table, spells)
        _tell(number, signed(-1), table, spells)


@inlined
def end_life(number: Word, table: SessionArrays, spells: SpellArrays) -> None:
    """The session's row will be that of its next life: what it adds stays for good."""
    if spells.title >= 0 and not table.rows[number, FLAGS] & TOLD:
        _tell(number, signed(1), table, spells)


@inlined
def begin_spell(number: Word, ts: Word, spells: SpellArrays) -> None:
    """A new life, with its first event at `ts`. Its place in the wheel stays."""
    if spells.title >= 0:
        spell = spells.rows[number]
        spell[FIRST_TS] = ts
        spell[RUNTIME] = spell[PLACE] = spell[RUN] = spell[RUNS] = 0


@inlined
def attend(number: Word, integers: np.ndarray, dims: np.ndarray, at: Word, table: SessionArrays, spells: SpellArrays) -> None:
    """An event of the session was applied: what it says of the spell, and whether that is over."""
    if spells.title < 0:
        return
    row, spell = table.rows[number], spells.rows[number]
    spell[FIRST_TS] = min(spell[FIRST_TS], integers[_TS, at])
    seq, runtime_s = integers[_SEQ, at], integers[_RUNTIME_S, at]
    if runtime_s >= 0:
        spell[RUNTIME] = max(spell[RUNTIME], (seq + 1) << signed(RUNTIME_BITS) | runtime_s)
    if seq == row[HIGHEST]:
        spell[PLACE] = signed(dims[at, spells.title]) << signed(32) | signed(dims[at, spells.device])
    high = integers[_POSITION, at]
    low = max(high - integers[_WATCHED_MS, at] // 1000, signed(0))
    if integers[_WATCHED_MS, at] > 0 and high > low:
        _see(spell, low, high, table.islands, table.counters)
    if row[STATE] == _ENDED or _watermark(table.counters) - row[LAST_TS] > SILENCE_MS:
        row[FLAGS] |= TOLD
        _tell(number, signed(1), table, spells)
    elif not row[FLAGS] & WATCHED:
        watch(number, table, spells)


@lean
def close_silent(table: SessionArrays, spells: SpellArrays) -> Word:
    """Tell of every session that the watermark finds silent. False: there is no room for a telling; call again when there is."""
    if spells.title < 0:
        return True
    rows, wheel = table.rows, spells.wheel
    watermark = _watermark(table.counters)
    last = watermark // 1000
    for second in range(max(spells.swept_s[0], last - SILENCE_WHEEL + 1), last + 1):
        number = wheel[second % SILENCE_WHEEL] - 1
        wheel[second % SILENCE_WHEEL] = 0
        while number >= 0 and has_telling_room(spells):
            following = spells.rows[number, FOLLOWING] - 1
            rows[number, FLAGS] &= ~WATCHED
            if not rows[number, FLAGS] & TOLD:
                if watermark - rows[number, LAST_TS] > SILENCE_MS:
                    rows[number, FLAGS] |= TOLD
                    _tell(number, signed(1), table, spells)
                else:
                    watch(number, table, spells)
            number = following
        spells.swept_s[0] = second
        if number >= 0:
            while number >= 0:
                following = spells.rows[number, FOLLOWING] - 1
                spells.rows[number, FOLLOWING] = wheel[second % SILENCE_WHEEL]
                wheel[second % SILENCE_WHEEL] = number + 1
                number = following
            return False
    return True


@lean
def watch_all(count: Word, table: SessionArrays, spells: SpellArrays) -> None:
    """Have each session looked at that is not over; the wheel is empty."""
    for number in range(count):
        if not table.rows[number, FLAGS] & TOLD:
            watch(number, table, spells)
