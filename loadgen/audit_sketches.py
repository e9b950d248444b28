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
from loadgen.audit_sql import column_of
from topologies.sketches import NO_COUPONS, Coupons, estimate, union
from topologies.view import View, Window

STATED: Final = 1.04 / math.sqrt(1 << 14)
"""The standard error: what the root mean square of many errors comes near."""
LARGE: Final = 1_000
"""Cells of so many values are tallied apart as well: of few values nearly every estimate is the count."""
_VALUES_A_BATCH: Final = 50_000
_SKETCHES_A_BATCH: Final = 500


def recount(database: duckdb.DuckDBPyConnection, part: View) -> None:
    """Add the cells of a distinct count to `recounted`."""
    _make_sightings(database, part)
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
        exact = {(start_ms, key): count for start_ms, key, count in counts}
        for start_ms, key, coupons in _sketches(database, part, window, number, whole=bool(grouping)):
            count = exact[start_ms, key]
            error = abs(round(estimate(coupons)) - count) / count
            every.add(error)
            if count >= LARGE:
                large.add(error)


def _sketches(
    database: duckdb.DuckDBPyConnection, part: View, window: Window, number: int, *, whole: bool
) -> Iterator[tuple[int, str | None, Coupons]]:
    """The recounted sketches by start and key; and if `whole`, under the key None, what all of a start make together."""
    query = 'SELECT start_ms, key, "values" FROM recounted WHERE "view" = ? AND "window" = ? AND grouping = ? ORDER BY start_ms'
    reader = database.cursor().sql(query, params=[part.name, window.name, number]).to_arrow_reader(_SKETCHES_A_BATCH)
    since, together = -1, [NO_COUPONS]
    for batch in reader:
        ends, coupons = batch.column(2).offsets.to_numpy(), batch.column(2).values.to_numpy().astype(np.uint32)
        for at, (start_ms, key) in enumerate(zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)):
            if whole and since not in (-1, start_ms):
                yield since, None, union(together)
                together = [NO_COUPONS]
            since = start_ms
            together.append(coupons[ends[at] : ends[at + 1]])
            yield start_ms, key, together[-1]
        together = [union(together)]
    if whole and since != -1:
        yield since, None, together[0]


def _groups(part: View) -> Iterator[tuple[Window, int, tuple[str, ...]]]:
    for window in part.windows:
        for number, grouping in enumerate(part.groupings):
            yield window, number, grouping


def _values(part: View, window: Window, grouping: Sequence[str]) -> str:
    """SQL that gives start_ms and key of each cell and once each value that it has."""
    return f"SELECT DISTINCT {start_of(window)} AS start_ms, {key_of(grouping)} AS key, value FROM {_sightings(part)}"


def _sightings(part: View) -> str:
    return f'"sightings {part.name}"'


def _make_sightings(database: duckdb.DuckDBPyConnection, part: View) -> None:
    """Table of each value once in each span of the events' time that no window cuts, and under the same dimensions: ts is its start."""
    assert part.distinct is not None
    whole_ms = math.gcd(*(window.length_ms for window in part.windows))
    columns = ", ".join(dict.fromkeys((*map(column_of, part.dimensions), *part.distinct.of)))
    database.execute(
        f"""CREATE OR REPLACE TABLE {_sightings(part)} AS
        SELECT * EXCLUDE (whole), whole AS ts, {" || chr(31) || ".join(part.distinct.of)} AS value
        FROM (SELECT DISTINCT ts - ts % {whole_ms} AS whole, {columns} FROM events)"""
    )


def _make_coupons(database: duckdb.DuckDBPyConnection, part: View) -> None:
    """Table `coupons` (value, coupon) of all values."""
    database.execute("CREATE OR REPLACE TABLE coupons (value VARCHAR, coupon BIGINT)")
    values = database.cursor().execute(f"SELECT DISTINCT value FROM {_sightings(part)}")
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
