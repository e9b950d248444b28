"""Breaking events in Arrow: some within their batch, some as records of their own that are broken as a whole.

As loadgen.faults: each way gives exactly one reason of docs/architecture.md "Event validity", and 32 bits of chance decide.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadgen.encode_arrow import stream_of
from loadgen.faults import GREATEST, INTEGERS, REQUIRED, SEQ_JUMP, TEXTS, YEAR_2100_MS, Mangled
from loadgen.rows import VERSION

TOO_MANY_ROWS: Final = 65_537
_WHOLE_WAYS: Final = 4
_WAYS: Final = 10
Edit = tuple[str, Any, str]
"""A field, what stands in it instead, and the reason."""


def is_apart(chances: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which malformed events are records of their own."""
    found: NDArray[np.bool_] = chances % _WAYS < _WHOLE_WAYS
    return found


# -- within a batch ----------------------------------------------------------------------------------------------------


def edit(fault: int, chance: int, seq: int) -> Edit:
    """How an event that stays in its batch is broken; `seq` is its own."""
    if fault == VERSION:
        return "v", (2, 0, None)[chance % 3], "version"
    way, rest = chance % _WAYS - _WHOLE_WAYS, chance // _WAYS
    if way == 0:
        return "v", (2, 0, None)[rest % 3], "version"
    if way == 1:
        return "type", ("rewind", None, "")[rest % 3], "type"
    if way == 2:
        name = REQUIRED[rest % len(REQUIRED)]
        return name, None, f"missing:{name}"
    if way == 3:
        name = (*INTEGERS, *TEXTS)[rest % 23]
        texts, numbers = ("", "x" * 129, "a\x00b", "a\x7fb"), (-1, GREATEST.get(name, 0) + 1, -(2**63), 2**63 - 1)
        return name, (texts if name in TEXTS else numbers)[rest // 23 % 4], f"out_of_range:{name}"
    if way == 5 and seq >= 8:  # else the session may not be known yet
        return "seq", seq + SEQ_JUMP, "seq_jump"
    return "ts", YEAR_2100_MS + rest % 1000, "ahead"


def with_edits(batch: Any, edits: dict[int, Edit]) -> Any:
    """The batch with these rows broken. A column with an edit becomes a plain one, as wide as it needs to be."""
    for name in {name for name, _, _ in edits.values()}:
        at = batch.schema.get_field_index(name)
        values = batch.column(at).to_pylist()
        for row, (edited, wrong, _) in edits.items():
            if edited == name:
                values[row] = wrong
        kind = pa.utf8() if name in TEXTS or name == "type" else pa.int64()
        batch = batch.set_column(at, name, pa.array(values, kind))
    return batch


# -- as a whole --------------------------------------------------------------------------------------------------------


def mangle_record(event: Any, chance: int) -> Mangled:
    """A record made of a batch of one event, broken as a whole, and the reason that it must be dead for."""
    return _WHOLE[chance % _WAYS](event, chance // _WAYS)


def _empty(event: Any, chance: int) -> Mangled:
    return (None, b"", stream_of(event.slice(0, 0)))[chance % 3], "empty"


def _too_big(event: Any, _: int) -> Mangled:
    many = event.select(["v", "type"]).take(pa.array(np.zeros(TOO_MANY_ROWS, np.int64)))
    return stream_of(many), "too_big"


def _not_arrow(event: Any, chance: int) -> Mangled:
    value = stream_of(event)
    title = pa.Array.from_buffers(pa.utf8(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xc3\x28")])
    device = pa.DictionaryArray.from_arrays(pa.array([7], pa.int8()), pa.array(["tv"]), safe=False)
    broken = (
        value[:-12],
        json.dumps(event.to_pylist()[0]).encode(),
        b"\xff" * 64,
        b"\x00" * 16,
        value[4:],
        stream_of(_replaced(event, "title", title)),
        stream_of(_replaced(event, "device", device)),
    )
    return broken[chance % len(broken)], "not_arrow"


def _wrong_type(event: Any, chance: int) -> Mangled:
    name = (*INTEGERS, *TEXTS, "fatal")[chance % 24]
    wrong: Any = (pa.array(["12"]), pa.array([1.5]), pa.array([True]), pa.array([[1]]), pa.array([b"12"], pa.binary()))[chance // 24 % 5]
    if name in TEXTS:
        wrong = (pa.array([12]), pa.array([True]), pa.array([b"a"], pa.binary()), pa.array([["a"]]), pa.array([1.5]))[chance // 24 % 5]
    elif name == "fatal":
        wrong = (pa.array(["true"]), pa.array([1]), pa.array([0.0]))[chance // 24 % 3]
    return stream_of(_replaced(event, name, wrong)), f"wrong_type:{name}"


def _replaced(event: Any, name: str, array: Any) -> Any:
    return event.set_column(event.schema.get_field_index(name), name, array)


_WHOLE: Final[tuple[Callable[[Any, int], Mangled], ...]] = (_empty, _too_big, _not_arrow, _wrong_type)
