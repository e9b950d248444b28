"""`marquee bench freshness`: from an event's intended send time to its effect in Redis, for every event of a run."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from typing import Any, Final

import click
import numpy as np
import redis
from confluent_kafka import Consumer, TopicPartition

from cluster.supervisor import Workers
from connectors.kafka import client_options, partition_offsets, topic_ids
from connectors.redis import RedisKeys
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load, shape_of
from marquee.arena import arena, cluster_option, show
from marquee.catching_up import catch_up
from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option, say
from topologies.events import Malformed, decode_event
from topologies.settings import Settings
from topologies.sources import Source

POLL_S: Final = 0.01
WARM_UP_S: Final = 5.0
"""Events intended earlier than this after the run began are not counted: producers connect, workers see the topic."""


class AppliedWatch(threading.Thread):
    """Reads, a hundred times a second, up to which offset Redis holds each source's cells."""

    def __init__(self, settings: Settings, sources: list[str]) -> None:
        super().__init__(daemon=True)
        self._client = redis.Redis.from_url(settings.redis.url)
        self._keys = [RedisKeys(settings.redis.prefix).status(source) for source in sources]
        self._ending = threading.Event()
        self.offsets: list[list[int]] = [[] for _ in sources]
        self.seen_ms: list[list[float]] = [[] for _ in sources]

    def run(self) -> None:
        while not self._ending.wait(POLL_S):
            pipe = self._client.pipeline(transaction=False)
            for key in self._keys:
                pipe.hget(key, "applied")
            answers = pipe.execute()
            now = time.time() * 1000
            for place, answer in enumerate(answers):
                applied = int(answer or 0)
                if not self.offsets[place] or applied > self.offsets[place][-1]:
                    self.offsets[place].append(applied)
                    self.seen_ms[place].append(now)

    def end(self) -> None:
        self._ending.set()
        self.join()


@click.command()
@click.option("--rate", type=click.FloatRange(min=1), default=20_000.0, show_default=True, help="Events a second.")
@click.option("--duration", "duration_s", type=click.FloatRange(min=10), default=60.0, show_default=True, help="Seconds.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes.")
@cluster_option
@json_option
@pass_invocation
def freshness(invocation: Invocation, rate: float, duration_s: float, workers: int, given: bool, as_json: bool) -> int:
    """Drive live events in open loop and measure, for each, when Redis first held its effect.

    Latency counts from the time at which the event was to be sent, so a generator or a worker that falls behind shows.

    \b
    Examples:
      marquee bench freshness --rate 20000
      marquee bench freshness --rate 50000 --duration 120 --json
    """
    load = LoadOptions(rate=rate, duration_s=duration_s)
    shape_of(load)
    with arena(invocation.settings, "freshness", given) as (settings, directory, _):
        with Workers(settings, workers, directory) as running:
            running.wait_ready()
            topic = settings.kafka.topics[0]
            identity = topic_ids(settings, [topic])[topic]
            partitions = sorted(partition_offsets(settings, topic))
            watch = AppliedWatch(settings, [str(Source(settings.worker.region, topic, identity, number)) for number in partitions])
            watch.start()
            cpu_before = sum(running.cpu_seconds(index) for index in range(workers))
            run = run_load(settings, load, lambda _: None)
            catch_up(settings, run.topic, lambda _: None)
            cpu_s = sum(running.cpu_seconds(index) for index in range(workers)) - cpu_before
            watch.end()
        sent_ms, latencies = _latencies_ms(settings, run, watch, partitions)
    document = {
        "p50_ms": round(float(np.percentile(latencies, 50)), 1),
        "p99_ms": round(float(np.percentile(latencies, 99)), 1),
        "max_ms": round(float(latencies.max()), 1),
        "of_it_to_the_log": {"p50_ms": round(float(np.percentile(sent_ms, 50)), 1), "p99_ms": round(float(np.percentile(sent_ms, 99)), 1)},
        "rate": rate,
        "events": len(latencies),
        "workers": workers,
        "cpu_s": round(cpu_s, 2),
        "events_per_core_second": round(run.generated / cpu_s),
        "late_sends": run.late_sends,
        "max_lateness_ms": run.max_lateness_ms,
    }
    show(document, as_json)
    return 0


def _latencies_ms(settings: Settings, run: Run, watch: AppliedWatch, partitions: list[int]) -> tuple[Any, Any]:
    """Of each event of the log, since its ts, which a live run sets to the intended time: when the broker had it (LogAppendTime), and
    when Redis first held its effect. Both in ms."""
    say("reading the log for each event's intended time")
    events = [(place, *times) for place, partition in enumerate(partitions) for times in _times(settings, run.topic, partition)]
    counted_from = min(ts for _, _, ts, _ in events) + WARM_UP_S * 1000
    sent: list[float] = []
    found: list[float] = []
    for place, offset, ts, appended in events:
        if ts >= counted_from:
            at = bisect_right(watch.offsets[place], offset)
            sent.append(appended - ts)
            found.append(watch.seen_ms[place][at] - ts if at < len(watch.offsets[place]) else float("inf"))
    return np.array(sent), np.array(found)


def _times(settings: Settings, topic: str, partition: int) -> Any:
    """(offset, ts, time of its record) of each valid event of the partition."""
    consumer = Consumer(client_options(settings.kafka) | {"group.id": "marquee-freshness", "enable.auto.commit": False})
    _, end = partition_offsets(settings, topic)[partition]
    consumer.assign([TopicPartition(topic, partition, 0)])
    at = 0
    while at < end:
        for message in consumer.consume(10_000, 1.0):
            at = (message.offset() or 0) + 1
            try:
                event = decode_event(message.value())
            except Malformed:
                continue
            if event is not None:
                yield message.offset(), event["ts"], message.timestamp()[1]
    consumer.close()


COMMAND = freshness
