"""A load on a real broker: what is in the log is what the ledger says, to the record."""

from __future__ import annotations

import math
import os
import signal
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Consumer, TopicPartition

from connectors.kafka import matching_topics, partition_offsets
from loadgen.crew import LoadProgress, stop_signals
from loadgen.destination import open_destination
from loadgen.draws import partitions_of
from loadgen.ledger import Run, open_run, read_faults, read_sends, read_sent
from loadgen.load import LoadOptions, run_load, shape_of
from loadgen.produce import COUNTERS, FAILED, FINAL_TICK_MS, TICK, Sender
from loadgen.run_log import content_of
from loadgen.truth import sessions_of, tell
from topologies.errors import ServerAway, StoreError, UsageError
from topologies.events import Malformed, decode_event
from topologies.settings import Settings

FAULTS = "duplicates=0.02,late=0.01,malformed=0.02,out-of-order=0.02"
PAST = LoadOptions(
    events=12_000, backfill_s=1200, seed=3, run="past", tag="same", span_start_ms=1_790_000_000_000, faults=FAULTS, processes=3
)


@dataclass(frozen=True)
class Found:
    partition: int
    key: bytes | None
    value: bytes | None
    stamp_kind: int
    stamp_ms: int


def silent(_: LoadProgress) -> None:
    pass


def log_of(settings: Settings, topic: str) -> list[Found]:
    """Every record of the topic, partition by partition, in order."""
    consumer = Consumer({"bootstrap.servers": settings.kafka.bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"})
    found: list[Found] = []
    try:
        for partition, (first, end) in partition_offsets(settings, topic).items():
            consumer.assign([TopicPartition(topic, partition, first)])
            left = end - first
            while left:
                for message in consumer.consume(min(left, 5_000), 10.0):
                    assert message.error() is None
                    kind, stamp = message.timestamp()
                    found.append(Found(partition, message.key(), message.value(), kind, stamp))
                    left -= 1
    finally:
        consumer.close()
    return found


def outcome(value: bytes | None) -> str:
    try:
        return "tick" if decode_event(value) is None else "valid"
    except Malformed as error:
        return error.reason


def truth_of(run: Run) -> Run:
    """What the run has sent, made again from its seed."""
    told = run.path / "told"
    told.mkdir(exist_ok=True)
    return tell(run, {span.partition: span.records for span in run.partitions}, told)


def check_against_ledger(settings: Settings, run: Run) -> list[Found]:
    """Holds the log of a run's topic against its ledger; → its records without ticks."""
    log = log_of(settings, run.topic)
    records = [record for record in log if record.value != TICK]
    assert len(records) == run.generated == run.acknowledged
    assert all(record.key is not None and record.key.startswith(f"{run.tag}-".encode()) for record in records)
    keys = [record.key or b"" for record in records]
    assert partitions_of(keys, len(run.partitions)).tolist() == [record.partition for record in records]
    seen = Counter(outcome(record.value) for record in records)
    stateless = {reason: count for reason, count in run.malformed.items() if reason not in ("ahead", "seq_jump")}
    assert {reason: count for reason, count in seen.items() if reason != "valid"} == stateless
    told = truth_of(run)
    assert (told.generated, told.faults, told.malformed) == (run.generated, run.faults, run.malformed)
    assert read_faults(told).sort(pl.all()).equals(read_faults(run).sort(pl.all()))
    sent = read_sent(told)
    totals = sent.select(pl.col("events", "duplicates", "late", "malformed", "out_of_order", "watched_ms").sum()).row(0, named=True)
    assert totals["events"] + totals["duplicates"] + totals["late"] + totals["malformed"] == run.generated
    assert run.faults == Counter(dict(read_faults(run).group_by("kind").agg(pl.col("times").sum()).iter_rows()))
    by_kind = {"duplicates": "duplicates", "late": "late", "malformed": "malformed", "out-of-order": "out_of_order"}
    assert {kind: totals[column] for kind, column in by_kind.items() if totals[column]} == run.faults
    return records


def distinct_watched(records: list[Found], horizon_ms: int) -> int:
    """What the valid events that are not late say was watched, each (session, seq) once."""
    watched: dict[tuple[str, int], int] = {}
    for record in records:
        if outcome(record.value) == "valid":
            event = decode_event(record.value)
            assert event is not None
            if record.stamp_ms - event["ts"] < horizon_ms and event["ts"] - record.stamp_ms <= 60_000:
                watched[event["session"], event["seq"]] = event["watched_ms"] or 0
    return sum(watched.values())


@pytest.fixture(scope="module")
def past(shared_settings: Settings) -> Run:
    """A backfill that three processes sent."""
    return run_load(shared_settings, PAST, silent)


def test_a_backfill_is_in_the_log_to_the_record(shared_settings: Settings, past: Run) -> None:
    run = past
    assert run.state == "finished"
    assert run == open_run(shared_settings, "past")
    assert run.topic == shared_settings.kafka.backfill_prefix + "past"
    assert run.generated == 12_000
    records = check_against_ledger(shared_settings, run)
    log = log_of(shared_settings, run.topic)
    for span in run.partitions:
        part = [record for record in log if record.partition == span.partition]
        assert (span.first, span.last) == (0, len(part) - 1)
        assert all(record.stamp_kind == TIMESTAMP_CREATE_TIME for record in part)
        stamps = [record.stamp_ms for record in part]
        assert stamps == sorted(stamps)
        assert part[-1].value == TICK
        assert part[-1].stamp_ms == run.span_end_ms + FINAL_TICK_MS
    jumps = set(read_faults(run).filter(pl.col("reason") == "seq_jump").select("session").to_series())
    clean = [record for record in records if not any(session.encode() in (record.value or b"") for session in jumps)]
    sent = sessions_of(run).filter(~pl.col("session").is_in(list(jumps)))
    assert distinct_watched(clean, 15 * 60_000) == sent["watched_ms"].sum()


def test_the_same_seed_and_tag_send_the_same_records_from_any_number_of_processes(shared_settings: Settings, past: Run) -> None:
    alone = run_load(shared_settings, replace(PAST, run="alone", processes=1), silent)
    assert log_of(shared_settings, alone.topic) == log_of(shared_settings, past.topic)
    content = content_of(shared_settings, past)
    assert content == content_of(shared_settings, alone)
    assert content.records == sum(span.records for span in past.partitions)


def test_a_name_and_a_backfill_topic_are_taken_once(shared_settings: Settings, past: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already"):
        run_load(shared_settings, PAST, silent)
    elsewhere = replace(shared_settings, local=replace(shared_settings.local, directory=str(tmp_path)))
    with pytest.raises(UsageError, match=f"{past.topic} holds records"):
        run_load(elsewhere, PAST, silent)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (LoadOptions(events=10, backfill_s=3600, span_start_ms=4_000_000_000_000), "end in the future"),
        (LoadOptions(events=10, backfill_s=3600, scenario="nosuch"), "there is no scenario 'nosuch'"),
        (LoadOptions(events=10, backfill_s=3600, scenario="region-loss", regions=1), "that this run does not have"),
    ],
)
def test_a_backfill_that_cannot_be_made_leaves_no_topic(shared_settings: Settings, options: LoadOptions, words: str) -> None:
    before = matching_topics(shared_settings)
    with pytest.raises(UsageError, match=words):
        run_load(shared_settings, options, silent)
    assert matching_topics(shared_settings) == before


def test_what_the_broker_refuses_is_said_in_its_words(settings: Settings) -> None:
    target = open_destination(settings, "ahead", live=False)
    sender = Sender(settings.kafka, target.topic, False, memoryview(bytearray(8 * COUNTERS)).cast("q"))
    with pytest.raises(StoreError, match=r"cannot go on \(.*timestamp"):
        sender.end_with_ticks([0], 4_000_000_000_000)
    assert sender.counters[FAILED] == 0


def test_a_live_run_sends_each_event_in_its_time(settings: Settings) -> None:
    progress: list[LoadProgress] = []
    run = run_load(settings, LoadOptions(duration_s=4, rate=2_000, faults=FAULTS), progress.append)
    assert run.state == "finished"
    assert run.generated == 8_000
    for record in check_against_ledger(settings, run):
        assert record.stamp_kind == TIMESTAMP_LOG_APPEND_TIME
        assert run.span_start_ms - 50 <= record.stamp_ms <= run.span_end_ms + run.max_lateness_ms + 60_000
    assert {step.phase for step in progress} >= {"planning", "starting", "sending", "done"}
    assert progress[-1].acknowledged == progress[-1].total == 8_000
    measured = run.measured
    assert measured is not None
    assert measured.cpu_s > 0
    assert measured.handed_over.max_ms == run.max_lateness_ms
    assert measured.late_share == pytest.approx(run.late_sends / 8_000, abs=1e-6)
    assert measured.confirmed.max_ms >= measured.confirmed.p99_ms >= measured.confirmed.p50_ms > 0
    sends = read_sends(run)
    assert sends["events"].sum() == sends["records"].sum() == 8_000
    assert (sends["intended_ms"] >= run.span_start_ms).all()
    assert (sends["intended_ms"] <= sends["intended_last_ms"]).all()
    assert not any(record.value == TICK for record in log_of(settings, run.topic))


def test_a_stopped_run_has_what_it_sent_in_its_ledger_and_anybody_can_read_it_meanwhile(settings: Settings) -> None:
    read: list[Run] = []

    def stop_when_sending(step: LoadProgress) -> None:
        if step.phase == "sending":
            read.append(open_run(settings, "stopped"))
            if read[-1].generated > 1_000:
                os.kill(os.getpid(), signal.SIGTERM)

    options = LoadOptions(duration_s=60, rate=2_000, run="stopped", faults=FAULTS, processes=1)
    run = run_load(settings, options, stop_when_sending)
    assert {state.state for state in read} == {"running"}
    assert run.state == "stopped"
    assert 1_000 < read[-1].generated <= run.generated < 120_000
    check_against_ledger(settings, run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_load_and_means_afterwards_what_it_meant_before(number: signal.Signals) -> None:
    before, heard = signal.getsignal(number), []
    with stop_signals(lambda: heard.append(number)):
        signal.raise_signal(number)
    assert heard == [number]
    assert signal.getsignal(number) == before


def test_a_broker_that_is_away_is_said(bare_settings: Settings) -> None:
    away = replace(bare_settings, kafka=replace(bare_settings.kafka, bootstrap="127.0.0.1:1"))
    with pytest.raises(ServerAway):
        run_load(away, LoadOptions(events=10), silent)


@pytest.mark.parametrize(
    "options",
    [
        LoadOptions(),
        LoadOptions(rate=5),
        LoadOptions(events=0),
        LoadOptions(events=5, rate=-1),
        LoadOptions(events=5, rate=math.nan),
        LoadOptions(duration_s=5, rate=math.inf),
        LoadOptions(events=5, faults="nosuch"),
        LoadOptions(events=5, duration_s=1, rate=5),
        LoadOptions(backfill_s=60),
        LoadOptions(events=5, backfill_s=60, duration_s=60),
        LoadOptions(events=5, format="avro"),
        LoadOptions(events=5, processes=0),
        LoadOptions(events=5, vanish=1.5),
        LoadOptions(events=5, seed=-1),
        LoadOptions(events=5, tag="Not A Tag"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: LoadOptions) -> None:
    with pytest.raises(UsageError):
        shape_of(options)


@pytest.mark.parametrize("name", ["", "a b", "../up", "x" * 81])
def test_a_name_that_cannot_name_a_topic_is_refused(bare_settings: Settings, name: str) -> None:
    with pytest.raises(UsageError, match="--run"):
        run_load(bare_settings, LoadOptions(events=5, run=name), silent)
