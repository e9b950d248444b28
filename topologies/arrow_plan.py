"""Which column of an Arrow record is which field, and in what form its values stand.

| field | column types |
|---|---|
| integer | int8 to int64, uint8 to uint64 |
| boolean | bool |
| text, enum | utf8, large_utf8, and dictionaries of them with any integer index |
| any | null |

Of several columns of one name the last counts. A column of another type makes each row in which it is not null wrong_type:
decimals, floats, dates, views (string_view: one text may stand in every row of a record, so rows are not bounded by its bytes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from topologies.events import FIELDS

(
    ABSENT, NULLS, WRONG, INT8, UINT8, INT16, UINT16, INT32, UINT32, INT64, UINT64, BOOL, UTF8, LARGE_UTF8,
) = range(14)  # fmt: skip
"""Forms of a column."""
PLAIN: Final = 0
"""No form of an index: the column is no dictionary."""
COLUMN, FORM, INDEX = range(3)
"""Words of a field's row in a plan."""

_INTEGERS: Final[dict[Any, int]] = {
    pa.int8(): INT8, pa.uint8(): UINT8, pa.int16(): INT16, pa.uint16(): UINT16,
    pa.int32(): INT32, pa.uint32(): UINT32, pa.int64(): INT64, pa.uint64(): UINT64,
}  # fmt: skip
_TEXTS: Final[dict[Any, int]] = {pa.utf8(): UTF8, pa.large_utf8(): LARGE_UTF8}
_NAMES: Final = frozenset(field.name for field in FIELDS)


@dataclass(frozen=True)
class Plan:
    """table i64[fields, 3]: column of the field (−1: none), its form, the form of its index (PLAIN: no dictionary).

    included: the columns to read, when there are others (none of them known: empty); `table` counts among these. columns: field → column.
    """

    table: NDArray[np.int64]
    included: list[int] | None
    columns: dict[str, int]


def plan_of(schema: Any) -> Plan:
    """The plan of a schema."""
    last = {name: column for column, name in enumerate(schema.names) if name in _NAMES}
    included = sorted(last.values())
    places = {column: place for place, column in enumerate(included)}
    table = np.zeros((len(FIELDS), 3), dtype=np.int64)
    table[:, COLUMN] = -1
    for row, field in enumerate(FIELDS):
        if field.name in last:
            column = last[field.name]
            table[row] = places[column], *_form(field.form, schema.field(column).type)
    columns = {name: places[column] for name, column in last.items()}
    return Plan(table, included if len(included) < len(schema) else None, columns)


def _form(wanted: str, kind: Any) -> tuple[int, int]:
    """Form and index form of a column of this Arrow type, for a field of that JSON form."""
    if pa.types.is_null(kind):
        return NULLS, PLAIN
    if wanted == "int":
        return _INTEGERS.get(kind, WRONG), PLAIN
    if wanted == "bool":
        return (BOOL if pa.types.is_boolean(kind) else WRONG), PLAIN
    if pa.types.is_dictionary(kind):
        form = _TEXTS.get(kind.value_type, WRONG)
        return form, PLAIN if form == WRONG else _INTEGERS[kind.index_type]
    return _TEXTS.get(kind, WRONG), PLAIN
