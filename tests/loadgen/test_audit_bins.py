"""The auditor's bins against the fold's, and the error of quantiles that are read from them."""

from __future__ import annotations

import random

import duckdb
import pytest

from loadgen import audit_bins, audit_views
from tests.loadgen.audit_tables import PARTS, load
from tests.loadgen.audit_walk import T0, Record
from topologies.bins import BINS, RELATIVE_ERROR, bin_of, middle_of

STARTUP = next(part for part in PARTS if part.name == "quality.startup")


def test_the_bins_are_those_of_the_fold(database: duckdb.DuckDBPyConnection) -> None:
    audit_bins.define(database)
    edges = {0, 1, 86_400_000}.union(*({1 << bit, (1 << bit) - 1, (1 << bit) + (1 << bit - 5), (3 << bit) // 2} for bit in range(5, 27)))
    values = sorted(edges | {random.Random(1).randrange(86_400_001) for _ in range(1_000)})
    found = database.execute("SELECT v, bin_of(v) FROM (SELECT unnest($values) AS v) ORDER BY v", {"values": values}).fetchall()
    assert found == [(value, bin_of(value)) for value in values]
    middles = database.execute(f"SELECT b, middle_of(b) FROM (SELECT unnest(range({BINS})) AS b) ORDER BY b").fetchall()
    assert middles == [(number, middle_of(number)) for number in range(BINS)]


@pytest.mark.parametrize(
    ("took", "error"),
    [
        ([], None),
        ([0, 0, 63], 0.0),  # a bin each
        ([65], 0.5 / 65),  # of 64 and 65 the middle stands for both
        ([64, 1_000_000], 0.5 / 64),
        ([*[40] * 99, 4_095, 127], 0.5 / 127),  # 4,095 is beyond the rank of each quantile: ⌈0.99 · 101⌉ is 127's
    ],
)
def test_the_error_of_quantiles_is_measured_against_the_values(
    database: duckdb.DuckDBPyConnection, took: list[int], error: float | None
) -> None:
    load(database, [Record(T0, T0, sid, 0, "play_start", startup_ms=each) for sid, each in enumerate(took)] or [Record(T0, T0)])
    audit_views.recount(database, (STARTUP,), len(took))
    assert audit_bins.measured_error(database, STARTUP) == (error if error is None else pytest.approx(error))


def test_the_error_is_never_beyond_what_is_stated(database: duckdb.DuckDBPyConnection) -> None:
    chosen = random.Random(2)
    took = [int(2 ** chosen.uniform(0, 26)) for _ in range(2_000)]
    load(database, [Record(T0, T0, sid, 0, "play_start", startup_ms=each, cdn=f"c{sid % 700}") for sid, each in enumerate(took)])
    audit_views.recount(database, (STARTUP,), len(took))
    measured = audit_bins.measured_error(database, STARTUP)
    assert measured is not None
    assert RELATIVE_ERROR / 2 < measured <= audit_bins.STATED == RELATIVE_ERROR
