"""An Arrow record: an IPC stream of many events, opened, checked and bounded.

Only here is Arrow's own reader called. It verifies the messages, and `validate(full=True)` the offsets, the texts' UTF-8 and the
dictionaries' indices, so that kernels may then read the arrays by their addresses. What it has no limits for is bounded
before it is asked: a compressed body may say that it is a thousand times as long, a column of nulls takes no bytes at all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from topologies.arrow_check import ends_at_a_page, is_surely_valid
from topologies.arrow_plan import Plan, plan_of
from topologies.capsule import Exported, exported
from topologies.compiled import Word, inlined, lean, load8, signed
from topologies.events import Malformed

log = logging.getLogger(__name__)
MAX_ARROW_BYTES: Final = 8 * 1024 * 1024
"""A record of more is too big."""
MAX_ROWS: Final = 65_536
"""So is one of more rows,"""
MAX_BATCHES: Final = 64
"""of more record batches,"""
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""or one whose compressed buffers say that they are longer than this together."""

_MARK: Final = 0xFFFFFFFF
_DICTIONARY, _BATCH = 2, 3
"""Message headers by their number in Arrow's Message.fbs."""
_V5: Final = 4
"""The MetadataVersion since which a batch's compression has a field of its own."""
_BROKEN: Final = -1
_FORESEEN: Final = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, NotImplementedError)
"""What Arrow's reader raises about bytes that it finds wrong."""
_told: Final[set[type[Exception]]] = set()
"""Exceptions that were not foreseen and have been logged."""


@dataclass(frozen=True)
class ArrowRecord:
    """The checked record batches of a record, all of one schema, and where the fields stand in them."""

    batches: tuple[Exported, ...]
    plan: Plan
    rows: int


def open_record(buffer: NDArray[np.uint8], start: int, end: int) -> ArrowRecord:
    """The record `buffer[start : end]`. The arrays are views into the buffer wherever they can be.

    Raises Malformed: `empty` (no row), `too_big` (bytes, rows, batches or uncompressed bytes), `not_arrow`.
    """
    if end - start > MAX_ARROW_BYTES:
        raise Malformed("too_big")
    declared = body_bytes(buffer, start, end)
    if declared == _BROKEN:
        raise Malformed("not_arrow")
    if declared > MAX_BODY_BYTES:
        raise Malformed("too_big")
    return _opened(buffer, start, end)


@contextmanager
def reading() -> Iterator[None]:
    """Whatever is raised in here becomes Malformed `not_arrow`, except MemoryError.

    Only what depends on the record's bytes alone belongs in here, so that a replay says the same; no kernels, whose compilation may fail
    for the machine's sake. Then one record that nobody has thought of is one dead letter, instead of the end of worker after worker.
    """
    try:
        yield
    except MemoryError:  # Arrow's too: it says of the machine, not of the record
        raise
    except _FORESEEN as error:
        raise Malformed("not_arrow") from error
    except Exception as error:
        if type(error) not in _told:
            _told.add(type(error))
            log.exception("an Arrow record cannot be read, in a way that was not foreseen; it becomes a dead letter, not_arrow")
        raise Malformed("not_arrow") from error


def _opened(buffer: NDArray[np.uint8], start: int, end: int) -> ArrowRecord:
    with reading():
        value = pa.py_buffer(buffer[start:end])
        reader = pa.ipc.open_stream(value)
        plan = _plan(buffer, start, reader)
        if plan.included:
            reader = pa.ipc.open_stream(value, options=pa.ipc.IpcReadOptions(included_fields=plan.included))
    batches: list[Exported] = []
    rows = 0
    while (batch := _next(reader, plan)) is not None:
        if batch.num_rows < 0:
            raise Malformed("not_arrow")  # Arrow's validation lets it pass
        rows += batch.num_rows
        if rows > MAX_ROWS or len(batches) == MAX_BATCHES:
            raise Malformed("too_big")
        batches.append(_checked(batch, buffer, plan))
    if rows == 0:
        raise Malformed("empty")
    return ArrowRecord(tuple(batches), plan, rows)


_plans: Final[dict[bytes, Plan]] = {}
"""By the bytes of the schema's message: a producer sends the same ones again and again."""
_MOST_PLANS: Final = 256
_MOST_PLAN_BYTES: Final = 65_536
"""The plan of a longer message is not kept."""


def _plan(buffer: NDArray[np.uint8], start: int, reader: Any) -> Plan:
    length = int.from_bytes(buffer[start + 4 : start + 8].tobytes(), "little")
    message = buffer[start + 8 : start + 8 + length].tobytes()
    plan = _plans.get(message)
    if plan is None:
        plan = plan_of(reader.schema)
        if len(message) <= _MOST_PLAN_BYTES:
            if len(_plans) >= _MOST_PLANS:
                _plans.clear()
            _plans[message] = plan
    return plan


def _checked(batch: Any, buffer: NDArray[np.uint8], plan: Plan) -> Exported:
    """The batch, found valid, so that seven bytes behind every text can be read: what Arrow decompressed or joined has no PADDING."""
    with reading():
        batch.validate()
    base = buffer.ctypes.data
    found = exported(batch)
    if not is_surely_valid(buffer, base, found.address, plan.table, found.rows):
        with reading():
            batch.validate(full=True)
    if not ends_at_a_page(base, buffer.size, found.address, plan.table, found.rows):
        return found
    sink = pa.BufferOutputStream()
    with reading():
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        # the stream's end, eight bytes, stands behind all texts
        return exported(pa.ipc.open_stream(sink.getvalue()).read_next_batch())


def _next(reader: Any, plan: Plan) -> Any:
    with reading():
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return None
        # to include no column means all to Arrow; nothing is asked of unknown ones
        return batch if plan.columns else batch.select([])


# -- the stream's frames -----------------------------------------------------------------------------------------------


@inlined
def _number(buffer: np.ndarray, at: Word, size: Word) -> Word:
    """A little-endian number of so many bytes; signed if it has eight."""
    value = signed(0)
    for byte in range(size):
        value |= load8(buffer, at + byte) << signed(8 * byte)
    return value


@inlined
def _table(buffer: np.ndarray, at: Word, low: Word, high: Word) -> Word:
    """The flatbuffer table that the offset at `at` leads to; −1 if it is not within."""
    if at < low or at + 4 > high:
        return signed(-1)
    table = at + _number(buffer, at, 4)
    return table if low <= table and table + 4 <= high else signed(-1)


@inlined
def _field(buffer: np.ndarray, table: Word, slot: Word, size: Word, low: Word, high: Word) -> Word:
    """Where a table's field of `size` bytes stands: 0 if it is absent, −1 if it is not within."""
    back = _number(buffer, table, 4)
    vtable = table - (back - (signed(1) << signed(32)) if back >> signed(31) else back)
    if vtable < low or vtable + 4 > high:
        return signed(-1)
    length = _number(buffer, vtable, 2)
    if vtable + length > high:
        return signed(-1)
    if 6 + 2 * slot > length:
        return signed(0)
    offset = _number(buffer, vtable + 4 + 2 * slot, 2)
    if offset == 0:
        return signed(0)
    return table + offset if table + offset + size <= high else signed(-1)


@inlined
def _uncompressed(buffer: np.ndarray, batch: Word, low: Word, high: Word, end: Word) -> Word:
    """The bytes that the buffers of a RecordBatch table say they have when uncompressed; 0 if they are not compressed, −1: broken."""
    compression = _field(buffer, batch, 3, 4, low, high)
    vector = _field(buffer, batch, 2, 4, low, high)
    if compression < 0 or vector < 0:
        return signed(-1)
    if compression == 0 or vector == 0:
        return signed(0)
    first = _table(buffer, vector, low, high)
    if first < 0:
        return signed(-1)
    count = _number(buffer, first, 4)
    if first + 4 + 16 * count > high:
        return signed(-1)
    total = signed(0)
    for number in range(count):
        offset = _number(buffer, first + 4 + 16 * number, 8)
        length = _number(buffer, first + 12 + 16 * number, 8)
        if length == 0:
            continue
        if offset < 0 or length < 8 or offset > end - high or length > end - high - offset:
            return signed(-1)
        says = _number(buffer, high + offset, 8)
        if says < -1:
            return signed(-1)
        total += min(says, signed(MAX_BODY_BYTES) + 1) if says >= 0 else length
    return total


@lean
def body_bytes(buffer: np.ndarray, start: Word, end: Word) -> Word:
    """Walk the messages of an IPC stream: how many bytes its compressed buffers say they have uncompressed, −1 if it is no stream.

    Each message: FF FF FF FF, the length of its metadata, the metadata (a flatbuffer), a body of the length that they say.
    """
    at = start
    total = signed(0)
    while at < end:
        if at + 8 > end or _number(buffer, at, 4) != _MARK:
            return signed(_BROKEN)
        length = _number(buffer, at + 4, 4)
        if length == 0:
            return total
        low = at + 8
        high = low + length
        if high > end:
            return signed(_BROKEN)
        message = _table(buffer, low, low, high)
        if message < 0:
            return signed(_BROKEN)
        kind_at = _field(buffer, message, 1, 1, low, high)
        header_at = _field(buffer, message, 2, 4, low, high)
        body_at = _field(buffer, message, 3, 8, low, high)
        if kind_at < 0 or header_at < 0 or body_at < 0:
            return signed(_BROKEN)
        body = _number(buffer, body_at, 8) if body_at > 0 else signed(0)
        if body < 0 or body > end - high:
            return signed(_BROKEN)
        kind = load8(buffer, kind_at) if kind_at > 0 else signed(0)
        if kind == _DICTIONARY or kind == _BATCH:
            version_at = _field(buffer, message, 0, 2, low, high)
            version = _number(buffer, version_at, 2) if version_at > 0 else signed(0)
            # a batch of before V5 may say there, and there alone, that it is compressed
            if version_at < 0 or (version < _V5 and _field(buffer, message, 4, 4, low, high) != 0):
                return signed(_BROKEN)
            table = _table(buffer, header_at, low, high) if header_at > 0 else signed(-1)
            if table >= 0 and kind == _DICTIONARY:
                data_at = _field(buffer, table, 1, 4, low, high)
                table = _table(buffer, data_at, low, high) if data_at > 0 else signed(-1)
            if table < 0:
                return signed(_BROKEN)
            says = _uncompressed(buffer, table, low, high, high + body)
            if says < 0:
                return signed(_BROKEN)
            total += says
            if total > MAX_BODY_BYTES:
                return total
        at = high + body
    return total
