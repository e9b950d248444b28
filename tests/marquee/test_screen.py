"""What is shown while events are driven: a picture on a terminal, lines that tell something new elsewhere."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from marquee.screen import Driven, Screen, picture
from marquee.watching import Snapshot
from topologies.sources import Source, SourceStatus

STATUS = SourceStatus(Source("local", "t", "A" * 22, 0), 90, 1_000, 0, 80, 70, 6, 3, 1)
SEEN = Snapshot({"s": STATUS}, 41, (("t00001", 7), ("t00002", 5)), ((("t00001", "eu"), 3_600_000),))
DRIVEN = Driven(wanted=200, sent=120, acknowledged=100, intended_rate=50.0, rate=40.0)


def test_the_picture_has_progress_lag_accounting_and_the_views() -> None:
    written = StringIO()
    Console(file=written, width=160).print(picture("demo", DRIVEN, SEEN))
    shown = written.getvalue()
    for words in (
        "100 of 200 acknowledged (50 %)",
        "40 ev/s of 50 intended",
        "2 s to go",
        "lag 20",
        "received 80",
        "duplicate 6",
        "watching now: 41",
    ):
        assert words in shown
    assert "t00001  eu" in shown.replace("   ", "  ")


def test_elsewhere_a_line_is_said_only_when_it_tells_something_new(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("demo") as screen:
        for _ in range(3):
            screen.show(DRIVEN, SEEN)
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert "41 viewers; top t00001 with 7" in said.err


def test_once_all_is_sent_it_says_what_is_still_to_come() -> None:
    waiting = Driven(200, 200, 200, 50.0, 0.0, waiting_for="5 records to reach Redis, 9 Cassandra")
    assert waiting.line() == "200 acknowledged; waiting for 5 records to reach Redis, 9 Cassandra"
