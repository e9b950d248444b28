"""A session's row survives the columns of a checkpoint, whatever stands in it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import examples
from topologies.session_columns import into_columns, into_rows
from topologies.session_rows import (
    CLEAN_FROM,
    COUNTED,
    DIMS,
    DIMS_SEQ,
    FLAGS,
    FRESH_AT,
    HIGHEST,
    ID_1,
    ID_2,
    ISLANDS,
    LAST_TS,
    SEEN,
    STATE,
    STATE_SEQ,
    WORDS,
)
from topologies.sources import LATENESS_MS

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "seq": st.integers(0, 2**31 - 1),
            "seen": st.integers(-(2**63), 2**63 - 1),
            "clean": st.integers(-63, 2**31 - 1),
            "last": st.integers(0, 253_402_300_799_999),
            "fresh": st.integers(-1, 253_402_300_799_999),
            "told": st.integers(-1, 2**31 - 1),
            "flags": st.integers(0, 3),
            "dims": st.integers(0, 2**31 - 1),
        }
    ),
    max_size=20,
)


@given(ROWS, st.integers(-1, 253_402_300_799_999))
@examples(100)
def test_any_row_that_is_remembered_comes_back_from_its_columns(drawn: list[dict[str, int]], watermark: int) -> None:
    rows = np.zeros((len(drawn), WORDS), dtype=np.int64)
    for row, values in zip(rows, drawn, strict=True):
        row[HIGHEST], row[SEEN], row[CLEAN_FROM], row[LAST_TS] = values["seq"], values["seen"], values["clean"], values["last"]
        row[FRESH_AT], row[STATE_SEQ], row[DIMS_SEQ] = values["fresh"], min(values["told"], values["seq"]), values["seq"]
        row[FLAGS], row[ISLANDS], row[DIMS:], row[STATE] = values["flags"], values["dims"] // 2, values["dims"], values["flags"]
        row[ID_1], row[ID_2] = values["seen"], -1 - values["seen"]
    kept = [row for row in rows if watermark - row[LAST_TS] <= LATENESS_MS or row[FLAGS] & COUNTED]
    back = np.zeros((len(kept), WORDS), dtype=np.int64)
    into_rows(into_columns(rows, watermark), back)
    for row, restored in zip(kept, back, strict=True):
        row[FLAGS] &= COUNTED
        assert restored.tolist() == row.tolist()
