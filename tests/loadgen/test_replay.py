"""Recorded traces as events: the shipped ones whole, and small ones in every form and with every mistake."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from loadgen.crew import LoadProgress, finish_run
from loadgen.ledger import Run, open_run, read_sent
from loadgen.mapping import load_mapping, mapping_for
from loadgen.produce import FINAL_TICK_MS, TICK
from loadgen.replay import DELAY_MS, ReplayOptions, map_replay, run_replay
from loadgen.trace import open_trace
from tests.conftest import REPOSITORY
from tests.loadgen.test_load import log_of
from tests.traces import recorded
from topologies.errors import UsageError
from topologies.events import decode_event
from topologies.settings import Settings

YOUTUBE = "youtube_sessions_2015.csv.gz"
LUMOS = "lumos_chunks_2019-2021.csv.gz"
MAP = """
[let]
viewer = "coalesce(who, 'nobody')"
[fields]
session = "sid"
account = "viewer"
profile = "'p1'"
title = "title"
region = "'r'"
device = "'tv'"
[growing]
watched_ms = "w"
[[event]]
type = "play_start"
w = "0"
ts = "began"
[[event]]
type = "heartbeat"
repeat = "beats"
w = "(i + 1) * 10000"
ts = "began + w"
"""
ROWS: list[dict[str, Any]] = [
    {"sid": "s1", "who": "ann", "title": "x", "began": 1_000_000, "beats": 2},
    {"sid": "s2", "who": "bob", "title": "y", "began": 1_005_000, "beats": 1},
    {"sid": "s3", "who": "cat", "title": None, "began": 1_007_000, "beats": 1},
]


def silent(_: LoadProgress) -> None:
    pass


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(MAP)
    return path


def events_of(file: Path, mapping: Path, scratch: Path) -> tuple[list[dict[str, Any]], int]:
    """All events, and the number of unmapped rows."""
    with open_trace(file, load_mapping(mapping), scratch) as trace:
        return [event for page in trace.pages("tag") for event in page], trace.unmapped


@pytest.mark.parametrize(
    ("name", "rows", "sessions", "types"),
    [
        (YOUTUBE, 12_472, 12_472, {"play_request": 12_472, "play_start": 11_167, "error": 1_305, "stall": 16_848}),
        (LUMOS, 58_576, 590, {"play_request": 590, "play_start": 590, "heartbeat": 58_576, "stop": 590}),
    ],
)
def test_a_shipped_trace_makes_valid_events_only(
    bare_settings: Settings, tmp_path: Path, name: str, rows: int, sessions: int, types: dict[str, int]
) -> None:
    file = recorded(bare_settings, name)
    seen: Counter[str] = Counter()
    highest: dict[str, int] = {}
    with open_trace(file, mapping_for(file), tmp_path) as trace:
        assert (trace.rows, trace.unmapped) == (rows, 0)
        for page in trace.pages("tag"):
            for made in page:
                event = decode_event(orjson.dumps({"v": 1, **made}))
                assert event is not None
                assert event["seq"] == highest.get(event["session"], -1) + 1
                highest[event["session"]] = event["seq"]
                seen[event["type"]] += 1
    assert len(highest) == sessions
    assert {kind: seen[kind] for kind in types} == types


@pytest.mark.parametrize("form", ["csv", "csv.gz", "ndjson", "parquet"])
def test_a_trace_in_any_form_makes_the_same_events(tmp_path: Path, mapping: Path, form: str) -> None:
    file = tmp_path / f"trace.{form}"
    frame = pl.DataFrame(ROWS)
    if form == "parquet":
        frame.write_parquet(file)
    elif form == "ndjson":
        frame.write_ndjson(file)
    else:
        frame.write_csv(file, compression="gzip" if form.endswith("gz") else "uncompressed")
    events, unmapped = events_of(file, mapping, tmp_path)
    assert unmapped == 1
    assert [(e["session"], e["seq"], e["ts"], e["watched_ms"], e["account"]) for e in events] == [
        ("s1", 0, 1_000_000, 0, "tag-ann"),
        ("s2", 0, 1_005_000, 0, "tag-bob"),
        ("s1", 1, 1_010_000, 10_000, "tag-ann"),
        ("s2", 1, 1_015_000, 10_000, "tag-bob"),
        ("s1", 2, 1_020_000, 10_000, "tag-ann"),
    ]


def test_rows_that_cannot_be_mapped_are_counted(tmp_path: Path, mapping: Path) -> None:
    file = tmp_path / "trace.ndjson"
    bad = [
        {"sid": "", "who": "ann", "title": "x", "began": 1, "beats": 0},
        {"sid": "s4", "who": "ann", "title": "x" * 129, "began": 1, "beats": 0},
        {"sid": "s5", "who": "ann", "title": "x", "began": -1, "beats": 0},
        {"sid": "s6", "who": "a\tb", "title": "x", "began": 1, "beats": 0},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS[:2] + bad))
    events, unmapped = events_of(file, mapping, tmp_path)
    assert unmapped == 4
    assert {event["session"] for event in events} == {"s1", "s2"}


def test_a_line_that_is_no_row_is_counted(tmp_path: Path, mapping: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("sid,who,title,began,beats\ns1,ann,x,1000,0\ns2,bob,y,2000,0,too,many\ns3,cat,z,3000,0\n")
    events, unmapped = events_of(file, mapping, tmp_path)
    assert unmapped == 1
    assert [event["session"] for event in events] == ["s1", "s3"]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (ROWS[:2], ""),
        ([ROWS[0], {**ROWS[1], "title": "x" * 129}, ROWS[2]], f"row 2 would make a play_start whose title is '{'x' * 129}'"),
        ([ROWS[0], {**ROWS[1], "sid": None}], "row 2 would make a play_start whose session is absent"),
    ],
)
def test_why_a_row_makes_no_event_is_said(tmp_path: Path, mapping: Path, rows: list[dict[str, Any]], why: str) -> None:
    file = tmp_path / "trace.ndjson"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with open_trace(file, load_mapping(mapping), tmp_path) as trace:
        assert trace.why == why


def test_why_a_line_is_no_row_and_why_a_row_is_for_no_event_is_said(tmp_path: Path, mapping: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("sid,who,title,began,beats\ns1,ann,x,1000,0\ns2,bob,y,2000,0,too,many\n")
    with open_trace(file, load_mapping(mapping), tmp_path) as trace:
        assert trace.why.startswith("line 3 cannot be read: ")
    file.write_text("sid,who,title,began,beats\ns1,ann,x,1000,1\ns2,bob,y,2000,0\n")
    mapping.write_text(MAP.replace('type = "play_start"', 'type = "play_start"\nwhen = "beats > 0"'))
    with open_trace(file, load_mapping(mapping), tmp_path) as trace:
        assert (trace.unmapped, trace.why) == (1, "row 2 makes no event: no [[event]] is for it")


def test_the_documented_mapping_makes_the_documented_events(bare_settings: Settings, tmp_path: Path) -> None:
    blocks = dict(re.findall(r"```(csv|toml|json)\n(.*?)```", (REPOSITORY / "docs" / "replay.md").read_text(), re.DOTALL))
    trace, mapping = tmp_path / "mine.csv", tmp_path / "mine.toml"
    trace.write_text(blocks["csv"])
    mapping.write_text(blocks["toml"])
    mapped = map_replay(bare_settings, ReplayOptions(trace, mapping))
    told = [json.loads(line) for line in blocks["json"].splitlines()]
    assert [list(event.items()) for event in mapped.begins[: len(told)]] == [list(event.items()) for event in told]
    assert (mapped.rows, mapped.unmapped, mapped.why) == (3, 0, "")
    assert mapped.events == 10


def test_a_replay_that_keeps_its_times_writes_them(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(settings: Settings, run: Run) -> Run:
        time.sleep(1.1)  # more than the second after which a run that goes on is saved again
        return finish_run(settings, run)

    monkeypatch.setattr("loadgen.replay.finish_run", slowly)
    run = run_replay(settings, ReplayOptions(recorded(settings, LUMOS), keep_time=True), silent)
    assert (run.state, run.kind, run.live, run.unmapped) == ("finished", "replay", False, 0)
    assert open_run(settings, run.name) == run
    log = log_of(settings, run.topic)
    records = [record for record in log if record.value != TICK]
    assert len(records) == run.generated == run.acknowledged == read_sent(run)["events"].sum()
    watched = 0
    for record in records:
        event = decode_event(record.value)
        assert event is not None
        assert record.stamp_ms == event["ts"] + DELAY_MS
        assert event["account"].startswith(f"{run.tag}-")
        watched += event["watched_ms"] or 0
    assert watched == read_sent(run)["watched_ms"].sum()
    for partition in range(len(run.partitions)):
        stamps = [record.stamp_ms for record in log if record.partition == partition]
        assert stamps == sorted(stamps)
        assert stamps[-1] == run.span_end_ms + FINAL_TICK_MS


def test_a_replay_moved_to_now_keeps_intervals_by_its_speed(settings: Settings, tmp_path: Path, mapping: Path) -> None:
    file = tmp_path / "trace.ndjson"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    run = run_replay(settings, ReplayOptions(file, mapping, speed=10), silent)
    assert (run.generated, run.unmapped) == (5, 1)
    times = sorted(event["ts"] for record in log_of(settings, run.topic) if (event := decode_event(record.value)))
    assert [ts - run.span_start_ms for ts in times] == [0, 500, 1000, 1500, 2000]
    assert read_sent(run).select("session", "first_ts", "last_ts").sort("session").rows() == [
        ("s1", times[0], times[4]),
        ("s2", times[1], times[3]),
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[let]", "[let"), "TOML"),
        (('type = "heartbeat"', 'type = "beat"'), "none of"),
        (('device = "', 'devise = "'), "no field"),
        (("\"'p1'\"", "1"), "a text"),
        (('ts = "began"', 'ts = "no_such_column"'), "does not fit"),
        (('session = "sid"', ""), "makes no event"),
    ],
)
def test_a_wrong_mapping_is_said(bare_settings: Settings, tmp_path: Path, change: tuple[str, str], said: str) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(MAP.replace(*change))
    file = tmp_path / "trace.ndjson"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with pytest.raises(UsageError, match=said):
        run_replay(bare_settings, ReplayOptions(file, wrong), silent)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ReplayOptions(Path("nowhere.csv")), "no shipped mapping"),
        (ReplayOptions(Path("lumos_chunks_x.csv")), "no trace file"),
        (ReplayOptions(Path("lumos_chunks_x.csv"), map=Path("no.toml")), "no mapping file"),
        (ReplayOptions(Path("lumos_chunks_x.csv"), speed=0.0), "--speed"),
        (ReplayOptions(Path("lumos_chunks_x.csv"), speed=2.0, keep_time=True), "--speed"),
    ],
)
def test_wrong_options_are_said(bare_settings: Settings, options: ReplayOptions, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_replay(bare_settings, options, silent)
