"""The fast judge of raw values: walks each once, as bytes, and accepts only what it can fully judge.

That is one flat JSON object of ASCII text without escapes and brackets, plain integers, every known field within its
rules and at most once. What it leaves UNDECIDED goes the strict way (topologies.decode); it calls nothing malformed.
Cursors: a function that reads on returns the index behind what it read, −1 where it cannot judge.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from topologies.columns import EVENT, INTEGER, TICK_ROW, UNDECIDED
from topologies.compiled import Word, inlined, lean, load8, load64, signed, trailing_zeros, unsigned
from topologies.events import MAX_CHARACTERS, MAX_EVENT_BYTES, NULL, TYPES
from topologies.names import (
    FIELD_NAMES,
    FORM_BOOL,
    FORM_INT,
    FORM_KIND,
    FORM_STR,
    FORM_TYPE,
    FORMS,
    HIGHS,
    KIND_NAMES,
    LOWS,
    PLACES,
    REQUIRED,
    SPELLED_LENGTH,
    TYPE_NAMES,
    look_up,
    spells,
)

_FIELD_WORDS, _FIELD_FOUND = FIELD_NAMES
_TYPE_WORDS, _TYPE_FOUND = TYPE_NAMES
_KIND_WORDS, _KIND_FOUND = KIND_NAMES
_TYPE_PLACE: Final = INTEGER["type"]
_TICK_INDEX: Final = len(TYPES)
_TICK_NEEDS: Final = 0b11
"""The fields v and type."""
_DIGITS: Final = 15
"""So many fit a word whatever they are, and every field's range."""
_ONES: Final = np.uint64(0x0101010101010101)
_HIGH_BITS: Final = np.uint64(0x8080808080808080)


@inlined
def _text_end(buffer: np.ndarray, at: Word, end: Word) -> Word:
    """Index of the first byte from `at` that is a quote, a backslash, one of `{[`, a control character or not ASCII (`end` if none)."""
    while at < end:
        word = load64(buffer, at)
        quote = word ^ (_ONES * unsigned(0x22))
        slash = word ^ (_ONES * unsigned(0x5C))
        bracket = (word | (_ONES * unsigned(0x20))) ^ (_ONES * unsigned(0x7B))
        delete = word ^ (_ONES * unsigned(0x7F))
        marks = (
            ((quote - _ONES) & ~quote)
            | ((slash - _ONES) & ~slash)
            | ((bracket - _ONES) & ~bracket)
            | ((delete - _ONES) & ~delete)
            | ((word - _ONES * unsigned(0x20)) & ~word)
            | word
        ) & _HIGH_BITS
        if marks != unsigned(0):
            return min(at + (trailing_zeros(marks) >> 3), end)
        at += 8
    return end


@inlined
def _blank(buffer: np.ndarray, at: Word, end: Word) -> Word:
    while at < end and (load8(buffer, at) == 0x20 or load8(buffer, at) == 0x0A or load8(buffer, at) == 0x0D or load8(buffer, at) == 0x09):
        at += 1
    return at


@inlined
def _key(buffer: np.ndarray, at: Word, end: Word, expected: Word) -> tuple[Word, Word]:
    """A key and its colon: (field or −1 for an unknown one, cursor). `expected` is the field tried first, −1 for none."""
    if expected >= 0 and spells(buffer, at, expected):
        return expected, at + SPELLED_LENGTH[expected]
    if load8(buffer, at) != 0x22:
        return signed(-1), signed(-1)
    start = at + 1
    at = _text_end(buffer, start, end)
    if at >= end or load8(buffer, at) != 0x22:
        return signed(-1), signed(-1)
    field = look_up(buffer, start, at - start, _FIELD_WORDS, _FIELD_FOUND)
    at = _blank(buffer, at + 1, end)
    if at >= end or load8(buffer, at) != 0x3A:
        return signed(-1), signed(-1)
    return field, at + 1


@inlined
def _text(buffer: np.ndarray, at: Word, end: Word, form: Word, place: Word, row: Word, integers: np.ndarray, spans: np.ndarray) -> Word:
    """A text, from its opening quote, into its column."""
    start = at + 1
    at = _text_end(buffer, start, end)
    if at >= end or load8(buffer, at) != 0x22:
        return signed(-1)
    length = at - start
    if form == FORM_STR:
        if length == 0 or length > MAX_CHARACTERS:
            return signed(-1)
        spans[row, place, 0] = start
        spans[row, place, 1] = length
    elif form == FORM_TYPE:
        index = look_up(buffer, start, length, _TYPE_WORDS, _TYPE_FOUND)
        if index < 0:
            return signed(-1)
        integers[place, row] = index
    elif form == FORM_KIND:
        index = look_up(buffer, start, length, _KIND_WORDS, _KIND_FOUND)
        if index < 0:
            return signed(-1)
        integers[place, row] = index
    elif form != -1:
        return signed(-1)
    return at + 1


@inlined
def _number(buffer: np.ndarray, at: Word, end: Word, form: Word, field: Word, row: Word, integers: np.ndarray) -> Word:
    """Digits, from the first, into their column."""
    start = at
    number = signed(0)
    while at < end and 0x30 <= load8(buffer, at) <= 0x39:
        number = number * 10 + signed(load8(buffer, at) - 0x30)
        at += 1
    if at - start > _DIGITS or (load8(buffer, start) == 0x30 and at - start > 1):
        return signed(-1)
    if at < end and (load8(buffer, at) == 0x2E or load8(buffer, at) == 0x65 or load8(buffer, at) == 0x45):
        return signed(-1)
    if form == FORM_INT:
        if number < LOWS[field] or number > HIGHS[field]:
            return signed(-1)
        integers[PLACES[field], row] = number
    elif form != -1:
        return signed(-1)
    return at


@inlined
def _boolean(at: Word, form: Word, place: Word, row: Word, integers: np.ndarray, value: Word) -> Word:
    if form == FORM_BOOL:
        integers[place, row] = value
    elif form != -1:
        return signed(-1)
    return at + (5 - value)


@inlined
def _value(buffer: np.ndarray, at: Word, end: Word, field: Word, row: Word, integers: np.ndarray, spans: np.ndarray) -> tuple[Word, Word]:
    """A value into its field's column: (cursor, whether it was no null)."""
    form = FORMS[field] if field >= 0 else signed(-1)
    place = PLACES[field] if field >= 0 else signed(-1)
    first = load8(buffer, at)
    if first == 0x22:
        return _text(buffer, at, end, form, place, row, integers, spans), True
    if 0x30 <= first <= 0x39:
        return _number(buffer, at, end, form, field, row, integers), True
    word = load64(buffer, at)
    if at + 4 <= end and (word & unsigned(0xFFFFFFFF)) == unsigned(0x6C6C756E):
        return at + 4, False
    if at + 4 <= end and (word & unsigned(0xFFFFFFFF)) == unsigned(0x65757274):
        return _boolean(at, form, place, row, integers, 1), True
    if at + 5 <= end and (word & unsigned(0xFFFFFFFFFF)) == unsigned(0x65736C6166):
        return _boolean(at, form, place, row, integers, 0), True
    return signed(-1), True


@inlined
def _object(
    buffer: np.ndarray, at: Word, end: Word, following: np.ndarray, row: Word, integers: np.ndarray, spans: np.ndarray
) -> tuple[Word, Word]:
    """The inside of an object and its closing bracket: (cursor, the fields that are there and not null, a bit each)."""
    seen = signed(0)
    last = signed(-1)
    while at < end:
        # producers spell keys in one order: what followed in the row before is tried first
        expected = following[last + 1]
        field, at = _key(buffer, at, end, expected)
        if at < 0:
            break
        if field != expected:
            following[last + 1] = field
        last = field
        at = _blank(buffer, at, end)
        if at >= end:
            break
        at, present = _value(buffer, at, end, field, row, integers, spans)
        if at < 0:
            break
        if field >= 0:
            bit = signed(1) << signed(field)
            # of two equal keys the last counts, which the strict decoder sees to
            if seen & bit:
                break
            if present:
                seen |= bit
        at = _blank(buffer, at, end)
        if at >= end:
            break
        if load8(buffer, at) == 0x7D:
            return at + 1, seen
        if load8(buffer, at) != 0x2C:
            break
        at = _blank(buffer, at + 1, end)
    return signed(-1), seen


@lean
def scan(
    buffer: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    following: np.ndarray,
    kinds: np.ndarray,
    integers: np.ndarray,
    spans: np.ndarray,
) -> None:
    """Judge each value `buffer[starts[i] : ends[i]]`: kinds[i] becomes EVENT, TICK_ROW or UNDECIDED, and an event's fields columns.

    following i64[fields + 1]: after each field (and at 0, at the start), the field to try first; −1 to begin with.
    """
    for row in range(starts.shape[0]):
        kinds[row] = UNDECIDED
        at = starts[row]
        end = ends[row]
        if end - at > MAX_EVENT_BYTES:
            continue
        for column in range(integers.shape[0]):
            integers[column, row] = NULL
        for column in range(spans.shape[1]):
            spans[row, column, 1] = 0
        at = _blank(buffer, at, end)
        if at >= end or load8(buffer, at) != 0x7B:
            continue
        at = _blank(buffer, at + 1, end)
        at, seen = _object(buffer, at, end, following, row, integers, spans)
        if at < 0 or _blank(buffer, at, end) != end:
            continue
        if integers[_TYPE_PLACE, row] == _TICK_INDEX:
            if (seen & _TICK_NEEDS) == _TICK_NEEDS:
                kinds[row] = TICK_ROW
        elif (seen & REQUIRED) == REQUIRED:
            kinds[row] = EVENT
