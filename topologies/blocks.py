"""A stretch of a partition's log as the fold takes it: raw records, and which of them are Arrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

JSON_TYPE: Final = "application/json"
ARROW_TYPE: Final = "application/vnd.apache.arrow.stream"
"""Values of a record's header `content-type`: one event, or an Arrow IPC stream of many."""
ARROW_MARK: Final = 0xFF
MARK_BYTES: Final = 4
"""Without the header the value's first bytes tell: an IPC stream begins with FF FF FF FF, and no text does (in UTF-16 with FF FE)."""


@dataclass(frozen=True)
class RecordBlock:
    """The next n records of a partition's log.

    Values are `buffer[starts[i] : ends[i]]` and keys likewise (start and end −1: null), with compiled.PADDING spare bytes behind the last;
    offsets and timestamps (epoch ms) i64[n]. It was fetched from `first_offset`; the next fetch is from `next_offset`.
    arrow u8[n]: whether the value is to be read as Arrow; None: the values' first bytes tell.
    """

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    key_starts: NDArray[np.int64]
    key_ends: NDArray[np.int64]
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    first_offset: int
    next_offset: int
    arrow: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def value(self, record: int) -> bytes | None:
        """The raw value of that record."""
        return self.buffer[self.starts[record] : self.ends[record]].tobytes() if self.starts[record] >= 0 else None

    def key(self, record: int) -> bytes | None:
        """The key of that record."""
        return self.buffer[self.key_starts[record] : self.key_ends[record]].tobytes() if self.key_starts[record] >= 0 else None

    def arrow_records(self) -> NDArray[np.intp]:
        """Which records are Arrow, in order."""
        if self.arrow is not None:
            return np.flatnonzero(self.arrow)
        long = np.flatnonzero(self.ends - self.starts >= MARK_BYTES)
        marks = self.buffer[self.starts[long][:, None] + np.arange(MARK_BYTES)] == ARROW_MARK
        marked: NDArray[np.intp] = long[marks.all(axis=1)]
        return marked

    def is_arrow(self, record: int) -> bool:
        """Whether that record is to be read as Arrow."""
        if self.arrow is not None:
            return bool(self.arrow[record])
        start, end = self.starts[record], self.ends[record]
        return bool(end - start >= MARK_BYTES and (self.buffer[start : start + MARK_BYTES] == ARROW_MARK).all())
