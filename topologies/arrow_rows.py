"""Rows of an Arrow record one by one, as the JSON objects with the same values: the strict way, and what letters carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa

from topologies.arrow_plan import BOOL, COLUMN, FORM, NULLS, WRONG
from topologies.arrow_stream import ArrowRecord, open_record
from topologies.compiled import PADDING
from topologies.events import FIELDS, Malformed

LETTER_TEXT_BYTES: Final = 1_024
"""A text in a letter is cut to so many bytes: a dictionary's may stand in every row of a record."""


class Foreign:
    """A value that JSON's integers, booleans and strings do not have, or of a column that is not read as one of them."""


FOREIGN: Final = Foreign()


class _Column:
    """The values of a column, made one by one: a letter asks for one. A dictionary's text is made once, however many rows have it."""

    def __init__(self, array: Any, form: int) -> None:
        self.array = array
        self.form = form
        # a foreign value is never made: there may be no Python value of it, or one of millions of objects in a record of 300 bytes
        self._nulls = array.is_null().to_numpy(zero_copy_only=False) if form == WRONG else None
        self._coded = form != WRONG and pa.types.is_dictionary(array.type)
        self._indices: Any = array.indices if self._coded else None
        self._dictionary: Any = array.dictionary if self._coded else None
        self._entries: dict[int, str | None] = {}

    @cached_property
    def type_name(self) -> bytes:
        """Its type's name, cut as a text is; the whole may be as long as a record."""
        return str(self.array.type).encode()[:LETTER_TEXT_BYTES]

    def value(self, row: int) -> Any:
        if self.form == NULLS:
            return None
        if self._nulls is not None:
            return None if self._nulls[row] else FOREIGN
        if not self._coded:
            return self.array[row].as_py()
        index = self._indices[row].as_py()
        if index is None:
            return None
        if index not in self._entries:
            self._entries[index] = self._dictionary[index].as_py()
        return self._entries[index]


def _columns(record: ArrowRecord, batch: int) -> dict[str, _Column]:
    """The known columns of one of the record's batches, by field, in the fields' order."""
    return {
        field.name: _Column(record.batches[batch].batch.column(int(record.plan.table[at, COLUMN])), int(record.plan.table[at, FORM]))
        for at, field in enumerate(FIELDS)
        if record.plan.table[at, COLUMN] >= 0
    }


def documents(record: ArrowRecord, batch: int, rows: list[int]) -> Iterator[Mapping[str, Any]]:
    """The known fields of these rows of one of the record's batches, as topologies.events.check_event takes them."""
    columns = _columns(record, batch)
    for row in rows:
        yield {name: column.value(row) for name, column in columns.items()}


def shown(value: bytes) -> dict[str, Any] | None:
    """What a letter's stream of one row holds, for people: the fields that are not null, one of a foreign type as its type's name. None if
    it is no such stream."""
    try:
        record = open_record(np.frombuffer(value + bytes(PADDING), dtype=np.uint8), 0, len(value))
    except Malformed:
        return None
    if record.rows != 1:
        return None
    [batch] = [number for number, found in enumerate(record.batches) if found.rows]
    [row] = documents(record, batch, [0])
    column = record.batches[batch].batch.column
    foreign = {name: f"({column(record.plan.columns[name]).type})" for name, found in row.items() if found is FOREIGN}
    return {name: foreign.get(name, found) for name, found in row.items() if found is not None}


class RowStreams:
    """Streams of single rows of a record, for its letters; what they share is opened once a record."""

    def __init__(self, record: ArrowRecord) -> None:
        self._record = record
        self._opened: dict[int, dict[str, _Column]] = {}

    def of(self, row: int) -> tuple[bytes, bool]:
        """An Arrow stream of that row's known fields alone, without dictionaries; and whether a text of it was cut.

        It is judged as the row was. A value of a type that no field has becomes its type's name as binary, which no field has either.
        """
        number = 0
        while row >= (rows := self._record.batches[number].rows):
            row -= rows
            number += 1
        if number not in self._opened:
            self._opened[number] = _columns(self._record, number)
        arrays, any_cut = [], False
        for column in self._opened[number].values():
            array, cut = _alone(column, row)
            arrays.append(array)
            any_cut |= cut
        sink = pa.BufferOutputStream()
        made = pa.RecordBatch.from_arrays(arrays, names=list(self._opened[number]))
        with pa.ipc.new_stream(sink, made.schema) as writer:
            writer.write_batch(made)
        return sink.getvalue().to_pybytes(), any_cut


def _alone(column: _Column, row: int) -> tuple[Any, bool]:
    value = column.value(row)
    if isinstance(value, str):
        # so many characters are at least so many bytes: a text of megabytes is not encoded for each row that has it
        encoded = value[: LETTER_TEXT_BYTES + 1].encode()
        return pa.array([encoded[:LETTER_TEXT_BYTES].decode(errors="ignore")], pa.utf8()), len(encoded) > LETTER_TEXT_BYTES
    if value is FOREIGN:
        return pa.array([column.type_name], pa.binary()), False
    if value is None:
        return pa.nulls(1), False
    return pa.array([value], pa.bool_() if column.form == BOOL else column.array.type), False
