"""Bins (topologies.bins) of whole columns, as numbers of a dimension."""

from __future__ import annotations

from typing import Final

import numpy as np

from topologies.bins import BINS, EXACT_BITS, STEPS
from topologies.columns import EVENT
from topologies.compiled import Word, inlined, lean, signed

BIN_TEXTS: Final = [str(number).encode() for number in range(BINS)]
"""Texts of a dimension of bins: number n + 1 is bin n, 0 is no bin."""


@inlined
def _bin(value: Word) -> Word:
    doubling = signed(0)
    while value >= 2 << EXACT_BITS:
        value >>= signed(1)
        doubling += 1
    if doubling == 0 and value < 1 << EXACT_BITS:
        return value
    return signed(1 << EXACT_BITS) + doubling * signed(STEPS) + (value >> signed(1)) - signed(STEPS)


@inlined
def bin_number(value: Word) -> Word:
    """The number of a value's bin; 0 for none, a value below 0."""
    return _bin(value) + 1 if value >= 0 else signed(0)


@lean
def number_bins(kinds: np.ndarray, values: np.ndarray, numbers: np.ndarray) -> None:
    """numbers i32[n]: of each event's value its bin + 1; 0 for none (a value below 0), and for what is no event. kinds u8[n]."""
    for at in range(values.shape[0]):
        numbers[at] = bin_number(values[at]) if kinds[at] == EVENT else signed(0)
