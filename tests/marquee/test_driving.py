"""Driving events from the command line, as a machine follows it: a JSON object a line, a document at the end, and a report; and trying how
much a system sustains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from cluster.process import wait_until
from connectors.kafka import ensure_topics
from loadgen.ledger import open_run
from loadgen.run_log import content_of
from marquee.capacity import System, own_systems
from serving.overview import look
from tests.conftest import soon_stored
from tests.loadgen.test_replay import MAP, ROWS
from tests.marquee.running import document, marquee
from topologies.settings import Settings

RATE = 300
SECONDS = 3


@pytest.fixture(scope="module")
def system(shared_settings: Settings) -> Iterator[System]:
    """One worker that is heard of, as `marquee capacity --workers 1 --cluster` starts it."""
    with closing(own_systems(soon_stored(shared_settings), [1], given=True, say=lambda _: None)) as systems:
        system = next(systems)
        assert wait_until(lambda: bool(look(system.settings).workers()), 120)
        yield system


def lines(stderr: str) -> list[dict[str, Any]]:
    """What was said of the run's course, line by line."""
    return [line for line in map(json.loads, stderr.splitlines()) if "message" not in line]


def shown(file: Path) -> dict[str, Any]:
    """What stands in the report of that file."""
    page = file.read_text()
    found: dict[str, Any] = json.loads(page.partition('id="report">')[2].partition("</script>")[0])
    return found


def test_a_live_load_is_followed_until_redis_has_it(system: System, tmp_path: Path) -> None:
    load = ("load", "--rate", str(RATE), "--duration", str(SECONDS), "--processes", "1", "--progress", "json", "--json")
    ran = marquee(tmp_path, *load, "--run", "first", environment=system.settings.environment())
    found, last = document(ran), lines(ran.stderr)[-1]
    assert found["acknowledged"] == RATE * SECONDS
    assert last.keys() >= {"at", "rate", "intended_rate", "freshness_p50_ms", "freshness_p99_ms", "behind_ms", "viewers", "late_sends"}
    assert last["wanted"] == RATE * SECONDS
    assert last["received"] == last["applied"] + last["duplicate"] + last["late"] + last["dead"]
    assert last["workers"] in ({}, {"worker-0": 8})  # heard of, unless the machine stood still
    report = Path(found["report"])
    assert report == Path(found["path"]) / "report.html"
    told = shown(report)
    assert told["title"] == "load first"
    assert {chart["label"] for chart in told["charts"]} >= {"Rate", "Backlog", "Accounting", "Viewers"}
    assert told["tables"][0]["rows"][0][:2] == ["received", RATE * SECONDS]


def test_what_a_running_system_sustains_is_found_and_drawn(system: System, tmp_path: Path) -> None:
    chart = tmp_path / "capacity.svg"
    short = ("--from", "400", "--duration", "6", "--most", "1", "--p99", "3600", "--chart", str(chart), "--json")
    ran = marquee(tmp_path, "capacity", *short, environment=system.settings.environment(), timeout_s=500)
    assert ran.returncode in (0, 1), ran.stderr
    (found,) = json.loads(ran.stdout)["capacity"]
    first = found["trials"][0]
    assert found["workers"] == 1
    assert first["events"] > 0
    assert first["cpu_s"] > 0
    assert found["rate"] == (0 if first["gave_out"] else 400)  # a machine that stood still sustained nothing
    assert found["as_precise_as_wanted"] is False
    assert ET.fromstring(chart.read_text()).tag == "{http://www.w3.org/2000/svg}svg"
    assert system.cpu_s is not None
    assert system.cpu_s() > 0


def test_a_replay_is_driven_the_same_way_and_its_report_goes_where_it_is_wanted(settings: Settings, tmp_path: Path) -> None:
    ensure_topics(settings)
    (tmp_path / "small.toml").write_text(MAP)
    (tmp_path / "small.ndjson").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    file = tmp_path / "replayed.html"
    replay = ("replay", "small.ndjson", "--map", "small.toml", "--speed", "20", "--progress", "lines", "--report", str(file))
    ran = marquee(tmp_path, *replay, environment=settings.environment())
    assert ran.returncode == 0, ran.stderr
    assert f"report: {file}" in ran.stderr
    assert shown(file)["title"].startswith("replay ")


def test_a_backfill_that_no_worker_reads_is_not_waited_for_and_is_found_by_its_hash(settings: Settings, tmp_path: Path) -> None:
    environment = settings.environment()
    load = ("load", "--backfill", "1h", "--events", "500", "--run", "past", "--processes", "1", "--progress", "none", "--json")
    ran = marquee(tmp_path, *load, environment=environment)
    assert document(ran)["acknowledged"] == 500
    assert "acknowledged" not in ran.stderr
    content = content_of(settings, open_run(settings, "past"))
    hashed = document(marquee(tmp_path, "hash", "past", "--json", environment=environment))
    assert hashed == {"run": "past", "records": 500, "keys": content.keys, "hash": content.digest}
    resumed = marquee(tmp_path, "load", "--resume", "past", "--progress", "none", environment=environment)
    assert resumed.returncode == 2
    assert "nothing is left to resume" in resumed.stderr
