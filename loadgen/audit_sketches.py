"""Distinct counts: each cell's sketch from the log's own texts, and how far its estimate is from the exact count.

Written a second time, from docs/architecture.md: of the first 64 bits of MurmurHash3 x64 128 of a value's texts joined by U+001F, here as
`mmh3` has it, the 14 lowest are the value's register, and one more than the zeros below the lowest bit set of the other 50 (51 if none is)
is its rank. A cell's sketch is register × 64 + the greatest rank of each register that has one, ascending.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import duckdb
import mmh3
import numpy as np
import pyarrow as pa

from loadgen.audit_generated import key_of, start_of
from loadgen.audit_report import SpreadTally
from topologies.sketches import Coupons, estimate, union
from topologies.view import View, Window

STATED: Final = 1.04 / math.sqrt(1 << 14)
"""The standard error: what the root mean square of many errors comes near."""
LARGE: Final = 1_000
"""Cells of so many values are tallied apart as well: of few values nearly every estimate is the count."""
_VALUES_A_BATCH: Final = 50_000


def recount(database: duckdb.DuckDBPyConnection, part: View) -> None:
    """Add the cells of a distinct count to `recounted`."""
    _make_coupons(database, part)
    for window, number, grouping in _groups(part):
        database.execute(
            f"""INSERT INTO recounted
            SELECT '{part.name}', '{window.name}', start_ms, {number}, key, list(coupon ORDER BY coupon)
            FROM (SELECT start_ms, key, max(coupon) AS coupon FROM ({_values(part, window, grouping)}) JOIN coupons USING (value)
                  GROUP BY start_ms, key, coupon // 64)
            GROUP BY start_ms, key"""
        )


def measure(database: duckdb.DuckDBPyConnection, part: View, every: SpreadTally, large: SpreadTally) -> None:
    """Take in the errors of the estimates of what was recounted last: of each cell, and of all cells of a window and grouping together."""
    for window, number, grouping in _groups(part):
        sets = "(start_ms, key), (start_ms)" if grouping else "(start_ms, key)"
        counts = database.execute(
            f"SELECT start_ms, key, count(DISTINCT value) FROM ({_values(part, window, grouping)}) GROUP BY GROUPING SETS ({sets})"
        ).fetchall()
        sketches = _sketches(database, part, window, number)
        for start_ms, key, count in counts:
            error = abs(round(estimate(union(sketches[start_ms, key]))) - count) / count
            every.add(error)
            if count >= LARGE:
                large.add(error)


def _sketches(database: duckdb.DuckDBPyConnection, part: View, window: Window, number: int) -> dict[tuple[int, str | None], list[Coupons]]:
    """The recounted sketches by start and key, and under the key None all of a start."""
    query = 'SELECT start_ms, key, "values" FROM recounted WHERE "view" = ? AND "window" = ? AND grouping = ?'
    found: dict[tuple[int, str | None], list[Coupons]] = {}
    for start_ms, key, values in database.execute(query, [part.name, window.name, number]).fetchall():
        coupons = np.array(values, dtype=np.uint32)
        found[start_ms, key] = [coupons]
        found.setdefault((start_ms, None), []).append(coupons)
    return found


def _groups(part: View) -> Iterator[tuple[Window, int, tuple[str, ...]]]:
    for window in part.windows:
        for number, grouping in enumerate(part.groupings):
            yield window, number, grouping


def _values(part: View, window: Window, grouping: Sequence[str]) -> str:
    """SQL that gives start_ms and key of each cell and once each value that it has."""
    return f"SELECT DISTINCT {start_of(window)} AS start_ms, {key_of(grouping)} AS key, {_value(part)} AS value FROM events"


def _value(part: View) -> str:
    assert part.distinct is not None
    return " || chr(31) || ".join(part.distinct.of)


def _make_coupons(database: duckdb.DuckDBPyConnection, part: View) -> None:
    """Table `coupons` (value, coupon) of all values."""
    database.execute("CREATE OR REPLACE TABLE coupons (value VARCHAR, coupon BIGINT)")
    values = database.cursor().execute(f"SELECT DISTINCT {_value(part)} FROM events")
    while batch := [value for (value,) in values.fetchmany(_VALUES_A_BATCH)]:
        table = pa.table({"value": batch, "coupon": pa.array(map(coupon_of, batch), pa.int64())})
        database.register("hashed", table)
        database.execute("INSERT INTO coupons SELECT * FROM hashed")
        database.unregister("hashed")


def coupon_of(value: str) -> int:
    """Register × 64 + rank."""
    hashed, _ = mmh3.hash64(value.encode(), 0, signed=False)
    others = hashed >> 14
    rank = (others & -others).bit_length() if others else 51
    return hashed % (1 << 14) * 64 + rank
