"""Texts as columns: many short byte strings end to end, of which some are chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts `numbers` of a pool: text n is pool[bounds[n] : bounds[n + 1]].

    pool u8, bounds i64, numbers intp[n]. Whoever owns the pool may write behind its last text, never over one: so these stay what they are.
    """

    pool: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    numbers: NDArray[np.intp]

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Texts:
        """All of these."""
        bounds = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in texts], out=bounds[1:])
        return cls(np.frombuffer(b"".join(texts), dtype=np.uint8), bounds, np.arange(len(texts)))

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[bytes]:
        for number in self.numbers.tolist():
            yield self.pool[self.bounds[number] : self.bounds[number + 1]].tobytes()
