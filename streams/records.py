"""Record batches as fetched, and the walk through them to the block that the fold takes.

Kafka's message format v2: values are found in place, in the decompressed batches, with no object a record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.codecs import Octets, unpacked
from topologies.blocks import ARROW_MARK, ARROW_TYPE, JSON_TYPE, MARK_BYTES, RecordBlock
from topologies.compiled import inlined, kernel
from topologies.errors import SourceError

_CODEC: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08
_CONTENT_TYPE, _JSON, _ARROW = (np.frombuffer(text.encode(), np.uint8) for text in ("content-type", JSON_TYPE, ARROW_TYPE))
_SEMICOLON: Final = 0x3B
_UNSAID: Final = 2


@dataclass(frozen=True)
class Batch:
    """One record batch of format v2: its records, compressed as fetched."""

    base_offset: int
    first_timestamp: int
    max_timestamp: int
    attributes: int
    count: int
    records: Octets


@dataclass(frozen=True)
class FetchedBatches:
    """The next part of a partition's log, not yet decompressed: fetched from `first_offset`, going on at `next_offset`.

    `nbytes` of the log. What it keeps in memory is the whole fetch: the batches are views of it, and it may end with a piece of one that
    did not fit.
    """

    batches: tuple[Batch, ...]
    first_offset: int
    next_offset: int
    nbytes: int

    def block(self) -> RecordBlock:
        """Decompress and find every record's value."""
        buffer, sizes = unpacked([(batch.attributes & _CODEC, batch.records) for batch in self.batches])
        total = sum(batch.count for batch in self.batches)
        starts, ends, key_starts, key_ends, offsets, timestamps = (np.empty(total, dtype=np.int64) for _ in range(6))
        arrow = np.empty(total, dtype=np.uint8)
        found, base = 0, 0
        for batch, size in zip(self.batches, sizes, strict=True):
            append_time = batch.max_timestamp if batch.attributes & _LOG_APPEND_TIME else -1
            found = _walk(
                buffer, base, base + size, batch.count, batch.base_offset, batch.first_timestamp, append_time,
                self.first_offset, found, starts, ends, key_starts, key_ends, offsets, timestamps, arrow,
            )  # fmt: skip
            if found < 0:
                raise SourceError(f"the record batch at offset {batch.base_offset} does not hold the records that it says")
            base += size
        return RecordBlock(
            buffer, starts[:found], ends[:found], key_starts[:found], key_ends[:found], offsets[:found], timestamps[:found],
            self.first_offset, self.next_offset, arrow[:found],
        )  # fmt: skip


def warm() -> None:
    """Compiles the walk, so that no worker waits for it at its first batch."""
    record = bytes([16, 0, 0, 0, 1, 4]) + b"{}" + bytes(1)  # eight bytes: no key, a value of two, no headers
    FetchedBatches((Batch(0, 0, 0, 0, 1, record),), 0, 1, len(record)).block()


@inlined
def _varint(buffer: np.ndarray, at: int) -> tuple[Any, int]:
    """A zig-zag variable-length integer at `at`: (value, index behind it)."""
    raw = np.uint64(0)
    shift = np.uint64(0)
    while True:
        byte = np.uint64(buffer[at])
        at += 1
        raw |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            break
        shift += np.uint64(7)
    return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1)), at


@inlined
def _spelled(buffer: np.ndarray, start: int, end: int, name: np.ndarray) -> Any:
    """Whether `buffer[start : end]` is that name, alone or with parameters behind a semicolon."""
    if end - start < len(name):
        return False
    for at in range(len(name)):
        if buffer[start + at] != name[at]:
            return False
    return end - start == len(name) or buffer[start + len(name)] == _SEMICOLON


@inlined
def _is_marked(buffer: np.ndarray, at: int) -> Any:
    marked = True
    for byte in range(MARK_BYTES):
        marked &= buffer[at + byte] == ARROW_MARK
    return marked


@inlined
def _content_type(buffer: np.ndarray, at: int, end: int) -> Any:
    """What a record's headers say its value is: 0 JSON, 1 Arrow, _UNSAID. The first `content-type` counts."""
    count, at = _varint(buffer, at)
    for _ in range(count):
        if at >= end:
            break
        key_length, at = _varint(buffer, at)
        key_end = at + max(key_length, 0)
        if key_end >= end:
            break
        named = key_length == len(_CONTENT_TYPE) and _spelled(buffer, at, key_end, _CONTENT_TYPE)
        value_length, at = _varint(buffer, key_end)
        value_end = at + max(value_length, 0)
        if value_end > end:
            break
        if named:
            if _spelled(buffer, at, value_end, _ARROW):
                return np.int64(1)
            return np.int64(0) if _spelled(buffer, at, value_end, _JSON) else np.int64(_UNSAID)
        at = value_end
    return np.int64(_UNSAID)


@kernel
def _walk(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    count: int,
    base_offset: int,
    first_timestamp: int,
    append_time: int,
    from_offset: int,
    found: int,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    key_starts: NDArray[np.int64],
    key_ends: NDArray[np.int64],
    offsets: NDArray[np.int64],
    timestamps: NDArray[np.int64],
    arrow: NDArray[np.uint8],
) -> int:
    """Fill in the batch's records from `from_offset`, behind `found` others; how many there are then, −1 if the batch is broken."""
    for _ in range(count):
        if at >= end:
            return -1
        length, at = _varint(buffer, at)
        following = at + length
        if length <= 0 or following > end:
            return -1
        delta, at = _varint(buffer, at + 1)
        offset_delta, at = _varint(buffer, at)
        key_length, at = _varint(buffer, at)
        key_at = at
        if key_length > 0:
            at += key_length
        value_length, at = _varint(buffer, at)
        if at + max(value_length, 0) > following:
            return -1
        if base_offset + offset_delta >= from_offset:
            starts[found] = at if value_length >= 0 else -1
            ends[found] = at + value_length if value_length >= 0 else -1
            key_starts[found] = key_at if key_length >= 0 else -1
            key_ends[found] = key_at + key_length if key_length >= 0 else -1
            offsets[found] = base_offset + offset_delta
            timestamps[found] = append_time if append_time >= 0 else first_timestamp + delta
            behind = at + max(value_length, 0)
            form = np.int64(_UNSAID)
            if behind < following and buffer[behind] != 0:
                form = _content_type(buffer, behind, following)
            if form == _UNSAID:
                form = np.int64(value_length >= MARK_BYTES and _is_marked(buffer, at))
            arrow[found] = form
            found += 1
        at = following
    return found
