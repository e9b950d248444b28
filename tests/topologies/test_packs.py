"""Packs: what is written is read again, in the narrowest integers that hold it; broken bytes are no cells."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import examples
from tests.topologies.packed import encode_pack
from topologies.errors import StoreError
from topologies.packs import BUCKETS, MAGIC, PackedCell, bucket_of, decode_pack

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1f"), min_size=1, max_size=5)
VALUES = st.one_of(st.integers(-200, 200), st.integers(-(2**63), 2**63 - 1))


@st.composite
def cells(draw: st.DrawFn) -> list[PackedCell]:
    measures = draw(st.integers(1, 3))
    keys = st.one_of(st.just(()), st.tuples(TEXTS), st.tuples(TEXTS, TEXTS))
    cell = st.builds(PackedCell, st.integers(0, 2**60), st.integers(0, 255), keys, st.tuples(*[VALUES] * measures))
    return draw(st.lists(cell, max_size=12))


@given(cells())
@examples(150)
def test_what_is_packed_is_read_again(packed: list[PackedCell]) -> None:
    assert decode_pack(encode_pack(packed)) == packed


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_a_measure_takes_the_narrowest_width_that_holds_it(bits: int) -> None:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    for value in (low, high):
        cell = PackedCell(0, 0, ("t",), (value,))
        assert decode_pack(encode_pack([cell])) == [cell]
        width = encode_pack([cell])[13]
        assert width == bits // 8
    if bits < 64:
        assert encode_pack([PackedCell(0, 0, ("t",), (high + 1,))])[13] == bits // 4
        assert encode_pack([PackedCell(0, 0, ("t",), (low - 1,))])[13] == bits // 4


def test_each_measure_has_a_width_of_its_own() -> None:
    packed = [PackedCell(0, 0, ("t",), (1, 70_000, -3)), PackedCell(1, 0, ("t",), (2, 5, 2**40))]
    assert encode_pack(packed)[13:16] == bytes([1, 4, 8])
    assert decode_pack(encode_pack(packed)) == packed


def test_a_key_is_stored_once() -> None:
    one = encode_pack([PackedCell(0, 0, ("a title of some length", "r"), (1,))])
    two = encode_pack([PackedCell(start, 0, ("a title of some length", "r"), (1,)) for start in (0, 60_000)])
    assert len(two) - len(one) == 4 + 8 + 1


def test_an_emptied_pack_and_no_pack_hold_no_cells() -> None:
    assert decode_pack(encode_pack([])) == []
    assert decode_pack(b"") == []


@given(cells().filter(bool), st.data())
@examples(100)
def test_a_pack_cut_short_is_an_error(packed: list[PackedCell], data: st.DataObject) -> None:
    whole = encode_pack(packed)
    with pytest.raises(StoreError, match="cannot be read"):
        decode_pack(whole[: data.draw(st.integers(1, len(whole) - 1))])
    with pytest.raises(StoreError, match="cannot be read"):
        decode_pack(whole + b"\0")


@given(cells(), st.data())
@examples(150)
def test_broken_bytes_raise_nothing_else(packed: list[PackedCell], data: st.DataObject) -> None:
    whole = bytearray(encode_pack(packed))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(StoreError):
        decode_pack(bytes(whole))


def test_another_format_is_named() -> None:
    with pytest.raises(StoreError, match="starts with b'MQP9'"):
        decode_pack(encode_pack([]).replace(MAGIC, b"MQP9"))


def test_a_bucket_is_told_by_the_first_dimension() -> None:
    assert bucket_of(("t", "r")) == bucket_of(("t", "q")) == bucket_of(("t",))
    assert bucket_of(()) == bucket_of(("",))
    assert {bucket_of((f"t{at}",)) for at in range(2000)} == set(range(BUCKETS))


def test_numpy_integers_are_packed_like_pythons() -> None:
    cell = PackedCell(int(np.int64(5)), 1, ("t",), (int(np.int64(9)),))
    assert decode_pack(encode_pack([cell])) == [cell]
