"""The names that a valid event is made of, as tables for the scanner: fields, types, kinds, and each field's rules."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from topologies.columns import INTEGER, TEXT
from topologies.compiled import Word, inlined, load64, signed, unsigned
from topologies.events import FIELDS, KINDS, TICK, TYPES

FORM_INT, FORM_STR, FORM_TYPE, FORM_KIND, FORM_BOOL = range(5)
_FORM_OF: Final = {"type": FORM_TYPE, "kind": FORM_KIND}
_FORM_OF_JSON: Final = {"int": FORM_INT, "str": FORM_STR, "bool": FORM_BOOL}
_LONGEST: Final = 16
_MULTIPLIERS: Final = (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93)


def _word(text: bytes, at: int) -> int:
    return int.from_bytes(text[at : at + 8].ljust(8, b"\0")[:8], "little")


def _hash_name(low: int, high: int, length: int, shift: int) -> int:
    mask = (1 << 64) - 1
    code = ((low ^ (high * _MULTIPLIERS[0])) + length) & mask
    code ^= code >> 29
    return ((code * _MULTIPLIERS[1]) & mask) >> shift


def _name_table(names: tuple[str, ...]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A collision-free table: words u64[size, 2] and (index of the name or −1, length) i64[size, 2]."""
    for bits in range(6, 12):
        words = np.zeros((1 << bits, 2), dtype=np.uint64)
        found = np.full((1 << bits, 2), -1, dtype=np.int64)
        for index, name in enumerate(names):
            text = name.encode()
            low, high = _word(text, 0), _word(text, 8)
            slot = _hash_name(low, high, len(text), 64 - bits)
            if found[slot, 0] >= 0 or len(text) > _LONGEST:
                break
            words[slot] = low, high
            found[slot] = index, len(text)
        else:
            return words, found
    raise AssertionError(f"names collide in every table size, or one is longer than {_LONGEST}; change the multipliers")


FIELD_NAMES: Final = _name_table(tuple(field.name for field in FIELDS))
TYPE_NAMES: Final = _name_table((*TYPES, TICK))
"""A tick's index is len(TYPES)."""
KIND_NAMES: Final = _name_table(KINDS)

SPELLED: Final = np.zeros((len(FIELDS), 6), dtype=np.uint64)
"""Each field's `"name":` in three words, then which of their bits count."""
for _at, _field in enumerate(FIELDS):
    _text = f'"{_field.name}":'.encode()
    SPELLED[_at] = [_word(_text, 8 * part) for part in range(3)] + [_word(b"\xff" * len(_text), 8 * part) for part in range(3)]
SPELLED_LENGTH: Final = np.array([len(field.name) + 3 for field in FIELDS], dtype=np.int64)

FORMS: Final = np.array([_FORM_OF.get(f.name, _FORM_OF_JSON.get(f.form, -1)) for f in FIELDS], dtype=np.int64)
PLACES: Final = np.array([TEXT[f.name] if f.form == "str" else INTEGER[f.name] for f in FIELDS], dtype=np.int64)
"""Each field's column in `Columns.spans` or `Columns.integers`."""
LOWS: Final = np.array([f.low for f in FIELDS], dtype=np.int64)
HIGHS: Final = np.array([f.high for f in FIELDS], dtype=np.int64)
REQUIRED: Final = sum(1 << at for at, field in enumerate(FIELDS) if field.required)
"""A bit for each field that must be there."""


@inlined
def look_up(buffer: np.ndarray, start: Word, length: Word, words: np.ndarray, found: np.ndarray) -> Word:
    """Index of the name that `buffer[start : start + length]` spells, or −1."""
    if length > 16 or length == 0:
        return -1
    low = load64(buffer, start)
    high = unsigned(0)
    if length < 8:
        low &= (unsigned(1) << unsigned(8 * length)) - unsigned(1)
    elif length > 8:
        high = load64(buffer, start + 8)
        if length < 16:
            high &= (unsigned(1) << unsigned(8 * (length - 8))) - unsigned(1)
    bits = 6
    while (1 << bits) < words.shape[0]:
        bits += 1
    code = (low ^ (high * unsigned(0x9E3779B97F4A7C15))) + unsigned(length)
    code ^= code >> unsigned(29)
    slot = signed((code * unsigned(0xD6E8FEB86659FD93)) >> unsigned(64 - bits))
    if words[slot, 0] == low and words[slot, 1] == high and found[slot, 1] == length:
        return found[slot, 0]
    return -1


@inlined
def spells(buffer: np.ndarray, at: Word, field: Word) -> Word:
    """Whether `"name":` of that field stands at `at`. Reads up to 24 bytes from there."""
    if ((load64(buffer, at) ^ SPELLED[field, 0]) & SPELLED[field, 3]) != 0:
        return False
    if SPELLED[field, 4] == 0:
        return True
    if ((load64(buffer, at + 8) ^ SPELLED[field, 1]) & SPELLED[field, 4]) != 0:
        return False
    return SPELLED[field, 5] == 0 or ((load64(buffer, at + 16) ^ SPELLED[field, 2]) & SPELLED[field, 5]) == 0
