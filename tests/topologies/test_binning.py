"""Bins: what stands for a value is near to it, and kernels cut as everybody else does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import examples
from topologies.binning import BIN_TEXTS, number_bins
from topologies.bins import BINS, RELATIVE_ERROR, bin_of, middle_of
from topologies.columns import EVENT, TICK_ROW
from topologies.events import DAY_MS, NULL

VALUES = st.one_of(st.integers(0, DAY_MS), st.integers(0, 26).flatmap(lambda bits: st.integers(max(0, (1 << bits) - 2), 1 << bits)))


@given(VALUES)
@examples(200)
def test_a_bins_middle_is_near_each_of_its_values(value: int) -> None:
    assert abs(middle_of(bin_of(value)) - value) <= value * RELATIVE_ERROR
    assert bin_of(value) <= bin_of(value + 1) <= bin_of(value) + 1 <= BINS


@given(st.lists(st.one_of(st.just(NULL), VALUES), max_size=30))
@examples(60)
def test_kernels_number_the_same_bins(values: list[int]) -> None:
    kinds = np.array([(EVENT, TICK_ROW)[value % 7 == 6] for value in values], dtype=np.uint8)
    numbers = np.empty(len(values), dtype=np.int32)
    number_bins(kinds, np.array(values, dtype=np.int64), numbers)
    for kind, value, number in zip(kinds.tolist(), values, numbers.tolist(), strict=True):
        if kind != EVENT or value < 0:
            assert number == 0
        else:
            assert BIN_TEXTS[number - 1] == str(bin_of(value)).encode()
