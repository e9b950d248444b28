"""The ledger: written whole or not at all, read while it grows, merged at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from loadgen.ledger import (
    FAULT_SCHEMA,
    SEND_SCHEMA,
    SENT_SCHEMA,
    PartitionSpan,
    Run,
    Stretch,
    create_run,
    merge_parts,
    open_run,
    read_faults,
    read_sends,
    read_sent,
    records_of,
    reopen_run,
    runs,
    runs_directory,
    save_run,
    write_part,
)
from loadgen.load import options_of
from loadgen.measured import Delays, Measured
from topologies.errors import MarqueeError, UsageError
from topologies.settings import LocalSettings, Settings

MEASURED = Measured(
    sending_s=2.0, events_per_s=5.0, cpu_s=1.0, events_per_core_second=10.0, startup_cpu_s=2.0, broker_cpu_s=None, busiest_core_share=0.5,
    blocked_share=0.0, rss_mb=90.0, handed_over=Delays(1.0, 2.0, 3.0), confirmed=Delays(), late_share=0.0, bottleneck="",
    ceiling_events_per_s=20.0,
)  # fmt: skip


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(local=LocalSettings(directory=str(tmp_path)))


def run_named(here: Settings, name: str, started_ms: int = 5) -> Run:
    return Run(
        name=name,
        path=runs_directory(here) / name,
        tag="tag",
        kind="load",
        state="running",
        live=True,
        topic="viewing-events",
        topic_id="x" * 22,
        seed=1,
        options={"events": 3},
        started_ms=started_ms,
        ended_ms=0,
        span_start_ms=1,
        span_end_ms=2,
        partitions=(PartitionSpan(0, 7, -1, 5),),
        processes=2,
        stretches=(Stretch(5, 1, (0,)), Stretch(9, 3, (4,))),
        measured=MEASURED,
    )


def sent(session: str, events: int, first_ts: int, last_ts: int) -> pl.DataFrame:
    numbers = dict.fromkeys(SENT_SCHEMA, 0) | {"events": events, "watched_ms": 10 * events, "first_ts": first_ts, "last_ts": last_ts}
    texts = {"session": session, "account": "tag-1", "profile": "p1", "title": "t", "region": "r", "device": "tv"}
    return pl.DataFrame([numbers | texts], schema=SENT_SCHEMA)


def test_a_run_is_read_as_it_was_written(here: Settings) -> None:
    run = run_named(here, "first")
    create_run(run)
    assert open_run(here, "first") == run
    changed = replace(run, state="finished", generated=9, faults={"late": 2})
    save_run(changed)
    assert open_run(here, "first") == changed


def test_runs_come_by_their_start(here: Settings) -> None:
    for name, started in (("b", 3), ("a", 9), ("c", 1)):
        create_run(run_named(here, name, started))
    assert [run.name for run in runs(here)] == ["c", "b", "a"]


def test_a_name_is_used_once(here: Settings) -> None:
    create_run(run_named(here, "twice"))
    with pytest.raises(UsageError, match="already"):
        create_run(run_named(here, "twice"))


def test_a_run_that_is_not_there_is_said(here: Settings) -> None:
    with pytest.raises(UsageError, match="no run"):
        open_run(here, "nowhere")


def test_a_broken_ledger_is_said(here: Settings) -> None:
    run = run_named(here, "broken")
    create_run(run)
    whole = (run.path / "run.json").read_text()
    for broken in ("{", "[]", whole.replace('"generated": 0', '"generated": "many"'), whole.replace('"stretches": [', '"stretches": [7,')):
        assert broken != whole
        (run.path / "run.json").write_text(broken)
        with pytest.raises(MarqueeError, match="cannot be read"):
            open_run(here, "broken")
    save_run(replace(run, stretches=(Stretch(5, 1, (0, 0)),)))
    with pytest.raises(MarqueeError, match="contradicts itself"):
        open_run(here, "broken")
    with pytest.raises(MarqueeError, match="options: Expected `int"):
        options_of(replace(run, options={"events": "x"}))


def test_a_name_that_leads_elsewhere_is_refused(here: Settings) -> None:
    create_run(run_named(here, "here"))
    for name in ("../runs/here", "", ".", "/here"):
        with pytest.raises(UsageError, match="no name of a run"):
            open_run(here, name)


def test_a_sessions_rows_become_one_before_and_after_the_merge(here: Settings) -> None:
    run = run_named(here, "merged")
    create_run(run)
    assert read_sent(run).height == 0
    write_part(run.path, "sent", 0, 0, sent("s1", 3, 100, 200))
    write_part(run.path, "sent", 0, 1, sent("s1", 2, 50, 150))
    write_part(run.path, "sent", 1, 0, sent("s2", 0, 0, 0))
    write_part(run.path, "faults", 0, 0, pl.DataFrame([("late", "", "tag-1", "s2", 4, 1)], schema=FAULT_SCHEMA, orient="row"))
    growing = read_sent(run)
    merge_parts(run.path)
    merge_parts(run.path)
    assert read_sent(run).equals(growing)
    assert growing.select("session", "events", "watched_ms", "first_ts", "last_ts").rows() == [("s1", 5, 50, 50, 200), ("s2", 0, 0, 0, 0)]
    assert read_faults(run).rows() == [("late", "", "tag-1", "s2", 4, 1)]
    assert not run.parts.exists()


def test_a_second_stretchs_parts_are_added_to_what_is_there(here: Settings) -> None:
    run = run_named(here, "resumed")
    create_run(run)
    rows = [(stretch, 0, 0, first, count, count, 100, 200, 210, 0) for stretch, first, count in ((0, 0, 3), (0, 3, 1), (1, 4, 2))]
    write_part(run.path, "sends", 0, 0, pl.DataFrame(rows[:2], schema=SEND_SCHEMA, orient="row"))
    merge_parts(run.path)
    assert records_of(run) == {0: 4}
    reopen_run(run)
    write_part(run.path, "sends", 0, 0, pl.DataFrame(rows[2:], schema=SEND_SCHEMA, orient="row"))
    assert read_sends(run).rows() == rows
    merge_parts(run.path)
    assert read_sends(run).rows() == rows
    assert records_of(run) == {0: 6}
