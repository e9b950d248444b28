"""`marquee bench profile`: where a worker's microseconds go, stage by stage, on the way from the log to both stores."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from cluster.supervisor import Workers
from loadgen.load import LoadOptions, run_load, shape_of
from marquee.arena import arena, cluster_option, wait_durable, worker_cores
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import emit, json_option, say, table
from marquee.profiled import FILE
from marquee.under_load import under_load
from topologies.errors import MarqueeError
from topologies.settings import Settings

DRAINED: Final = 5_000_000
LIVE_S: Final = 60


@click.command()
@click.option("--events", type=click.IntRange(min=1), help=f"How many events; {DRAINED:,} unless given, or {LIVE_S} s of the --rate.")
@click.option("--rate", type=FiniteRange(min=1), help="Events a second, as they come, instead of a topic that is there already.")
@format_option
@cluster_option
@json_option
@pass_invocation
def profile(invocation: Invocation, events: int | None, rate: float | None, encoding: str, given: bool, as_json: bool) -> int:
    """Drain a preloaded topic with a worker whose stages are timed. CPU of each stage's thread, whatever else the machine does.

    With --rate the worker is there first, and the events come live: then each of the many small fetches and flushes has its price.

    \b
    Examples:
      marquee bench profile
      marquee bench profile --events 10000000 --json
      marquee bench profile --rate 20000
    """
    if rate is None:
        load = LoadOptions(events=events or DRAINED, backfill_s=3600.0, format=encoding)
    else:
        load = LoadOptions(events=events or round(LIVE_S * rate), rate=rate, format=encoding)
    shape_of(load)
    with arena(invocation.settings, "profile", given) as (settings, directory, _):
        document = _measured(settings, directory, load)
    if as_json:
        emit(document)
        return 0
    rows = [[name, stage["us_an_event"], stage["share"], stage["calls"]] for name, stage in document["stages"].items()]
    table(["stage", "µs an event", "share", "calls"], rows, right=["µs an event", "share", "calls"])
    table(["thread", "µs an event"], list(map(list, document["threads_us_an_event"].items())), right=["µs an event"])
    return 0


def _measured(settings: Settings, directory: Path, options: LoadOptions) -> dict[str, Any]:
    preloaded = None
    if options.rate is None:
        say(f"preloading {options.events:,} events")
        preloaded = run_load(settings, options, lambda _: None)
    measured = directory / "profile.json"
    os.environ[FILE] = str(measured.resolve())
    with Workers(settings, 1, directory, cores=worker_cores(), command=(sys.executable, "-m", "marquee.profiled", "worker")) as workers:
        workers.wait_ready()
        if preloaded is not None:
            run, before_s = preloaded, (workers.ready(0) or {})["cpu_s"]
        else:
            with under_load(settings, options) as driven:  # what it used while the load was planned is nobody's price
                before_s = workers.cpu_seconds(0)
            run = driven.result()
        wait_durable(settings, run.topic, lambda _: None)
        cpu_s = workers.cpu_seconds(0) - before_s
    try:
        found = json.loads(measured.read_bytes())
    except FileNotFoundError as error:
        raise MarqueeError(f"the worker ended without its profile; see {directory / 'logs'}") from error
    return _document(found, run.generated, cpu_s, options)


def _document(found: dict[str, Any], events: int, cpu_s: float, options: LoadOptions) -> dict[str, Any]:
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
        "rate": options.rate,
        "format": options.format,
        "cpu_s": round(cpu_s, 2),
        "us_an_event": an_event(cpu_s),
        "events_per_core_second": round(events / cpu_s),
        "stages": stages,
        "threads_us_an_event": {name: an_event(used) for name, used in sorted(found["threads"].items(), key=lambda item: -item[1])},
    }


COMMAND = profile
