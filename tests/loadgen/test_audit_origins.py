"""A difference names the events of the log that it is about: all that make the cell, and those of it that must not."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pytest

from loadgen import audit_origins, audit_sequence
from loadgen.audit_report import RANGES, Difference, Origin, OriginEvent
from tests.loadgen.audit_tables import PARTS, load, recounted
from tests.loadgen.audit_walk import T0, Cell, Record
from tests.loadgen.test_audit import log_of
from topologies import accounting
from topologies.sources import Source
from topologies.view import LIVE

SOURCE = Source("local", "viewing-events", "A" * 22, 3)
BY_PART = {part.name: part for part in PARTS}


def found(database: duckdb.DuckDBPyConnection, cell: Cell, offset: int) -> dict[str, Origin]:
    """What the cell is made of, by what it is."""
    difference = Difference(*cell, str(SOURCE), "redis", (1,), None)
    return {origin.what: origin for origin in audit_origins.Origins(database, PARTS).find(difference, SOURCE, offset)}


def offsets(origins: Mapping[str, Origin], what: str) -> list[int]:
    return [offset for first, last in origins[what].offsets for offset in range(first, last + 1)] if what in origins else []


def test_the_events_that_are_named_make_the_cell(database: duckdb.DuckDBPyConnection) -> None:
    records = log_of(1, 120, T0)
    load(database, records)
    cells = recounted(database, len(records))
    assert {cell[0] for cell in cells} == set(BY_PART)
    for cell, values in cells.items():
        origins = found(database, cell, len(records))
        if len(origins["applied"].offsets) == RANGES:  # some of them are not named
            continue
        mine = [records[offset] for offset in offsets(origins, "applied")]
        assert origins["applied"].events == len(mine) > 0
        if cell[0] == "watch_time":
            assert values[0] == sum(record.watched_ms or 0 for record in mine)
            assert values[1:] == [sum(record.type == kind for record in mine) for kind in ("play_start", "play_request")]
        elif LIVE in BY_PART[cell[0]].windows or cell[0] in ("trending", "quality.startup"):
            assert values[0] == len(mine)
        elif BY_PART[cell[0]].of == "session":
            assert values[0] >= len({record.sid for record in mine}) > 0
        else:
            assert values[4] == sum(record.watched_ms or 0 for record in mine)


def test_what_is_of_the_cell_and_counted_nowhere_is_named_too(database: duckdb.DuckDBPyConnection) -> None:
    one = Record(T0, T0, 0, 0, watched_ms=9_000)
    records = [
        one,
        one,
        Record(T0 + 1, T0 + 1, 0, 1, watched_ms=None),  # adds nothing
        Record(T0 + 2, T0 + 2, 0, 20_000, watched_ms=9_000),  # a jump: dead
        Record(T0 + 3, T0 + 3, 1, 0, title="tt2", watched_ms=9_000),  # of another cell
        Record(T0 + 1_000_000, T0 + 1_000_000, 2, 0, title="tt2"),
        Record(T0 + 1_000_000, T0 + 4, 0, 2, watched_ms=9_000),  # late
        Record(T0 + 1_000_000, T0 + 1_000_000, 2, 1, watched_ms=9_000),  # beyond the offset
    ]
    load(database, records)
    recounted(database, 7)
    origins = found(database, ("watch_time", "hour", T0, 0, "tt1\x1feu"), 7)
    assert {what: offsets(origins, what) for what in origins} == {"applied": [0], "duplicate": [1], "dead": [3], "late": [6], "later": [7]}
    event = OriginEvent(0, 0, "session0", 0, "heartbeat", T0)
    assert origins["applied"] == Origin(str(SOURCE), "viewing-events", 3, "applied", 1, ((0, 0),), (event,))


def test_of_many_events_the_first_are_named_and_all_are_counted(database: duckdb.DuckDBPyConnection) -> None:
    titles = ["tt1" if number % 3 < 2 else "tt2" for number in range(300)]
    records = [Record(T0 + n, T0 + n, 0, n, title=title, watched_ms=1) for n, title in enumerate(titles)]
    load(database, records)
    recounted(database, 300)
    origin = found(database, ("watch_time", "hour", T0, 0, "tt1\x1feu"), 300)["applied"]
    assert origin.events == 200
    assert origin.offsets == tuple((3 * n, 3 * n + 1) for n in range(RANGES))
    assert [event.offset for event in origin.sample] == [0, 1, 3, 4, 6]


@pytest.mark.parametrize("kind", ["duplicate", "late", "dead"])
def test_a_class_that_is_counted_otherwise_names_its_events(database: duckdb.DuckDBPyConnection, kind: str) -> None:
    records = log_of(2, 200, T0)
    load(database, records)
    recounted(database, 200)
    measures = dict.fromkeys(("clock_ms", "watermark_ms", *accounting.MEASURES), 5)
    expected, served = tuple(measures.values()), tuple((measures | {kind: 6, "received": 6}).values())
    difference = Difference(accounting.NAME, "", 0, 0, "", str(SOURCE), "redis", expected, served)
    origins = {origin.what: origin for origin in audit_origins.Origins(database, PARTS).find(difference, SOURCE, 200)}
    classes = list(audit_sequence.classes((r.rts, r.ts, r.sid, None if r.ts is None else r.seq) for r in records))
    assert list(origins) == [kind]
    assert offsets(origins, kind) == [offset for offset, name in enumerate(classes) if name == kind][: len(offsets(origins, kind))]
    assert origins[kind].events == classes.count(kind) > 0


def test_only_what_is_shown_of_this_store_and_source_is_looked_for(database: duckdb.DuckDBPyConnection) -> None:
    load(database, [Record(T0, T0, 0, 0, watched_ms=9_000)])
    recounted(database, 1)
    cell: Cell = ("watch_time", "hour", T0, 0, "tt1\x1feu")
    mine, other = Difference(*cell, str(SOURCE), "redis", (1,), None), Difference(*cell, "another", "redis", (1,), None)
    stored, summed = Difference(*cell, str(SOURCE), "cassandra", (1,), None), Difference(*cell, "(total)", "redis totals", (1,), None)
    told = audit_origins.Origins(database, PARTS).added([mine, other, stored, summed], "redis", SOURCE, 1)
    assert [(each.source, each.store, len(each.origins)) for each in told] == [
        (str(SOURCE), "redis", 1),
        ("another", "redis", 0),
        (str(SOURCE), "cassandra", 0),
        ("(total)", "redis totals", 1),
    ]
