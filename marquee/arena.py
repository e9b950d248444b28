"""Where a benchmark runs: servers of its own on the first core, workers on the others, all gone afterwards."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from cluster.local import SERVICES, LocalCluster
from connectors.kafka import client_options, ensure_topics, partition_offsets
from marquee.catching_up import catch_up
from marquee.output import emit, say
from topologies.errors import MarqueeError
from topologies.settings import Settings

DURABLE_TIMEOUT_S: Final = 900.0
LOOK_EVERY_S: Final = 0.05

cluster_option = click.option("--cluster", "given", is_flag=True, help="Use the servers of the settings instead of servers of its own.")


@contextmanager
def arena(
    settings: Settings, name: str, given: bool, services: tuple[str, ...] = SERVICES, *, short_lived: bool = True
) -> Iterator[tuple[Settings, Path, LocalCluster | None]]:
    """Settings of running servers, a directory of the benchmark's own, and the cluster if it is its own: of these services only.

    short_lived: as LocalCluster has it; not where the servers' own speed is measured, for minutes. All is removed at the end; after an
    error the directory stays, for its logs.
    """
    directory = Path(settings.local.directory) / "clusters" / f"bench-{name}-{os.getpid()}"
    if given:
        directory.mkdir(parents=True)
        _make_topics(settings, services)
        yield settings, directory, None
    else:
        with LocalCluster(directory, settings, services=services, preferred=dict.fromkeys(services, 0), short_lived=short_lived) as cluster:
            cluster.start(say)
            _make_topics(cluster.settings, services)
            yield cluster.settings, directory, cluster
    shutil.rmtree(directory, ignore_errors=True)


def apart(settings: Settings, mark: str) -> Settings:
    """The same servers and backfill topics; live topics, group, keyspace and prefix that no other mark has."""
    kafka = replace(
        settings.kafka, topics=tuple(f"{topic}-{mark}" for topic in settings.kafka.topics), group=f"{settings.kafka.group}-{mark}"
    )
    return replace(
        settings,
        kafka=kafka,
        redis=replace(settings.redis, prefix=f"{settings.redis.prefix}{mark}:"),
        cassandra=replace(settings.cassandra, keyspace=f"{settings.cassandra.keyspace}_{mark}"),
    )


def _make_topics(settings: Settings, services: tuple[str, ...]) -> None:
    if "kafka" in services:
        ensure_topics(settings)


def worker_cores() -> list[int]:
    """Cores for workers, one each: all but the first, which the servers start on; the only one where there is one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[1:] or cores


def servers_cpu_s(cluster: LocalCluster | None) -> dict[str, float]:
    """CPU of each of the benchmark's own servers so far, seconds; of others nothing is known."""
    return {name: cluster.cpu_seconds(name) for name in cluster.services} if cluster is not None else {}


def log_bytes(cluster: LocalCluster | None, topic: str) -> int | None:
    """How much the topic takes in the log of the benchmark's own broker, compressed as it was sent; of others nothing is known."""
    if cluster is None:
        return None
    return sum(file.stat().st_size for file in cluster.directory.glob(f"kafka/**/{topic}-[0-9]*/*.log"))


def wait_durable(settings: Settings, topic: str, on_look: Callable[[int], None]) -> None:
    """Returns when the group has committed the topic's end and Redis has it too: every cell and the checkpoint are stored then.

    `on_look` is called with the number of records left, twenty times a second. MarqueeError after DURABLE_TIMEOUT_S.
    """
    ends = {partition: end for partition, (_, end) in partition_offsets(settings, topic).items()}
    admin = AdminClient(client_options(settings.kafka))
    asked = ConsumerGroupTopicPartitions(settings.kafka.group, [TopicPartition(topic, partition) for partition in ends])
    deadline = time.monotonic() + DURABLE_TIMEOUT_S
    left = sum(ends.values())
    while time.monotonic() < deadline:
        answer = next(iter(admin.list_consumer_group_offsets([asked]).values())).result()
        committed = {place.partition: max(place.offset, 0) for place in answer.topic_partitions}
        left = sum(max(0, end - committed.get(partition, 0)) for partition, end in ends.items())
        on_look(left)
        if not left:
            catch_up(settings, topic, lambda _: None)
            return
        time.sleep(LOOK_EVERY_S)
    raise MarqueeError(f"{left:,} records of {topic} were not durable after {DURABLE_TIMEOUT_S:.0f} s; see the workers' logs")


def show(document: dict[str, Any], as_json: bool) -> None:
    """The measurement: one JSON document, or a line a figure."""
    if as_json:
        emit(document)
        return
    for name, value in document.items():
        click.echo(f"{name:>26}  {value:,.3f}" if isinstance(value, float) else f"{name:>26}  {value}")
