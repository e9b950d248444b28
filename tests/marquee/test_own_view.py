"""A view that somebody else declares in one file: docs/own-view.md's, installed as it stands there, on a worker of a real cluster."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import httpx
import pytest

from cluster.supervisor import SERVE, Workers
from connectors.kafka import ensure_topics, partition_offsets
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load
from marquee.catching_up import catch_up
from tests.distributions import install
from tests.marquee.running import ROOT, document, marquee
from topologies.settings import Settings

EVENTS = 6_000
SPAN_S = 7_200.0
COLUMNS = ["stalls", "stall_ms", "watched_ms", "stalled_pct", "stall_count", "stall_p50", "stall_p90", "worst_ms"]


@dataclass
class Cell:
    """What the events of one row say: each one's stall, where it has one, and sums."""

    stalls: int = 0
    stall_ms: int = 0
    watched_ms: int = 0
    each_ms: list[int] = field(default_factory=list)

    def add(self, event: dict[str, Any]) -> None:
        self.stalls += event.get("stalls") or 0
        self.stall_ms += event.get("stall_ms") or 0
        self.watched_ms += event.get("watched_ms") or 0
        self.each_ms += [event["stall_ms"]] if event.get("stall_ms") is not None else []

    def agrees(self, row: dict[str, Any]) -> None:
        assert (row["stalls"], row["stall_ms"], row["watched_ms"]) == (self.stalls, self.stall_ms, self.watched_ms)
        assert row["stall_count"] == len(self.each_ms)
        assert row["worst_ms"] == max(self.each_ms, default=None)
        together = self.stall_ms + self.watched_ms
        assert row["stalled_pct"] == (round(100 * self.stall_ms / together, 4) if together else None)
        for name, percent in (("stall_p50", 50), ("stall_p90", 90)):
            exact = sorted(self.each_ms)[-(-percent * len(self.each_ms) // 100) - 1] if self.each_ms else None
            assert row[name] == (exact if exact is None else pytest.approx(exact, rel=1 / 64))


@pytest.fixture
def computing(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Settings of workers that compute the documented view and one more; processes that are started find it installed."""
    blocks = dict(re.findall(r"^```(python|toml)\n(.*?)^```$", (ROOT / "docs/own-view.md").read_text(), re.DOTALL | re.MULTILINE))
    project = tomllib.loads(blocks["toml"])["project"]
    install(tmp_path / "installed", "acme_views", blocks["python"], project["entry-points"]["marquee.views"])
    paths = [str(ROOT), str(tmp_path / "installed"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return replace(settings, worker=replace(settings.worker, views=("watch_time", "stalling")))


def events_of(settings: Settings, topic: str) -> Iterator[dict[str, Any]]:
    """Every event of the log, ticks left out."""
    ends = {partition: end for partition, (_, end) in partition_offsets(settings, topic).items()}
    consumer = ck.Consumer({"bootstrap.servers": settings.kafka.bootstrap, "group.id": "own-view", "enable.auto.commit": False})
    try:
        consumer.assign([ck.TopicPartition(topic, partition, 0) for partition in ends])
        left = sum(ends.values())
        while left:
            for message in consumer.consume(left, 10.0):
                assert message.error() is None
                left -= 1
                event = json.loads(message.value() or b"")
                if event["type"] != "tick":
                    yield event
    finally:
        consumer.close()


def test_a_view_in_one_file_is_folded_stored_queried_served_listed_and_audited(computing: Settings, tmp_path: Path) -> None:
    ensure_topics(computing)
    with Workers(computing, 1, tmp_path) as workers:
        workers.wait_ready()
        run = run_load(computing, LoadOptions(events=EVENTS, backfill_s=SPAN_S, titles=50, processes=1), lambda _: None)
        catch_up(computing, run.topic, lambda _: None)
        assert "stalling" in [view["view"] for view in asked(computing, tmp_path, "views")["views"]]
        assert_answers(computing, tmp_path, run)
        assert_the_api_answers(computing, tmp_path, run)
        audited = asked(computing, tmp_path, "audit", run.name)
    assert audited["exact"]
    assert audited["views"]["stalling"]["cells"] > 0
    assert (audited["views"]["stalling"]["independent"], audited["views"]["watch_time"]["independent"]) == (False, True)


def asked(settings: Settings, directory: Path, *arguments: str) -> Any:
    """What `marquee ARGUMENTS --json` says, of this cluster and with what is installed."""
    installed = {"PYTHONPATH": os.environ["PYTHONPATH"]}
    return document(marquee(directory, *arguments, "--json", environment={**settings.environment(), **installed}))


def assert_the_api_answers(settings: Settings, directory: Path, run: Run) -> None:
    """As the command line does, in a process of its own, which describes the view too."""
    hours_s = {event["ts"] // 3_600_000 * 3_600 for event in events_of(settings, run.topic)}
    start, end = min(hours_s), max(hours_s) + 3_600
    told = asked(settings, directory, "query", "stalling", "--by", "cdn", "--from", str(start), "--to", str(end))["cells"]
    with Workers(settings, 1, directory, command=SERVE, role="api") as doors:
        doors.wait_ready()
        with httpx.Client(base_url=doors.http(0), timeout=60) as client:
            answer = client.get("/v1/views/stalling", params={"by": "cdn", "from": start, "to": end}).json()
            described = client.get("/openapi.json").json()["paths"]["/v1/views/stalling"]["get"]
    assert answer["measures"] == COLUMNS
    assert sorted(answer["cells"], key=str) == sorted(told, key=str)
    assert answer["cells"]
    assert {"device", "app", "cdn"} <= {parameter["name"] for parameter in described["parameters"]}


def assert_answers(settings: Settings, directory: Path, run: Run) -> None:
    """By both dimensions of the wider grouping, by one of them, and by the other grouping: what the log says."""
    expected: dict[tuple[str, ...], dict[tuple[Any, ...], Cell]] = {("device", "app"): {}, ("app",): {}, ("cdn",): {}}
    hours_s = set()
    for event in events_of(settings, run.topic):
        hour_s = event["ts"] // 3_600_000 * 3_600
        hours_s.add(hour_s)
        for dimensions, cells in expected.items():
            cells.setdefault((hour_s * 1000, *(event[name] for name in dimensions)), Cell()).add(event)
    span = ("--from", str(min(hours_s)), "--to", str(max(hours_s) + 3_600))
    for dimensions, cells in expected.items():
        answer = asked(settings, directory, "query", "stalling", *(word for name in dimensions for word in ("--by", name)), *span)
        assert answer["measures"] == COLUMNS
        rows = {(row["start_ms"], *(row[name] for name in dimensions)): row for row in answer["cells"]}
        held = {key: cell for key, cell in cells.items() if cell.stalls or cell.watched_ms or cell.each_ms}
        assert rows.keys() == held.keys()
        assert len(rows) == len(answer["cells"])
        for key, cell in held.items():
            cell.agrees(rows[key])
