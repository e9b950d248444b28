"""`marquee bench scale`: the drain workload by one worker and by N, one after the other on the same servers; both audited."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from cluster.local import LocalCluster
from cluster.process import wait_until
from cluster.supervisor import Workers
from loadgen.audit import audit
from loadgen.load import LoadOptions, run_load
from marquee.arena import apart, arena, cluster_option, servers_cpu_s, show, wait_durable
from marquee.benches.drain import SPAN_S
from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option, say
from topologies.settings import Settings

READY_S: Final = 180.0


@click.command()
@click.option("--workers", type=click.IntRange(2, 256), default=2, show_default=True, help="Worker processes, against one.")
@click.option("--events", type=click.IntRange(min=1), default=10_000_000, show_default=True, help="How many events, for each count.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the audience.")
@cluster_option
@json_option
@pass_invocation
def scale(invocation: Invocation, workers: int, events: int, seed: int, given: bool, as_json: bool) -> int:
    """Drain one hour of events with one worker and, again, with N; `efficiency` is N workers' events per core-second over one worker's.

    Wall time is shared with the servers on a small machine, so events_per_s says what this machine does, and events_per_core_second what
    a worker costs. Each drain has a topic, a group and a keyspace of its own; CPU is all workers', from the first event until all is
    durable.

    \b
    Examples:
      marquee bench scale --workers 2
      marquee bench scale --workers 2 --events 2000000 --json
    """
    with arena(invocation.settings, "scale", given) as (settings, directory, cluster):
        load = LoadOptions(events=events, backfill_s=SPAN_S, seed=seed)
        measured = {count: _drained(_apart(settings, count), directory / f"x{count}", cluster, load, count) for count in (1, workers)}
    document = {
        "events": events,
        "workers": workers,
        "events_per_s": {str(count): found["events_per_s"] for count, found in measured.items()},
        "events_per_core_second": {str(count): found["events_per_core_second"] for count, found in measured.items()},
        "cpu_s": {str(count): found["cpu_s"] for count, found in measured.items()},
        "wall_s": {str(count): found["wall_s"] for count, found in measured.items()},
        "servers_cpu_s": {str(count): found["servers_cpu_s"] for count, found in measured.items()},
        "efficiency": round(measured[workers]["events_per_core_second"] / measured[1]["events_per_core_second"], 3),
        "exact": all(found["exact"] for found in measured.values()),
    }
    show(document, as_json)
    return 0 if document["exact"] else 1


def _apart(settings: Settings, count: int) -> Settings:
    """The same servers, and nothing on them that another drain has: no log of it either."""
    mark = f"scale{count}"
    kafka = replace(settings.kafka, backfill_prefix=f"{settings.kafka.backfill_prefix}{mark}.")
    return apart(replace(settings, kafka=kafka), mark)


def _drained(settings: Settings, directory: Path, cluster: LocalCluster | None, load: LoadOptions, count: int) -> dict[str, Any]:
    say(f"preloading {load.events:,} events for {count} workers")
    run = run_load(settings, load, lambda _: None)
    servers_before = sum(servers_cpu_s(cluster).values())
    with Workers(settings, count, directory) as workers:
        wait_until(lambda: any(workers.ready(index) for index in range(count)), READY_S)
        begun = time.monotonic()
        workers.wait_ready(READY_S)
        before_s = sum((workers.ready(index) or {})["cpu_s"] for index in range(count))
        wait_durable(settings, run.topic, lambda _: None)
        wall_s = time.monotonic() - begun
        cpu_s = sum(workers.cpu_seconds(index) for index in range(count)) - before_s
        servers_s = sum(servers_cpu_s(cluster).values()) - servers_before
        say(f"drained in {wall_s:.1f} s; auditing")
        result = audit(settings, run.name, say)
    return {
        "events_per_s": round(run.generated / wall_s),
        "events_per_core_second": round(run.generated / cpu_s),
        "cpu_s": round(cpu_s, 2),
        "wall_s": round(wall_s, 2),
        "servers_cpu_s": round(servers_s, 1),
        "exact": result.proven,
    }


COMMAND = scale
