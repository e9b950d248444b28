"""The auditor's reader of Arrow records: rows by the rules of docs/architecture.md ("Arrow records"), written a second time.

A record becomes a table of its rows, each field as text, int64 or boolean, on which SQL then judges (loadgen.audit_sql). A row with a
value that none of these can hold is judged here, by the strict judge. Arrow's reader is the workers' too; what is around it is not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from loadgen import audit_strict
from loadgen.audit_strict import HIGHEST, OPTIONAL, OPTIONAL_STRINGS, REQUIRED, REQUIRED_STRINGS, Verdict

MIME: Final = b"application/vnd.apache.arrow.stream"
MIME_JSON: Final = b"application/json"
MAX_RECORD_BYTES: Final = 8_388_608
MAX_RECORD_ROWS: Final = 65_536
MAX_RECORD_BATCHES: Final = 64
MAX_UNCOMPRESSED_BYTES: Final = 67_108_864
_VERSION_5: Final = 4
_LONG_TEXT: Final = 2_000
"""A dictionary with a longer text is not spread over its rows."""

NAMES: Final = ("v", "type", *REQUIRED, *OPTIONAL)
_TEXTS: Final = frozenset(("type", "kind", *REQUIRED_STRINGS, *OPTIONAL_STRINGS))
_INTEGERS: Final = frozenset(("v", *HIGHEST))
KINDS: Final = {name: pa.string() if name in _TEXTS else pa.int64() if name in _INTEGERS else pa.bool_() for name in NAMES}
SCHEMA: Final = pa.schema(
    [("offset", pa.int64()), ("row", pa.int64()), ("record_ts", pa.int64()), ("key", pa.binary())]
    + [("verdict", pa.string()), ("reason", pa.string())]
    + [(name, kind) for name, kind in KINDS.items()]
)
"""verdict, reason: of a row that is judged already, with an event's fields beside it; else null."""


class _NoStream(Exception):
    """What was read is no Arrow stream."""


class _TooBig(Exception):
    """It is one, past a limit."""


def is_arrow(value: bytes | None, headers: list[tuple[str, Any]] | None) -> bool:
    """Whether a record is to be read as Arrow: its first header `content-type` says, or the value's first four bytes."""
    for name, said in headers or ():
        if name == "content-type":
            mime = said.split(b";")[0] if isinstance(said, bytes) else b""
            if mime in (MIME, MIME_JSON):
                return mime == MIME
            break
    return value is not None and value.startswith(b"\xff\xff\xff\xff")


def expanded(value: bytes | None) -> Iterator[pa.Table]:
    """The record's rows as tables of SCHEMA without its first and third to fourth columns; of a record that is dead as a whole, one row."""
    if not value:
        yield _dead("empty")
        return
    try:
        batches = _read(value)
    except _TooBig:
        yield _dead("too_big")
        return
    except MemoryError:  # Arrow's is also an ArrowException
        raise
    except (_NoStream, pa.ArrowException, OSError, ValueError, LookupError, TypeError, NotImplementedError):
        yield _dead("not_arrow")
        return
    if sum(batch.num_rows for batch in batches) == 0:
        yield _dead("empty")
        return
    first = 0
    for batch in batches:
        if batch.num_rows:
            yield _rows(batch).add_column(0, "row", pa.array(range(first, first + batch.num_rows), pa.int64()))
        first += batch.num_rows


def _dead(reason: str) -> pa.Table:
    return _judged([Verdict("dead", reason)]).add_column(0, "row", pa.array([0], pa.int64()))


def _judged(verdicts: list[Verdict]) -> pa.Table:
    arrays = [pa.array([getattr(verdict, name) for verdict in verdicts], pa.string()) for name in ("kind", "reason")]
    fields = [verdict.fields or {} for verdict in verdicts]
    arrays += [pa.array([found.get(name) for found in fields], kind) for name, kind in KINDS.items()]
    return pa.table(arrays, names=["verdict", "reason", *KINDS])


def _read(value: bytes) -> list[Any]:
    if len(value) > MAX_RECORD_BYTES:
        raise _TooBig
    if _uncompressed_bytes(value) > MAX_UNCOMPRESSED_BYTES:
        raise _TooBig
    reader = pa.ipc.open_stream(pa.py_buffer(value))
    place = {name: at for at, name in enumerate(reader.schema.names) if name in KINDS}
    if len(place) < len(reader.schema.names):
        options = pa.ipc.IpcReadOptions(included_fields=sorted(place.values()))
        reader = pa.ipc.open_stream(pa.py_buffer(value), options=options)
    batches: list[Any] = []
    rows = 0
    for batch in reader:
        if batch.num_rows < 0:
            raise _NoStream
        rows += batch.num_rows
        if rows > MAX_RECORD_ROWS or len(batches) >= MAX_RECORD_BATCHES:
            raise _TooBig
        known = batch if place else batch.select([])  # Arrow takes an empty list of columns for all
        known.validate(full=True)
        batches.append(known)
    return batches


# -- rows ----------------------------------------------------------------------------------------------------------------


def _rows(batch: Any) -> pa.Table:
    columns = {name: batch.column(at) for at, name in enumerate(batch.schema.names) if name in KINDS}
    plain = {name: _plain(name, column) for name, column in columns.items()}
    if any(column is None for column in plain.values()):
        return _judged([audit_strict.judge_fields(row) for row in _documents(columns, batch.num_rows)])
    nothing = pa.nulls(batch.num_rows, pa.string())
    arrays = [nothing, nothing]
    arrays += [plain.get(name, pa.nulls(batch.num_rows, kind)) for name, kind in KINDS.items()]
    return pa.table(arrays, names=["verdict", "reason", *KINDS])


def _plain(name: str, column: Any) -> Any:
    """The column as its field's kind, value for value; None where that cannot be."""
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), KINDS[name])
    if name in _TEXTS:
        if pa.types.is_dictionary(kind) and _is_text(kind.value_type):
            longest = pc.max(pc.binary_length(column.dictionary)).as_py()
            return None if (longest or 0) > _LONG_TEXT else column.dictionary_decode().cast(pa.string())
        return column.cast(pa.string()) if _is_text(kind) else None
    if name in _INTEGERS:
        if pa.types.is_uint64(kind) and (pc.max(column).as_py() or 0) > 2**63 - 1:
            return None
        return column.cast(pa.int64()) if pa.types.is_integer(kind) else None
    return column if pa.types.is_boolean(kind) else None


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _documents(columns: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    values = {name: _values(name, column) for name, column in columns.items()}
    for row in range(count):
        yield {name: found[row] for name, found in values.items()}


def _values(name: str, column: Any) -> list[Any]:
    """Python values; an object of no JSON type for what the field's columns do not hold."""
    kind = column.type
    if name in _TEXTS and pa.types.is_dictionary(kind) and _is_text(kind.value_type):
        codes = column.indices.to_pylist()
        entries = {code: column.dictionary[code].as_py() for code in set(codes) if code is not None}
        return [entries.get(code) for code in codes]
    if _is_text(kind) if name in _TEXTS else pa.types.is_integer(kind) if name in _INTEGERS else pa.types.is_boolean(kind):
        return list(column.to_pylist())
    # only whether there is one: Python may have no value for it, or need millions of objects
    return [None if absent else _NO_JSON for absent in column.is_null().to_pylist()]


_NO_JSON: Final = object()


# -- frames --------------------------------------------------------------------------------------------------------------


def _uncompressed_bytes(value: bytes) -> int:
    """How many bytes the compressed buffers of the stream's batches say that they hold. Raises _NoStream.

    Format: Arrow's columnar.rst ("Encapsulated message format", "Compression") and the flatbuffers' own layout.
    """
    at, total = 0, 0
    while at < len(value):
        mark, length = _unpacked("<II", value, at, len(value))
        if mark != 0xFFFFFFFF:
            raise _NoStream
        if length == 0:
            break
        low, high = at + 8, at + 8 + length
        if high > len(value):
            raise _NoStream
        flat = _Flat(value, low, high)
        message = flat.table(low)
        kind, body = flat.scalar(message, 1, "<B"), flat.scalar(message, 3, "<q")
        if not 0 <= body <= len(value) - high:
            raise _NoStream
        header = flat.place(message, 2, 4)
        if kind in (2, 3):
            if flat.scalar(message, 0, "<h") < _VERSION_5 and flat.place(message, 4, 4):
                raise _NoStream  # its metadata may declare a compression that the batch's own field does not
            batch = flat.table(header or -1)
            if kind == 2:
                batch = flat.table(flat.place(batch, 1, 4) or -1)
            total += _declared(flat, batch, value, high, high + body)
            if total > MAX_UNCOMPRESSED_BYTES:
                break
        at = high + body
    return total


def _declared(flat: _Flat, batch: int, value: bytes, body: int, end: int) -> int:
    compressed, buffers = flat.place(batch, 3, 4), flat.place(batch, 2, 4)
    if not compressed or not buffers:
        return 0
    vector = flat.table(buffers)
    [count] = _unpacked("<I", value, vector, flat.high)
    if vector + 4 + 16 * count > flat.high:
        raise _NoStream
    total = 0
    for offset, length in struct.iter_unpack("<qq", value[vector + 4 : vector + 4 + 16 * count]):
        if length == 0:
            continue
        if offset < 0 or length < 8 or body + offset + length > end:
            raise _NoStream
        [says] = _unpacked("<q", value, body + offset, end)
        if says < -1:
            raise _NoStream
        total += length if says < 0 else says
    return total


class _Flat:
    """A flatbuffer within value[low : high]. Positions are the value's; what leads out of it raises _NoStream."""

    def __init__(self, value: bytes, low: int, high: int) -> None:
        self.value, self.low, self.high = value, low, high

    def table(self, at: int) -> int:
        """Where the offset at `at` leads to."""
        if at < self.low:
            raise _NoStream
        target = at + int(_unpacked("<I", self.value, at, self.high)[0])
        if target + 4 > self.high:
            raise _NoStream
        return target

    def place(self, table: int, slot: int, size: int) -> int:
        """Where the table's field stands; 0 if it is absent."""
        vtable = table - int(_unpacked("<i", self.value, table, self.high)[0])
        if vtable < self.low or vtable + 4 > self.high:
            raise _NoStream
        [length] = _unpacked("<H", self.value, vtable, self.high)
        if vtable + length > self.high:
            raise _NoStream
        if 6 + 2 * slot > length:
            return 0
        [offset] = _unpacked("<H", self.value, vtable + 4 + 2 * slot, self.high)
        if offset and table + offset + size > self.high:
            raise _NoStream
        return int(table + offset) if offset else 0

    def scalar(self, table: int, slot: int, form: str) -> int:
        """The table's number; 0 if it is absent."""
        at = self.place(table, slot, struct.calcsize(form))
        return int(_unpacked(form, self.value, at, self.high)[0]) if at else 0


def _unpacked(form: str, value: bytes, at: int, end: int) -> tuple[Any, ...]:
    if at < 0 or at + struct.calcsize(form) > end:
        raise _NoStream
    return struct.unpack_from(form, value, at)
