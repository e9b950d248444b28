"""Driving events from the command line, as a machine follows it: a JSON object a line, a document at the end, and a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.supervisor import Workers
from connectors.kafka import ensure_topics
from tests.loadgen.test_replay import MAP, ROWS
from tests.marquee.running import document, marquee
from topologies.settings import Settings

RATE = 300
SECONDS = 3


def lines(stderr: str) -> list[dict[str, Any]]:
    """What was said of the run's course, line by line."""
    return [line for line in map(json.loads, stderr.splitlines()) if "message" not in line]


def shown(file: Path) -> dict[str, Any]:
    """What stands in the report of that file."""
    page = file.read_text()
    found: dict[str, Any] = json.loads(page.partition('id="report">')[2].partition("</script>")[0])
    return found


def test_a_live_load_is_followed_until_redis_has_it(settings: Settings, tmp_path: Path) -> None:
    ensure_topics(settings)
    load = ("load", "--rate", str(RATE), "--duration", str(SECONDS), "--run", "first", "--progress", "json", "--json")
    with Workers(settings, 1, tmp_path) as workers:
        workers.wait_ready()
        ran = marquee(tmp_path, *load, environment=settings.environment())
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


@pytest.mark.parametrize("progress", ["json", "none"])
def test_a_backfill_that_no_worker_reads_is_not_waited_for(settings: Settings, tmp_path: Path, progress: str) -> None:
    load = ("load", "--backfill", "1h", "--events", "500", "--run", "past", "--progress", progress, "--json")
    ran = marquee(tmp_path, *load, environment=settings.environment())
    assert document(ran)["acknowledged"] == 500
    if progress == "json":
        assert all(isinstance(json.loads(line), dict) for line in ran.stderr.splitlines())
    else:
        assert "acknowledged" not in ran.stderr
