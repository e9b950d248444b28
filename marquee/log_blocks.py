"""A made log as the fold takes it, without Kafka between: for measuring what comes behind the fetch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from topologies.blocks import RecordBlock
from topologies.compiled import PADDING


def block_of(values: Sequence[bytes | None], times_ms: Sequence[int], first: int) -> RecordBlock:
    """The block of these records, whose first offset that is; without keys. times_ms: the records' timestamps, epoch ms."""
    ends = np.cumsum([len(value or b"") for value in values], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]])
    absent = np.array([value is None for value in values], dtype=np.bool_)
    buffer = np.frombuffer(b"".join(value or b"" for value in values) + bytes(PADDING), dtype=np.uint8)
    keys = np.full(len(values), -1, dtype=np.int64)
    offsets = np.arange(first, first + len(values), dtype=np.int64)
    return RecordBlock(
        buffer, np.where(absent, -1, starts), np.where(absent, -1, ends), keys, keys, offsets, np.array(times_ms, dtype=np.int64),
        first, first + len(values),
    )  # fmt: skip
