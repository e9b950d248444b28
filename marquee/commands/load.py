"""`marquee load`: drives viewing events of a seeded audience."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from marquee.durations import DURATION
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option, progress_option, report_option

AMOUNT = click.IntRange(min=1)
RATE = FiniteRange(min=0, min_open=True)


@click.command()
@click.option("--events", type=AMOUNT, help="How many events.")
@click.option("--duration", "duration_s", type=DURATION, help="For how long: 90, 90s, 15m, 2h.")
@click.option("--rate", type=RATE, help="Events a second; open loop: a slow system does not slow the audience.")
@click.option("--backfill", "backfill_s", type=DURATION, help="A past span up to now, as fast as it goes, into its own topic: 24h.")
@format_option
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="The same seed and options make the same audience.")
@click.option("--run", "name", help="Name of the run, for the audit; made up when not given.")
@click.option("--faults", default="", help="Broken on purpose: duplicates,late=0.01,malformed,out-of-order.")
@click.option("--processes", type=AMOUNT, default=2, show_default=True, help="Generator processes.")
@click.option("--titles", type=AMOUNT, default=18_214, show_default=True, help="Titles of the catalogue.")
@click.option("--regions", type=AMOUNT, default=6, show_default=True, help="Regions.")
@click.option("--vanish", type=FiniteRange(0, 1), default=0.02, show_default=True, help="Share of sessions that end without a stop.")
@report_option
@progress_option
@json_option
@pass_invocation
def load(
    invocation: Invocation,
    events: int | None,
    duration_s: float | None,
    rate: float | None,
    backfill_s: float | None,
    encoding: str,
    seed: int,
    name: str | None,
    faults: str,
    processes: int,
    titles: int,
    regions: int,
    vanish: float,
    report: Path | None,
    progress: str,
    as_json: bool,
) -> int:
    """Drive viewing events: now and in open loop, or a past span as fast as it goes. Writes the run's ledger under var/runs.

    Say how much by --events, or by --duration with --rate. Ctrl-C stops in good order, with all that was sent in the ledger.
    The run's report, one file with charts, stands beside the ledger: var/runs/RUN/report.html.

    \b
    Examples:
      marquee load --rate 20000 --duration 60
      marquee load --events 1000000 --rate 30000 --run first --faults duplicates,late,malformed
      marquee load --backfill 24h --events 5000000 --seed 7
    """
    if events is None and duration_s is None and (backfill_s is None or rate is None):
        raise click.UsageError("say how much: --events N, or --duration S with --rate R")
    from loadgen.load import LoadOptions, run_load, run_name
    from marquee.driving import drive

    name = run_name(name, "load")
    options = LoadOptions(
        events=events, duration_s=duration_s, rate=rate, backfill_s=backfill_s, format=encoding, seed=seed, run=name,
        faults=faults, processes=processes, titles=titles, regions=regions, vanish=vanish,
    )  # fmt: skip
    settings = invocation.settings
    run = partial(run_load, settings, options)
    return drive("load", settings, name, run, progress=progress, file=report, as_json=as_json)


COMMAND = load
