"""Cell keys as small numbers: (grouping, dimension numbers) → key, one table a view and partition."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import Word, inlined, lean, mix, signed, unsigned
from topologies.dictionary import Dictionary, TextSpans
from topologies.packs import BUCKETS
from topologies.texts import Texts
from topologies.view import KEY_SEPARATOR, View

WIDTH: Final = 3
"""Words of a key: grouping (8 bits) and the first dimension, then twice two more dimensions of 32 bits each."""
PLACES: Final = 5
"""So many dimensions fit a key, a bin among them."""


_CRC: Final = np.array([zlib.crc32(bytes([byte ^ 0xFF])) ^ 0xFF000000 for byte in range(256)], dtype=np.int64)


@inlined
def _hashed(first: Word, second: Word, third: Word) -> Word:
    return mix(mix(unsigned(first)) ^ unsigned(second) ^ (unsigned(third) * unsigned(0x9E3779B97F4A7C15)))


@inlined
def find_key(index: np.ndarray, words: np.ndarray, count: np.ndarray, first: Word, second: Word, third: Word) -> Word:
    """The number of the key of these words, made if new; −1 if the table is full."""
    mask = unsigned(index.shape[0] - 1)
    slot = _hashed(first, second, third) & mask
    while True:
        number = index[slot]
        if number == 0:
            if count[0] >= words.shape[0] or count[0] * 2 >= index.shape[0]:
                return signed(-1)
            made = count[0]
            words[made, 0] = first
            words[made, 1] = second
            words[made, 2] = third
            count[0] = made + 1
            index[slot] = made + 1
            return made
        if words[number - 1, 0] == first and words[number - 1, 1] == second and words[number - 1, 2] == third:
            return signed(number) - 1
        slot = (slot + unsigned(1)) & mask


@lean
def _reindex(words: np.ndarray, count: Word, index: np.ndarray) -> None:
    mask = unsigned(index.shape[0] - 1)
    for number in range(count):
        slot = _hashed(words[number, 0], words[number, 1], words[number, 2]) & mask
        while index[slot] != 0:
            slot = (slot + unsigned(1)) & mask
        index[slot] = number + 1


@lean
def copy_texts(source: np.ndarray, begins: np.ndarray, lengths: np.ndarray, target: np.ndarray, places: np.ndarray) -> None:
    """Copy stretches of `source` to their places in `target`, both u8."""
    for text in range(begins.shape[0]):
        for at in range(lengths[text]):
            target[places[text] + at] = source[begins[text] + at]


@lean
def _crc32(source: np.ndarray, begins: np.ndarray, lengths: np.ndarray, sums: np.ndarray) -> None:
    for text in range(begins.shape[0]):
        crc = signed(0xFFFFFFFF)
        for at in range(begins[text], begins[text] + lengths[text]):
            crc = _CRC[(crc ^ signed(source[at])) & signed(0xFF)] ^ (crc >> signed(8))
        sums[text] = crc ^ signed(0xFFFFFFFF)


def crc32(source: NDArray[np.uint8], begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """zlib's CRC-32 of each text."""
    sums = np.empty(len(begins), dtype=np.int64)
    _crc32(source, begins, lengths, sums)
    return sums


def plan(view: View, dimensions: tuple[str, ...]) -> NDArray[np.int64]:
    """For kernels: i64[groupings, PLACES], the columns (of `dimensions`) of each grouping's dimensions, −1 where it has fewer."""
    columns = np.full((len(view.groupings), PLACES), -1, dtype=np.int64)
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
        self._known = 0
        """Keys below this number have their text (in pool and bounds, as Texts has it) and their bucket."""
        self._pool = np.zeros(0, dtype=np.uint8)
        self._bounds = np.zeros(1, dtype=np.int64)
        self._buckets = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return int(self.count[0])

    @property
    def nbytes(self) -> int:
        return sum(column.nbytes for column in (self.words, self.index, self._pool, self._bounds, self._buckets))

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

    def texts(self) -> Texts:
        """Each key's dimension values joined by U+001F, UTF-8."""
        self._catch_up()
        return Texts(self._pool, self._bounds, np.arange(self._known))

    def chosen(self, keys: NDArray[np.intp]) -> Texts:
        """The texts of these keys."""
        self._catch_up()
        return Texts(self._pool, self._bounds, keys)

    def buckets(self) -> NDArray[np.int64]:
        """Each key's bucket (topologies.packs)."""
        self._catch_up()
        return self._buckets[: self._known]

    def _catch_up(self) -> None:
        """Give the keys that are new since the last time their texts and buckets."""
        words = self.words[self._known : len(self)]
        if not len(words):
            return
        self._bounds, self._buckets = _room(self._bounds, len(self) + 1), _room(self._buckets, len(self))
        parts, sizes = self._parts(words)
        bounds = self._bounds[self._known : len(self) + 1]
        np.cumsum(sizes, out=bounds[1:])
        bounds[1:] += bounds[0]
        self._pool = _room(self._pool, int(bounds[-1]))
        at = bounds[:-1].copy()
        for place, rows, (pool, begins, lengths) in parts:
            if place == 0:
                self._buckets[self._known + rows] = crc32(pool, begins, lengths) % BUCKETS
            else:
                self._pool[at[rows]] = ord(KEY_SEPARATOR)
                at[rows] += 1
            copy_texts(pool, begins, lengths, self._pool, at[rows])
            at[rows] += lengths
        self._known = len(self)

    def _parts(self, words: NDArray[np.int64]) -> tuple[list[tuple[int, NDArray[np.intp], TextSpans]], NDArray[np.int64]]:
        """What the keys' texts are made of: (place, rows that have a dimension there, its texts); and the whole texts' lengths."""
        parts: list[tuple[int, NDArray[np.intp], TextSpans]] = []
        sizes = np.zeros(len(words), dtype=np.int64)
        for grouping, dimensions in enumerate(self._view.groupings):
            rows = np.flatnonzero(words[:, 0] & 0xFF == grouping)
            if not len(rows):
                continue
            numbers = (
                words[rows, 0] >> 8, words[rows, 1] & 0xFFFFFFFF, words[rows, 1] >> 32, words[rows, 2] & 0xFFFFFFFF, words[rows, 2] >> 32
            )  # fmt: skip
            for place, dimension in enumerate(dimensions):
                spans = self._dictionaries[dimension].spans(numbers[place])
                parts.append((place, rows, spans))
                sizes[rows] += spans[2] + (place > 0)
        return parts, sizes


def _room(column: NDArray[Any], needed: int) -> NDArray[Any]:
    """The column if it is so long, else one twice as long, the old one being left to whoever reads it."""
    if needed <= len(column):
        return column
    return np.concatenate([column, np.zeros(2 * needed - len(column), dtype=column.dtype)])
