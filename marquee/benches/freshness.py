"""`marquee bench freshness`: from an event's intended send time to its effect in Redis, for every event of a run."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import asdict
from typing import Any, Final

import click
import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

from cluster.local import LocalCluster
from cluster.supervisor import Workers
from connectors.kafka import client_options, partition_offsets
from loadgen.audit_arrow import is_arrow
from loadgen.ledger import Run
from loadgen.load import DEFAULT_RATE, LoadOptions, run_load, shape_of
from marquee.applied import AppliedWatch
from marquee.arena import arena, cluster_option, log_bytes, servers_cpu_s, show
from marquee.capacity import Method, System, Tester
from marquee.catching_up import catch_up
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option, say
from marquee.searching import highest
from topologies.errors import MarqueeError
from topologies.events import Malformed, decode_event
from topologies.settings import Settings

WARM_UP_S: Final = 5.0
"""Events intended earlier than this after the run began are not counted: producers connect, workers see the topic."""
SETTLE_S: Final = 35.0
"""Between the search for what is sustained, which ends in overload, and the measurement: its sessions expire, its cells reach Cassandra."""


@click.command()
@click.option("--rate", type=FiniteRange(min=1), help="Events a second; 20,000 unless given.")
@click.option("--share", type=FiniteRange(0.05, 1), help="Instead of --rate: this share of the rate that the system sustains, found first.")
@click.option("--duration", "duration_s", type=FiniteRange(min=10), default=60.0, show_default=True, help="Seconds.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@format_option
@cluster_option
@json_option
@pass_invocation
def freshness(
    invocation: Invocation,
    rate: float | None,
    share: float | None,
    duration_s: float,
    workers: int,
    encoding: str,
    given: bool,
    as_json: bool,
) -> int:
    """Drive live events in open loop and measure, for each, when Redis first held its effect.

    Latency counts from the time at which the event was to be sent, so a generator or a worker that falls behind shows.

    \b
    Examples:
      marquee bench freshness --rate 20000
      marquee bench freshness --share 0.7 --json     # at 70 % of what the system sustains
    """
    if rate is not None and share is not None:
        raise click.UsageError("--share finds the rate; leave --rate out")
    rate = rate or DEFAULT_RATE
    shape_of(LoadOptions(rate=rate, duration_s=duration_s, format=encoding))
    with arena(invocation.settings, "freshness", given) as (settings, directory, cluster), Workers(settings, workers, directory) as running:
        running.wait_ready()
        document: dict[str, Any] = {}
        if share is not None:
            document = _sustained(System(settings, workers), encoding)
            rate = round(share * document["sustained_rate"])
            document["share"] = share
            time.sleep(SETTLE_S)
        load = LoadOptions(rate=rate, duration_s=duration_s, format=encoding)
        show({**_measured(settings, running, cluster, load), **document}, as_json)
    return 0


def _sustained(system: System, encoding: str) -> dict[str, Any]:
    """The highest rate at which the lag neither grows nor is a second, and how it was found."""
    method = Method(encoding=encoding)
    tester = Tester(system, method, say)
    found = highest(tester.sustains, method.search, lambda: False)
    if not found.best:
        raise MarqueeError(f"not even {found.failed:,.0f} events a second are sustained here: {tester.limit(found.failed)} gave out")
    steps = [asdict(trial) for trial in tester.trials]
    return {"sustained_rate": round(found.best), "limited_by": tester.limit(found.failed), "steps": steps}


def _measured(settings: Settings, running: Workers, cluster: LocalCluster | None, load: LoadOptions) -> dict[str, Any]:
    topic = settings.kafka.topics[0]
    partitions = sorted(partition_offsets(settings, topic))
    begins = partition_offsets(settings, topic)
    watch = AppliedWatch.of(settings, topic)
    watch.start()
    bytes_before, servers_before = log_bytes(cluster, topic), servers_cpu_s(cluster)
    cpu_before = sum(running.cpu_seconds(index) for index in running.alive())
    run = run_load(settings, load, lambda _: None)
    catch_up(settings, run.topic, lambda _: None)
    cpu_s = sum(running.cpu_seconds(index) for index in running.alive()) - cpu_before
    servers_s = {name: round(after - servers_before[name], 2) for name, after in servers_cpu_s(cluster).items()}
    watch.end()
    bytes_after = log_bytes(cluster, topic)
    sent_ms, latencies = _latencies_ms(settings, run, watch, {partition: begins[partition][1] for partition in partitions})
    return {
        "p50_ms": round(float(np.percentile(latencies, 50)), 1),
        "p99_ms": round(float(np.percentile(latencies, 99)), 1),
        "max_ms": round(float(latencies.max()), 1),
        "of_it_to_the_log": {"p50_ms": round(float(np.percentile(sent_ms, 50)), 1), "p99_ms": round(float(np.percentile(sent_ms, 99)), 1)},
        "rate": load.rate,
        "format": load.format,
        "events": len(latencies),
        "workers": len(running.alive()),
        "cpu_s": round(cpu_s, 2),
        "events_per_core_second": round(run.generated / cpu_s),
        "servers_cpu_s": servers_s,
        "log_bytes": None if bytes_after is None or bytes_before is None else bytes_after - bytes_before,
        "late_sends": run.late_sends,
        "max_lateness_ms": run.max_lateness_ms,
    }


def _latencies_ms(settings: Settings, run: Run, watch: AppliedWatch, begins: dict[int, int]) -> tuple[Any, Any]:
    """Of each event of the log, since its ts, which a live run sets to the intended time: when the broker had it (LogAppendTime), and
    when Redis first held its effect. Both in ms."""
    say("reading the log for each event's intended time")
    events = [
        (place, *times) for place, (number, first) in enumerate(begins.items()) for times in _times(settings, run.topic, number, first)
    ]
    counted_from = min(ts for _, _, ts, _ in events) + WARM_UP_S * 1000
    sent: list[float] = []
    found: list[float] = []
    for place, offset, ts, appended in events:
        if ts >= counted_from:
            course = watch.courses[place]
            at = bisect_right(course.offsets, offset)
            sent.append(appended - ts)
            found.append(course.seen_ms[at] - ts if at < len(course.offsets) else float("inf"))
    return np.array(sent), np.array(found)


def _times(settings: Settings, topic: str, partition: int, first: int) -> Any:
    """(offset, ts, time of its record) of each valid event of the partition from offset `first` on. The log is this benchmark's own."""
    consumer = Consumer(client_options(settings.kafka) | {"group.id": "marquee-freshness", "enable.auto.commit": False})
    _, end = partition_offsets(settings, topic)[partition]
    consumer.assign([TopicPartition(topic, partition, first)])
    at = first
    while at < end:
        messages: list[Any] = consumer.consume(10_000, 1.0)
        for message in messages:
            at = message.offset() + 1
            value, (_, stamp_ms) = message.value(), message.timestamp()
            arrow = is_arrow(value, message.headers())
            times = pa.ipc.open_stream(value).read_all().column("ts").to_pylist() if arrow else _time_of(value)
            for ts in times:
                yield message.offset(), ts, stamp_ms
    consumer.close()


def _time_of(value: bytes) -> list[int]:
    """Of an event as JSON; none of what is no event."""
    try:
        event = decode_event(value)
    except Malformed:
        return []
    return [] if event is None else [event["ts"]]


COMMAND = freshness
