"""What Arrow's full validation would find, found faster: it vouches for a batch of ASCII texts, or leaves it to Arrow.

Measured on 26 columns of 2,700 rows: 110 µs for `validate(full=True)`, 10 for `validate()` and this. Only a batch that it is sure of is
spared the former, so what is valid stays Arrow's word. It relies on what `validate()` has checked: that buffers are as long
as the rows need, and that the first and the last offset of a column's texts lie in them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from topologies.arrow_columns import Column, column_of, entry_end, highest_index, is_null
from topologies.arrow_plan import COLUMN, FORM, NULLS, PLAIN, UTF8, WRONG
from topologies.compiled import Word, inlined, lean, load64, peek_i64, peek_u8, signed, unsigned

_HIGH_BITS: Final = np.uint64(0x8080808080808080)
_NULL_COUNT = 8
_CHILDREN, _DICTIONARY = 48, 56


@inlined
def _nulls_are(said: Word, bitmap: Word, offset: Word, count: Word) -> Word:
    """Whether so many bits are 0."""
    if bitmap == 0:
        return True
    found = signed(0)
    for row in range(count):
        if is_null(bitmap, offset + row):
            found += 1
    return said == -1 or said == found


@inlined
def _texts_are_sure(buffer: np.ndarray, column: Column, base: Word, entries: Word) -> Word:
    """Whether the ends of the texts ascend, and all their bytes are ASCII."""
    if entries == 0:
        return True
    first = entry_end(column, signed(0))
    last = first
    for entry in range(entries):
        end = entry_end(column, entry + 1)
        if end < last:
            return False
        last = end
    start = column.entry_bytes - base
    at = start + first
    end = start + last
    marks = unsigned(0)
    while at + 8 <= end:
        marks |= load64(buffer, at)
        at += 8
    for byte in range(at + base, end + base):
        marks |= unsigned(peek_u8(byte))
    return first >= 0 and marks & _HIGH_BITS == 0


@lean
def is_surely_valid(buffer: np.ndarray, base: Word, batch: Word, plan: np.ndarray, count: Word) -> Word:
    """Whether full validation of the batch whose ArrowArray stands at address `batch` would find nothing.

    buffer, base: the block's buffer and its address. plan: Plan.table. count: rows.
    """
    for field in range(plan.shape[0]):
        form = plan[field, FORM]
        if plan[field, COLUMN] < 0 or form == NULLS:
            continue
        if form == WRONG:
            return False
        column = column_of(batch, plan[field, COLUMN], plan[field])
        array = peek_i64(peek_i64(batch + _CHILDREN) + 8 * plan[field, COLUMN])
        if not _nulls_are(peek_i64(array + _NULL_COUNT), column.valid, column.offset, count):
            return False
        if form < UTF8:
            continue
        entries = signed(count)
        if column.index != PLAIN:
            entries = column.entries
            said = peek_i64(peek_i64(array + _DICTIONARY) + _NULL_COUNT)
            if not _nulls_are(said, column.entry_valid, column.entry_offset, entries):
                return False
            # an index under a null may be anything; then Arrow decides
            if count > 0 and not 0 <= highest_index(column, count) < entries:
                return False
        if not _texts_are_sure(buffer, column, base, entries):
            return False
    return True


@lean
def ends_at_a_page(base: Word, size: Word, batch: Word, plan: np.ndarray, count: Word) -> Word:
    """Whether the kernels, which read texts by words, might touch the page behind a column's last text, which need not be there.

    base, size: the block's buffer, which has PADDING. batch, plan, count: as is_surely_valid's, of a valid batch.
    """
    for field in range(plan.shape[0]):
        if plan[field, COLUMN] < 0 or plan[field, FORM] < UTF8:
            continue
        column = column_of(batch, plan[field, COLUMN], plan[field])
        entries = signed(count) if column.index == PLAIN else column.entries
        if entries == 0 or base <= column.entry_bytes < base + size:
            continue
        length = entry_end(column, entries)
        last = column.entry_bytes + length - 1
        if length > 0 and (last >> signed(12)) != ((last + 7) >> signed(12)):
            return True
    return False
