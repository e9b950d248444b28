"""`marquee bench profile`: where a worker's microseconds go, stage by stage, on the way from the log to both stores."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from cluster.supervisor import Workers
from loadgen.load import LoadOptions, run_load
from marquee.arena import arena, cluster_option, wait_durable, worker_cores
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, json_option, say, table
from marquee.profiled import FILE
from topologies.errors import MarqueeError
from topologies.settings import Settings


@click.command()
@click.option("--events", type=click.IntRange(min=1), default=5_000_000, show_default=True, help="How many events.")
@format_option
@cluster_option
@json_option
@pass_invocation
def profile(invocation: Invocation, events: int, encoding: str, given: bool, as_json: bool) -> int:
    """Drain a preloaded topic with a worker whose stages are timed. CPU of each stage's thread, whatever else the machine does.

    \b
    Examples:
      marquee bench profile
      marquee bench profile --events 10000000 --json
    """
    with arena(invocation.settings, "profile", given) as (settings, directory, _):
        document = _measured(settings, directory, LoadOptions(events=events, backfill_s=3600.0, format=encoding))
    if as_json:
        emit(document)
        return 0
    rows = [[name, stage["us_an_event"], stage["share"], stage["calls"]] for name, stage in document["stages"].items()]
    table(["stage", "µs an event", "share", "calls"], rows, right=["µs an event", "share", "calls"])
    table(["thread", "µs an event"], list(map(list, document["threads_us_an_event"].items())), right=["µs an event"])
    return 0


def _measured(settings: Settings, directory: Path, options: LoadOptions) -> dict[str, Any]:
    say(f"preloading {options.events:,} events")
    run = run_load(settings, options, lambda _: None)
    measured = directory / "profile.json"
    os.environ[FILE] = str(measured.resolve())
    with Workers(settings, 1, directory, cores=worker_cores(), command=(sys.executable, "-m", "marquee.profiled", "worker")) as workers:
        workers.wait_ready()
        started = workers.ready(0) or {}
        wait_durable(settings, run.topic, lambda _: None)
        cpu_s = workers.cpu_seconds(0) - started["cpu_s"]
    try:
        found = json.loads(measured.read_bytes())
    except FileNotFoundError as error:
        raise MarqueeError(f"the worker ended without its profile; see {directory / 'logs'}") from error
    return _document(found, run.generated, cpu_s, options.format)


def _document(found: dict[str, Any], events: int, cpu_s: float, encoding: str) -> dict[str, Any]:
    def an_event(seconds: float) -> float:
        return round(seconds / events * 1e6, 4)

    stages = {
        name: {"us_an_event": an_event(stage["cpu_s"]), "share": round(stage["cpu_s"] / cpu_s, 3), "calls": stage["calls"]}
        for name, stage in found["stages"].items()
    }
    named_s = sum(stage["cpu_s"] for stage in found["stages"].values())
    rest_s = cpu_s - named_s
    stages["the rest: Faust, asyncio, drivers' threads"] = {"us_an_event": an_event(rest_s), "share": round(rest_s / cpu_s, 3), "calls": 0}
    return {
        "events": events,
        "format": encoding,
        "cpu_s": round(cpu_s, 2),
        "us_an_event": an_event(cpu_s),
        "events_per_core_second": round(events / cpu_s),
        "stages": stages,
        "threads_us_an_event": {name: an_event(used) for name, used in sorted(found["threads"].items(), key=lambda item: -item[1])},
    }


COMMAND = profile
