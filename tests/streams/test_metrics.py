"""A real worker's metrics and readiness: every name is served, and the numbers are those of the stores."""

from __future__ import annotations

import dataclasses
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.local import LocalCluster
from cluster.process import wait_until
from cluster.supervisor import Workers
from connectors.kafka import ensure_topics
from loadgen.load import LoadOptions
from marquee.catching_up import catch_up
from serving.stores import Stores
from streams.collector import SourceCollector
from streams.metrics import DECLARED
from streams.partition import PartitionOwner
from streams.room import Held
from tests.streams.conftest import Pipeline
from topologies.fold import PartitionState
from topologies.settings import Settings
from topologies.sources import Source

NONE: frozenset[str] = frozenset()
Samples = dict[tuple[str, frozenset[str]], float]


@pytest.fixture
def observed(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    """One worker that gives up on Cassandra in a few seconds and writes its log as JSON."""
    settings = dataclasses.replace(
        settings,
        cassandra=dataclasses.replace(settings.cassandra, timeout_s=5.0),
        worker=dataclasses.replace(settings.worker, log_format="json", cassandra_flush_s=1.0, checkpoint_s=0.5),
    )
    ensure_topics(settings)
    with Workers(settings, 1, tmp_path) as workers:
        workers.wait_ready()
        yield Pipeline(settings, workers)


def address(pipeline: Pipeline) -> str:
    ready = pipeline.workers.ready(0)
    assert ready is not None
    return str(ready["http"])


def scraped(pipeline: Pipeline) -> tuple[set[str], Samples]:
    """Names served, and every sample by name and labels' values."""
    with urllib.request.urlopen(f"{address(pipeline)}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    families = list(text_string_to_metric_families(text))
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    return names, {(one.name, frozenset(one.labels.values())): one.value for family in families for one in family.samples}


def readiness(pipeline: Pipeline) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{address(pipeline)}/readyz", timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_workers_metrics_are_the_numbers_of_the_stores_and_its_readiness_follows_cassandra(
    observed: Pipeline, cluster: LocalCluster
) -> None:
    run = observed.drive(LoadOptions(events=20_000, rate=10_000, faults="duplicates,late,malformed", processes=1))
    catch_up(observed.settings, run.topic, lambda _: None)
    assert wait_until(lambda: scraped(observed)[1]["marquee_checkpoint_seconds_count", NONE] > 0, 300)
    assert wait_until(lambda: readiness(observed)[0] == 200, 300)

    with Stores(observed.settings) as stores:
        statuses = stores.known().best
    names, samples = scraped(observed)  # later: ticks move on what is told
    assert {one.name for one in DECLARED} <= names
    assert sum(status.received for status in statuses) == 20_000
    for status in statuses:
        place = frozenset((status.source.topic, str(status.source.partition)))
        for name in ("received", "applied", "duplicate", "late", "dead"):
            assert samples["marquee_source_events", place | {name}] == getattr(status, name)
            assert samples[f"marquee_events_{name}_total", place] == getattr(status, name)
        assert samples["marquee_source_lag_records", place] <= 3  # ticks
        assert samples["marquee_source_offset", place] >= status.offset
        for store in ("redis", "cassandra", "checkpoints"):
            least = 0 if store == "checkpoints" else 1
            assert least <= samples["marquee_source_stored_offset", place | {store}] <= samples["marquee_source_offset", place]
        assert abs(samples["marquee_source_watermark_timestamp_seconds", place] - status.watermark_ms / 1000) < 60
        assert samples["marquee_source_lag_seconds", place] < 30
        assert samples["marquee_source_state_bytes", place] > 10_000
        assert samples["marquee_source_lost_records", place] == 0
    assert samples["marquee_partitions", frozenset({"owned"})] == len(statuses)
    assert samples["marquee_batch_records_sum", NONE] >= sum(status.received for status in statuses)
    for histogram in ("marquee_batch_bytes", "marquee_fold_seconds", "marquee_checkpoint_seconds", "marquee_checkpoint_bytes"):
        assert samples[f"{histogram}_count", NONE] > 0
        assert samples[f"{histogram}_sum", NONE] > 0
    assert samples["marquee_flush_seconds_count", frozenset({"redis"})] > 0
    assert samples["marquee_flush_seconds_count", frozenset({"cassandra"})] > 0
    assert samples["marquee_rebalances_total", NONE] >= 1
    assert samples["marquee_restore_seconds_count", NONE] >= len(statuses)
    assert (samples["marquee_store_up", frozenset({"redis"})], samples["marquee_store_up", frozenset({"cassandra"})]) == (1, 1)
    assert samples["marquee_fetching", NONE] == 1
    states = sum(value for (name, _), value in samples.items() if name == "marquee_source_state_bytes")
    assert samples["marquee_held_bytes", frozenset({"state"})] == states

    cluster.pause("cassandra")
    try:
        assert wait_until(lambda: readiness(observed)[1]["stores"]["cassandra"] != "up", 300)
        code, document = readiness(observed)
        assert code == 503
        assert "Cassandra" in document["reason"]
        assert document["stores"]["redis"] == "up"
        _, samples = scraped(observed)
        assert samples["marquee_store_up", frozenset({"cassandra"})] == 0
        assert samples["marquee_store_errors_total", frozenset({"cassandra", "away"})] > 0
    finally:
        cluster.resume("cassandra")
    assert wait_until(lambda: readiness(observed)[0] == 200, 300)

    lines = [json.loads(line) for line in observed.workers[0].log.read_text().splitlines()]
    [first, *_] = [line for line in lines if line["message"].startswith("Cassandra: ")]
    assert (first["level"], first["worker"], first["topic"]) == ("ERROR", "worker-0", run.topic)
    assert first["offset"] > 0


def test_each_store_tells_how_far_it_has_a_source() -> None:
    source = Source("eu", "viewing-events", "A" * 22, 3)
    owner = PartitionOwner(source, PartitionState(source, (), 40), live=True, durable=20, cached=35, stored=30)

    def told() -> dict[str, float]:
        read = SourceCollector(lambda: [owner], list, lambda _place: None, {}, lambda: True, lambda: Held(0, 0, 0, 0)).collect()
        [family] = [one for one in read if one.name == "marquee_source_stored_offset"]
        return {sample.labels["store"]: sample.value for sample in family.samples}

    assert told() == {"redis": 35, "cassandra": 30, "checkpoints": 20}
    owner.stored = owner.cached = None
    assert told() == {"redis": 0, "checkpoints": 20}, "what Cassandra has is not known yet"
