"""How much of everything a load takes: from what was measured on two cores (benchmarks/results) and what machines cost (prices.toml).

A model, and a plain one: what an event costs each server at the greatest measured live rate is what it costs at any rate. That is too
much rather than too little, since flushes fold more together as rates grow; `at_best` has what it costs in a backlog, where most is.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PRICES: Final = Path(__file__).with_name("prices.toml")
REPLICAS: Final = 3
"""Of a partition in Kafka, and of a row in Cassandra."""
FULL: Final = 0.6
"""What of a core, a disk or a memory is used at the load that is planned for; the rest is for a zone that fails, and for catching up."""
KEPT_S: Final = 86_400
"""How much of the log brokers keep."""
ZONES: Final = 3
SHELF_DUE_S: Final = 60
"""A viewer's bookmarks are written that often (docs/architecture.md)."""
APIS: Final = 2
"""Machines of them a Marquee."""
ZOOKEEPERS: Final = 3


@dataclass(frozen=True)
class Load:
    viewers: int
    events_per_s: int


@dataclass(frozen=True)
class Figures:
    """What one event costs, seconds of a core: the worker, and each server with one replica; and what else was measured."""

    worker_s: float
    servers_s: Mapping[str, float]
    log_bytes: float
    session_bytes: float
    """Of the workers' memory, all included, a live session."""
    checkpoint_bytes: float
    """Of a live session in a checkpoint."""
    shelf_s: float
    """Of Redis' core, to write a viewer's bookmarks."""
    shelf_bytes: float
    """Of Redis' memory, a viewer's bookmarks."""
    collector_s: float
    """Of a collector's core, an event by HTTP."""

    @classmethod
    def of(cls, documents: Mapping[str, Mapping[str, Any]], event: str) -> Figures:
        """event: the benchmark that tells what an event costs, one of `freshness` or `drain`, which tells of no log: then it is 0."""
        measured = documents[event]["measured"]
        count = round(measured["cpu_s"] * measured["events_per_core_second"])  # those of the warm-up too
        memory = documents["memory-rate-50000-minutes-30-format-arrow-no-audit"]["measured"]
        million = documents["checkpoint"]["measured"]["by_live_sessions"]["1000000"]
        shelves = documents["shelves"]["measured"]
        return cls(
            worker_s=measured["cpu_s"] / count,
            servers_s={name: seconds / count for name, seconds in measured["servers_cpu_s"].items()},
            log_bytes=measured.get("log_bytes", 0) / count,
            session_bytes=memory["end_mb"] * 1e6 / memory["live_sessions"],
            checkpoint_bytes=million["bytes"] / 1e6,
            shelf_s=shelves["write_server_us_a_shelf"] / 1e6,
            shelf_bytes=shelves["redis_mb"] * 1e6 / shelves["profiles"],
            collector_s=1 / documents["collector"]["measured"]["events_per_core_second"],
        )


@dataclass(frozen=True)
class Machine:
    """A kind of machine. hour: US dollars."""

    machine: str
    cores: int
    memory_gb: int
    hour: float
    disk_gb: int = 0


@dataclass(frozen=True)
class Cloud:
    name: str
    region: str
    source: str
    url: str
    zone_gb: float
    """US dollars for a GB from one zone to another."""
    zone_url: str
    store: Machine
    worker: Machine
    small: Machine


def clouds(path: Path = PRICES) -> tuple[str, list[Cloud]]:
    """The day on which the prices were read, and the clouds."""
    document = tomllib.loads(path.read_text())
    read = str(document.pop("read"))
    kinds = ("store", "worker", "small")
    found = []
    for name, one in document.items():
        values: dict[str, Any] = {key: Machine(**value) if key in kinds else value for key, value in one.items()}
        found.append(Cloud(name, **values))
    return read, found


@dataclass(frozen=True)
class Need:
    """What the load takes, whatever it is bought as. Cores are as many as are busy, all replicas counted."""

    workers: int
    partitions: int
    worker_memory_gb: float
    collectors: int
    kafka_cores: float
    log_gb_a_day: float
    """Of one replica."""
    log_mb_s: float
    cassandra_cores: float
    checkpoints_mb_s: float
    """If every session's state were written every 5 s; they may take 5 % of a worker's CPU, and come later where that does not do."""
    redis_cores: float
    redis_memory_gb: float
    shelves_cores: float
    """Of Redis, where events carry positions and so bookmarks are written."""
    systems: int
    """Marquees beside each other on the same Kafka and Cassandra, for each has one Redis, which is one thread."""


def need(load: Load, figures: Figures, checkpoint_s: float = 5.0) -> Need:
    """What `load` takes if an event costs what `figures` say."""
    rate, servers = load.events_per_s, figures.servers_s
    workers = math.ceil(rate * figures.worker_s / FULL)
    redis = rate * servers["redis"]
    return Need(
        workers=workers,
        partitions=2 * workers,
        worker_memory_gb=load.viewers * figures.session_bytes / 1e9,
        collectors=math.ceil(rate * figures.collector_s / FULL),
        kafka_cores=REPLICAS * rate * servers["kafka"],
        log_gb_a_day=rate * figures.log_bytes * KEPT_S / 1e9,
        log_mb_s=rate * figures.log_bytes / 1e6,
        cassandra_cores=REPLICAS * rate * servers["cassandra"],
        checkpoints_mb_s=load.viewers * figures.checkpoint_bytes / checkpoint_s / 1e6,
        redis_cores=redis,
        redis_memory_gb=load.viewers * figures.shelf_bytes / 1e9,
        shelves_cores=load.viewers / SHELF_DUE_S * figures.shelf_s,
        systems=max(1, math.ceil(redis / FULL)),
    )


@dataclass(frozen=True)
class Line:
    """So many machines of a kind, or so many GB between zones, and what they cost a day, US dollars."""

    what: str
    bought: str
    count: int
    day: float


def bill(needed: Need, cloud: Cloud, by_http: bool) -> list[Line]:
    """What is bought of this cloud. by_http: events come by HTTP to collectors, else players' gateways write them to Kafka."""
    store, systems = cloud.store, needed.systems
    log_gb = REPLICAS * needed.log_gb_a_day
    brokers = _of(needed.kafka_cores / store.cores, log_gb / store.disk_gb)
    cassandra = _of(needed.cassandra_cores / store.cores)
    workers = max(ZONES, math.ceil(max(needed.workers / cloud.worker.cores, needed.worker_memory_gb / FULL / cloud.worker.memory_gb)))
    lines = [
        _line("Kafka brokers", store, brokers),
        _line("Cassandra nodes", store, cassandra),
        _line("workers", cloud.worker, workers),
        _line("Redis", cloud.small, systems),
        _line("APIs", cloud.small, APIS * systems),
        _line("ZooKeeper", cloud.small, ZOOKEEPERS),
    ]
    if by_http:
        lines.append(_line("collectors", cloud.small, math.ceil(needed.collectors / cloud.small.cores)))
    # A producer's and a worker's broker is in another zone two times in three; each record is copied to two others.
    crossing_gb = needed.log_gb_a_day * (2 * (ZONES - 1) / ZONES + REPLICAS - 1)
    lines.append(Line("between zones, of the log", "GB", round(crossing_gb), crossing_gb * cloud.zone_gb))
    return lines


def _of(*busy: float) -> int:
    """So many machines that none is used to more than FULL, and no fewer than there are replicas."""
    return max(REPLICAS, math.ceil(max(busy) / FULL))


def _line(what: str, machine: Machine, count: int) -> Line:
    return Line(what, machine.machine, count, count * machine.hour * 24)
