"""Rows found by the 128 bits of their identity, their first two words: an open-addressed table of row + 1, 0 where free."""

from __future__ import annotations

from typing import Final

import numpy as np

from topologies.compiled import Word, inlined, signed, unsigned

ID_1: Final = 0
ID_2: Final = 1


@inlined
def find_slot(lookup: np.ndarray, rows: np.ndarray, id_1: Word, id_2: Word) -> Word:
    """The slot of the row in `lookup`, or of the free place where it would stand."""
    mask = unsigned(lookup.shape[0] - 1)
    slot = unsigned(id_1) & mask
    while True:
        found = lookup[slot]
        if found == 0 or (rows[found - 1, ID_1] == id_1 and rows[found - 1, ID_2] == id_2):
            return signed(slot)
        slot = (slot + unsigned(1)) & mask


@inlined
def enter(number: Word, lookup: np.ndarray, rows: np.ndarray) -> None:
    """Have the row found, which is not yet."""
    mask = unsigned(lookup.shape[0] - 1)
    slot = unsigned(rows[number, ID_1]) & mask
    while lookup[slot] != 0:
        slot = (slot + unsigned(1)) & mask
    lookup[slot] = number + 1


@inlined
def take_out(number: Word, lookup: np.ndarray, rows: np.ndarray) -> None:
    """Have the row found no more; what stands behind its place because that was taken moves up."""
    mask = unsigned(lookup.shape[0] - 1)
    hole = unsigned(rows[number, ID_1]) & mask
    while lookup[hole] != number + 1:
        hole = (hole + unsigned(1)) & mask
    at = hole
    while True:
        at = (at + unsigned(1)) & mask
        found = lookup[at]
        if found == 0:
            break
        home = unsigned(rows[found - 1, ID_1]) & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            lookup[hole] = found
            hole = at
    lookup[hole] = 0
