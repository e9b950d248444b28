"""Sketches: exact functions of sets of values, whose union is the sketch of the union, and whose estimates are as near as is said."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.crowds import sketch_of
from tests.topologies.logs import examples
from topologies.errors import StoreError
from topologies.sketch_packs import SPARSE_MOST, PackedSketch, decode_sketches, encode_sketches
from topologies.sketches import HIGHEST_RANK, REGISTERS, STANDARD_ERROR, Coupons, estimate, union


def random_sketch(count: int, seed: int) -> Coupons:
    """Of `count` different values, whose hashes are drawn."""
    hashes = np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)
    registers, rest = hashes & np.uint64(REGISTERS - 1), hashes >> np.uint64(14)
    lowest = rest & (~rest + np.uint64(1))
    ranks = np.where(rest == 0, HIGHEST_RANK, np.log2(np.maximum(lowest, 1).astype(np.float64)).astype(np.int64) + 1)
    return union([((registers << np.uint64(6)) | ranks.astype(np.uint64)).astype(np.uint32)])


SETS = st.sets(st.integers(0, 3000), max_size=400)


@given(st.lists(SETS, max_size=4))
@examples(40)
def test_the_union_of_sketches_is_the_sketch_of_the_union(sets: list[set[int]]) -> None:
    united = union([sketch_of(map(str, values)) for values in sets])
    assert united.tolist() == sketch_of(map(str, set().union(*sets))).tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 10, 100, 1_000, 10_000, 60_000, 1_000_000])
def test_an_estimate_is_within_three_standard_errors(count: int) -> None:
    found = estimate(random_sketch(count, count))
    assert abs(found - count) <= 3 * STANDARD_ERROR * count
    if count <= 10:
        assert round(found) == count


@pytest.mark.parametrize("count", [3_000, 30_000, 80_000, 200_000])
def test_estimates_are_as_near_as_is_said_and_not_to_one_side(count: int) -> None:
    """Over 60 sketches the root mean square is within a third of the standard error, the mean within 3 of its own."""
    errors = np.array([estimate(random_sketch(count, seed)) / count - 1 for seed in range(60)])
    assert math.sqrt(float(np.mean(errors**2))) < 4 / 3 * STANDARD_ERROR
    assert abs(float(errors.mean())) < 3 * STANDARD_ERROR / math.sqrt(60)


def test_a_full_sketch_has_an_estimate_too() -> None:
    full: Coupons = (np.arange(REGISTERS, dtype=np.uint32) << np.uint32(6)) | np.uint32(HIGHEST_RANK)
    assert estimate(full) == math.inf
    assert 1e17 < estimate(np.concatenate([full[:-100] - np.uint32(1), full[-100:]])) < 1e20


SKETCHES = [
    PackedSketch(3_600_000, 0, ("t1", "eu"), random_sketch(1, 1)),
    PackedSketch(3_600_000, 0, ("t1", "us"), random_sketch(5000, 2)),
    PackedSketch(3_600_000, 1, (), random_sketch(SPARSE_MOST + 40, 3)[:SPARSE_MOST]),
    PackedSketch(7_200_000, 0, ("Über 片", "eu"), random_sketch(SPARSE_MOST + 400, 4)[: SPARSE_MOST + 1]),
    PackedSketch(7_200_000, 1, (), random_sketch(77, 5)),
]
PACK = encode_sketches(SKETCHES)


def plain(sketches: Iterable[PackedSketch]) -> list[tuple[int, int, tuple[str, ...], list[int]]]:
    return sorted((sketch.start_ms, sketch.grouping, sketch.key, sketch.coupons.tolist()) for sketch in sketches)


def test_a_pack_of_sketches_is_read_as_it_was_written_in_any_order() -> None:
    assert plain(decode_sketches(PACK)) == plain(SKETCHES)
    assert encode_sketches(SKETCHES[::-1]) == PACK
    assert decode_sketches(b"") == decode_sketches(encode_sketches([])) == []


def broken() -> list[bytes]:
    one = encode_sketches(SKETCHES[:1])
    coupons = encode_sketches([PackedSketch(0, 0, ("t",), np.array([1 << 6 | 2, 5 << 6 | 1], dtype=np.uint32))])
    ends = ([5 << 6 | 1, 1 << 6 | 2], [5 << 6 | 1, 5 << 6 | 2], [1 << 6, 5 << 6 | 1], [1, 5 << 6 | 52], [1, REGISTERS << 6 | 1])
    dense = encode_sketches(SKETCHES[1:2])
    return [
        b"MQP1" + PACK[4:], PACK[:4] + b"\x0d" + PACK[5:], PACK[:12], PACK[:-1], PACK + b"\0", one[:-5] + one[-4:],
        *(coupons[:-8] + struct.pack("<2I", *end) for end in ends),
        dense[:-REGISTERS] + bytes(REGISTERS), dense[:-REGISTERS] + b"\x34" * REGISTERS,
        one[:9] + struct.pack("<I", 0) + one[13:],
    ]  # fmt: skip


@pytest.mark.parametrize("pack", broken(), ids=range(len(broken())))
def test_bytes_that_are_no_pack_of_sketches_are_refused(pack: bytes) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        decode_sketches(pack)


@given(st.integers(0, len(PACK) - 1))
@examples(60)
def test_a_pack_cut_short_is_refused(length: int) -> None:
    if length:
        with pytest.raises(StoreError):
            decode_sketches(PACK[:length])
