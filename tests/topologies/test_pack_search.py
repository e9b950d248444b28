"""What is asked of a pack is what it holds, whether its cells are in order or as they came."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import examples
from tests.topologies.packed import encode_pack
from tests.topologies.test_finals import HOUR_MS, KEYS, SUMS, packs_of
from topologies.errors import StoreError
from topologies.finals import merge
from topologies.pack_search import Cell, cells_among, cells_of, sums_of
from topologies.packs import PackedCell, decode_pack

CUT = [PackedCell(start, 2 - len(key), key, (1, 300)) for start in (0, HOUR_MS) for key in (("a", "eu"), ("a",), ("b",))]


def packed(cells: list[Cell]) -> list[PackedCell]:
    return [PackedCell(*cell) for cell in cells]


@given(packs_of(2, 9), KEYS)
@examples(80)
def test_what_is_asked_of_a_final_pack_is_what_it_holds(sources: list[list[PackedCell]], key: tuple[str, ...]) -> None:
    merged = merge(SUMS, [encode_pack(cells) for cells in sources if cells])
    cells = decode_pack(merged)
    for grouping in (0, 1, 2):
        assert packed(cells_of(merged, grouping, None)) == [cell for cell in cells if cell.grouping == grouping]
        found = packed(cells_of(merged, grouping, key[0]))
        assert found == [cell for cell in cells if cell.grouping == grouping and cell.key[0] == key[0]]


@given(packs_of(2, 2**63 - 1), KEYS)
@examples(80)
def test_a_titles_sums_are_those_of_its_cells(sources: list[list[PackedCell]], key: tuple[str, ...]) -> None:
    merged = merge(SUMS, [encode_pack(cells) for cells in sources if cells])
    expected: dict[int, tuple[int, ...]] = {}
    for start_ms, _, _, values in cells_of(merged, 0, key[0]):
        expected[start_ms] = tuple(map(sum, zip(expected.get(start_ms, (0, 0)), values, strict=True)))
    assert sums_of(merged, 0, key[0]) == [(start_ms, 0, (key[0],), values) for start_ms, values in sorted(expected.items())]


@given(packs_of(2, 70_000), KEYS, st.sampled_from([(), (0,), (HOUR_MS,), (HOUR_MS, 0, 7)]), st.randoms())
@examples(120)
def test_what_is_asked_of_a_sources_pack_is_what_it_holds(
    sources: list[list[PackedCell]], key: tuple[str, ...], wanted: tuple[int, ...], rng: random.Random
) -> None:
    for held in sources:
        cells = sorted(held, key=lambda _: rng.random())
        pack = encode_pack(cells) if cells else b""
        for grouping in (0, 1, 2):
            inside = [cell for cell in cells if cell.grouping == grouping and cell.start_ms in wanted]
            assert packed(cells_among(pack, grouping, None, wanted)) == inside
            assert packed(cells_among(pack, grouping, key[0], wanted)) == [cell for cell in inside if cell.key[0] == key[0]]


def test_a_value_that_stands_within_another_key_is_not_its() -> None:
    keys = [("t1", "eu"), ("t10", "eu"), ("eu", "t1"), ("xt1", "eu"), ("t1", "t1")]
    pack = encode_pack([PackedCell(0, 0, key, (1, at)) for at, key in enumerate(keys)] + [PackedCell(0, 1, ("t1",), (1, 9))])
    assert [cell[2] for cell in cells_among(pack, 0, "t1", [0])] == [("t1", "eu"), ("t1", "t1")]
    assert [cell[3] for cell in cells_among(pack, 1, "t1", [0])] == [(1, 9)]
    assert cells_among(pack, 0, "t", [0]) == cells_among(pack, 2, "t1", [0]) == []


SEARCHES: list[Callable[[bytes], list[Cell]]] = [
    lambda pack: cells_of(pack, 1, "a"),
    lambda pack: sums_of(pack, 0, "a"),
    lambda pack: cells_among(pack, 1, "a", [0]),
]


@pytest.mark.parametrize("search", SEARCHES)
def test_a_pack_that_is_cut_is_not_searched(search: Callable[[bytes], list[Cell]]) -> None:
    pack = merge(SUMS, [encode_pack(CUT)])
    assert search(pack)
    for size in range(1, len(pack)):
        with pytest.raises(StoreError, match="cannot be read"):
            search(pack[:size])
    with pytest.raises(StoreError, match="cannot be read"):
        search(b"MQP2" + pack[4:])
