"""The SQL recount of bookmarks against what the fold has stores told, flushed anywhere; and: what is not so is found."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import audit_admission, audit_bookmarks, audit_views
from loadgen.audit_report import Difference, ViewTally
from loadgen.audit_sql import COLUMNS, position_of
from tests.topologies.logs import T0, Record, apply, event
from tests.topologies.shelved import Stored, empty_state, random_log
from topologies.cells import CACHE, DURABLE
from topologies.continue_watching import KEPT_S
from topologies.marks import Mark
from topologies.sources import Source

SOURCE = Source("local", "viewing-events", "A" * 22, 0)
STORES = {"cassandra": DURABLE, "redis": CACHE}


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """Its bookmarks are compared in many parts."""
    with duckdb.connect() as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_bookmarks, "_ROWS_A_PART", 20)
        connection.execute("SET threads = 1")
        yield connection


def load_log(database: duckdb.DuckDBPyConnection, records: Sequence[Record]) -> None:
    kinds = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "BOOLEAN": pa.bool_()}
    events: list[dict[str, Any]] = [json.loads(record.value or b"") for record in records]
    for each in events:
        each["kind"] = "tick" if each["type"] == "tick" else "event"
    table = pa.table(
        {
            "n": pa.array([position_of(offset) for offset in range(len(records))], pa.int64()),
            "rts": pa.array([record.rts for record in records], pa.int64()),
            "mine": pa.array([True] * len(records)),
            **{name: pa.array([event.get(name) for event in events], kinds[kind]) for name, kind in COLUMNS.items()},
        }
    )
    database.register("given_rows", table)
    database.execute("CREATE OR REPLACE TABLE rows AS SELECT * FROM given_rows")
    database.unregister("given_rows")
    audit_admission.classify(database)
    audit_views.prepare(database, ())


def flushed(records: Sequence[Record], seed: int) -> tuple[dict[str, Stored], dict[str, int]]:
    """What each store has, and at which offset it had its last flush."""
    draw, state, offsets = random.Random(seed), empty_state(), dict.fromkeys(STORES, 0)
    stores = {name: Stored() for name in STORES}
    at = 0
    while at < len(records):
        some = draw.randrange(1, 60)
        apply(state, records[at : at + some])
        at = state.offset
        for name, store in STORES.items():
            if draw.random() < 0.7:
                stores[name].take(state, store)
                offsets[name] = at
        state.close_final()
    return stores, offsets


def audited(
    database: duckdb.DuckDBPyConnection, stores: dict[str, Stored], offsets: dict[str, int], *, whole: bool = True, now_ms: int = 0
) -> tuple[ViewTally, list[Difference]]:
    """The audit of these stores at that time, the log being loaded. whole: whether the shelves in Redis say that they are."""
    database.execute(audit_bookmarks.TABLES)
    for name, stored in stores.items():
        for (account, profile, title), mark in stored.items():
            row = [name, account, profile, title, mark.packed().hex()]
            database.execute("INSERT INTO stood VALUES (?, ?, ?, ?, ?)", row)
    count = "SELECT account, profile, ?, count(*) FROM stood WHERE store = 'redis' GROUP BY account, profile"
    database.execute(f"INSERT INTO shelves {count}", [whole])
    audit_bookmarks.recount(database, str(SOURCE), offsets)
    tally = ViewTally()
    return tally, audit_bookmarks.compare(database, tally, now_ms, [SOURCE], growing=False)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_what_the_fold_has_stores_told_is_what_the_audit_recounts(database: duckdb.DuckDBPyConnection, seed: int) -> None:
    records = random_log(seed, 250)
    load_log(database, records)
    stores, offsets = flushed(records, seed)
    tally, wrong = audited(database, stores, offsets)
    assert wrong == []
    assert tally.cells == sum(map(len, stores.values()))
    assert tally.wrong == 0


def moved(mark: Mark) -> Mark:
    return mark._replace(position_s=mark.position_s + 1)


@pytest.mark.parametrize(
    ("store", "change", "whole", "found"),
    [
        ("cassandra", moved, True, 1),
        ("cassandra", lambda _: None, True, 1),
        ("cassandra", lambda mark: mark._replace(ts=mark.ts - 1), True, 1),
        ("cassandra", lambda mark: mark._replace(ts=mark.ts + 10**9), True, 1),
        ("cassandra", lambda mark: mark._replace(finished=not mark.finished), True, 1),
        ("redis", moved, False, 1),
        ("redis", lambda _: None, True, 1),
        ("redis", lambda _: None, False, 0),
    ],
)
def test_what_is_not_so_is_found(database: duckdb.DuckDBPyConnection, store: str, change: Any, whole: bool, found: int) -> None:
    records = random_log(7, 250)
    load_log(database, records)
    stores, _ = flushed(records, 7)
    state = empty_state()
    apply(state, records)
    for name, number in STORES.items():
        stores[name].take(state, number)
    key = max(stores[store], key=lambda each: -stores[store][each].ts)
    mark = change(stores[store].pop(key))
    if mark is not None:
        stores[store][key] = mark
    tally, wrong = audited(database, stores, dict.fromkeys(STORES, len(records)), whole=whole)
    assert [(difference.store, difference.key) for difference in wrong] == [(store, "/".join(key))] * found
    assert tally.wrong == found
    for origin in (origin for difference in wrong for origin in difference.origins):
        [(offset, _)] = origin.offsets
        bearing = json.loads(records[offset].value or b"")
        assert (bearing["account"], bearing["profile"], bearing["title"]) == key
        assert (bearing["ts"], bearing["seq"]) == (origin.sample[0].ts, origin.sample[0].seq)


@pytest.mark.parametrize(
    ("missing", "found"),
    [
        (["t00", "t10"], []),  # the oldest, and one that is finished
        (["t10", "t30"], ["t30"]),  # while an older one is there
        (["t00", "t01"], ["t00", "t01"]),  # while one that is finished takes up room
        (["t00", "t10", "t51"], ["t00", "t10", "t51"]),  # there was room
    ],
)
def test_a_full_shelf_may_lack_what_it_has_no_room_for_and_nothing_else(
    database: duckdb.DuckDBPyConnection, missing: list[str], found: list[str]
) -> None:
    who = {"session": "s", "account": "a", "profile": "p", "position_s": 5}
    kinds = ["finish" if number == 10 else "stop" for number in range(52)]
    records = [event(T0 + n, **who, seq=n, title=f"t{n:02d}", ts=T0 + n, type=kind) for n, kind in enumerate(kinds)]
    load_log(database, records)
    state, stores = empty_state(), {name: Stored() for name in STORES}
    apply(state, records)
    for name, number in STORES.items():
        stores[name].take(state, number)
    for title in missing:
        del stores["redis"]["a", "p", title]
    tally, wrong = audited(database, stores, dict.fromkeys(STORES, len(records)))
    assert [(difference.store, difference.key) for difference in wrong] == [("redis", f"a/p/{title}") for title in found]
    assert tally.wrong == len(found)
    _, wrong = audited(database, stores, dict.fromkeys(STORES, len(records)), whole=False)
    assert wrong == []


def test_what_cassandra_keeps_no_more_is_not_missed_and_what_it_keeps_is(
    database: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = random_log(7, 250)
    load_log(database, records)
    nothing, ends = {name: Stored() for name in STORES}, dict.fromkeys(STORES, len(records))
    _, missed = audited(database, nothing, ends)
    assert len({difference.key.split("/")[0] for difference in missed}) > 1
    assert missed == sorted(missed, key=lambda difference: (difference.store, difference.key.split("/")))
    monkeypatch.setattr(audit_bookmarks, "_SHOWN", 3)
    assert audited(database, nothing, ends)[1] == missed[:3]
    monkeypatch.undo()
    [(newest,)] = database.execute("SELECT max(mark) FROM due WHERE store = 'cassandra'").fetchall()
    expiry_ms = int(newest[:16], 16) + KEPT_S * 1000
    assert len(audited(database, nothing, ends, now_ms=expiry_ms)[1]) == 0
    assert 0 < len(audited(database, nothing, ends, now_ms=expiry_ms - 120_000)[1]) < len(missed)
