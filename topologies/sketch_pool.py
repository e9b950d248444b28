"""Sketches (topologies.sketches) that are being made, in one pool: which coupon is new, and the blocks that they stand in.

A block is a power of two of words of four bytes: coupons, or of a dense sketch (topologies.sketch_packs) four registers a word. A sketch
moves to a block of twice the size when its own is full; blocks that were left are taken again.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.cells import BOTH, DONE, NEED_KEYS
from topologies.compiled import Word, inlined, lean, mix, signed, trailing_zeros, unsigned
from topologies.keys import find_key
from topologies.measuring import MeasureArrays, key_words
from topologies.sketch_packs import SPARSE_MOST
from topologies.sketches import HIGHEST_RANK, PRECISION, RANK_BITS, REGISTERS
from topologies.sparse_cells import NEED_CELLS, PoolArrays, find_cell

BEGIN, SIZE, COUNT = range(3)
"""Columns of a sketch's row in PoolArrays.values: its block's first word, the binary logarithm of its words (0: none), its coupons."""
DENSE: Final = 12
"""Size of a dense sketch's block."""
DENSE_WORDS: Final = 1 << DENSE
SIZES: Final = DENSE + 1
NEED_WORDS: Final = 4
_RANK: Final = (1 << RANK_BITS) - 1
_COUPON_BITS: Final = RANK_BITS + PRECISION


class BlockArrays(NamedTuple):
    """The blocks as kernels take them.

    column: the row of `integers` that has the hashes. words u32[words]. used i64[1]: words below are blocks. free i64[SIZES]: first word of
    the first block of a size that was left, + 1; its first word tells the next. recent i64[2^k, 4]: what was brought in lately.
    """

    column: int
    words: NDArray[np.uint32]
    used: NDArray[np.int64]
    free: NDArray[np.int64]
    recent: NDArray[np.int64]


@inlined
def coupon_of(hashed: Word) -> Word:
    """Register << 6 | rank of a 64-bit hash."""
    register = hashed & signed(REGISTERS - 1)
    rank = min(trailing_zeros(unsigned(hashed) >> unsigned(PRECISION)) + 1, signed(HIGHEST_RANK))
    return (register << signed(RANK_BITS)) | rank


@inlined
def _take_block(size: Word, blocks: BlockArrays) -> Word:
    begin = blocks.free[size] - 1
    if begin >= 0:
        blocks.free[size] = signed(blocks.words[begin])
        return begin
    begin = blocks.used[0]
    blocks.used[0] += signed(1) << size
    return begin


@inlined
def _leave_block(begin: Word, size: Word, blocks: BlockArrays) -> None:
    if size > 0:
        blocks.words[begin] = blocks.free[size]
        blocks.free[size] = begin + 1


@inlined
def _raise_register(begin: Word, coupon: Word, words: np.ndarray) -> Word:
    """Bring a coupon into a dense sketch; whether it changed."""
    register = coupon >> signed(RANK_BITS)
    word = begin + (register >> signed(2))
    shift = 8 * (register & 3)
    held = signed(words[word])
    if (held >> shift) & 0xFF >= coupon & _RANK:
        return False
    words[word] = (held & ~(signed(0xFF) << shift)) | ((coupon & _RANK) << shift)
    return True


@inlined
def _place_of(begin: Word, count: Word, coupon: Word, words: np.ndarray) -> Word:
    """The first of the sketch's coupons that is not of a lower register."""
    low = signed(0)
    high = signed(count)
    wanted = coupon & ~signed(_RANK)
    while low < high:
        middle = (low + high) >> signed(1)
        if signed(words[begin + middle]) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _make_dense(cell: Word, values: np.ndarray, blocks: BlockArrays) -> None:
    begin, size = values[cell, BEGIN], values[cell, SIZE]
    made = _take_block(signed(DENSE), blocks)
    for word in range(DENSE_WORDS):
        blocks.words[made + word] = 0
    for at in range(values[cell, COUNT]):
        _raise_register(made, signed(blocks.words[begin + at]), blocks.words)
    _leave_block(begin, size, blocks)
    values[cell, BEGIN] = made
    values[cell, SIZE] = DENSE
    values[cell, COUNT] = 0


@inlined
def _widen(cell: Word, values: np.ndarray, blocks: BlockArrays) -> None:
    begin, size = values[cell, BEGIN], values[cell, SIZE]
    made = _take_block(size + 1, blocks)
    for at in range(values[cell, COUNT]):
        blocks.words[made + at] = blocks.words[begin + at]
    _leave_block(begin, size, blocks)
    values[cell, BEGIN] = made
    values[cell, SIZE] = size + 1


@inlined
def _add(cell: Word, coupon: Word, values: np.ndarray, blocks: BlockArrays) -> Word:
    """Bring a coupon into a cell's sketch; whether it changed. The pool has room for a dense one."""
    words = blocks.words
    if values[cell, SIZE] == DENSE:
        return _raise_register(values[cell, BEGIN], coupon, words)
    count = values[cell, COUNT]
    place = _place_of(values[cell, BEGIN], count, coupon, words)
    if place < count:
        there = signed(words[values[cell, BEGIN] + place])
        if there >> signed(RANK_BITS) == coupon >> signed(RANK_BITS):
            if there >= coupon:
                return False
            words[values[cell, BEGIN] + place] = coupon
            return True
    if count == SPARSE_MOST:
        _make_dense(cell, values, blocks)
        return _raise_register(values[cell, BEGIN], coupon, words)
    if values[cell, SIZE] == 0 or count == signed(1) << values[cell, SIZE]:
        _widen(cell, values, blocks)
    begin = values[cell, BEGIN]
    for at in range(begin + count, begin + place, -1):
        words[at] = words[at - 1]
    words[begin + place] = coupon
    values[cell, COUNT] = count + 1
    return True


@inlined
def _was_told(words: tuple[Word, Word, Word], start: Word, coupon: Word, recent: np.ndarray) -> Word:
    """Whether the coupon was brought in lately under this key, into the window that starts then; from now on it was.

    All of it fits three words: a first word has 40 bits, a third one of at most four dimensions 32, and minutes of every valid time too.
    """
    told = (words[0] << signed(_COUPON_BITS)) | coupon
    when = words[2] | ((start // 60_000 + 1) << signed(32))
    spread = unsigned(words[1]) * unsigned(0x9E3779B97F4A7C15) ^ unsigned(when) * unsigned(0xC2B2AE3D27D4EB4F)
    slot = mix(unsigned(told) ^ spread) & unsigned(recent.shape[0] - 1)
    if recent[slot, 0] == told and recent[slot, 1] == words[1] and recent[slot, 2] == when:
        return True
    recent[slot, 0] = told
    recent[slot, 1] = words[1]
    recent[slot, 2] = when
    return False


@lean
def fold_hashes(
    first: Word, weights: np.ndarray, integers: np.ndarray, dims: np.ndarray, measures: MeasureArrays, pool: PoolArrays, blocks: BlockArrays
) -> tuple[Word, Word]:
    """Add rows from `first` on to their cells' sketches. Returns (rows done, what must grow before the next).

    Most events tell nothing new: what was brought in lately is not looked for again, and what changes nothing in a window is in the longer
    ones around it already.
    """
    groupings, windows = measures.plan.shape[0], pool.lengths.shape[0]
    start = signed(-1) << signed(62)
    for at in range(first, weights.shape[0]):
        if weights[at] == 0:
            continue
        needed = pool.used[0] + groupings
        if needed > pool.words.shape[0] or 2 * needed >= pool.lookup.shape[0]:
            return signed(at), signed(NEED_KEYS)
        if pool.held[0] + groupings * windows > pool.keys.shape[0]:
            return signed(at), signed(NEED_CELLS)
        if blocks.used[0] + groupings * windows * DENSE_WORDS > blocks.words.shape[0]:
            return signed(at), signed(NEED_WORDS)
        ts = integers[measures.ts, at]
        if not 0 <= ts - start < pool.lengths[0]:
            start = ts - ts % pool.lengths[0]
        coupon = coupon_of(integers[blocks.column, at])
        for grouping in range(groupings):
            words = key_words(dims, at, grouping, measures)
            if _was_told(words, start, coupon, blocks.recent):
                continue
            key = find_key(pool.lookup, pool.words, pool.used, words[0], words[1], words[2])
            for window in range(windows):
                cell = find_cell(key, ts - ts % pool.lengths[window] + window, pool)
                if not _add(cell, coupon, pool.values, blocks):
                    break
                pool.dirty[cell] = BOTH
    return signed(weights.shape[0]), signed(DONE)
