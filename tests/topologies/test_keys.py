"""Cell keys: (grouping, dimension numbers) ↔ a small number, its text and its bucket, through growth and restore."""

from __future__ import annotations

from itertools import product

import numpy as np

from tests.topologies.logs import BY_THREE
from topologies.compiled import Word, lean
from topologies.dictionary import Dictionary
from topologies.keys import KeyTable, find_key, plan
from topologies.packs import bucket_of
from topologies.texts import Texts

DIMENSIONS = ("cdn", "country", "device", "region", "title")


@lean
def _find(index: np.ndarray, words: np.ndarray, count: np.ndarray, first: Word, second: Word, third: Word) -> Word:
    return find_key(index, words, count, first, second, third)


def found(table: KeyTable, grouping: int, numbers: tuple[int, ...]) -> int:
    one, two, three = (*numbers, 0, 0, 0)[:3]
    return int(_find(table.index, table.words, table.count, grouping | one << 8, two | three << 32, 0))


def dictionaries(count: int) -> dict[str, Dictionary]:
    return {name: Dictionary([f"{name} {at}".encode() for at in range(1, count + 1)]) for name in DIMENSIONS}


def test_a_plan_names_the_columns_of_each_grouping() -> None:
    assert plan(BY_THREE, DIMENSIONS).tolist() == [[4, 3, 2, -1, -1], [0, 1, -1, -1, -1], [-1] * 5]


def test_keys_of_three_two_and_no_dimensions_are_told_apart_through_growth_and_restore() -> None:
    texts = dictionaries(12)
    table = KeyTable(BY_THREE, texts)
    wanted = (
        [(0, numbers) for numbers in product(range(13), repeat=3)] + [(1, numbers) for numbers in product(range(13), repeat=2)] + [(2, ())]
    )
    keys: list[int] = []
    for grouping, numbers in wanted:
        key = found(table, grouping, numbers)
        if key < 0:
            table.grow()
            key = found(table, grouping, numbers)
        keys.append(key)
    assert keys == list(range(len(wanted)))
    restored = KeyTable(BY_THREE, texts, table.words[: len(table)])
    for each in (table, restored):
        assert [found(each, grouping, numbers) for grouping, numbers in wanted] == keys
        assert len(each) == len(wanted)
        assert each.groupings().tolist() == [grouping for grouping, _ in wanted]
        assert list(each.texts()) == [_text(grouping, numbers) for grouping, numbers in wanted]
        assert each.buckets().tolist() == [bucket_of(tuple(_text(*cell).decode().split("\x1f"))) for cell in wanted]
        assert each.nbytes > 0


def _text(grouping: int, numbers: tuple[int, ...]) -> bytes:
    names = BY_THREE.groupings[grouping]
    return "\x1f".join(f"{name} {number}" if number else "" for name, number in zip(names, numbers, strict=True)).encode()


def test_a_full_table_says_so_and_changes_nothing() -> None:
    table = KeyTable(BY_THREE, dictionaries(1))
    for number in range(len(table.words)):
        assert found(table, 0, (number,)) == number
    before = table.words.copy()
    assert found(table, 0, (len(table.words),)) == -1
    assert len(table) == len(table.words)
    assert (table.words == before).all()


def test_texts_that_were_handed_out_stay_as_they_are_while_more_keys_come() -> None:
    table = KeyTable(BY_THREE, dictionaries(12))
    handed: list[tuple[Texts, list[bytes]]] = []
    for numbers in product(range(13), repeat=3):
        if found(table, 0, numbers) < 0:
            table.grow()
            found(table, 0, numbers)
        if len(table) % 50 == 1:
            handed.append((table.texts(), [_text(0, each) for each in product(range(13), repeat=3)][: len(table)]))
    assert len(handed) > 40
    assert all(list(texts) == wanted for texts, wanted in handed)
