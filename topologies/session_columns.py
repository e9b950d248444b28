"""The sessions of a checkpoint: the rows of a table turned into columns of as few bytes as their values need, and back.

A column holds what a word adds to what others say: the state's event is mostly the highest one, the freshest record is seldom far from
the last time. Column c of n rows stands as planes: `planes[(first[c] + b) * n + i]` is byte b of row i's value, lowest first; a column of
zeros has no plane. Identities are random, so they stay as they are.
Measured: of the 128 bytes of a session 16 are its identity, 5-12 others are left before compression (`marquee bench checkpoint`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import Word, inlined, lean, signed, unsigned
from topologies.session_rows import (
    CLEAN_FROM,
    COUNTED,
    DIMS,
    DIMS_SEQ,
    FLAGS,
    FRESH_AT,
    HIGHEST,
    ID_1,
    ID_2,
    ISLANDS,
    LAST_TS,
    LIVE_DIMENSIONS,
    SEEN,
    SEQ_WINDOW,
    STARTED,
    STATE,
    STATE_SEQ,
    TOLD,
    forgettable,
)
from topologies.spells import FIRST_TS, NO_SPELLS, PLACE, RUN, RUNS, RUNTIME, RUNTIME_BITS

SPELL_COLUMNS: Final = 8
COLUMNS: Final = 10 + LIVE_DIMENSIONS + SPELL_COLUMNS
_SPELL: Final = COLUMNS - SPELL_COLUMNS


@dataclass(frozen=True)
class SessionColumns:
    """n sessions. widths u8[COLUMNS]: bytes of each column; fewer columns if fewer were known when they were written. ids i64[n, 2];
    planes u8[sum(widths) × n]; `base_ms`: times count from here."""

    base_ms: int
    widths: NDArray[np.uint8]
    ids: NDArray[np.int64]
    planes: NDArray[np.uint8]


@inlined
def _zigzag(number: Word) -> Word:
    return unsigned((number << signed(1)) ^ (number >> signed(63)))


@inlined
def _unzigzag(word: Word) -> Word:
    return signed(word >> unsigned(1)) ^ -signed(word & unsigned(1))


@inlined
def _window_of(highest: Word) -> Word:
    """The bits of a session that has seen every number up to its highest."""
    return unsigned(0xFFFFFFFFFFFFFFFF) if highest >= SEQ_WINDOW - 1 else (unsigned(1) << unsigned(highest + 1)) - unsigned(1)


@inlined
def _values(row: np.ndarray, base_ms: Word, values: np.ndarray) -> None:
    """What a row is beyond its identity; `_restore` is the inverse."""
    highest = row[HIGHEST]
    values[0] = unsigned(highest)
    values[1] = unsigned(row[SEEN]) ^ _window_of(highest)
    values[2] = _zigzag(row[CLEAN_FROM] + (SEQ_WINDOW - 1))
    values[3] = _zigzag(row[LAST_TS] - base_ms)
    values[4] = unsigned(0)
    if row[FRESH_AT] >= 0:
        values[4] = _zigzag(row[FRESH_AT] - row[LAST_TS]) + unsigned(1)
    values[5] = unsigned(highest - row[STATE_SEQ])
    values[6] = unsigned(row[STATE])
    values[7] = unsigned(highest - row[DIMS_SEQ])
    values[8] = unsigned(row[FLAGS] & (COUNTED | STARTED | TOLD))
    values[9] = unsigned(row[ISLANDS])
    for place in range(LIVE_DIMENSIONS):
        values[10 + place] = unsigned(row[DIMS + place])


@inlined
def _spell_values(row: np.ndarray, spell: np.ndarray, values: np.ndarray) -> None:
    """What a spell is beside its session's row; `_restore_spell` is the inverse."""
    values[_SPELL] = unsigned(row[LAST_TS] - spell[FIRST_TS])
    values[_SPELL + 1] = unsigned(0)
    if spell[RUNTIME] > 0:
        values[_SPELL + 1] = unsigned(row[HIGHEST] + 2 - (spell[RUNTIME] >> signed(RUNTIME_BITS)))
    values[_SPELL + 2] = unsigned(spell[RUNTIME] & signed((1 << RUNTIME_BITS) - 1))
    values[_SPELL + 3] = unsigned(spell[PLACE] >> signed(32))
    values[_SPELL + 4] = unsigned(spell[PLACE] & signed(0xFFFFFFFF))
    values[_SPELL + 5] = unsigned(spell[RUN] >> signed(32))
    values[_SPELL + 6] = unsigned(spell[RUN] & signed(0xFFFFFFFF)) - values[_SPELL + 5]
    values[_SPELL + 7] = unsigned(spell[RUNS])


@inlined
def _restore_spell(values: np.ndarray, row: np.ndarray, spell: np.ndarray) -> None:
    spell[FIRST_TS] = row[LAST_TS] - signed(values[_SPELL])
    spell[RUNTIME] = 0
    if values[_SPELL + 1] != 0:
        spell[RUNTIME] = (row[HIGHEST] + 2 - signed(values[_SPELL + 1])) << signed(RUNTIME_BITS) | signed(values[_SPELL + 2])
    spell[PLACE] = signed(values[_SPELL + 3]) << signed(32) | signed(values[_SPELL + 4])
    spell[RUN] = signed(values[_SPELL + 5]) << signed(32) | signed(values[_SPELL + 5] + values[_SPELL + 6])
    spell[RUNS] = signed(values[_SPELL + 7])


@inlined
def _restore(values: np.ndarray, base_ms: Word, row: np.ndarray) -> None:
    highest = signed(values[0])
    row[HIGHEST] = highest
    row[SEEN] = signed(values[1] ^ _window_of(highest))
    row[CLEAN_FROM] = _unzigzag(values[2]) - (SEQ_WINDOW - 1)
    row[LAST_TS] = _unzigzag(values[3]) + base_ms
    row[FRESH_AT] = -1
    if values[4] != 0:
        row[FRESH_AT] = _unzigzag(values[4] - unsigned(1)) + row[LAST_TS]
    row[STATE_SEQ] = highest - signed(values[5])
    row[STATE] = signed(values[6])
    row[DIMS_SEQ] = highest - signed(values[7])
    row[FLAGS] = signed(values[8])
    row[ISLANDS] = signed(values[9])
    for place in range(LIVE_DIMENSIONS):
        row[DIMS + place] = signed(values[10 + place])


@lean
def _survey(rows: np.ndarray, spells: np.ndarray, watermark: Word, base_ms: Word, values: np.ndarray, used: np.ndarray) -> Word:
    """How many sessions are to be kept; `used`: the bits that their values have."""
    kept = 0
    for number in range(rows.shape[0]):
        if forgettable(rows[number], watermark):
            continue
        kept += 1
        _values(rows[number], base_ms, values)
        if spells.shape[0] > 0:
            _spell_values(rows[number], spells[number], values)
        for column in range(COLUMNS):
            used[column] |= values[column]
    return kept


@lean
def _into_columns(rows: np.ndarray, spells: np.ndarray, watermark: Word, base_ms: Word, values: np.ndarray, widths: np.ndarray,
                  ids: np.ndarray, planes: np.ndarray) -> None:  # fmt: skip
    count = ids.shape[0]
    kept = 0
    for number in range(rows.shape[0]):
        if forgettable(rows[number], watermark):
            continue
        ids[kept, 0] = rows[number, ID_1]
        ids[kept, 1] = rows[number, ID_2]
        _values(rows[number], base_ms, values)
        if spells.shape[0] > 0:
            _spell_values(rows[number], spells[number], values)
        at = kept
        for column in range(COLUMNS):
            word = values[column]
            for _ in range(widths[column]):
                planes[at] = word & unsigned(0xFF)
                word >>= unsigned(8)
                at += count
        kept += 1


@lean
def _into_rows(base_ms: Word, values: np.ndarray, widths: np.ndarray, ids: np.ndarray, planes: np.ndarray, rows: np.ndarray,
               spells: np.ndarray) -> None:  # fmt: skip
    count = ids.shape[0]
    for number in range(count):
        at = number
        for column in range(widths.shape[0]):
            word = unsigned(0)
            for byte in range(widths[column]):
                word |= unsigned(planes[at]) << unsigned(8 * byte)
                at += count
            values[column] = word
        rows[number, ID_1] = ids[number, 0]
        rows[number, ID_2] = ids[number, 1]
        _restore(values, base_ms, rows[number])
        if spells.shape[0] > 0:
            _restore_spell(values, rows[number], spells[number])


def into_columns(rows: NDArray[np.int64], watermark_ms: int, spells: NDArray[np.int64] = NO_SPELLS) -> SessionColumns:
    """The columns of a table's rows, and of their spells if there are any, without those that can be forgotten at that watermark. Holds
    no lock of the interpreter."""
    values = np.zeros(COLUMNS, dtype=np.uint64)
    used = np.zeros(COLUMNS, dtype=np.uint64)
    kept = _survey(rows, spells, watermark_ms, watermark_ms, values, used)
    widths = np.array([(int(bits).bit_length() + 7) // 8 for bits in used], dtype=np.uint8)
    ids = np.empty((kept, 2), dtype=np.int64)
    planes = np.empty(int(widths.sum()) * kept, dtype=np.uint8)
    _into_columns(rows, spells, watermark_ms, watermark_ms, values, widths, ids, planes)
    return SessionColumns(watermark_ms, widths, ids, planes)


def into_rows(columns: SessionColumns, rows: NDArray[np.int64], spells: NDArray[np.int64] = NO_SPELLS) -> None:
    """Fill in the first n of `rows`, and of `spells`, which are zero. Holds no lock of the interpreter."""
    values = np.zeros(COLUMNS, dtype=np.uint64)
    _into_rows(columns.base_ms, values, columns.widths, columns.ids, columns.planes, rows, spells)
