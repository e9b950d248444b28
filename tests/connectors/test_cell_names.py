"""Cells' keys on their way to Redis: the msgpack that any library writes, cut into arrays."""

from __future__ import annotations

import msgspec
import pytest

from connectors.cell_names import arrays_of
from topologies.texts import Texts

TEXTS = ["", "ö", "t\x1fr", *("x" * length for length in (31, 32, 255, 256, 65_535, 65_536))] * 3


@pytest.mark.parametrize("most", [1, 2, 15, 16, 26, 27, 500])
def test_names_are_written_as_msgpack_has_them(most: int) -> None:
    wanted = [msgspec.msgpack.encode(TEXTS[first : first + most]) for first in range(0, len(TEXTS), most)]
    assert list(arrays_of(Texts.of([text.encode() for text in TEXTS]), most)) == wanted


def test_only_the_chosen_are_written() -> None:
    texts = Texts.of([b"a", b"bc", b"d"])
    assert list(arrays_of(Texts(texts.pool, texts.bounds, texts.numbers[1:]), 500)) == [msgspec.msgpack.encode(["bc", "d"])]
    assert list(arrays_of(Texts.of([]), 500)) == []
