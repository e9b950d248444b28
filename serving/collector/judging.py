"""Which values are valid events, by the project's one decoder, and what goes into the log of them: value and key."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.collector.clock import TS, Correction, moved
from topologies.columns import EVENT, TEXT, TICK_ROW
from topologies.compiled import PADDING
from topologies.decode import decode

TOO_OLD = "too_old"
"""The one reason that the log does not know (clock.py)."""


@dataclass(frozen=True)
class Judged:
    """What is to be appended, value by value with its key (the account), and (place in the values, reason) of the others."""

    values: list[bytes]
    keys: list[bytes]
    rejected: list[tuple[int, str]]


def judge(values: list[bytes], correction: Correction) -> Judged:
    """Decode all of them at once and set their times right. A tick is the log's own business: reason `type`."""
    sizes = np.fromiter(map(len, values), np.int64, len(values))
    ends = np.cumsum(sizes)
    columns = decode(np.frombuffer(b"".join(values) + bytes(PADDING), dtype=np.uint8), ends - sizes, ends)
    texts = columns.buffer.tobytes()
    rejected = list(columns.reasons.items())
    rejected += [(row, "type") for row in np.flatnonzero(columns.kind == TICK_ROW).tolist()]
    good = np.flatnonzero(columns.kind == EVENT)
    shift, oldest = correction.shift_ms, correction.oldest_ms
    if oldest is not None:
        times = columns.integer("ts")[good] + shift
        rejected += [(row, TOO_OLD) for row in good[times < oldest].tolist()]
        rejected += [(row, "out_of_range:ts") for row in good[times > TS.high].tolist()]
        kept = (times >= oldest) & (times <= TS.high)
        good, times = good[kept], times[kept]
        if shift:
            values = values.copy()
            for row, ts in zip(good.tolist(), times.tolist(), strict=True):
                values[row] = moved(values[row], ts - shift, ts)
    spans = columns.spans[good, TEXT["account"]].tolist()
    keys = [texts[start : start + length] for start, length in spans]
    chosen = values if len(good) == len(values) else [values[row] for row in good.tolist()]
    return Judged(chosen, keys, sorted(rejected))
