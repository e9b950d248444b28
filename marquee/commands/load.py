"""`marquee load`: drives viewing events of a seeded audience."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
from click.core import ParameterSource

from marquee.driven_options import faults_option, scenario_option
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
@faults_option
@scenario_option
@click.option("--start", metavar="T", help="When a backfill's span begins, instead of ending now: ISO 8601 or epoch seconds.")
@click.option("--tag", help="What a backfill's accounts begin with; made up when not given. With --start: the same events, byte for byte.")
@click.option("--resume", metavar="RUN", help="Go on with this run, which was stopped, failed or killed.")
@click.option("--processes", type=AMOUNT, help="Generator processes.  [default: 2; of a resumed run as many as it had]")
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
    scenario: str,
    start: str | None,
    tag: str | None,
    resume: str | None,
    processes: int | None,
    titles: int,
    regions: int,
    vanish: float,
    report: Path | None,
    progress: str,
    as_json: bool,
) -> int:
    """Drive viewing events: now and in open loop, or a past span as fast as it goes. Writes the run's ledger under var/runs.

    Say how much by --events, or by --duration with --rate; most scenarios say how long they take. Ctrl-C stops in good order, with all that
    was sent in the ledger; --resume goes on. The ledger's `measured` has rates, CPU (of a local broker too), how late events were, and who
    made them late. docs/loadgen.md has the audience's figures, the scenarios and the faults.
    The run's report, one file with charts, stands beside the ledger: var/runs/RUN/report.html.

    \b
    Examples:
      marquee load --rate 20000 --duration 60
      marquee load --events 1000000 --rate 30000 --run first --faults duplicates,late,malformed
      marquee load --scenario premiere
      marquee load --scenario ./mine.toml --rate 5000 --duration 10m --faults all
      marquee load --backfill 24h --events 5000000 --seed 7 --scenario day
      marquee load --resume first
    """
    from loadgen.load import LoadOptions, run_load, run_name
    from loadgen.recovery import resume_load
    from marquee.broker import broker_cpu_s
    from marquee.driving import drive
    from serving.questions import parse_instant

    settings = invocation.settings
    broker = broker_cpu_s(settings)
    if resume is not None:
        _refuse_with_resume(click.get_current_context())
        again = partial(resume_load, settings, resume, processes, broker_cpu_s=broker)
        return drive("load", settings, resume, again, progress=progress, file=report, as_json=as_json)
    if backfill_s is None and (start is not None or tag is not None):
        raise click.UsageError("--start and --tag are a backfill's: live events are of now, and their topic is everybody's")
    name = run_name(name, "load")
    options = LoadOptions(
        events=events, duration_s=duration_s, rate=rate, backfill_s=backfill_s, format=encoding, seed=seed, run=name,
        faults=faults, scenario=scenario, processes=processes or 2, titles=titles, regions=regions, vanish=vanish,
        tag=tag, span_start_ms=None if start is None else parse_instant(start),
    )  # fmt: skip
    run = partial(run_load, settings, options, broker_cpu_s=broker)
    return drive("load", settings, name, run, progress=progress, file=report, as_json=as_json)


def _refuse_with_resume(context: click.Context) -> None:
    """A resumed run is what it was: everything but how it is carried out comes from its ledger."""
    own = ("resume", "processes", "as_json", "report", "progress")
    given = [name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT and name not in own]
    if given:
        raise click.UsageError("--resume takes everything from the run's ledger but --processes; leave the rest out")


COMMAND = load
