"""Each view's recount on a few records of which the cells are plain to see."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest

from tests.loadgen.audit_tables import PARTS, load, recounted
from tests.loadgen.audit_walk import T0, Record
from topologies.bins import bin_of
from topologies.playbacks import MOST_RUNS
from topologies.quality import QUALITY

DAY0 = T0 - T0 % 86_400_000
MINUTE = 60_000
Cells = dict[tuple[str, int, str], list[int]]


def cells_of(database: duckdb.DuckDBPyConnection, records: list[Record], family: str, offset: int | None = None) -> Cells:
    """The view's cells after these records, or those below `offset`: (part and window, start, key) → values."""
    load(database, records)
    parts = tuple(part for part in PARTS if part.family == family)
    found = recounted(database, len(records) if offset is None else offset, parts)
    return {(f"{part} {window}", start, key.replace("\x1f", "/")): values for (part, window, start, _, key), values in found.items()}


def test_a_play_weighs_twice_as_much_six_hours_later(database: duckdb.DuckDBPyConnection) -> None:
    at = [DAY0, DAY0 + 59_999, DAY0 + 6 * 60 * MINUTE, DAY0 + 1439 * MINUTE]
    records = [Record(ts, ts, sid, 0, "play_start") for sid, ts in enumerate(at)]
    records += [Record(at[-1], at[-1], 9, 0, "play_request", "tt2")]
    last = round(65_536 * 2 ** (1439 / 360))
    assert cells_of(database, records, "trending") == {
        **{("trending minute", at[0], key): [2, 131_072] for key in ("tt1", "eu/tt1")},
        **{("trending minute", at[2], key): [1, 131_072] for key in ("tt1", "eu/tt1")},
        **{("trending minute", at[3], key): [1, last] for key in ("tt1", "eu/tt1")},
        **{("trending day", DAY0, key): [4, 262_144 + last] for key in ("tt1", "eu/tt1")},
    }


def test_a_fatal_error_is_a_start_failure_until_a_first_frame_was_applied(database: duckdb.DuckDBPyConnection) -> None:
    later = T0 + 20 * MINUTE
    records = [
        Record(T0, T0, 0, 5, "error", fatal=True),  # nothing has come before it
        Record(T0, T0, 0, 6, "play_start"),
        Record(T0, T0, 0, 4, "error", fatal=True),  # applied after the first frame, whatever its seq
        Record(T0, T0, 0, 7, "error", fatal=False),
        Record(T0, T0, 0, 7, "error", fatal=True),  # a duplicate
        Record(later, later, 0, 8, "error", fatal=True),  # of a new life, that has no first frame
    ]
    assert cells_of(database, records, "quality") == {
        ("quality minute", T0, "/eu/tv/"): [0, 1, 1, 1, 0, 0, 0, 0],
        ("quality minute", later, "/eu/tv/"): [0, 0, 1, 0, 0, 0, 0, 0],
    }


def test_quality_sums_time_stalls_and_bits_where_the_event_was(database: duckdb.DuckDBPyConnection) -> None:
    play = Record(T0, T0, 0, 0, "heartbeat", cdn="c1", app="a1", watched_ms=9_000, bitrate_kbps=4_000, stall_ms=250, stalls=2)
    records = [play, replace(play, seq=1, bitrate_kbps=None), replace(play, seq=2, app=None, watched_ms=None)]
    assert cells_of(database, records, "quality") == {
        ("quality minute", T0, "c1/eu/tv/a1"): [0, 0, 0, 0, 18_000, 500, 4, 36_000_000],
        ("quality minute", T0, "c1/eu/tv/"): [0, 0, 0, 0, 0, 250, 2, 0],
    }


def test_a_sum_of_the_greatest_events_stops_at_its_bound(database: duckdb.DuckDBPyConnection) -> None:
    """The fold's stops at the same event (tests/topologies/test_sums.py)."""
    play = Record(T0, T0, 0, 0, "heartbeat", watched_ms=86_400_000, bitrate_kbps=10_000_000)
    records = [replace(play, sid=at // 1000, seq=at % 1000) for at in range(10_677)]
    load(database, records)
    for upto, bits in ((10_675, 10_675 * 864 * 10**12), (10_676, 2**63 - 1), (10_677, 2**63 - 1)):
        for view in (QUALITY, replace(QUALITY, logic_version=2)):  # as it is defined, and as it is declared
            found = recounted(database, upto, view.parts[:1])
            assert list(found.values()) == [[0, 0, 0, 0, upto * 86_400_000, 0, 0, bits]]


def test_only_a_first_frame_that_says_how_long_it_took_has_a_bin(database: duckdb.DuckDBPyConnection) -> None:
    took = [0, 63, 64, 65, 66, None]
    records = [Record(T0, T0, sid, 0, "play_start", startup_ms=each) for sid, each in enumerate(took)]
    records.append(Record(T0, T0, 9, 0, "heartbeat", startup_ms=7))
    found = cells_of(database, records, "quality")
    assert {key: values for key, values in found.items() if key[0] == "quality.startup minute"} == {
        ("quality.startup minute", T0, "/eu/tv//0"): [1],
        ("quality.startup minute", T0, "/eu/tv//63"): [1],
        ("quality.startup minute", T0, "/eu/tv//64"): [2],
        ("quality.startup minute", T0, "/eu/tv//65"): [1],
    }


def test_a_session_is_over_when_it_ended_or_the_watermark_is_ten_minutes_past_its_last_event(database: duckdb.DuckDBPyConnection) -> None:
    records = [
        Record(T0, T0, 0, 0, "play_start"),
        Record(T0 + 5_999, T0 + 5_999, 0, 1, "stop"),
        Record(T0 + 6_000, T0 + 6_000, 1, 0, "play_request", device="phone"),
        Record(T0 + 666_000, None),  # the watermark is a minute behind: at ten minutes, not past them
        Record(T0 + 666_001, None),
    ]
    ended = {("sessions hour", T0, "tt1/tv"): [1, 1, 0, 0, 0], ("sessions.length hour", T0, "tt1/tv/5"): [1]}
    closed = {("sessions hour", T0, "tt1/phone"): [1, 0, 1, 0, 1], ("sessions.length hour", T0, "tt1/phone/0"): [1]}
    assert cells_of(database, records, "sessions", 1) == {}
    assert cells_of(database, records, "sessions", 4) == ended
    assert cells_of(database, records, "sessions", 5) == ended | closed


def test_a_session_that_goes_on_is_taken_back_and_counts_where_it_was_last(database: duckdb.DuckDBPyConnection) -> None:
    hour = 3_600_000
    records = [
        Record(T0 + hour - 2_000, T0 + hour - 2_000, 0, 0, "play_start"),
        Record(T0 + hour - 1_000, T0 + hour - 1_000, 0, 1, "stop"),
        Record(T0 + hour + 700_000, T0 + hour + 700_000, 0, 2, "resume", "tt2"),
        Record(T0 + hour + 701_000, T0 + hour + 699_000, 0, 3, "finish", "tt2", device="phone"),
        Record(T0 + hour + 3_000_000, T0 + hour + 3_000_000, 0, 9, "stop"),  # a new life
    ]
    last = T0 + hour
    assert cells_of(database, records, "sessions", 2)["sessions hour", T0, "tt1/tv"] == [1, 1, 0, 0, 0]
    assert cells_of(database, records, "sessions", 3) == {}
    assert cells_of(database, records, "sessions") == {
        ("sessions hour", last, "tt2/phone"): [1, 1, 0, 0, 0],
        ("sessions.length hour", last, f"tt2/phone/{bin_of(702)}"): [1],
        ("sessions hour", last, "tt1/tv"): [1, 1, 0, 0, 1],
        ("sessions.length hour", last, "tt1/tv/0"): [1],
    }


@pytest.mark.parametrize(
    ("stretches", "runtime_s", "complete"),
    [
        ([(10, 10_000), (90, 80_999)], 100, 1),
        ([(10, 10_000), (90, 79_999)], 100, 0),
        ([(60, 60_000), (60, 60_000), (60, 60_000)], 100, 0),  # the same minute again and again
        ([(90, 40_000), (50, 50_000)], 100, 1),  # backwards
        ([(95, 50_000), (50, 50_000), (30, 20_000)], 100, 1),  # one within another
        ([(90, 100_000)], 100, 1),  # from the beginning at the most
        ([(100, 999), (None, 100_000)], 100, 0),
        ([(100, 100_000)], 0, 0),
        ([(100, 100_000)], None, 0),
    ],
)
def test_a_session_is_complete_when_it_has_seen_nine_tenths_of_the_title(
    database: duckdb.DuckDBPyConnection, stretches: list[tuple[int | None, int]], runtime_s: int | None, complete: int
) -> None:
    records = [
        Record(T0, T0, 0, seq, position_s=position_s, watched_ms=watched_ms, runtime_s=runtime_s)
        for seq, (position_s, watched_ms) in enumerate(stretches)
    ]
    records += [Record(T0, T0, 0, 9, "finish"), Record(T0, T0, 0, 8, "pause", runtime_s=runtime_s)]
    assert cells_of(database, records, "sessions")["sessions hour", T0, "tt1/tv"] == [1, 1, 0, complete, 1]


@pytest.mark.parametrize(
    ("pieces", "more", "complete"),
    [
        (MOST_RUNS, [], 1),
        (MOST_RUNS, [(1, 2), (2 * MOST_RUNS, 2 * MOST_RUNS + 1)], 1),
        (MOST_RUNS, [(2 * MOST_RUNS, 2 * MOST_RUNS + 1), (1, 2)], 0),
        (MOST_RUNS + 1, [(0, 3 * MOST_RUNS)], 0),
    ],
)
def test_a_session_that_saw_too_many_pieces_saw_nothing(
    database: duckdb.DuckDBPyConnection, pieces: int, more: list[tuple[int, int]], complete: int
) -> None:
    """As tests/topologies/test_spells.py has it of the fold."""
    seen = [*((2 * at, 2 * at + 1) for at in range(pieces)), *more]
    records = [Record(T0, T0, 0, seq, position_s=high, watched_ms=(high - low) * 1000) for seq, (low, high) in enumerate(seen)]
    records.append(Record(T0, T0, 0, len(seen), "stop", runtime_s=MOST_RUNS + 1))
    assert cells_of(database, records, "sessions")["sessions hour", T0, "tt1/tv"] == [1, 1, 0, complete, 1]
