"""Rows of an Arrow record one by one, as the JSON objects with the same values: the strict way, and what letters carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    """The values of a column; a dictionary's texts are made once, however many rows have them."""

    def __init__(self, array: Any, form: int) -> None:
        self._array = array
        self._form = form
        self._entries = array.dictionary.to_pylist() if pa.types.is_dictionary(array.type) and form != WRONG else None

    def value(self, row: int) -> Any:
        if self._form == NULLS:
            return None
        if self._form == WRONG:
            return None if self._array[row].as_py() is None else FOREIGN
        if self._entries is None:
            return self._array[row].as_py()
        index = self._array.indices[row].as_py()
        return None if index is None else self._entries[index]


def documents(record: ArrowRecord, batch: int, rows: list[int]) -> Iterator[Mapping[str, Any]]:
    """The known fields of these rows of one of the record's batches, as topologies.events.check_event takes them."""
    columns = {
        field.name: _Column(record.batches[batch].column(int(record.plan.table[at, COLUMN])), int(record.plan.table[at, FORM]))
        for at, field in enumerate(FIELDS)
        if record.plan.table[at, COLUMN] >= 0
    }
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
    [batch] = [number for number, found in enumerate(record.batches) if found.num_rows]
    [row] = documents(record, batch, [0])
    column = record.batches[batch].column
    foreign = {name: f"({column(record.plan.columns[name]).type})" for name, found in row.items() if found is FOREIGN}
    return {name: foreign.get(name, found) for name, found in row.items() if found is not None}


def one_row(record: ArrowRecord, row: int) -> tuple[bytes, bool]:
    """An Arrow stream of that row's known fields alone, without dictionaries; and whether a text of it was cut.

    It is judged as the row was. A value of a type that no field has becomes its type's name as binary, which no field has either.
    """
    for batch in record.batches:
        if row < batch.num_rows:
            break
        row -= batch.num_rows
    names, arrays, any_cut = [], [], False
    for at, field in enumerate(FIELDS):
        if (place := int(record.plan.table[at, COLUMN])) < 0:
            continue
        array, cut = _alone(batch.column(place), int(record.plan.table[at, FORM]), row)
        names.append(field.name)
        arrays.append(array)
        any_cut |= cut
    sink = pa.BufferOutputStream()
    made = pa.record_batch(arrays, names=names)
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_batch(made)
    return sink.getvalue().to_pybytes(), any_cut


def _alone(array: Any, form: int, row: int) -> tuple[Any, bool]:
    value = _Column(array, form).value(row)
    if isinstance(value, str):
        encoded = value.encode()
        return pa.array([encoded[:LETTER_TEXT_BYTES].decode(errors="ignore")], pa.utf8()), len(encoded) > LETTER_TEXT_BYTES
    if value is FOREIGN:
        return pa.array([str(array.type).encode()[:LETTER_TEXT_BYTES]], pa.binary()), False
    if value is None:
        return pa.nulls(1), False
    return pa.array([value], pa.bool_() if form == BOOL else array.type), False
