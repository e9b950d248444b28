"""What is shown while events are driven: a panel on a terminal, lines that tell something new elsewhere, JSON for machines."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from marquee.moment import Driven, Moment
from marquee.screen import Screen, picture
from marquee.watching import Snapshot
from topologies.sources import Source, SourceStatus

STATUS = SourceStatus(Source("local", "t", "A" * 22, 0), 90, 1_000, 0, 80, 70, 6, 3, 1)
SEEN = Snapshot({"s": STATUS}, 41, (("t00001", 7), ("t00002", 5)), ((("t00001", "eu"), 3_600_000),), {"worker-0": 8})
DRIVEN = Driven(wanted=200, sent=120, acknowledged=100, intended_rate=50.0, rate=40.0)
COUNTED = {"received": 80, "applied": 70, "duplicate": 6, "late": 3, "dead": 1}
MOMENT = Moment(1_767_225_600_000, DRIVEN, COUNTED, 20, 900.0, 240.0, 610.0, {"worker-0": 8}, 41, SEEN)


def shown(moment: Moment) -> str:
    """The panel as text."""
    written = StringIO()
    Console(file=written, width=160).print(picture("demo", DRIVEN, moment))
    return written.getvalue()


def test_the_panel_has_progress_backlog_freshness_accounting_against_what_was_sent_and_the_views() -> None:
    for words in (
        "100 of 200 acknowledged (50 %)",
        "40 ev/s of 50 intended",
        "2 s to go",
        "20 records of the log are not in Redis",
        "p50 0.24 s, p99 0.61 s; what is shown is 0.9 s old",
        "1: partitions worker-0 with 8",
        "received 80 of 100 acknowledged = applied 70 + duplicate 6 + late 3 + dead 1",
        "watching now: 41",
    ):
        assert words in shown(MOMENT)
    assert "t00001  eu" in shown(MOMENT).replace("   ", "  ")


def test_what_is_not_known_is_not_made_up() -> None:
    away = shown(Moment(MOMENT.at_ms, DRIVEN))
    assert "100 of 200 acknowledged" in away
    assert "received" not in away
    words = shown(replace(MOMENT, backlog=None, p50_ms=None, p99_ms=None, behind_ms=None, workers={}, seen=None))
    assert "not known" in words
    assert "nothing new" in words
    assert "none is heard of" in words


def test_elsewhere_a_line_is_said_only_when_it_tells_something_new(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("demo") as screen:
        for _ in range(3):
            screen.show(DRIVEN, MOMENT)
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert "41 viewers; top t00001 with 7" in said.err


def test_for_machines_every_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("demo", "json") as screen:
        screen.say("sending …")
        for rate in (40.0, 40.0, 41.0):
            screen.show(DRIVEN, replace(MOMENT, driven=replace(DRIVEN, rate=rate)))
    said, first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert said == {"message": "sending …"}
    assert (first["rate"], second["rate"]) == (40.0, 41.0)
    assert first["at"] == "2026-01-01T00:00:00.000Z"
    assert (first["title"], first["backlog"], first["freshness_p99_ms"]) == ("demo", 20, 610.0)
    assert {name: first[name] for name in COUNTED} == COUNTED


def test_with_none_only_what_is_said_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("demo", "none") as screen:
        screen.say("kept")
        screen.show(DRIVEN, MOMENT)
    assert capsys.readouterr().err == "kept\n"


def test_once_all_is_sent_it_says_what_is_still_to_come() -> None:
    waiting = Driven(200, 200, 200, 50.0, 0.0, waiting_for="5 records to reach Redis, 9 Cassandra")
    assert waiting.line() == "200 acknowledged; waiting for 5 records to reach Redis, 9 Cassandra"
