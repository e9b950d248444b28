"""A bookmark as a value, its bytes, and what a flush carries of many.

Bytes, the same in both stores: big-endian ts u64, seq u32, finished u8, position_s + 1 u32, runtime_s + 1 u32 (0: none told). So of two
bookmarks of a title the one that stands is the one whose bytes are greater.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.dictionary import Dictionary

_FORM: Final = struct.Struct(">QIBII")
MARK_BYTES: Final = _FORM.size
_RECORD: Final = np.dtype([("ts", ">u8"), ("seq", ">u4"), ("finished", "u1"), ("position", ">u4"), ("runtime", ">u4")])
_SEQ_BITS: Final = 20
_LATEST_MS: Final = (1 << 43) - 1
"""In the year 2248: what comes later than that shares its version, and the bytes decide."""


class Mark(NamedTuple):
    """Where a profile stopped in a title; in the order in which they supersede each other. position_s and runtime_s are −1 if not told."""

    ts: int
    seq: int
    finished: bool
    position_s: int
    runtime_s: int

    def packed(self) -> bytes:
        """Its bytes."""
        return _FORM.pack(self.ts, self.seq, self.finished, self.position_s + 1, self.runtime_s + 1)

    @classmethod
    def of(cls, packed: bytes) -> Mark:
        """The bookmark of these bytes; struct.error if they are none."""
        ts, seq, finished, position, runtime = _FORM.unpack(packed)
        return cls(ts, seq, bool(finished), position - 1, runtime - 1)


class ShelfMarks(NamedTuple):
    """Changed bookmarks of one profile: titles, and of each its bytes and its version. Texts are UTF-8."""

    account: bytes
    profile: bytes
    titles: list[bytes]
    marks: list[bytes]
    versions: list[int]


@dataclass(frozen=True, eq=False)
class MarkBatch:
    """Changed bookmarks of many profiles, those of one profile one behind the other.

    pool u8: texts. people i64[n, 3]: of each profile where its account begins in the pool and ends, where its own name ends.
    bounds i64[n + 1]: the profile's first bookmark. titles i64[m]: numbers in `dictionary`. values i64[m, 5]: ts, seq, finished,
    position_s, runtime_s.
    """

    pool: NDArray[np.uint8]
    people: NDArray[np.int64]
    bounds: NDArray[np.int64]
    titles: NDArray[np.int64]
    values: NDArray[np.int64]
    dictionary: Dictionary

    def __len__(self) -> int:
        return len(self.titles)

    def shelves(self) -> Iterator[ShelfMarks]:
        """Profile by profile."""
        pool, text = self.pool.data, self.dictionary.text
        titles, bounds = [text(title) for title in self.titles.tolist()], self.bounds.tolist()
        marks, versions = packed_marks(self.values), versions_of(self.values)
        for at, (begin, middle, end) in enumerate(self.people.tolist()):
            some = slice(bounds[at], bounds[at + 1])
            yield ShelfMarks(bytes(pool[begin:middle]), bytes(pool[middle:end]), titles[some], marks[some], versions[some])


def versions_of(values: NDArray[np.int64]) -> list[int]:
    """What Cassandra compares two writes of a title by, of each row of MarkBatch.values: never less for a greater (ts, seq), and below
    2^63."""
    ts, seq = np.minimum(values[:, 0], _LATEST_MS), np.minimum(values[:, 1], (1 << _SEQ_BITS) - 1)
    return list((ts << _SEQ_BITS | seq).tolist())


def packed_marks(values: NDArray[np.int64]) -> list[bytes]:
    """The bytes of each row of MarkBatch.values."""
    records = np.empty(len(values), dtype=_RECORD)
    for column, name in enumerate(("ts", "seq", "finished", "position", "runtime")):
        records[name] = values[:, column] + (column >= 3)
    joined = records.tobytes()
    return [joined[at : at + MARK_BYTES] for at in range(0, len(joined), MARK_BYTES)]
