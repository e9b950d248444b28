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
from topologies.spells import FIRST_TS, PLACE, RUN, RUNS, RUNTIME, RUNTIME_BITS, SPELL_WORDS

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
            "length": st.integers(0, 10**12),
            "runtime": st.integers(-1, 1_000_000),
            "low": st.integers(0, 999_999),
            "played": st.integers(0, 1_000_000),
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
    spells = np.array([_spell(values) for values in drawn], dtype=np.int64).reshape(-1, SPELL_WORDS)
    remembered = [number for number, row in enumerate(rows) if watermark - row[LAST_TS] <= LATENESS_MS or row[FLAGS] & COUNTED]
    back, spells_back = (np.zeros((len(remembered), words), dtype=np.int64) for words in (WORDS, SPELL_WORDS))
    into_rows(into_columns(rows, watermark, spells), back, spells_back)
    rows[:, FLAGS] &= COUNTED
    assert back.tolist() == rows[remembered].tolist()
    assert spells_back.tolist() == spells[remembered].tolist()
    without = np.zeros_like(back)
    into_rows(into_columns(rows, watermark), without)
    assert without.tolist() == back.tolist()


def _spell(drawn: dict[str, int]) -> list[int]:
    spell = [0] * SPELL_WORDS
    spell[FIRST_TS] = drawn["last"] - drawn["length"]
    spell[RUNTIME] = 0 if drawn["runtime"] < 0 else (drawn["seq"] + 1 - min(drawn["seq"], 3)) << RUNTIME_BITS | drawn["runtime"]
    spell[PLACE] = drawn["dims"] << 32 | drawn["flags"]
    spell[RUN] = drawn["low"] << 32 | (drawn["low"] + drawn["played"])
    spell[RUNS] = drawn["dims"] // 3
    return spell
