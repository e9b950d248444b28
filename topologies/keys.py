"""Cell keys as small numbers: (grouping, dimension numbers) → key, one table a view and partition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import Word, inlined, lean, mix, signed, unsigned
from topologies.dictionary import Dictionary
from topologies.packs import bucket_of
from topologies.view import KEY_SEPARATOR, MAX_DIMENSIONS, View

WIDTH: Final = 2
"""Words of a key: grouping (8 bits) and the first dimension, then two more dimensions of 32 bits each."""


@inlined
def find_key(index: np.ndarray, words: np.ndarray, count: np.ndarray, first: Word, second: Word) -> Word:
    """The number of the key (first, second), made if new; −1 if the table is full."""
    mask = unsigned(index.shape[0] - 1)
    slot = mix(mix(unsigned(first)) ^ unsigned(second)) & mask
    while True:
        number = index[slot]
        if number == 0:
            if count[0] >= words.shape[0] or count[0] * 2 >= index.shape[0]:
                return signed(-1)
            made = count[0]
            words[made, 0] = first
            words[made, 1] = second
            count[0] = made + 1
            index[slot] = made + 1
            return made
        if words[number - 1, 0] == first and words[number - 1, 1] == second:
            return signed(number) - 1
        slot = (slot + unsigned(1)) & mask


@lean
def _reindex(words: np.ndarray, count: Word, index: np.ndarray) -> None:
    mask = unsigned(index.shape[0] - 1)
    for number in range(count):
        slot = mix(mix(unsigned(words[number, 0])) ^ unsigned(words[number, 1])) & mask
        while index[slot] != 0:
            slot = (slot + unsigned(1)) & mask
        index[slot] = number + 1


def plan(view: View, dimensions: tuple[str, ...]) -> NDArray[np.int64]:
    """For kernels: i64[groupings, 3], the columns (of `dimensions`) of each grouping's dimensions, −1 where it has fewer."""
    columns = np.full((len(view.groupings), MAX_DIMENSIONS), -1, dtype=np.int64)
    for row, grouping in enumerate(view.groupings):
        for place, dimension in enumerate(grouping):
            columns[row, place] = dimensions.index(dimension)
    return columns


class KeyTable:
    """The keys of one view in one partition. `index`, `words`, `count` are handed to kernels; `grow()` when one returns −1."""

    def __init__(self, view: View, dictionaries: Mapping[str, Dictionary], words: NDArray[np.int64] | None = None) -> None:
        self._view = view
        self._dictionaries = dictionaries
        known = 0 if words is None else len(words)
        self.words = np.zeros((max(256, 2 * known), WIDTH), dtype=np.int64)
        if words is not None:
            self.words[:known] = words
        self.count = np.array([known], dtype=np.int64)
        self.index = np.zeros(0, dtype=np.int32)
        self._reindex()
        self._texts: list[bytes] = []
        self._buckets = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return int(self.count[0])

    @property
    def nbytes(self) -> int:
        return self.words.nbytes + self.index.nbytes

    def grow(self) -> None:
        """Make room for as many keys again."""
        self.words = np.concatenate([self.words, np.zeros_like(self.words)])
        self._reindex()

    def _reindex(self) -> None:
        size = 1 << (4 * len(self.words) - 1).bit_length()
        self.index = np.zeros(size, dtype=np.int32)
        _reindex(self.words, len(self), self.index)

    def groupings(self) -> NDArray[np.int64]:
        """The grouping of each key."""
        column: NDArray[np.int64] = self.words[: len(self), 0] & 0xFF
        return column

    def texts(self) -> list[bytes]:
        """Each key's dimension values joined by U+001F, UTF-8."""
        self._catch_up()
        return self._texts

    def buckets(self) -> NDArray[np.int64]:
        """Each key's bucket (topologies.packs)."""
        self._catch_up()
        return self._buckets

    def _catch_up(self) -> None:
        start = len(self._texts)
        if start == len(self):
            return
        buckets: list[int] = []
        for first, second in self.words[start : len(self)].tolist():
            grouping = self._view.groupings[first & 0xFF]
            numbers = (first >> 8, second & 0xFFFFFFFF, second >> 32)
            parts = [self._dictionaries[dimension].text(number) for dimension, number in zip(grouping, numbers, strict=False)]
            self._texts.append(KEY_SEPARATOR.encode().join(parts))
            buckets.append(bucket_of((parts[0].decode(),) if parts else ()))
        self._buckets = np.concatenate([self._buckets, np.array(buckets, dtype=np.int64)])
