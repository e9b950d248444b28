"""A load that did not come to its end: what the log has is what its ledger says, and it can be gone on with."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from confluent_kafka import Producer

from cluster.process import wait_until
from connectors.kafka import producer_options
from loadgen.crew import LoadProgress
from loadgen.destination import open_destination
from loadgen.holding import goes_on, owned
from loadgen.ledger import Run, create_run, open_run, read_sends, runs_directory
from loadgen.load import LoadOptions, run_load
from loadgen.produce import TICK
from loadgen.recovery import RESUMED_WITHIN_MS, recovered, resume_load
from loadgen.run_log import content_of
from loadgen.truth import sessions_of
from tests.loadgen.test_load import FAULTS, check_against_ledger, log_of, silent, truth_of
from tests.marquee.running import Foreground
from topologies.errors import MarqueeError, UsageError
from topologies.events import decode_event
from topologies.settings import Settings

PAST = LoadOptions(
    events=9_000,
    backfill_s=900,
    seed=4,
    run="whole",
    tag="again",
    span_start_ms=1_790_000_000_000,
    faults=FAULTS,
    processes=1,
    format="arrow",
)


@pytest.fixture(scope="module")
def whole(shared_settings: Settings) -> Run:
    """A backfill in Arrow that went through, in records of a minute, which a longer one has: its ledger alone says so."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("loadgen.load.chunk_ms_of", lambda *_: 60_000)
        return run_load(shared_settings, PAST, silent)


def cut_short(settings: Settings, whole: Run, name: str) -> Run:
    """A run that was killed when each partition had another share of its records: its log is the beginning of the whole run's."""
    target = open_destination(settings, name, live=False)
    log = log_of(settings, whole.topic)
    lengths = Counter(record.partition for record in log if record.value != TICK)
    sent: Counter[int] = Counter()
    producer = Producer(producer_options(settings.kafka))
    for record in log:
        if record.value != TICK and sent[record.partition] < lengths[record.partition] * record.partition // len(target.partitions):
            producer.produce(target.topic, record.value, record.key, record.partition, timestamp=record.stamp_ms)
            sent[record.partition] += 1
    assert producer.flush(300) == 0
    run = replace(
        whole, name=name, path=runs_directory(settings) / name, topic=target.topic, topic_id=target.topic_id, partitions=target.partitions,
        state="running", ended_ms=0, generated=7, acknowledged=5, faults={}, malformed={}, measured=None,
    )  # fmt: skip
    create_run(run)
    return run


def test_a_killed_backfill_goes_on_from_what_the_log_has_and_sends_the_same_as_one_that_went_through(
    shared_settings: Settings, whole: Run
) -> None:
    settings = shared_settings
    killed = cut_short(settings, whole, "cut")
    found = recovered(settings, killed)
    assert found == recovered(settings, found) == open_run(settings, "cut")
    assert found.state == "stopped"
    there = Counter(record.partition for record in log_of(settings, killed.topic))
    assert {span.partition: span.records for span in found.partitions if span.records} == dict(there)
    assert all(span.last == span.records - 1 for span in found.partitions)
    assert 0 < found.generated == found.acknowledged < whole.generated
    assert content_of(settings, found) != content_of(settings, whole)

    run = resume_load(settings, "cut", 2, silent)
    assert (run.state, run.generated, run.acknowledged, run.processes) == ("finished", 9_000, 9_000, 2)
    assert content_of(settings, run) == content_of(settings, whole)
    assert [span.records for span in run.partitions] == [span.records for span in whole.partitions]
    told = truth_of(run)
    assert (told.generated, told.faults, told.malformed) == (9_000, whole.faults, whole.malformed)
    with pytest.raises(UsageError, match="nothing is left"):
        resume_load(settings, "cut", None, silent)


def test_a_killed_live_load_is_found_again_in_the_log_and_goes_on_now(settings: Settings, tmp_path: Path) -> None:
    arguments = ("load", "--rate", "1000", "--duration", "10m", "--run", "killed")
    path = runs_directory(settings) / "killed"
    with Foreground(tmp_path, *arguments, environment=settings.environment()) as going:
        assert wait_until(lambda: (path / "run.json").exists() and open_run(settings, "killed").acknowledged > 2_000, 300), going.said
        with pytest.raises(UsageError, match="going on"):
            resume_load(settings, "killed", None, silent)
    assert wait_until(lambda: not goes_on(path), 300)
    found = recovered(settings, open_run(settings, "killed"))
    assert found.state == "stopped"
    assert found.generated > 2_000
    check_against_ledger(settings, found)

    steps: list[LoadProgress] = []
    run = resume_load(settings, "killed", 1, steps.append, lambda: steps[-1].sent > found.generated + 2_000)
    assert run.state == "stopped"
    assert run.generated > found.generated + 2_000
    assert read_sends(run)["stretch"].unique().sort().to_list() == [0, 1]
    records = check_against_ledger(settings, run)
    events = [event for event in (decode_event(record.value) for record in records) if event]
    assert len({(event["session"], event["seq"]) for event in events}) == len(events)
    seen = pl.DataFrame({"session": [event["session"] for event in events], "ts": [event["ts"] for event in events]})
    counts = (pl.len().cast(pl.Int64).alias("events"), pl.min("ts").alias("first_ts"), pl.max("ts").alias("last_ts"))
    spans = seen.group_by("session").agg(*counts)
    said = sessions_of(run).select("session", "events", "first_ts", "last_ts").sort("session")
    assert said.equals(spans.select(said.columns).sort("session"))
    ahead = [event["ts"] - record.stamp_ms for event, record in zip(events, records, strict=True)]
    assert max(ahead) <= 0


def test_what_cannot_be_gone_on_with_is_refused(shared_settings: Settings, whole: Run) -> None:
    settings, run = shared_settings, whole
    create_run(replace(run, name="replayed", path=runs_directory(settings) / "replayed", kind="replay", stretches=()))
    create_run(replace(run, name="earlier", path=runs_directory(settings) / "earlier", state="stopped", chunk_ms=0))
    for name, why in (("replayed", "is no load"), ("earlier", "by an earlier version")):
        with pytest.raises(UsageError, match=why):
            resume_load(settings, name, None, silent)
    old = replace(run, name="old", path=runs_directory(settings) / "old", live=True, state="stopped")
    create_run(replace(old, ended_ms=run.ended_ms - RESUMED_WITHIN_MS - 1))
    with pytest.raises(UsageError, match="within 10 minutes"):
        resume_load(settings, "old", None, silent)
    with owned(run.path), pytest.raises(UsageError, match="going on"):
        resume_load(settings, "whole", None, silent)


def test_a_log_with_more_than_the_seed_makes_is_said(whole: Run) -> None:
    with pytest.raises(MarqueeError, match="its seed makes"):
        truth_of(replace(whole, partitions=tuple(replace(span, records=span.records + 1) for span in whole.partitions)))
