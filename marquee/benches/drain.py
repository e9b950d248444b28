"""`marquee bench drain`: one worker, pinned to one core, drains a preloaded topic into the real stores; then the audit."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from cluster.local import LocalCluster
from cluster.supervisor import Workers
from loadgen.audit import audit
from loadgen.audit_report import AuditResult
from loadgen.live_sessions import LiveSessions, preload
from loadgen.load import LoadOptions, run_load
from marquee.arena import apart, arena, cluster_option, servers_cpu_s, show, wait_durable, worker_cores
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option, say
from serving.answers import ask
from serving.questions import Question
from serving.stores import Stores
from topologies.concurrents import CONCURRENTS
from topologies.settings import Settings
from topologies.views import selected

SPAN_S: Final = 3600.0
"""The hour that ends now, so that Redis still keeps every window of it."""


views_option = click.option("--views", default="all", show_default=True, help="Views to compute: all, or names separated by commas.")


@click.command()
@click.option("--events", type=click.IntRange(min=1), default=10_000_000, show_default=True, help="How many events.")
@format_option
@views_option
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the audience.")
@click.option("--live-sessions", type=click.IntRange(min=1), help="Of so many sessions, all live to the end, in one partition.")
@click.option("--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Drain the same log so many times; odd.")
@cluster_option
@json_option
@pass_invocation
def drain(
    invocation: Invocation,
    events: int,
    encoding: str,
    views: str,
    seed: int,
    live_sessions: int | None,
    runs: int,
    given: bool,
    as_json: bool,
) -> int:
    """Drain one hour of events of 18,214 titles in 8 partitions with one worker on one core.

    CPU is the worker's, all threads, from the first event until the last cell and the checkpoint are durable.
    With --live-sessions N the events are heartbeats of N sessions in one partition instead, the same cells whatever N.
    With --runs N every run has stores and a group of its own, and the figures are the median run's.

    \b
    Examples:
      marquee bench drain --format json
      marquee bench drain --format arrow --views concurrents,watch_time
      marquee bench drain --events 2000000 --runs 3 --json
      marquee bench drain --live-sessions 1000000
    """
    settings = computing(invocation.settings, views)
    if live_sessions is not None:
        if encoding != "json":
            raise click.UsageError("--live-sessions makes JSON; leave --format out")
        if runs > 1:
            raise click.UsageError("--live-sessions drains once; leave --runs out")
        document = drained_sessions(settings, live_sessions, events, given)
        show(document, as_json)
        return 0 if document["exact"] else 1
    if not runs % 2:
        raise click.UsageError("--runs has to be odd, so that one run is the median")
    load = LoadOptions(events=events, backfill_s=SPAN_S, format=encoding, seed=seed)
    with arena(settings, "drain", given) as (running, directory, cluster):
        document = _measured(running, directory, cluster, load, runs)
    show(document, as_json)
    return 0 if document["exact"] else 1


def computing(settings: Settings, views: str) -> Settings:
    """With the views that --views names. Raises UsageError for one that there is not, before a server starts."""
    chosen = () if views == "all" else tuple(name.strip() for name in views.split(","))
    selected(chosen)
    return replace(settings, worker=replace(settings.worker, views=chosen))


def drained_sessions(settings: Settings, sessions: int, events: int, given: bool) -> dict[str, Any]:
    """Drain a log of so many live sessions in one partition; the measurement."""
    # a start that two runs of one hour share, so that their windows are the same too
    log = LiveSessions(sessions, events, (int(time.time()) // 3600 - 1) * 3_600_000)
    with arena(settings, "drain", given) as (running, directory, cluster):
        say(f"preloading {events:,} events of {sessions:,} sessions")
        topic = preload(running, f"live-{sessions}-{os.getpid()}", log)
        figures = _drained(running, directory, cluster, topic, events)
        result = audit(running, None, say)
        live = _viewers(running) if CONCURRENTS in selected(running.worker.views) else sessions
    mine = [source for source in result.sources if source.topic == topic and source.received == source.applied == events]
    exact = result.exact and result.complete and len(mine) == 1 and live == sessions
    return {**figures, **_audited(result, exact), "format": "json", "live_sessions": live}


def _viewers(settings: Settings) -> int:
    """How many are watching, by the answer that users get."""
    with Stores(settings) as stores:
        return sum(int(row.values[0] or 0) for row in ask(stores, Question(CONCURRENTS.name)).rows)


def _measured(settings: Settings, directory: Path, cluster: LocalCluster | None, options: LoadOptions, runs: int) -> dict[str, Any]:
    say(f"preloading {options.events:,} events")
    run = run_load(settings, options, lambda _: None)
    found = []
    for number in range(1, runs + 1):
        own = apart(settings, f"run{number}")
        figures = _drained(own, directory / f"run{number}", cluster, run.topic, run.generated)
        result = audit(own, run.name, say)
        found.append({**figures, **_audited(result, result.proven)})
    by_speed = sorted(found, key=lambda figures: figures["events_per_core_second"])
    return {
        **by_speed[runs // 2],
        "exact": all(figures["exact"] for figures in found),
        "format": options.format,
        "views": [view.name for view in selected(settings.worker.views)],
        "runs": [figures["events_per_core_second"] for figures in found],
    }


def _drained(settings: Settings, directory: Path, cluster: LocalCluster | None, topic: str, events: int) -> dict[str, Any]:
    servers_before = servers_cpu_s(cluster)
    with Workers(settings, 1, directory, cores=worker_cores()) as workers:
        workers.wait_ready()
        begun, started = time.monotonic(), workers.ready(0) or {}
        peak_mb = 0.0

        def look(_left: int) -> None:
            nonlocal peak_mb
            peak_mb = max(peak_mb, workers.rss_mb(0))

        wait_durable(settings, topic, look)
        wall_s = time.monotonic() - begun
        cpu_s = workers.cpu_seconds(0) - started["cpu_s"]
        servers_s = {name: after - servers_before[name] for name, after in servers_cpu_s(cluster).items()}
    say(f"drained in {wall_s:.1f} s; auditing")
    return {
        "events": events,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "events_per_core_second": round(events / cpu_s),
        "rss_mb": round(peak_mb),
        "servers_cpu_s": {name: round(seconds, 1) for name, seconds in servers_s.items()},
    }


def _audited(result: AuditResult, exact: bool) -> dict[str, Any]:
    cells = sum(tally.cells for tally in result.views.values())
    return {"exact": exact, "cells": cells, "audit_s": round(result.seconds, 1)}


COMMAND = drain
