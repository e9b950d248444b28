"""Memory of a table's rows that grows where it is: its pages are moved, none is copied."""

from __future__ import annotations

import contextlib
import mmap

import numpy as np
from numpy.typing import NDArray


class GrowingRows:
    """Rows of so many words of 8 bytes, zero at first. Growing takes 0.1 ms for 128 MB; a copy takes 30 ms, or 200 ms of fresh memory.
    The first begins with a cache line, so a row of 16 words takes two of them, not three."""

    def __init__(self, capacity: int, words: int) -> None:
        self._words = words
        self._memory = self._mapped(capacity)

    def array(self) -> NDArray[np.int64]:
        """i64[capacity, words], all of it; not to be kept."""
        return np.frombuffer(self._memory, dtype=np.int64).reshape(-1, self._words)

    def grow(self, capacity: int) -> None:
        """Every array that was given out should be gone by now; else the memory must be copied after all."""
        try:
            self._memory.resize(capacity * self._words * 8)
        except BufferError:
            before, self._memory = self.array(), self._mapped(capacity)
            self.array()[: len(before)] = before
        _in_huge_pages(self._memory)

    def _mapped(self, capacity: int) -> mmap.mmap:
        memory = mmap.mmap(-1, capacity * self._words * 8, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        _in_huge_pages(memory)
        return memory


def _in_huge_pages(memory: mmap.mmap) -> None:
    with contextlib.suppress(OSError):  # a kernel without them is a little slower, and no worse
        memory.madvise(mmap.MADV_HUGEPAGE)
