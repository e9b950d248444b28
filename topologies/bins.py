"""The bins of additive histograms: which bin a value is in, and what stands for it.

A value below 64 has a bin of its own; above, each doubling has 32 equal ones. So a bin's middle is at most 1/64 (1.6 %) from each of
its values, relative to the value. Bins are numbers from 0, and add up over events, sources and windows. (HdrHistogram cuts alike.)
"""

from __future__ import annotations

from typing import Final

from topologies.events import DAY_MS

BINNED: Final = ("watched_ms", "stall_ms", "startup_ms", "bitrate_kbps", "length_s")
"""Fields of events, and facts of sessions, that may be counted by bins."""
EXACT_BITS: Final = 6
STEPS: Final = 32
"""Bins of a doubling."""
RELATIVE_ERROR: Final = 1 / (2 * STEPS)


def bin_of(value: int) -> int:
    """The bin of a value ≥ 0."""
    if value < 1 << EXACT_BITS:
        return value
    doubling = value.bit_length() - EXACT_BITS - 1
    return (1 << EXACT_BITS) + doubling * STEPS + ((value >> (doubling + 1)) - STEPS)


def middle_of(number: int) -> float:
    """What stands for the values of a bin: the middle between its least and its greatest."""
    if number < 1 << EXACT_BITS:
        return float(number)
    doubling, step = divmod(number - (1 << EXACT_BITS), STEPS)
    width = 2 << doubling
    return (STEPS + step) * width + (width - 1) / 2


BINS: Final = bin_of(DAY_MS) + 1
"""No field that is binned goes beyond a day in milliseconds."""
