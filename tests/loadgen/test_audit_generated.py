"""Views that the auditor has no definition of, recounted as they are declared."""

from __future__ import annotations

import random
from dataclasses import replace

import duckdb

from loadgen import audit_views
from loadgen.audit_sql import COLUMNS
from loadgen.audit_strict import TYPES
from tests.loadgen.audit_tables import PARTS, load, recounted
from tests.loadgen.audit_walk import T0, Record
from tests.loadgen.own_views import OWN, OWN_LIVE, OWN_SESSIONS
from topologies.bins import bin_of
from topologies.view import parts_of

HOUR, DAY = T0, T0 - T0 % 86_400_000


def test_a_built_in_view_made_from_its_declaration_has_the_same_cells(database: duckdb.DuckDBPyConnection) -> None:
    chosen, records = random.Random(7), []
    for number in range(400):
        rts = T0 + number * 5_000
        records.append(
            Record(
                rts, rts - chosen.choice([0, 0, 70_000]), chosen.randrange(20), number, chosen.choice(TYPES), chosen.choice(["tt1", "tt2"]),
                watched_ms=chosen.choice([None, 9_000]), stall_ms=chosen.choice([None, 400]), fatal=chosen.choice([None, True]),
                cdn=chosen.choice([None, "c1"]), startup_ms=chosen.choice([None, 5, 700]), bitrate_kbps=chosen.choice([None, 800]),
                position_s=chosen.randrange(30), runtime_s=10,
            )
        )  # fmt: skip
    load(database, records)
    corrected = tuple(replace(part, logic_version=2) for part in PARTS)
    own, made = recounted(database, 390), recounted(database, 390, corrected)
    assert {cell[0] for cell in own} == {part.name for part in PARTS}
    assert made == own
    assert all(audit_views.is_independent(part) for part in PARTS)
    assert not any(audit_views.is_independent(part) for part in (*corrected, *OWN.parts))


def test_every_kind_of_measure_of_an_own_view(database: duckdb.DuckDBPyConnection) -> None:
    records = [
        Record(T0, T0, 0, 0, "error", fatal=True, kind="film", stalls=3, stall_ms=70, bitrate_kbps=0, position_s=0),
        Record(T0, T0, 0, 1, "play_start", kind="film", dropped_frames=4, bitrate_kbps=9, watched_ms=0),
        Record(T0, T0 - 1, 0, 2, "error", fatal=True, stall_ms=71, position_s=5, watched_ms=7),
        Record(T0, T0, 0, 3, "stop", kind="film", watched_ms=64, position_s=8),
        Record(T0 + 7_200_000, T0 + 7_200_000, 0, 4, "pause", kind="film"),
    ]
    load(database, records)
    found = recounted(database, len(records), OWN.parts)
    hour = {(part, key.replace("\x1f", "/")): values for (part, window, start, _, key), values in found.items() if start == HOUR}
    hour |= {
        (part, "before"): values
        for (part, window, start, _, key), values in found.items()
        if (window, start) == ("hour", HOUR - 3_600_000) and not key
    }
    weight = round(65_536 * 2 ** ((T0 + 7_200_000 - DAY) // 60_000 / 120))
    assert found["own", "hour", T0 + 7_200_000, 1, ""] == [1, 0, 0, 0, 0, 0, weight]
    assert hour == {
        ("own", "film/eu"): [3, 1, 1, 0, 4, 210, 0],
        ("own", ""): [3, 1, 1, 0, 4, 210, 0],
        ("own", "before"): [1, 1, 0, 1, 0, 0, 0],
        ("own.stalled", f"film/eu/{bin_of(70)}"): [1],
        ("own.stalled", f"{bin_of(70)}"): [1],
        ("own.played", f"film/eu/{bin_of(64)}"): [1],
        ("own.played", f"{bin_of(64)}"): [1],
        ("own.best", "film/eu"): [10],
        ("own.best", ""): [10],
        ("own.shortest", "film/eu"): [1],
        ("own.shortest", ""): [1],
        ("own.shortest", "before"): [8],
        ("own.where", "film/eu"): [T0 + 1, 4, 9],
        ("own.where", ""): [T0 + 1, 4, 9],
        ("own.where", "before"): [T0, 3, 6],
    }


def test_sessions_and_who_is_live_by_other_dimensions(database: duckdb.DuckDBPyConnection) -> None:
    records = [
        Record(T0, T0, 0, 0, "play_start", cdn="c1"),
        Record(T0 + 1_000, T0 + 1_000, 1, 0, "play_start"),
        Record(T0 + 4_000, T0 + 4_000, 0, 1, "stop", cdn="c2"),
        Record(T0 + 5_000, T0 + 5_000, 0, 2, "resume", cdn="c2"),
        Record(T0 + 6_000, T0 + 6_000, 2, 0, "stop", device="phone"),
    ]
    parts = parts_of((OWN_SESSIONS, OWN_LIVE))
    load(database, records, parts)
    found = {(part, key.replace("\x1f", "/")): values for (part, _, _, _, key), values in recounted(database, len(records), parts).items()}
    assert found == {
        ("own_sessions", "phone"): [1, 0],
        ("own_sessions", ""): [1, 0],
        ("own_sessions.length", "phone/0"): [1],
        ("own_sessions.length", "0"): [1],
        ("own_live", "c2/eu"): [1],
        ("own_live", "/eu"): [1],
        ("own_live", ""): [2],
    }


def test_only_the_columns_that_a_view_is_made_of_are_asked_for() -> None:
    assert audit_views.asked_by(OWN.parts) == {
        *("title_kind", "region", "dropped_frames", "stalls", "stall_ms", "watched_ms", "bitrate_kbps", "position_s")
    }
    assert audit_views.asked_by(OWN_SESSIONS.parts) >= {"position_s", "runtime_s"}
    assert audit_views.asked_by(parts_of((*PARTS, OWN, OWN_LIVE))) <= set(COLUMNS)
