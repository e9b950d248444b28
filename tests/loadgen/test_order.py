"""The order in which events are sent, the numbers and names of what is sent: the same whoever works them out."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.draws import partitions_of
from loadgen.keys import homes_of, keys_of, prefix_of
from loadgen.order import Numbers, sending_order
from loadgen.rows import EVENT, LANE


@pytest.mark.parametrize("span_ms", [1, 50, 10**9, 2**40])
@pytest.mark.parametrize(("partitions", "senders"), [(5, 7), (1, 1), (256, 500), (65_536, 500)])
@pytest.mark.parametrize("by_partition", [True, False])
def test_events_are_ordered_by_partition_arrival_sender_and_number(span_ms: int, partitions: int, senders: int, by_partition: bool) -> None:
    chances = np.random.default_rng(span_ms)
    lanes = np.zeros(senders, LANE)
    lanes["key"] = chances.integers(0, 2**63, senders, np.uint64) * np.uint64(2)
    homes = chances.integers(0, partitions, (2, senders)).astype(np.int32)
    homes[:, 0] = partitions - 1
    rows = np.zeros(2_000, EVENT)
    rows["lane"] = chances.integers(0, senders, 2_000)
    rows["arrival"] = 10**12 + chances.integers(0, span_ms, 2_000)
    rows["ordinal"] = chances.integers(0, 2, 2_000)
    rows["seq"] = np.arange(2_000) // 2
    rows["copy"] = np.arange(2_000) % 2
    rows["moved"] = rows["seq"] % 3 == 0
    place = homes[rows["moved"], rows["lane"]] if by_partition else np.zeros(2_000, np.int32)
    picks = np.flatnonzero(chances.random(2_000) < 0.9)
    everything = np.lexsort((rows["copy"], rows["seq"], rows["ordinal"], lanes["key"][rows["lane"]], rows["arrival"], place))
    expected = everything[np.isin(everything, picks)]
    assert sending_order(rows, picks, lanes, homes if by_partition else None, partitions).tolist() == expected.tolist()


def test_nothing_is_in_order() -> None:
    assert sending_order(np.zeros(0, EVENT), np.empty(0, np.int64), np.zeros(1, LANE), None, 1).tolist() == []


def test_records_are_numbered_in_their_partitions() -> None:
    numbers = Numbers(3)
    assert numbers.of(np.array([0, 2, 0, 0], np.int32)).tolist() == [0, 0, 1, 2]
    assert numbers.of(np.array([2, 1, 0], np.int32)).tolist() == [1, 0, 3]
    assert numbers.behind(np.array([1, 0], np.int32)).tolist() == [1, 4]


def test_accounts_have_seven_digits_or_as_many_as_they_need_and_kafkas_partition() -> None:
    accounts = np.array([0, 7, 9_999_999, 10_000_000, 123_456_789_012])
    names = keys_of(prefix_of("tag"), accounts)
    assert names == [b"tag-0000000", b"tag-0000007", b"tag-9999999", b"tag-10000000", b"tag-123456789012"]
    assert homes_of(prefix_of("tag"), accounts, 7).tolist() == partitions_of(names, 7).tolist()
    assert keys_of(prefix_of("tag"), np.empty(0, np.int64)) == []
