"""The auditor's sketches, of its own hash, against the fold's; and how far estimates are from exact counts."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from loadgen import audit_compare, audit_sketches, audit_views
from loadgen.audit_report import SpreadTally, ViewTally
from tests.loadgen.test_audit_fold import Log, folded, packed, recounted
from tests.topologies.crowds import crowd, records, sketch_of
from topologies.audience import AUDIENCE
from topologies.sketches import estimate
from topologies.view import HOUR, MINUTE, Distinct, View

EVENTS = crowd(3, 4000, 2500)
LOG: Log = [(offset, record.rts, record.value) for offset, record in enumerate(records(EVENTS))]
OWN = View(
    name="own",
    summary="different accounts and sessions",
    groupings=(("cdn", "region"), ()),
    windows=(MINUTE, HOUR),
    distincts=(Distinct("accounts", "", of=("account",)), Distinct("sessions", "", of=("account", "session"))),
)
PARTS = (*AUDIENCE.parts, *OWN.parts)
VIEWERS = AUDIENCE.part("viewers")


def test_the_recount_and_the_fold_have_the_same_sketches(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    _, cells = recounted(database, LOG, tmp_path, PARTS)
    assert packed(folded(LOG, 3, PARTS)) == cells
    assert max(map(len, cells.values())) > 1024
    assert [audit_views.is_independent(part) for part in PARTS] == [True, False, False]


@pytest.mark.parametrize("value", ["a", "a\x1fp", "Über\x1f片", "x" * 200])
def test_a_coupon_is_a_sketch_of_one(value: str) -> None:
    assert [audit_sketches.coupon_of(value)] == sketch_of([value]).tolist()


def test_the_errors_are_those_of_what_is_answered(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    recounted(database, LOG, tmp_path, PARTS)
    every, large = SpreadTally(audit_sketches.STATED), SpreadTally(audit_sketches.STATED)
    audit_sketches.measure(database, VIEWERS, every, large)
    places: dict[tuple[str, int, str], set[str]] = {}
    for event in EVENTS:
        for window in VIEWERS.windows:
            for key in (f"{event['title']}/{event['region']}", ""):
                places.setdefault((window.name, window.start_of(event["ts"]), key), set()).add(f"{event['account']}\x1f{event['profile']}")
    errors = {place: abs(round(estimate(sketch_of(held))) / len(held) - 1) for place, held in places.items()}
    assert (every.cells, large.cells) == (len(places), sum(len(held) >= 1000 for held in places.values()))
    assert every.measured == pytest.approx(max(errors.values()))
    assert large.rms == pytest.approx((sum(errors[p] ** 2 for p, held in places.items() if len(held) >= 1000) / large.cells) ** 0.5)
    assert large.measured is not None
    assert large.measured < 4 * audit_sketches.STATED


def test_a_wrong_sketch_is_found_and_told_by_what_differs(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    recounted(database, LOG, tmp_path, PARTS)
    database.execute("""CREATE OR REPLACE TABLE served AS SELECT 'cassandra' AS store, 'x' AS source, * FROM recounted""")
    database.execute("""UPDATE served SET "values" = list_append("values"[2:], 1048513)
        WHERE "view" = 'audience.viewers' AND "window" = 'day' AND key = 't1' || chr(31) || 'r1'""")
    tallies = {"audience": ViewTally(), "own": ViewTally()}
    [found] = audit_compare.compare_cells(database, PARTS, "cassandra", "x", 0, 0, tallies)
    assert (tallies["audience"].wrong, tallies["own"].wrong) == (1, 0)
    assert (found.view, found.served) == ("audience.viewers", (1048513,))
    assert found.expected is not None
    assert len(found.expected) == 1
