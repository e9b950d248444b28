"""Dictionaries: equal texts have equal numbers, whatever the order, the batches and the growth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import examples, values_block
from topologies.dictionary import ABSENT, Dictionary


def intern(dictionary: Dictionary, texts: Sequence[bytes]) -> list[int]:
    buffer, starts, ends = values_block(texts)
    numbers: list[int] = dictionary.intern(buffer, np.stack([starts, ends - starts], axis=1)).tolist()
    return numbers


TEXTS = st.lists(st.one_of(st.sampled_from([b"", b"a", b"aa", b"12345678", b"123456789"]), st.binary(max_size=20)), max_size=40)


@given(st.lists(TEXTS, max_size=4))
@examples(100)
def test_a_number_is_a_text_for_ever(batches: list[list[bytes]]) -> None:
    dictionary = Dictionary()
    known: dict[bytes, int] = {b"": ABSENT}
    for batch in batches:
        numbers = intern(dictionary, batch)
        for text, number in zip(batch, numbers, strict=True):
            assert known.setdefault(text, len(known)) == number
    assert [dictionary.text(number) for number in range(len(dictionary))] == list(known)
    assert dictionary.texts() == list(known)[1:]


@given(TEXTS, TEXTS)
@examples(60)
def test_a_restored_dictionary_goes_on_with_the_same_numbers(first: list[bytes], second: list[bytes]) -> None:
    dictionary = Dictionary()
    intern(dictionary, first)
    restored = Dictionary(dictionary.texts())
    assert intern(restored, second) == intern(dictionary, second)
    assert restored.texts() == dictionary.texts()


def test_it_grows_in_texts_and_in_bytes() -> None:
    texts = [f"title {at}".encode() for at in range(5000)] + [bytes([65 + at]) * 60_000 for at in range(5)]
    dictionary = Dictionary()
    before = dictionary.nbytes
    numbers = intern(dictionary, texts)
    assert numbers == list(range(1, 5006))
    assert intern(dictionary, texts[::-1]) == numbers[::-1]
    assert dictionary.texts() == texts
    assert dictionary.nbytes > before
