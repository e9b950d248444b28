"""The SQL recount of the views against a walk through the log that keeps every session and looks at each whole minute."""

from __future__ import annotations

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import audit_views
from loadgen.audit_strict import TYPES
from tests.loadgen.audit_tables import load, recounted
from tests.loadgen.audit_walk import T0, Record, walked

TITLES = ("tt1", "tt2")


steps = st.sampled_from([0, 0, 1_000, 10_000, 10_000, 20_000, 29_999, 30_000, 30_001, 60_000, 200_000, 1_000_000, -5_000, -70_000])
skews = st.sampled_from([0, 0, 0, 0, -1_000, 50_000, 60_001, -59_999, -60_000, -60_001, -500_000, -1_000_000])
events = st.builds(
    Record,
    rts=st.just(0),
    ts=st.just(0),
    sid=st.integers(0, 2),
    seq=st.one_of(st.integers(0, 12), st.just(0)),
    type=st.sampled_from(TYPES),
    title=st.sampled_from(TITLES),
    region=st.sampled_from(("eu", "us")),
    device=st.sampled_from(("tv", "phone")),
    watched_ms=st.sampled_from([None, 0, 10_000]),
    stall_ms=st.sampled_from([None, 0, 500]),
    fatal=st.sampled_from([None, False, True]),
    cdn=st.sampled_from([None, "c1"]),
    app=st.sampled_from([None, "a1"]),
    startup_ms=st.sampled_from([None, 0, 63, 64, 127, 128, 129, 4_000, 86_400_000]),
    bitrate_kbps=st.sampled_from([None, 0, 10_000_000]),
    stalls=st.sampled_from([None, 2]),
    position_s=st.sampled_from([None, 0, 5, 9, 10, 18, 20]),
    runtime_s=st.sampled_from([None, None, 0, 20, 21]),
)


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    now, records = T0 + draw(st.sampled_from([0, 1, 59_999])), []
    for event in draw(st.lists(events, max_size=25)):
        now = now + draw(steps)
        ts = None if draw(st.integers(0, 7)) == 0 else now + draw(skews)
        records.append(Record(**{**event.__dict__, "rts": now, "ts": ts}))
    return records


@settings(max_examples=80, deadline=None)
@given(records=logs(), cut=st.integers(0, 25))
def test_the_sql_recount_of_the_views_equals_the_walk(database: duckdb.DuckDBPyConnection, records: list[Record], cut: int) -> None:
    load(database, records)
    for offset in {min(cut, len(records)), len(records)}:
        walk = walked(records, offset)
        assert recounted(database, offset) == walk.answer()
        status = audit_views.status_at(database, offset)
        assert (status.clock_ms, status.applied, status.duplicate) == (walk.clock, walk.classes["applied"], walk.classes["duplicate"])
        assert (status.late, status.dead, status.received) == (walk.classes["late"], walk.classes["dead"], walk.classes.total())
        assert status.watermark_ms == max(walk.max_ts, walk.clock - 60_000, -1)


def test_a_viewer_is_sampled_at_the_minute_and_leaves_by_the_clock(database: duckdb.DuckDBPyConnection) -> None:
    records = [
        Record(T0 + 31_000, T0 + 31_000, 0, 0, "play_start"),
        Record(T0 + 60_000, T0 + 60_000, 1, 0, "play_start", "tt2"),  # moves the clock to the minute: not in its sample
        Record(T0 + 61_000, None),  # tick: session 0 is 30 s old and gone
    ]
    load(database, records)
    cells = {
        (window, start, key) for view, window, start, grouping, key in recounted(database, 3) if (view, grouping) == ("concurrents", 0)
    }
    assert ("minute", T0 + 60_000, "tt1") in cells
    assert ("minute", T0 + 60_000, "tt2") not in cells
    assert ("live", 0, "tt2") in cells
    assert ("live", 0, "tt1") not in cells


def test_the_state_of_a_forgotten_session_does_not_count_for_its_new_life(database: duckdb.DuckDBPyConnection) -> None:
    later = T0 + 2_000_000
    records = [Record(T0, T0, 0, 500, "stop", "tt1"), Record(later, later, 0, 2, "heartbeat", "tt2")]
    load(database, records)
    live = {key for (_, window, _, grouping, key) in recounted(database, 2) if window == "live" and grouping == 0}
    assert live == {"tt2"}


def test_only_the_audited_runs_records_count_as_its_own(database: duckdb.DuckDBPyConnection) -> None:
    load(database, [Record(T0, T0, 0, 0), Record(T0, T0, 1, 0), Record(T0, T0, 1, 0), Record(T0, None)])
    assert audit_views.status_at(database, 4, mine=True).received == 1
    assert audit_views.status_at(database, 4).received == 3
