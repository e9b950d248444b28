"""A chunk's events as Arrow records: each of one partition, of events that arrive within a linger, as a batching player proxy sends them.

All rows of a record have one record timestamp, the arrival of the last of them: nothing is sent before it has happened.
A backfill's linger is 20 s of simulated time, two thirds of the 30 s for which a session stays live after a record of it; a live
run's is a chunk's, 200 ms at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.encode_arrow import ArrowEncoder, stream_of
from loadgen.faults_arrow import edit, is_apart, mangle_record, with_edits
from loadgen.rows import MALFORMED, VERSION

MOST_ROWS: Final = 8_192
LINGER_MS: Final = 20_000


@dataclass(frozen=True)
class Batched:
    """Records by number: record r holds the events order[bounds[r] : bounds[r + 1]] of the chunk. reasons: of the malformed ones, by place
    in `order`."""

    order: NDArray[np.int64]
    bounds: NDArray[np.int64]
    values: list[bytes | None]
    reasons: dict[int, str]


def batched(rows: NDArray[Any], order: NDArray[np.int64], homes: NDArray[np.int32], lanes: NDArray[Any], encoder: ArrowEncoder) -> Batched:
    """Cut rows[order], each partition's in order of arrival, into records. homes i32[n]: the partition of each of them."""
    arrivals = rows["arrival"][order]
    faults, chances = rows["fault"][order], rows["chance"][order]
    apart = (faults == MALFORMED) & is_apart(chances)
    starts = _cut(arrivals, homes, apart)
    bounds = np.append(starts, len(order))
    values: list[bytes | None] = []
    reasons: dict[int, str] = {}
    broken = np.flatnonzero((faults == MALFORMED) | (faults == VERSION))
    for first, end in pairwise(bounds.tolist()):
        batch = encoder.batch(rows, order[first:end], lanes)
        bad = broken[np.searchsorted(broken, first) : np.searchsorted(broken, end)].tolist()
        if bad and apart[first]:
            value, reasons[first] = mangle_record(batch, int(chances[first]))
            values.append(value)
            continue
        edits = {at - first: edit(int(faults[at]), int(chances[at]), int(rows["seq"][order[at]])) for at in bad}
        reasons |= {first + row: reason for row, (_, _, reason) in edits.items()}
        values.append(stream_of(with_edits(batch, edits) if edits else batch))
    return Batched(order, bounds, values, reasons)


def _cut(arrivals: NDArray[np.int64], homes: NDArray[np.int32], apart: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where records begin: with each partition and each event apart, then so that none is longer than it may be."""
    edges = np.concatenate([[True], (homes[1:] != homes[:-1]) | apart[1:] | apart[:-1]])
    starts: list[int] = []
    stretches = np.append(np.flatnonzero(edges), len(homes)).tolist()
    for first, end in pairwise(stretches):
        at = first
        while at < end:
            starts.append(at)
            at = min(at + MOST_ROWS, end, first + int(np.searchsorted(arrivals[first:end], arrivals[at] + LINGER_MS, side="right")))
    return np.array(starts, dtype=np.int64)
