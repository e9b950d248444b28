"""`marquee bench load`: the generator alone against a real broker."""

from __future__ import annotations

import time
from typing import Final

import click

from loadgen.crew import LoadProgress
from loadgen.load import LoadOptions, run_load
from marquee.arena import arena, cluster_option, show
from marquee.durations import DURATION
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option

FIGURES: Final = (
    "sending_s", "cpu_s", "startup_cpu_s", "events_per_s", "events_per_core_second", "ceiling_events_per_s", "broker_cpu_s",
    "busiest_core_share", "blocked_share", "rss_mb",
)  # fmt: skip
"""Of loadgen.measured.Measured."""


class Growth:
    """A process's greatest resident memory by how much was sent: flat is what ends as it was early on."""

    def __init__(self) -> None:
        self.rss_mb_by_tenth: list[float] = []
        """When a tenth of the events were sent, two, … nine."""

    def note(self, progress: LoadProgress) -> None:
        """Looks at one moment of the load."""
        reached = min(9, progress.sent * 10 // progress.total) if progress.phase in ("sending", "finishing") else 0
        self.rss_mb_by_tenth += [progress.rss_mb] * (reached - len(self.rss_mb_by_tenth))


@click.command()
@click.option("--events", type=click.IntRange(min=1), default=10_000_000, show_default=True, help="How many events.")
@format_option
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Generator processes.")
@click.option("--span", "span_s", type=DURATION, default="1h", show_default=True, help="Event time; the shorter, the more viewers.")
@cluster_option
@json_option
@pass_invocation
def load(invocation: Invocation, events: int, encoding: str, processes: int, span_s: float, given: bool, as_json: bool) -> int:
    """Backfill events as fast as it goes, with no worker running: what the generator can make at the most.

    CPU is the generator's, all its processes, planning included; that of starting them (interpreter, libraries, kernels) stands apart.

    \b
    Examples:
      marquee bench load
      marquee bench load --events 100000000 --span 2m --format arrow    # ten million viewers
    """
    growth = Growth()
    options = LoadOptions(events=events, backfill_s=span_s, format=encoding, processes=processes)
    with arena(invocation.settings, "load", given, services=("kafka",)) as (settings, _, cluster):
        begun = time.monotonic()
        broker = (lambda: cluster.cpu_seconds("kafka")) if cluster else None
        run = run_load(settings, options, growth.note, broker_cpu_s=broker)
        wall_s = time.monotonic() - begun
    assert run.measured is not None
    document = {
        "events": run.generated,
        "acknowledged": run.acknowledged,
        "wall_s": round(wall_s, 2),
        "processes": run.processes,
        **{name: getattr(run.measured, name) for name in FIGURES},
        "rss_mb_by_tenth": growth.rss_mb_by_tenth,
    }
    show(document, as_json)
    return 0


COMMAND = load
