"""From raw values to columns: the scanner, under the strict decoder's rule.

What the scanner (topologies.scanner) cannot fully judge goes the strict way (topologies.events), value by value, which
alone may call one malformed. Measured with `marquee bench profile`; tested differentially by fuzzing in
tests/topologies/test_decode.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topologies.columns import EVENT, HASH, INTEGER, INTEGERS, MALFORMED, TEXT, TEXTS, TICK_ROW, UNDECIDED, Columns
from topologies.compiled import PADDING
from topologies.events import FIELDS, KINDS, NULL, TYPES, Event, Malformed, decode_event
from topologies.scanner import scan


def decode(buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Columns:
    """Decode n values `buffer[starts[i] : ends[i]]`; the buffer has PADDING spare bytes behind the last.

    A start of −1 stands for a null value. Every value gets exactly one row. The hashes' columns are left to whoever needs them.
    """
    count = len(starts)
    kinds = np.empty(count, dtype=np.uint8)
    integers = np.empty((len(INTEGERS) + len(HASH), count), dtype=np.int64)
    spans = np.zeros((count, len(TEXTS), 2), dtype=np.int64)
    following = np.full(len(FIELDS) + 1, -1, dtype=np.int64)
    scan(buffer, np.maximum(starts, 0), ends, following, kinds, integers[: len(INTEGERS)], spans)
    undecided = np.flatnonzero(kinds == UNDECIDED)
    if not len(undecided):
        return Columns(buffer, kinds, integers, spans, {})
    return _decode_strictly(buffer, starts, ends, Columns(buffer, kinds, integers, spans, {}), undecided)


def _decode_strictly(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], columns: Columns, rows: NDArray[np.intp]
) -> Columns:
    """Judge these rows one by one; the texts of valid ones go behind the buffer's end, so spans can point at them."""
    reasons: dict[int, str] = {}
    extra = bytearray()
    for row in rows.tolist():
        start, end = int(starts[row]), int(ends[row])
        try:
            event = decode_event(buffer[start:end].tobytes() if start >= 0 else None)
        except Malformed as malformed:
            columns.kind[row] = MALFORMED
            reasons[row] = malformed.reason
            continue
        if event is None:
            columns.kind[row] = TICK_ROW
            continue
        columns.kind[row] = EVENT
        _place(event, columns.integers[:, row], columns.spans[row], extra, len(buffer))
    if extra:
        buffer = np.concatenate([buffer, np.frombuffer(bytes(extra) + bytes(PADDING), dtype=np.uint8)])
        # like the buffers that come from the log: one compiled form of each kernel serves both
        buffer.flags.writeable = False
    return Columns(buffer, columns.kind, columns.integers, columns.spans, reasons)


def _place(event: Event, integers: NDArray[np.int64], spans: NDArray[np.int64], extra: bytearray, base: int) -> None:
    for name, column in INTEGER.items():
        value = event[name]
        if name == "type":
            value = TYPES.index(value)
        elif name == "kind" and value is not None:
            value = KINDS.index(value)
        integers[column] = NULL if value is None else int(value)
    for name, column in TEXT.items():
        text = event[name]
        spans[column] = 0, 0
        if text is not None:
            encoded = text.encode()
            spans[column] = base + len(extra), len(encoded)
            extra += encoded
