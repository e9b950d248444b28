"""`marquee bench scale`: the drain workload by one worker and by N in turns, on the same servers; each audited."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import click

from cluster.local import LocalCluster
from cluster.process import wait_until
from cluster.supervisor import Workers
from loadgen.audit import audit
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load
from marquee.arena import apart, arena, cluster_option, servers_cpu_s, show, wait_durable
from marquee.benches.drain import SPAN_S, computing, views_option
from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option, say
from topologies.settings import Settings
from topologies.views import selected

READY_S: Final = 180.0


@click.command()
@click.option("--workers", type=click.IntRange(2, 256), default=2, show_default=True, help="Worker processes, against one.")
@click.option("--events", type=click.IntRange(min=1), default=10_000_000, show_default=True, help="How many events.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the audience.")
@click.option("--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Pairs of drains; the figures are medians.")
@views_option
@cluster_option
@json_option
@pass_invocation
def scale(invocation: Invocation, workers: int, events: int, seed: int, runs: int, views: str, given: bool, as_json: bool) -> int:
    """Drain one hour of events with one worker and, again, with N; `efficiency` is N workers' events per core-second over one worker's.

    Wall time is shared with the servers on a small machine, so events_per_s says what this machine does, and events_per_core_second what
    a worker costs. Each drain has a group, a keyspace and a prefix of its own; CPU is all workers', from the first event until all is
    durable. With --runs the two take turns in going first, since a machine that others use is not equally fast for long; efficiency is
    the median of the pairs'.

    \b
    Examples:
      marquee bench scale --workers 2 --runs 5
      marquee bench scale --workers 2 --events 2000000 --json
    """
    settings = computing(invocation.settings, views)
    pairs: list[dict[int, dict[str, Any]]] = []
    with arena(settings, "scale", given) as (running, directory, cluster):
        say(f"preloading {events:,} events")
        run = run_load(running, LoadOptions(events=events, backfill_s=SPAN_S, seed=seed), lambda _: None)
        for number in range(1, runs + 1):
            order = (1, workers) if number % 2 else (workers, 1)
            marks = {count: f"run{number}x{count}" for count in order}
            pairs.append({count: _drained(apart(running, mark), directory / mark, cluster, run, count) for count, mark in marks.items()})
    document = {
        "events": events,
        "workers": workers,
        "views": [view.name for view in selected(settings.worker.views)],
        **_figures(pairs, workers),
    }
    show(document, as_json)
    return 0 if document["exact"] else 1


def _figures(pairs: list[dict[int, dict[str, Any]]], workers: int) -> dict[str, Any]:
    names = ("events_per_s", "events_per_core_second", "cpu_s", "wall_s", "servers_cpu_s")
    ratios = [round(pair[1]["cpu_s"] / pair[workers]["cpu_s"], 3) for pair in pairs]
    return {
        **{name: {str(count): round(median(pair[count][name] for pair in pairs), 2) for count in (1, workers)} for name in names},
        "efficiency": round(median(ratios), 3),
        "runs": ratios,
        "exact": all(found["exact"] for pair in pairs for found in pair.values()),
    }


def _drained(settings: Settings, directory: Path, cluster: LocalCluster | None, run: Run, count: int) -> dict[str, Any]:
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
        "cpu_s": round(cpu_s, 3),
        "wall_s": round(wall_s, 2),
        "servers_cpu_s": round(servers_s, 1),
        "exact": result.proven,
    }


COMMAND = scale
