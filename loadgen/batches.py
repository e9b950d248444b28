"""A chunk's events as Arrow records: each of one partition, of events that arrive within a linger, as a batching player proxy sends them.

All rows of a record have one record timestamp, the arrival of the last of them: nothing is sent before it has happened.
A backfill's linger is 20 s of simulated time, two thirds of the 30 s for which a session stays live after a record of it; a live
run's is a chunk's, 200 ms at most.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.encode_arrow import ArrowEncoder, stream_of
from loadgen.faults_arrow import edit, is_apart, mangle_record, with_edits
from loadgen.rows import MALFORMED, VERSION

MOST_ROWS: Final = 8_192
LINGER_MS: Final = 20_000


def cut(rows: NDArray[Any], homes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where records of rows, each partition's in order of arrival, begin, and where the last ends. homes i32[n]: their partitions.

    A record is of one partition, and no longer than it may be; an event that is to be a record of its own is one.
    """
    if not len(rows):
        return np.zeros(1, np.int64)
    arrivals, apart = np.ascontiguousarray(rows["arrival"]), _apart(rows)
    edges = np.concatenate([[True], (homes[1:] != homes[:-1]) | apart[1:] | apart[:-1]])
    starts: list[int] = []
    stretches = np.append(np.flatnonzero(edges), len(homes)).tolist()
    for first, end in pairwise(stretches):
        at = first
        while at < end:
            starts.append(at)
            at = min(at + MOST_ROWS, end, first + int(np.searchsorted(arrivals[first:end], arrivals[at] + LINGER_MS, side="right")))
    return np.array([*starts, len(rows)], dtype=np.int64)


def _apart(rows: NDArray[Any]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = rows["fault"] == MALFORMED
    broken = np.flatnonzero(found)
    found[broken] = is_apart(rows["chance"][broken])
    return found


def written(
    rows: NDArray[Any], bounds: NDArray[np.int64], lanes: NDArray[Any], encoder: ArrowEncoder
) -> tuple[list[bytes | None], dict[int, str]]:
    """The records that hold rows[bounds[r] : bounds[r + 1]], and the reasons of the malformed events, by place in `rows`."""
    faults, chances, apart = rows["fault"], rows["chance"], _apart(rows)
    values: list[bytes | None] = []
    reasons: dict[int, str] = {}
    broken = np.flatnonzero((faults == MALFORMED) | (faults == VERSION))
    for first, end in pairwise(bounds.tolist()):
        batch = encoder.batch(rows[first:end], lanes)
        bad = broken[np.searchsorted(broken, first) : np.searchsorted(broken, end)].tolist()
        if bad and apart[first]:
            value, reasons[first] = mangle_record(batch, int(chances[first]))
            values.append(value)
            continue
        edits = {at - first: edit(int(faults[at]), int(chances[at]), int(rows["seq"][at])) for at in bad}
        reasons |= {first + row: reason for row, (_, _, reason) in edits.items()}
        values.append(stream_of(with_edits(batch, edits) if edits else batch))
    return values, reasons
