"""`marquee bench load`: the generator alone against a real broker."""

from __future__ import annotations

import resource
import time

import click

from loadgen.load import LoadOptions, run_load
from marquee.arena import arena, cluster_option, show
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option


@click.command()
@click.option("--events", type=click.IntRange(min=1), default=3_000_000, show_default=True, help="How many events.")
@format_option
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Generator processes.")
@cluster_option
@json_option
@pass_invocation
def load(invocation: Invocation, events: int, encoding: str, processes: int, given: bool, as_json: bool) -> int:
    """Backfill an hour of events as fast as it goes, with no worker running. CPU is the generator's, all its processes.

    \b
    Examples:
      marquee bench load --events 10000000
    """
    with arena(invocation.settings, "load", given) as (settings, _, cluster):
        broker_before = cluster.cpu_seconds("kafka") if cluster else 0.0
        begun, before = time.monotonic(), _cpu_s()
        run = run_load(settings, LoadOptions(events=events, backfill_s=3600.0, format=encoding, processes=processes), lambda _: None)
        wall_s, cpu_s = time.monotonic() - begun, _cpu_s() - before
        broker_s = cluster.cpu_seconds("kafka") - broker_before if cluster else None
    document = {
        "events": run.generated,
        "acknowledged": run.acknowledged,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "events_per_s": round(run.generated / wall_s),
        "events_per_core_second": round(run.generated / cpu_s),
        "broker_cpu_s": round(broker_s, 2) if broker_s is not None else None,
        "processes": processes,
    }
    show(document, as_json)
    return 0


def _cpu_s() -> float:
    """CPU of this process and of those that it waited for, seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


COMMAND = load
