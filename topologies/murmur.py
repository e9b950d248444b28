"""MurmurHash3 x64 128 (Austin Appleby, public domain), seed 0, of texts joined by U+001F: its first 64 bits. Only inside kernels.

It is published, so others can reckon it again: the auditor does with `mmh3`. Stored sketches depend on it; it may never change.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from topologies.compiled import Word, inlined, load64, mix, signed, unsigned
from topologies.events import MAX_CHARACTERS

TEXTS: Final = 2
"""So many are joined at the most."""
WORDS: Final = TEXTS * 4 * MAX_CHARACTERS // 8 + 2
"""Room that joined texts need, in words of 8 bytes."""
_SEPARATOR: Final = np.uint64(0x1F)
_C1: Final = np.uint64(0x87C37B91114253D5)
_C2: Final = np.uint64(0x4CF5AD432745937F)


@inlined
def append_text(words: np.ndarray, at: Word, buffer: np.ndarray, start: Word, length: Word) -> Word:
    """Put a text behind the first `at` bytes of words u64[WORDS], above which the word that they end in is zero; how many there are now.

    Reads up to seven bytes more than the text has.
    """
    word = at >> signed(3)
    shift = unsigned(8 * (at & 7))
    rest = signed(length)
    while rest > 0:
        loaded = load64(buffer, start)
        if rest < 8:
            loaded &= (unsigned(1) << unsigned(8 * rest)) - unsigned(1)
        words[word] |= loaded << shift
        words[word + 1] = (loaded >> unsigned(1)) >> (unsigned(63) - shift)
        word += 1
        start += 8
        rest -= 8
    return at + max(length, signed(0))


@inlined
def append_separator(words: np.ndarray, at: Word) -> Word:
    """As `append_text`, U+001F."""
    words[at >> signed(3)] |= _SEPARATOR << unsigned(8 * (at & 7))
    if at & 7 == 7:
        words[(at >> signed(3)) + 1] = unsigned(0)
    return at + 1


@inlined
def _rotated(word: Word, by: Word) -> Word:
    return (word << unsigned(by)) | (word >> unsigned(64 - by))


@inlined
def murmur(words: np.ndarray, length: Word) -> Word:
    """The hash of the first `length` bytes, as int64."""
    words[(length >> signed(3)) + 1] = unsigned(0)
    first = unsigned(0)
    second = unsigned(0)
    for block in range(length >> signed(4)):
        first ^= _rotated(words[2 * block] * _C1, 31) * _C2
        first = (_rotated(first, 27) + second) * unsigned(5) + unsigned(0x52DCE729)
        second ^= _rotated(words[2 * block + 1] * _C2, 33) * _C1
        second = (_rotated(second, 31) + first) * unsigned(5) + unsigned(0x38495AB5)
    # what is left of a block is filled with zeros, which change nothing
    rest = 2 * (length >> signed(4))
    second ^= _rotated(words[rest + 1] * _C2, 33) * _C1
    first ^= _rotated(words[rest] * _C1, 31) * _C2
    first ^= unsigned(length)
    second ^= unsigned(length)
    first += second
    second += first
    return signed(mix(first) + mix(second))
