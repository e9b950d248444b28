"""Arrow records for tests: rows as dictionaries, columns of any type, streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from loadgen import audit_arrow
from loadgen.audit_strict import Verdict, judge_fields
from tests.topologies.logs import EVENT as SMALL
from topologies.blocks import RecordBlock
from topologies.columns import EVENT, INTEGER, MALFORMED, TICK_ROW
from topologies.compiled import PADDING
from topologies.dictionary import Dictionary
from topologies.events import FIELDS
from topologies.rows import RowReader, Rows
from topologies.view import IDENTITIES

TYPES = {"int": pa.int64(), "str": pa.utf8(), "enum": pa.utf8(), "bool": pa.bool_()}
DIMENSIONS = ("title", "region", "device", "cdn", "kind")
SCHEMA = pa.schema([(field.name, TYPES[field.form]) for field in FIELDS])


def stream(*batches: Any, **options: Any) -> bytes:
    """These record batches, of one schema, as an IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def patched(value: bytes, slot: int, number: int | None) -> bytes:
    """A stream without dictionaries whose first batch has another int64 in that slot of Message.fbs' RecordBatch; None: an absent one."""
    found = bytearray(value)
    message = _follow(found, 8 + int.from_bytes(found[4:8], "little") + 8)
    header = _follow(found, _slot(found, message, 2))
    if number is None:
        entry = _vtable(found, header) + 4 + 2 * slot
        found[entry : entry + 2] = bytes(2)
    else:
        place = _slot(found, header, slot)
        found[place : place + 8] = number.to_bytes(8, "little", signed=True)
    return bytes(found)


def _follow(value: bytearray, at: int) -> int:
    return at + int.from_bytes(value[at : at + 4], "little")


def _vtable(value: bytearray, table: int) -> int:
    return table - int.from_bytes(value[table : table + 4], "little", signed=True)


def _slot(value: bytearray, table: int, slot: int) -> int:
    entry = _vtable(value, table) + 4 + 2 * slot
    return table + int.from_bytes(value[entry : entry + 2], "little")


def batch_of(events: Sequence[Mapping[str, Any]], schema: Any = SCHEMA) -> Any:
    """Rows as a record batch; what a row does not have is null."""
    return pa.RecordBatch.from_pylist([dict(event) for event in events], schema=schema)


def block_of(values: Sequence[bytes | None], rts: int = 0, first: int = 0, arrow: Sequence[int] | None = None) -> RecordBlock:
    """Records with these values, packed with an odd byte between them: nothing is aligned."""
    sizes = np.array([len(value or b"") for value in values], dtype=np.int64)
    ends = np.cumsum(sizes + 1)
    buffer = np.frombuffer(b"".join((value or b"") + b"\n" for value in values) + bytes(PADDING), dtype=np.uint8)
    absent = np.array([value is None for value in values], dtype=np.bool_)
    none = np.full(len(values), -1, dtype=np.int64)
    starts, stops = np.where(absent, -1, ends - 1 - sizes), np.where(absent, -1, ends - 1)
    offsets = np.arange(first, first + len(values))
    said = None if arrow is None else np.array(arrow, dtype=np.uint8)
    return RecordBlock(buffer, starts, stops, none, none, offsets, np.full(len(values), rts), first, first + len(values), said)


def rows_of(
    values: Sequence[bytes | None], dimensions: Sequence[str] = (), arrow: Sequence[int] | None = None
) -> tuple[Rows, dict[str, Dictionary]]:
    """These values read into rows, and the dictionaries that came of it."""
    dictionaries = {dimension: Dictionary() for dimension in dimensions}
    return RowReader(tuple(dimensions), dictionaries, hashed=IDENTITIES).read(block_of(values, arrow=arrow)), dictionaries


FULL: dict[str, Any] = {
    **SMALL, "session": "0123456789abcdef", "seq": 12, "runtime_s": 5400, "kind": "film", "country": "DE", "os": "tizen", "app": "tv-7",
    "cdn": "akamai", "asn": "AS1", "position_s": 7, "watched_ms": 10_000, "stall_ms": 3, "stalls": 1, "startup_ms": 800,
    "bitrate_kbps": 6000, "dropped_frames": 2, "error_code": "decoder", "fatal": True,
}  # fmt: skip
GOOD = stream(batch_of([FULL] * 3))


def same_as_audited(value: bytes) -> None:
    """The auditor's reader and its judges say of every row what the workers do."""
    rows, _ = rows_of([value], DIMENSIONS, arrow=[1])
    audited = [row for table in audit_arrow.expanded(value) for row in table.to_pylist()]
    assert len(audited) == len(rows.kinds)
    for row, fields in enumerate(audited):
        judged = Verdict(fields["verdict"], fields["reason"]) if fields["verdict"] else judge_fields(fields)
        assert {EVENT: "event", TICK_ROW: "tick", MALFORMED: "dead"}[int(rows.kinds[row])] == judged.kind
        assert rows.reasons.get(row) == judged.reason
        if judged.kind == "event":
            assert rows.integers[INTEGER["seq"], row] == fields["seq"]
            assert rows.integers[INTEGER["ts"], row] == fields["ts"]
