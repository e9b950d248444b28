"""Dictionaries: texts that repeat (titles, regions) as small numbers, one dictionary a dimension and partition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import PADDING, Word, hash_bytes, inlined, lean, load8, load64, signed, unsigned

ABSENT: Final = 0
"""The number of the absent text, in every dictionary."""
_SEED: Final = np.uint64(0x5BD1E9955BD1E995)
TextSpans: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]
"""A pool, and of each text where it begins there and its length."""


@inlined
def _same(pool: np.ndarray, base: Word, buffer: np.ndarray, start: Word, length: Word) -> Word:
    at = signed(0)
    while at + 8 <= length:
        if load64(pool, base + at) != load64(buffer, start + at):
            return False
        at += 8
    if at == length:
        return True
    keep = (unsigned(1) << unsigned(8 * (length - at))) - unsigned(1)
    return (load64(pool, base + at) ^ load64(buffer, start + at)) & keep == 0


@lean
def _intern(
    buffer: np.ndarray,
    spans: np.ndarray,
    first: Word,
    index: np.ndarray,
    pool: np.ndarray,
    ends: np.ndarray,
    count: Word,
    numbers: np.ndarray,
) -> tuple[Word, Word]:
    """Number the texts from row `first`; stops where the tables are full. Returns (rows done, texts known)."""
    mask = unsigned(index.shape[0] - 1)
    for row in range(first, spans.shape[0]):
        start = spans[row, 0]
        length = spans[row, 1]
        if length == 0:
            numbers[row] = ABSENT
            continue
        slot = hash_bytes(buffer, start, length, _SEED) & mask
        while True:
            number = index[slot]
            if number == 0:
                if count * 2 >= index.shape[0] or count >= ends.shape[0] or ends[count - 1] + length + PADDING > pool.shape[0]:
                    return row, count
                base = ends[count - 1]
                for at in range(length):
                    pool[base + at] = load8(buffer, start + at)
                ends[count] = base + length
                index[slot] = count
                numbers[row] = count
                count += 1
                break
            base = ends[number - 1]
            if ends[number] - base == length and _same(pool, base, buffer, start, length):
                numbers[row] = number
                break
            slot = (slot + unsigned(1)) & mask
    return spans.shape[0], count


@lean
def _reindex(pool: np.ndarray, ends: np.ndarray, count: Word, index: np.ndarray) -> None:
    mask = unsigned(index.shape[0] - 1)
    for number in range(1, count):
        base = ends[number - 1]
        slot = hash_bytes(pool, base, ends[number] - base, _SEED) & mask
        while index[slot] != 0:
            slot = (slot + unsigned(1)) & mask
        index[slot] = number


class Dictionary:
    """Texts ↔ numbers from 1; 0 is the absent text. Numbers are never reused."""

    def __init__(self, texts: list[bytes] | None = None) -> None:
        known = texts or []
        self._count = len(known) + 1
        self._ends = np.zeros(max(64, 2 * self._count), dtype=np.int64)
        self._ends[1 : self._count] = np.cumsum([len(text) for text in known], dtype=np.int64)
        self._pool = np.zeros(max(4096, 2 * int(self._ends[self._count - 1]) + PADDING), dtype=np.uint8)
        joined = b"".join(known)
        self._pool[: len(joined)] = np.frombuffer(joined, dtype=np.uint8)
        self._index = np.zeros(0, dtype=np.int32)
        self._grow_index(max(64, self._count))
        self._texts: list[bytes] = [b"", *known]

    @classmethod
    def restored(cls, dumped: Mapping[str, NDArray[Any]]) -> Dictionary:
        """The dictionary that `dump` gave."""
        made = cls()
        made._count = len(dumped["ends"])
        made._ends = np.concatenate([dumped["ends"], np.zeros(max(64, made._count), dtype=np.int64)])
        made._pool = np.concatenate([dumped["pool"], np.zeros(len(dumped["pool"]) + max(4096, PADDING), dtype=np.uint8)])
        made._index = np.zeros(0, dtype=np.int32)
        made._grow_index(max(64, made._count))
        return made

    def dump(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint: the texts end to end, and where each ends."""
        ends = self._ends[: self._count].copy()
        return {"ends": ends, "pool": self._pool[: int(ends[-1])].copy()}

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        return self._ends.nbytes + self._pool.nbytes + self._index.nbytes

    def intern(self, buffer: NDArray[np.uint8], spans: NDArray[np.int64]) -> NDArray[np.int32]:
        """Number the texts at spans [n, 2] (start, length) of a padded buffer; new texts get new numbers.

        Starts are counted from the buffer's first byte and may lie outside of it, where the caller knows that there is a text.
        """
        numbers = np.empty(len(spans), dtype=np.int32)
        done = 0
        while done < len(spans):
            done, self._count = _intern(buffer, spans, done, self._index, self._pool, self._ends, self._count, numbers)
            if done < len(spans):
                self._grow(int(spans[done, 1]))
        return numbers

    def text(self, number: int) -> bytes:
        """The text of that number, UTF-8."""
        if number >= len(self._texts):
            for new in range(len(self._texts), self._count):
                self._texts.append(self._pool[self._ends[new - 1] : self._ends[new]].tobytes())
        return self._texts[number]

    def spans(self, numbers: NDArray[np.int64]) -> TextSpans:
        """Where the texts of these numbers stand."""
        begins = self._ends[np.maximum(numbers - 1, 0)]
        return self._pool, begins, self._ends[numbers] - begins

    def texts(self) -> list[bytes]:
        """All texts, in the order of their numbers from 1."""
        return [self.text(number) for number in range(1, self._count)]

    def _grow(self, length: int) -> None:
        if self._count >= len(self._ends):
            self._ends = np.concatenate([self._ends, np.zeros_like(self._ends)])
        if int(self._ends[self._count - 1]) + length + PADDING > len(self._pool):
            self._pool = np.concatenate([self._pool, np.zeros(len(self._pool) + length, dtype=np.uint8)])
        self._grow_index(2 * self._count + 2)

    def _grow_index(self, needed: int) -> None:
        size = max(128, len(self._index))
        while size < 2 * needed:
            size *= 2
        if size > len(self._index):
            self._index = np.zeros(size, dtype=np.int32)
            _reindex(self._pool, self._ends, self._count, self._index)
