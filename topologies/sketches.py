"""HyperLogLog with p = 14: what a sketch is, the union of several, and the number that one stands for.

A value's 64-bit hash (topologies.murmur) gives it a register, its 14 lowest bits, and a rank, one more than the zeros below the lowest bit
set of the other 50. A sketch keeps the greatest rank of each register (Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog", 2007). Here it
is its coupons: register << 6 | rank of each register that has one, u32, ascending. So equal sets of values are equal coupons, however
they came. How they are stored is topologies.sketch_packs'.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

PRECISION: Final = 14
REGISTERS: Final = 1 << PRECISION
RANK_BITS: Final = 6
HIGHEST_RANK: Final = 64 - PRECISION + 1
STANDARD_ERROR: Final = 1.04 / math.sqrt(REGISTERS)
"""Of the estimate, relative to the true number: 0.81 %."""
Coupons: TypeAlias = NDArray[np.uint32]
NO_COUPONS: Final[Coupons] = np.zeros(0, dtype=np.uint32)


def union(sketches: Iterable[Coupons]) -> Coupons:
    """The sketch of all values of these; of none, the empty one."""
    every = np.sort(np.concatenate([NO_COUPONS, *sketches]))
    last = np.ones(len(every), dtype=np.bool_)
    registers = every >> RANK_BITS
    np.not_equal(registers[1:], registers[:-1], out=last[:-1])
    found: Coupons = every[last]
    return found


def estimate(coupons: Coupons) -> float:
    """How many different values the sketch has seen, with STANDARD_ERROR.

    The improved raw estimator of Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284, algorithm 6:
    it needs no tables, and no other estimator for small or for large numbers.
    """
    counts = np.bincount(coupons & ((1 << RANK_BITS) - 1), minlength=HIGHEST_RANK + 1).tolist()
    z = REGISTERS * _tau(1 - counts[HIGHEST_RANK] / REGISTERS)
    for rank in range(HIGHEST_RANK - 1, 0, -1):
        z = 0.5 * (z + counts[rank])
    z += REGISTERS * _sigma(1 - len(coupons) / REGISTERS)
    return REGISTERS**2 / (2 * math.log(2) * z) if z else math.inf


def _sigma(x: float) -> float:
    """x + Σ x^(2^k) · 2^(k−1): what the registers without a rank tell."""
    if x == 1:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x, before = x * x, z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    """(1 − x − Σ (1 − x^(2^−k))² · 2^(−k)) ÷ 3: what the registers of the highest rank tell."""
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x, before, y = math.sqrt(x), z, y * 0.5
        z -= (1 - x) ** 2 * y
    return z / 3
