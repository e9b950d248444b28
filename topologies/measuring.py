"""What a row, an event or a session, adds to each measure of its cells: the declaration's measures as kernels take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.columns import INTEGER
from topologies.compiled import Word, inlined, signed
from topologies.decay import DAY_MINUTES, decay
from topologies.events import TYPES
from topologies.keys import find_key, plan
from topologies.view import ANY, BIN_MARK, MOST, PLAYBACK_FAILURE, SESSION_FACTS, START_FAILURE, View

SESSION_COLUMN: Final[dict[str, int]] = {name: at for at, name in enumerate((*SESSION_FACTS, "ts"))}
"""Rows of a session's integers: its facts, and its last event's ts."""

SUM, TIMES, COUNT, KEPT = range(4)
"""Columns of MeasureArrays.how."""
ADDED, GREATEST, LEAST, LAST = range(4)
"""How a measure is kept. What is not added stands as value + 1, so that 0 is none; LAST compares (ts, seq) before the value."""
_ANY, _OUTCOME = 64, 65
COUNTED: Final[dict[str, int]] = {
    **{name: at for at, name in enumerate(TYPES)}, ANY: _ANY, START_FAILURE: _OUTCOME + 1, PLAYBACK_FAILURE: _OUTCOME + 2
}  # fmt: skip
_KEPT: Final = {"max": GREATEST, "min": LEAST, "last": LAST}
_TYPE: Final = INTEGER["type"]


class MeasureArrays(NamedTuple):
    """A view's groupings and measures as kernels take them.

    plan: keys.plan. how i64[measures, 4]: the column that is summed (−1: none), the column it is times of (−1: none), what is counted
    (COUNTED; −1: nothing), how it is kept (ADDED …). weights i64[measures, DAY_MINUTES]: what an event of each minute of the day counts
    for; i64[measures, 0] where all count 1. only: the type that an event must be of; −1: any. binned: the column of `dims` that must not be
    ABSENT; −1: none. ts: the row of `integers` that has the time. amounts i64[measures]: the kernel's own room.
    """

    plan: NDArray[np.int64]
    how: NDArray[np.int64]
    weights: NDArray[np.int64]
    only: int
    binned: int
    ts: int
    amounts: NDArray[np.int64]


@inlined
def measure(integers: np.ndarray, outcomes: np.ndarray, dims: np.ndarray, at: Word, measures: MeasureArrays) -> Word:
    """The row's amount of each measure; whether it has a cell, and one is not 0."""
    if measures.only >= 0 and integers[_TYPE, at] != measures.only:
        return False
    if measures.binned >= 0 and dims[at, measures.binned] == 0:
        return False
    anything = False
    for number in range(measures.how.shape[0]):
        amount = signed(0)
        summed = measures.how[number, SUM]
        counted = measures.how[number, COUNT]
        if summed >= 0:
            if measures.how[number, KEPT] != ADDED:
                amount = integers[summed, at] + signed(1)
            else:
                amount = max(integers[summed, at], signed(0))
                if measures.how[number, TIMES] >= 0:
                    amount *= max(integers[measures.how[number, TIMES], at], signed(0))
        elif counted == _ANY or (counted >= 0 and (counted == integers[_TYPE, at] or counted - _OUTCOME == outcomes[at])):
            amount = signed(1)
            if measures.weights.shape[1] > 0 and measures.weights[number, 0] > 0:
                amount = measures.weights[number, (integers[measures.ts, at] // 60_000) % DAY_MINUTES]
        measures.amounts[number] = amount
        if amount != 0:
            anything = True
    if measures.how.shape[0] == 3 and measures.how[0, KEPT] == LAST:
        return measures.amounts[2] > 0
    return anything


@inlined
def key_words(dims: np.ndarray, at: Word, grouping: Word, measures: MeasureArrays) -> tuple[Word, Word, Word]:
    """The words of the row's key in a grouping (topologies.keys)."""
    first = signed(grouping)
    second = signed(0)
    third = signed(0)
    if measures.plan[grouping, 0] >= 0:
        first |= signed(dims[at, measures.plan[grouping, 0]]) << signed(8)
    if measures.plan[grouping, 1] >= 0:
        second |= signed(dims[at, measures.plan[grouping, 1]])
    if measures.plan[grouping, 2] >= 0:
        second |= signed(dims[at, measures.plan[grouping, 2]]) << signed(32)
    if measures.plan[grouping, 3] >= 0:
        third |= signed(dims[at, measures.plan[grouping, 3]])
    if measures.plan[grouping, 4] >= 0:
        third |= signed(dims[at, measures.plan[grouping, 4]]) << signed(32)
    return first, second, third


@inlined
def find_cell_key(
    dims: np.ndarray, at: Word, grouping: Word, measures: MeasureArrays, lookup: np.ndarray, words: np.ndarray, used: np.ndarray
) -> Word:
    """The number of the row's key in a grouping; lookup, words, used: a KeyTable's index, words and count, which have room."""
    first, second, third = key_words(dims, at, grouping, measures)
    return find_key(lookup, words, used, first, second, third)


@inlined
def keep(values: np.ndarray, row: Word, weight: Word, measures: MeasureArrays) -> None:
    """Bring the amounts into values[row] i64[measures]. A sum stops at MOST; none of sessions, which may be taken back, gets there."""
    if measures.how[0, KEPT] == LAST:
        ts, seq = values[row, 0], values[row, 1]
        if measures.amounts[0] > ts or (measures.amounts[0] == ts and measures.amounts[1] > seq):
            for number in range(3):
                values[row, number] = measures.amounts[number]
        return
    for number in range(measures.amounts.shape[0]):
        amount = measures.amounts[number]
        if measures.how[number, KEPT] == ADDED:
            value, more = values[row, number], weight * amount
            # asked before it is added: the compiler takes for granted that no sum wraps
            values[row, number] = value + more if more <= signed(MOST) - max(value, signed(0)) else signed(MOST)
        elif amount > 0 and (values[row, number] == 0 or (amount > values[row, number]) == (measures.how[number, KEPT] == GREATEST)):
            values[row, number] = amount


def measure_arrays(view: View, dimensions: tuple[str, ...]) -> MeasureArrays:
    """Of a part, whose dimensions are among these columns."""
    only = TYPES.index(view.histogram.on) if view.histogram is not None and view.histogram.on else -1
    binned = dimensions.index(view.histogram.of + BIN_MARK) if view.histogram is not None else -1
    columns = INTEGER if view.of == "event" else SESSION_COLUMN
    amounts = np.zeros(len(view.measures), dtype=np.int64)
    return MeasureArrays(plan(view, dimensions), _how(view, columns), _weights(view), only, binned, columns["ts"], amounts)


def _how(view: View, columns: Mapping[str, int]) -> NDArray[np.int64]:
    kept = _KEPT[view.extreme.keep] if view.extreme is not None else ADDED
    rows = []
    for declared in view.measures:
        summed = declared.name if kept == LAST and declared.sum_of is None else declared.sum_of
        counted = COUNTED[declared.count_of] if declared.count_of is not None else -1
        times = columns[declared.times] if declared.times is not None else -1
        rows.append((columns[summed] if summed is not None else -1, times, counted, kept))
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def _weights(view: View) -> NDArray[np.int64]:
    if not any(declared.half_life_s for declared in view.measures):
        return np.zeros((len(view.measures), 0), dtype=np.int64)
    nothing = [0] * DAY_MINUTES
    return np.array([decay(declared.half_life_s) if declared.half_life_s else nothing for declared in view.measures], dtype=np.int64)
