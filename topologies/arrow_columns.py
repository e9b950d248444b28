"""A record batch through Arrow's C data interface: where a column's values stand, and what they are. Only inside kernels.

    ArrowArray   length · null_count · offset · n_buffers · n_children · buffers** · children** · dictionary* …   eight bytes each
    buffers      validity bitmap (0: no nulls) · values, or offsets · texts

Whoever calls has had the batch validated in full, so every address that is computed here lies in it. Texts are named by their
distance from the block's buffer, so that what hashes and copies them serves both formats; they may lie before it or behind.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from topologies.arrow_plan import (
    FORM,
    INDEX,
    INT8,
    INT16,
    INT32,
    INT64,
    LARGE_UTF8,
    PLAIN,
    UINT8,
    UINT16,
    UINT32,
    UTF8,
)
from topologies.compiled import (
    Word,
    inlined,
    load8,
    load64,
    peek_i8,
    peek_i16,
    peek_i32,
    peek_i64,
    peek_u8,
    peek_u16,
    peek_u32,
    signed,
    unsigned,
)
from topologies.events import MAX_CHARACTERS

_OFFSET, _BUFFERS, _CHILDREN, _DICTIONARY = 16, 40, 48, 56
_ONES: Final = np.uint64(0x0101010101010101)
_HIGH_BITS: Final = np.uint64(0x8080808080808080)


class Column(NamedTuple):
    """A column of a batch: addresses (0: there is none), where its first row stands, and its forms (topologies.arrow_plan).

    valid, values: its own bitmap and values (indices, if it is a dictionary). entry_*: of the texts, whether they stand in the column
    itself or in its dictionary.
    """

    form: Word
    index: Word
    offset: Word
    valid: Word
    values: Word
    entry_offset: Word
    entry_valid: Word
    entry_ends: Word
    entry_bytes: Word
    entries: Word
    """How many there are in the dictionary; 0 if it is none."""


@inlined
def column_of(batch: Word, place: Word, plan: np.ndarray) -> Column:
    """The column at `place` of the batch whose ArrowArray stands at address `batch`; plan i64[3]: its row of Plan.table."""
    array = peek_i64(peek_i64(batch + _CHILDREN) + 8 * place)
    buffers = peek_i64(array + _BUFFERS)
    texts = array if plan[INDEX] == PLAIN else peek_i64(array + _DICTIONARY)
    text_buffers = peek_i64(texts + _BUFFERS)
    has_texts = plan[FORM] >= UTF8
    return Column(
        plan[FORM],
        plan[INDEX],
        peek_i64(array + _OFFSET),
        peek_i64(buffers),
        peek_i64(buffers + 8),
        peek_i64(texts + _OFFSET),
        peek_i64(text_buffers),
        peek_i64(text_buffers + 8),
        peek_i64(text_buffers + 16) if has_texts else signed(0),
        signed(0) if plan[INDEX] == PLAIN else peek_i64(texts),
    )


@inlined
def is_null(bitmap: Word, at: Word) -> Word:
    """Whether the bit at `at` is 0; never, without a bitmap."""
    return bitmap != 0 and (peek_u8(bitmap + (at >> signed(3))) >> (at & 7)) & 1 == 0


@inlined
def integer_at(form: Word, values: Word, at: Word) -> Word:
    """The integer at `at`. One above an int64's range comes out negative, which no field's range holds."""
    if form == INT32:
        return peek_i32(values + 4 * at)
    if form == INT64:
        return peek_i64(values + 8 * at)
    if form == UINT8:
        return peek_u8(values + at)
    if form == UINT16:
        return peek_u16(values + 2 * at)
    if form == INT16:
        return peek_i16(values + 2 * at)
    if form == INT8:
        return peek_i8(values + at)
    if form == UINT32:
        return peek_u32(values + 4 * at)
    return peek_i64(values + 8 * at)


@inlined
def bit_at(values: Word, at: Word) -> Word:
    """The boolean at `at`, as 0 or 1."""
    return (peek_u8(values + (at >> signed(3))) >> (at & 7)) & 1


@inlined
def entry_at(column: Column, entry: Word, base: Word) -> tuple[Word, Word]:
    """A text by its place among the column's or the dictionary's: (start, counted from address `base`, length); length −1: null."""
    at = column.entry_offset + entry
    if is_null(column.entry_valid, at):
        return signed(0), signed(-1)
    if column.form == LARGE_UTF8:
        start = peek_i64(column.entry_ends + 8 * at)
        length = peek_i64(column.entry_ends + 8 * at + 8) - start
    else:
        start = peek_i32(column.entry_ends + 4 * at)
        length = peek_i32(column.entry_ends + 4 * at + 4) - start
    return column.entry_bytes - base + start, length


@inlined
def entry_end(column: Column, entry: Word) -> Word:
    """Where the text before that entry ends, in the texts' bytes."""
    at = column.entry_offset + entry
    return peek_i64(column.entry_ends + 8 * at) if column.form == LARGE_UTF8 else peek_i32(column.entry_ends + 4 * at)


@inlined
def bounds(form: Word, values: Word, offset: Word, count: Word) -> tuple[Word, Word]:
    """The least and the greatest of `count` integers, nulls' too. A loop for each form: the compiler makes wide instructions of it."""
    low = signed(np.iinfo(np.int64).max)
    high = signed(np.iinfo(np.int64).min)
    if form == INT32:
        for row in range(count):
            value = peek_i32(values + 4 * (offset + row))
            low, high = min(low, value), max(high, value)
    elif form == INT64:
        for row in range(count):
            value = peek_i64(values + 8 * (offset + row))
            low, high = min(low, value), max(high, value)
    elif form == UINT8:
        for row in range(count):
            value = peek_u8(values + offset + row)
            low, high = min(low, value), max(high, value)
    elif form == UINT16:
        for row in range(count):
            value = peek_u16(values + 2 * (offset + row))
            low, high = min(low, value), max(high, value)
    else:
        for row in range(count):
            value = integer_at(form, values, offset + row)
            low, high = min(low, value), max(high, value)
    return low, high


@inlined
def highest_index(column: Column, count: Word) -> Word:
    """The greatest index of a dictionary's column, −1 if one is negative."""
    low, high = bounds(column.index, column.values, column.offset, count)
    return high if low >= 0 else signed(-1)


@inlined
def entry_of(column: Column, row: Word) -> Word:
    """Which of the texts the row has: −1 for a null index."""
    if column.index == PLAIN:
        return signed(row)
    at = column.offset + row
    return signed(-1) if is_null(column.valid, at) else integer_at(column.index, column.values, at)


@inlined
def text_at(column: Column, row: Word, base: Word) -> tuple[Word, Word]:
    """The row's text: (start, length), as entry_at's."""
    entry = entry_of(column, row)
    if entry < 0:
        return signed(0), signed(-1)
    return entry_at(column, entry, base)


@inlined
def is_good_text(buffer: np.ndarray, start: Word, length: Word) -> Word:
    """Whether valid UTF-8 has 1 to MAX_CHARACTERS characters and no control character. Reads up to seven bytes more."""
    if length < 1 or length > 4 * MAX_CHARACTERS:
        return False
    continued = signed(0)
    at = signed(0)
    while at < length:
        word = load64(buffer, start + at)
        if length - at < 8:
            keep = (unsigned(1) << unsigned(8 * (length - at))) - unsigned(1)
            word = (word & keep) | (_ONES * unsigned(0x20) & ~keep)
        delete = word ^ (_ONES * unsigned(0x7F))
        if (((delete - _ONES) & ~delete) | ((word - _ONES * unsigned(0x20)) & ~word)) & _HIGH_BITS:
            return False
        at += 8
    if length > MAX_CHARACTERS:
        for byte in range(length):
            if load8(buffer, start + byte) & 0xC0 == 0x80:
                continued += 1
    return length - continued <= MAX_CHARACTERS
