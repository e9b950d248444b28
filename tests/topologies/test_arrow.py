"""Rows of Arrow records are judged as the JSON objects of the same values: row by row, column by column, whatever the bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from tests.topologies.arrows import batch_of, rows_of, stream
from tests.topologies.logs import EVENT as SMALL
from topologies.columns import EVENT

DIMENSIONS = ("title", "region", "device", "cdn", "kind")
FULL: dict[str, Any] = {
    **SMALL, "session": "0123456789abcdef", "seq": 12, "runtime_s": 5400, "kind": "film", "country": "DE", "os": "tizen", "app": "tv-7",
    "cdn": "akamai", "asn": "AS1", "position_s": 7, "watched_ms": 10_000, "stall_ms": 3, "stalls": 1, "startup_ms": 800,
    "bitrate_kbps": 6000, "dropped_frames": 2, "error_code": "decoder", "fatal": True,
}  # fmt: skip


def same_as_json(value: bytes, events: list[dict[str, Any]]) -> None:
    """The Arrow record gives what these events give as JSON, text for text and number for number."""
    arrow, arrow_texts = rows_of([value], DIMENSIONS)
    plain, plain_texts = rows_of([json.dumps(event).encode() for event in events], DIMENSIONS)
    assert arrow.kinds.tolist() == plain.kinds.tolist()
    assert arrow.reasons == plain.reasons
    good = np.flatnonzero(plain.kinds == EVENT)
    assert arrow.integers[good].tolist() == plain.integers[good].tolist()
    assert arrow.ids[good].tolist() == plain.ids[good].tolist()
    assert arrow.tells[good].tolist() == plain.tells[good].tolist()
    for place, dimension in enumerate(DIMENSIONS):
        texts = [[texts[dimension].text(number) for number in rows.dims[good, place]] if dimension != "kind" else rows.dims[good, place].tolist()
                 for rows, texts in ((arrow, arrow_texts), (plain, plain_texts))]  # fmt: skip
        assert texts[0] == texts[1]


def test_a_record_of_events_is_as_many_json_events() -> None:
    events = [FULL, SMALL, {**SMALL, "type": "play_start", "title": "Über 片"}, {"v": 1, "type": "tick"}, {**FULL, "seq": 2**31}]
    same_as_json(stream(batch_of(events)), events)


def test_dictionaries_of_any_index_are_texts() -> None:
    events = [{**FULL, "title": f"t{row % 7}", "type": "stall"} for row in range(50)] + [SMALL]
    for index in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()):
        made = batch_of(events)
        for name in ("type", "title", "session", "account", "region", "cdn", "kind"):
            at = made.schema.get_field_index(name)
            made = made.set_column(at, name, made.column(at).dictionary_encode().cast(pa.dictionary(index, pa.utf8())))
        same_as_json(stream(made), events)
