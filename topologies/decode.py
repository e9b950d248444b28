"""From raw values to columns: the fast decoder, under the strict one's rule.

The kernel walks each value once, as bytes, and accepts only what it can fully judge: one flat JSON object of ASCII
text without escapes, plain integers, every known field within its rules. All else goes the strict way
(topologies.events), record by record, which alone may call a value malformed.

Measured with `marquee bench profile`; tested differentially by fuzzing in tests/topologies/test_decode.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import PADDING, inlined, kernel, load8, load64, mix, trailing_zeros
from topologies.events import FIELDS, KINDS, MAX_BRACKETS, MAX_CHARACTERS, MAX_EVENT_BYTES, NULL, TICK, TYPES, Event, Malformed, decode_event

_TEXTS: Final = tuple(field.name for field in FIELDS if field.form == "str")
_INTEGERS: Final = tuple(field.name for field in FIELDS if field.form in ("int", "enum", "bool"))
TEXT: Final[dict[str, int]] = {name: at for at, name in enumerate(_TEXTS)}
"""Column of each text field in `Columns.spans`."""
INTEGER: Final[dict[str, int]] = {name: at for at, name in enumerate(_INTEGERS)}
"""Column of each integer, enum (its index in TYPES or KINDS) and boolean field in `Columns.integers`."""

EVENT: Final = 0
TICK_ROW: Final = 1
MALFORMED: Final = 2
UNDECIDED: Final = 3

_V, _TYPE, _KIND, _FATAL = (np.int64(INTEGER[name]) for name in ("v", "type", "kind", "fatal"))
_FORM_INT, _FORM_STR, _FORM_TYPE, _FORM_KIND, _FORM_BOOL = range(5)


@dataclass(frozen=True)
class Columns:
    """n decoded values.

    kind u8[n]: EVENT, TICK_ROW or MALFORMED. integers i64[n, fields]: NULL where absent.
    spans i64[n, texts, 2]: start and length of each text in `buffer` (length 0 where absent).
    reasons: row → reason, for the malformed ones.
    """

    buffer: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    integers: NDArray[np.int64]
    spans: NDArray[np.int64]
    reasons: dict[int, str]

    def integer(self, name: str) -> NDArray[np.int64]:
        """The column of that field."""
        column: NDArray[np.int64] = self.integers[:, INTEGER[name]]
        return column


def _word(text: bytes, at: int) -> int:
    return int.from_bytes(text[at : at + 8].ljust(8, b"\0")[:8], "little")


def _hash_name(low: int, high: int, length: int, shift: int) -> int:
    mask = (1 << 64) - 1
    code = ((low ^ (high * 0x9E3779B97F4A7C15)) + length) & mask
    code ^= code >> 29
    return ((code * 0xD6E8FEB86659FD93) & mask) >> shift


def _name_table(names: tuple[str, ...]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A collision-free table: words u64[size, 2] and (index of the name or −1, length) i64[size, 2]."""
    for bits in range(6, 12):
        words = np.zeros((1 << bits, 2), dtype=np.uint64)
        found = np.full((1 << bits, 2), -1, dtype=np.int64)
        for index, name in enumerate(names):
            text = name.encode()
            low, high = _word(text, 0), _word(text, 8)
            slot = _hash_name(low, high, len(text), 64 - bits)
            if found[slot, 0] >= 0:
                break
            words[slot] = low, high
            found[slot] = index, len(text)
        else:
            return words, found
    raise AssertionError("names collide in every table size; change the multiplier")


_KEYS = _name_table(tuple(field.name for field in FIELDS))
_TYPE_NAMES = _name_table((*TYPES, TICK))
_KIND_NAMES = _name_table(KINDS)
_SPELLED = np.zeros((len(FIELDS), 6), dtype=np.uint64)
"""Each field's `"name":` in three words, then which of their bits count."""
for _at, _field in enumerate(FIELDS):
    _text = f'"{_field.name}":'.encode()
    _SPELLED[_at] = [_word(_text, 8 * part) for part in range(3)] + [_word(b"\xff" * len(_text), 8 * part) for part in range(3)]
_SPELLED_LENGTH = np.array([len(field.name) + 3 for field in FIELDS], dtype=np.int64)
_FORMS = np.array(
    [
        _FORM_TYPE if f.name == "type" else _FORM_KIND if f.name == "kind" else {"int": _FORM_INT, "str": _FORM_STR, "bool": _FORM_BOOL}[f.form]
        for f in FIELDS
    ],
    dtype=np.int64,
)
_PLACES = np.array([TEXT[f.name] if f.form == "str" else INTEGER[f.name] for f in FIELDS], dtype=np.int64)
_LOWS = np.array([f.low for f in FIELDS], dtype=np.int64)
_HIGHS = np.array([f.high for f in FIELDS], dtype=np.int64)
_REQUIRED = np.int64(sum(1 << at for at, field in enumerate(FIELDS) if field.required))
_TICK_NEEDS = np.int64(0b11)

_ONES: Final = np.uint64(0x0101010101010101)
_HIGH_BITS: Final = np.uint64(0x8080808080808080)


@inlined
def _text_end(buffer: np.ndarray, at: int, end: int) -> int:
    """Index of the first byte from `at` that is a quote, a backslash, a control character or not ASCII (`end` if none)."""
    while at < end:
        word = load64(buffer, at)
        quote = word ^ (_ONES * np.uint64(0x22))
        slash = word ^ (_ONES * np.uint64(0x5C))
        delete = word ^ (_ONES * np.uint64(0x7F))
        marks = (
            ((quote - _ONES) & ~quote)
            | ((slash - _ONES) & ~slash)
            | ((delete - _ONES) & ~delete)
            | ((word - _ONES * np.uint64(0x20)) & ~word)
            | word
        ) & _HIGH_BITS
        if marks != np.uint64(0):
            return min(at + (trailing_zeros(marks) >> 3), end)
        at += 8
    return end


@inlined
def _blank(buffer: np.ndarray, at: int, end: int) -> int:
    while at < end and (load8(buffer, at) == 0x20 or load8(buffer, at) == 0x0A or load8(buffer, at) == 0x0D or load8(buffer, at) == 0x09):
        at += 1
    return at


@inlined
def _lookup(buffer: np.ndarray, start: int, length: int, words: np.ndarray, found: np.ndarray, bits: int) -> int:
    """Index of the name that `buffer[start : start + length]` spells, or −1."""
    if length > 16 or length == 0:
        return -1
    low = load64(buffer, start)
    high = np.uint64(0)
    if length < 8:
        low &= (np.uint64(1) << np.uint64(8 * length)) - np.uint64(1)
    elif length > 8:
        high = load64(buffer, start + 8)
        if length < 16:
            high &= (np.uint64(1) << np.uint64(8 * (length - 8))) - np.uint64(1)
    code = (low ^ (high * np.uint64(0x9E3779B97F4A7C15))) + np.uint64(length)
    code ^= code >> np.uint64(29)
    slot = np.int64((code * np.uint64(0xD6E8FEB86659FD93)) >> np.uint64(64 - bits))
    if words[slot, 0] == low and words[slot, 1] == high and found[slot, 1] == length:
        return found[slot, 0]
    return -1


@inlined
def _bits(size: int) -> int:
    bits = 0
    while (1 << bits) < size:
        bits += 1
    return bits


@inlined
def _spells(buffer: np.ndarray, at: int, spelled: np.ndarray, field: int) -> bool:
    """Whether `"name":` of that field stands at `at`. Reads up to 24 bytes from there."""
    if ((load64(buffer, at) ^ spelled[field, 0]) & spelled[field, 3]) != 0:
        return False
    if spelled[field, 4] == 0:
        return True
    if ((load64(buffer, at + 8) ^ spelled[field, 1]) & spelled[field, 4]) != 0:
        return False
    return spelled[field, 5] == 0 or ((load64(buffer, at + 16) ^ spelled[field, 2]) & spelled[field, 5]) == 0


@kernel
def _decode(
    buffer: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    key_words: np.ndarray,
    key_found: np.ndarray,
    type_words: np.ndarray,
    type_found: np.ndarray,
    kind_words: np.ndarray,
    kind_found: np.ndarray,
    spelled: np.ndarray,
    spelled_length: np.ndarray,
    forms: np.ndarray,
    places: np.ndarray,
    lows: np.ndarray,
    highs: np.ndarray,
    ticks: int,
    kinds: np.ndarray,
    integers: np.ndarray,
    spans: np.ndarray,
) -> None:
    key_bits = _bits(key_words.shape[0])
    type_bits = _bits(type_words.shape[0])
    kind_bits = _bits(kind_words.shape[0])
    following = np.full(forms.shape[0] + 1, -1, dtype=np.int64)
    for row in range(starts.shape[0]):
        kinds[row] = UNDECIDED
        at = starts[row]
        end = ends[row]
        if end - at > MAX_EVENT_BYTES:
            continue
        for column in range(integers.shape[1]):
            integers[row, column] = NULL
        for column in range(spans.shape[1]):
            spans[row, column, 1] = 0
        at = _blank(buffer, at, end)
        if at >= end or load8(buffer, at) != 0x7B:
            continue
        at = _blank(buffer, at + 1, end)
        seen = np.int64(0)
        last = np.int64(-1)
        tick = False
        good = False
        while at < end:
            # a key: the one that followed the last key in the row before, or looked up
            field = following[last + 1]
            if field >= 0 and _spells(buffer, at, spelled, field):
                at += spelled_length[field]
            else:
                if load8(buffer, at) != 0x22:
                    break
                start = at + 1
                at = _text_end(buffer, start, end)
                if at >= end or load8(buffer, at) != 0x22:
                    break
                field = _lookup(buffer, start, at - start, key_words, key_found, key_bits)
                at = _blank(buffer, at + 1, end)
                if at >= end or load8(buffer, at) != 0x3A:
                    break
                at += 1
                following[last + 1] = field
            last = field
            at = _blank(buffer, at, end)
            if at >= end:
                break
            # a value
            form = forms[field] if field >= 0 else -1
            present = True
            first = load8(buffer, at)
            if first == 0x22:
                start = at + 1
                at = _text_end(buffer, start, end)
                if at >= end or load8(buffer, at) != 0x22:
                    break
                length = at - start
                at += 1
                if form == _FORM_STR:
                    if length == 0 or length > MAX_CHARACTERS:
                        break
                    spans[row, places[field], 0] = start
                    spans[row, places[field], 1] = length
                elif form == _FORM_TYPE:
                    index = _lookup(buffer, start, length, type_words, type_found, type_bits)
                    if index < 0:
                        break
                    if index == ticks:
                        tick = True
                    integers[row, places[field]] = index
                elif form == _FORM_KIND:
                    index = _lookup(buffer, start, length, kind_words, kind_found, kind_bits)
                    if index < 0:
                        break
                    integers[row, places[field]] = index
                elif form != -1:
                    break
            elif 0x30 <= first <= 0x39:
                start = at
                number = np.int64(0)
                while at < end and 0x30 <= load8(buffer, at) <= 0x39:
                    number = number * 10 + np.int64(load8(buffer, at) - 0x30)
                    at += 1
                if at - start > 15 or (first == 0x30 and at - start > 1):
                    break
                if at < end and (load8(buffer, at) == 0x2E or load8(buffer, at) == 0x65 or load8(buffer, at) == 0x45):
                    break
                if form == _FORM_INT:
                    if number < lows[field] or number > highs[field]:
                        break
                    integers[row, places[field]] = number
                elif form != -1:
                    break
            elif first == 0x6E and at + 4 <= end and (load64(buffer, at) & np.uint64(0xFFFFFFFF)) == np.uint64(0x6C6C756E):
                at += 4
                present = False
            elif first == 0x74 and at + 4 <= end and (load64(buffer, at) & np.uint64(0xFFFFFFFF)) == np.uint64(0x65757274):
                at += 4
                if form == _FORM_BOOL:
                    integers[row, places[field]] = 1
                elif form != -1:
                    break
            elif first == 0x66 and at + 5 <= end and (load64(buffer, at) & np.uint64(0xFFFFFFFFFF)) == np.uint64(0x65736C6166):
                at += 5
                if form == _FORM_BOOL:
                    integers[row, places[field]] = 0
                elif form != -1:
                    break
            else:
                break
            if field >= 0:
                bit = np.int64(1) << np.int64(field)
                if seen & bit:
                    break
                if present:
                    seen |= bit
                else:
                    # a null: of two equal keys the last counts, which the strict decoder sees to
                    if forms[field] != _FORM_STR and integers[row, places[field]] != NULL:
                        break
            at = _blank(buffer, at, end)
            if at >= end:
                break
            if load8(buffer, at) == 0x2C:
                at = _blank(buffer, at + 1, end)
                continue
            if load8(buffer, at) == 0x7D:
                good = _blank(buffer, at + 1, end) == end
            break
        if good:
            if tick:
                if (seen & _TICK_NEEDS) == _TICK_NEEDS:
                    kinds[row] = TICK_ROW
            elif (seen & _REQUIRED) == _REQUIRED:
                kinds[row] = EVENT


def decode(buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Columns:
    """Decode n values `buffer[starts[i] : ends[i]]`; the buffer has PADDING spare bytes behind the last.

    A start of −1 stands for a null value. Every value gets exactly one row.
    """
    count = len(starts)
    kinds = np.empty(count, dtype=np.uint8)
    integers = np.empty((count, len(_INTEGERS)), dtype=np.int64)
    spans = np.zeros((count, len(_TEXTS), 2), dtype=np.int64)
    safe = np.maximum(starts, 0)
    _decode(buffer, safe, ends, *_KEYS, *_TYPE_NAMES, *_KIND_NAMES, _SPELLED, _SPELLED_LENGTH, _FORMS, _PLACES, _LOWS, _HIGHS, len(TYPES), kinds, integers, spans)
    undecided = np.flatnonzero(kinds == UNDECIDED)
    if not len(undecided):
        return Columns(buffer, kinds, integers, spans, {})
    return _decode_strictly(buffer, starts, ends, kinds, integers, spans, undecided)


def _decode_strictly(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    integers: NDArray[np.int64],
    spans: NDArray[np.int64],
    rows: NDArray[np.intp],
) -> Columns:
    """Judge these rows one by one; the texts of valid ones go behind the buffer's end, so spans can point at them."""
    reasons: dict[int, str] = {}
    extra = bytearray()
    for row in rows.tolist():
        start, end = int(starts[row]), int(ends[row])
        try:
            event = decode_event(buffer[start:end].tobytes() if start >= 0 else None)
        except Malformed as malformed:
            kinds[row] = MALFORMED
            reasons[row] = malformed.reason
            continue
        if event is None:
            kinds[row] = TICK_ROW
            continue
        kinds[row] = EVENT
        _place(event, integers[row], spans[row], extra, len(buffer))
    if extra:
        buffer = np.concatenate([buffer, np.frombuffer(bytes(extra) + bytes(PADDING), dtype=np.uint8)])
    return Columns(buffer, kinds, integers, spans, reasons)


def _place(event: Event, integers: NDArray[np.int64], spans: NDArray[np.int64], extra: bytearray, base: int) -> None:
    for name, column in INTEGER.items():
        value = event[name]
        if name == "type":
            value = TYPES.index(value)
        elif name == "kind" and value is not None:
            value = KINDS.index(value)
        integers[column] = NULL if value is None else int(value)
    for name, column in TEXT.items():
        text = event[name]
        spans[column] = 0, 0
        if text is not None:
            encoded = text.encode()
            spans[column] = base + len(extra), len(encoded)
            extra += encoded


__all__ = ["EVENT", "INTEGER", "MALFORMED", "MAX_BRACKETS", "TEXT", "TICK_ROW", "Columns", "decode", "mix"]
