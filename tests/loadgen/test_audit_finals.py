"""The auditor makes final rows from the sources' cells once more, and tells which are not so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import pytest

from loadgen.audit_finals import FINAL, GRACE_MS, TOP, SourcesAudited, Spans, compare, count_missing
from loadgen.audit_report import Difference, FinalsTally, ViewTally
from topologies.finals import Bases
from topologies.sources import LATENESS_MS, SKEW_MS, Finish, Source, SourceStatus
from topologies.view import HOUR, Distinct, Extreme, Measure, View, parts_of
from topologies.watch_time import WATCH_TIME

H = 3_600_000
SEEN = View(
    name="seen",
    summary="sums, ranked, and what is kept",
    groupings=(("title",),),
    windows=(HOUR,),
    measures=(Measure("watched_ms", "watched", sum_of="watched_ms"), Measure("plays", "plays", count_of="play_start")),
    leaderboard="watched_ms",
    distincts=(Distinct("viewers", "viewers"),),
    extremes=(Extreme("least", "the least", "min", "stall_ms"), Extreme("newest", "the last", "last", "position_s")),
)
PARTS = parts_of([SEEN])
FIRST, SECOND = (Source("local", "viewing-events", "AAAAAAAAAAAAAAAAAAAAAA", number) for number in (0, 1))
STATUSES = {str(source): SourceStatus(source, 9, 0, 2 * H + LATENESS_MS, 0, 0, 0, 0, 0) for source in (FIRST, SECOND)}
AUDITED = SourcesAudited(STATUSES, {}, {}, ("viewing-events",))
Cell = tuple[str, str, str, str, tuple[int, ...]]
"""Store, source, view, key, values: of the hour from H on."""


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute(
            'CREATE TABLE served (store VARCHAR, source VARCHAR, "view" VARCHAR, "window" VARCHAR, start_ms BIGINT, '
            'grouping INTEGER, key VARCHAR, "values" BIGINT[])'
        )
        yield opened


def partials() -> list[Cell]:
    return [
        ("cassandra", str(FIRST), "seen", "a", (5, 1)),
        ("cassandra", str(SECOND), "seen", "a", (2, 0)),
        ("cassandra", str(SECOND), "seen", "b", (9, 1)),
        ("cassandra", str(FIRST), "seen.least", "a", (4,)),
        ("cassandra", str(SECOND), "seen.least", "a", (3,)),
        ("cassandra", str(FIRST), "seen.viewers", "a", (64 + 1, 128 + 5)),
        ("cassandra", str(SECOND), "seen.viewers", "a", (64 + 9, 192 + 1)),
        ("cassandra", str(FIRST), "seen.newest", "a", (10, 2, 7)),
        ("cassandra", str(SECOND), "seen.newest", "a", (10, 3, 1)),
    ]


def finals() -> list[Cell]:
    return [
        (FINAL, "", "seen", "a", (7, 1)),
        (FINAL, "", "seen", "b", (9, 1)),
        (TOP, "", "seen", "a", (7, 1)),
        (TOP, "", "seen", "b", (9, 1)),
        (FINAL, "", "seen.least", "a", (3,)),
        (FINAL, "", "seen.newest", "a", (10, 3, 1)),
        (FINAL, "", "seen.viewers", "a", (64 + 9, 128 + 5, 192 + 1)),
    ]


def compared(database: duckdb.DuckDBPyConnection, cells: Sequence[Cell], digest: str = "") -> tuple[ViewTally, list[Difference]]:
    """Of final rows that are of every source, or of what `digest` says."""
    for store, source, view, key, values in cells:
        database.execute("INSERT INTO served VALUES (?, ?, ?, 'hour', ?, 0, ?, ?)", [store, source, view, H, key, list(values)])
    basis = Bases(STATUSES, ()).of(WATCH_TIME, HOUR, H)
    assert basis is not None
    spans: Spans = {(part.name, "hour", H): digest or basis.digest for part in PARTS}
    tallies = {"seen": ViewTally()}
    return tallies["seen"], compare(database, PARTS, spans, AUDITED, tallies)


def test_right_final_rows_are_counted_and_none_is_wrong(database: duckdb.DuckDBPyConnection) -> None:
    tally, wrong = compared(database, [*partials(), *finals()])
    assert (tally.by_store, tally.wrong, wrong) == ({FINAL: 5, TOP: 2}, 0, [])


def test_a_final_sum_stops_where_it_must(database: duckdb.DuckDBPyConnection) -> None:
    cells: list[Cell] = [("cassandra", str(source), "seen", "a", (2**63 - 1, 1)) for source in (FIRST, SECOND)]
    _, wrong = compared(database, [*cells, *((store, "", "seen", "a", (2**63 - 1, 2)) for store in (FINAL, TOP))])
    assert wrong == []


@pytest.mark.parametrize("at", range(7))
def test_each_wrong_cell_is_found(database: duckdb.DuckDBPyConnection, at: int) -> None:
    cells = finals()
    store, source, view, key, values = cells[at]
    cells[at] = (store, source, view, key, (values[0] + 1, *values[1:]))
    tally, wrong = compared(database, [*partials(), *cells])
    assert tally.wrong == 1
    assert [(one.store, one.view, one.key, one.expected, one.served) for one in wrong] == [(store, view, key, values, cells[at][4])]


def test_a_cell_too_many_and_one_that_is_missing_are_found(database: duckdb.DuckDBPyConnection) -> None:
    _, wrong = compared(database, [*partials(), *finals()[1:], (FINAL, "", "seen", "c", (1, 0))])
    assert [(one.key, one.expected, one.served) for one in wrong] == [("a", (7, 1), None), ("c", None, (1, 0))]


def test_final_rows_that_lack_a_source_are_of_the_past(database: duckdb.DuckDBPyConnection) -> None:
    tally, wrong = compared(database, [*partials(), (FINAL, "", "seen", "a", (5, 1))], digest="of the first alone")
    assert (tally.cells, wrong) == (0, [])


def test_a_top_list_has_a_hundred_and_ties_go_by_key(database: duckdb.DuckDBPyConnection) -> None:
    of_source = [("cassandra", str(FIRST), "seen", f"t{title:03}", (1, 0)) for title in range(101)]
    final = [(FINAL, "", "seen", key, values) for _, _, _, key, values in of_source]
    best = [(TOP, "", "seen", key, values) for _, _, _, key, values in of_source[1:]]
    _, wrong = compared(database, [*of_source, *final, *best])
    assert [(one.store, one.key, one.expected) for one in wrong] == [(TOP, "t000", (1, 0)), (TOP, "t100", None)]


LATEST = 2 * H + LATENESS_MS + SKEW_MS
"""When the hour from H on is final by a clock that goes."""


def missing(sources: SourcesAudited, now_ms: int, digest: str = "") -> FinalsTally:
    """Of that hour, whose final rows say this digest, and of the next."""
    return count_missing((SEEN,), {("seen", "hour", H): digest, ("seen", "hour", 2 * H): ""}, sources, now_ms)


def test_a_final_span_without_final_rows_of_all_sources_is_missing_and_in_time_overdue() -> None:
    basis = Bases(STATUSES, ()).of(WATCH_TIME, HOUR, H)
    assert basis is not None
    assert missing(AUDITED, LATEST + GRACE_MS, basis.digest) == FinalsTally(spans=1)
    assert missing(AUDITED, LATEST + GRACE_MS) == FinalsTally(spans=1, missing=1)
    assert missing(AUDITED, LATEST + GRACE_MS + 1) == FinalsTally(spans=1, missing=1, overdue=1)


def test_final_rows_of_other_sources_are_made_anew_and_are_not_overdue() -> None:
    """A new live topic leaves all of history so at once."""
    assert missing(AUDITED, LATEST + 9 * GRACE_MS, "of the first alone") == FinalsTally(spans=1, missing=1)


def test_a_backfill_gives_historians_time_from_when_it_was_done() -> None:
    backfill = Source("local", "viewing-events.backfill.r", "BBBBBBBBBBBBBBBBBBBBBB", 0)
    behind = STATUSES | {str(backfill): SourceStatus(backfill, 9, 0, H, 0, 0, 0, 0, 0)}
    goes_on, at_ms = SourcesAudited(behind, {}, {}, ("viewing-events",)), LATEST + 9 * H
    assert missing(goes_on, at_ms) == FinalsTally()
    passing = {**behind, str(backfill): SourceStatus(backfill, 9, 0, 2 * H + LATENESS_MS, 0, 0, 0, 0, 0)}
    assert missing(SourcesAudited(passing, {}, {}, ("viewing-events",)), at_ms) == FinalsTally(spans=1, missing=1)
    done = SourcesAudited(behind, {}, {str(backfill): Finish(9, at_ms)}, ("viewing-events",))
    assert missing(done, at_ms + GRACE_MS) == FinalsTally(spans=1, missing=1)
    assert missing(done, at_ms + GRACE_MS + 1) == FinalsTally(spans=1, missing=1, overdue=1)
    ended = SourcesAudited(behind, {str(backfill): at_ms}, {}, ("viewing-events",))
    assert missing(ended, at_ms + GRACE_MS + 1) == FinalsTally(spans=1, missing=1, overdue=1)
