"""`marquee demo`: the whole way of a million events, seen and audited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from marquee.driven_options import faults_option, scenario_option
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange, Span
from marquee.output import emit, json_option, number, progress_option, report_option, say
from topologies.errors import UsageError

if TYPE_CHECKING:
    from marquee.regions_demo import RegionsOptions


@click.command()
@click.option("--events", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="How many events.")
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Worker processes.")
@click.option(
    "--rate",
    type=FiniteRange(min=0, min_open=True),
    help="Events a second; 30,000, or fewer so that it takes 32 s, or 7 min with --autoscale.",
)
@format_option
@faults_option
@scenario_option
@click.option("--autoscale", type=Span(), help="From A to B workers, by need, instead of --workers; a premiere unless --scenario is given.")
@click.option("--regions", type=click.IntRange(1, 4), default=1, show_default=True, help="Regions, each with its servers and workers.")
@click.option("--lose", metavar="REGION", default="", help="This region is lost under load, and comes back; with --regions.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="The same seed makes the same audience.")
@click.option("--keep", is_flag=True, help="Keep the servers' data and the run's ledger.")
@report_option
@progress_option
@json_option
@pass_invocation
def demo(
    invocation: Invocation,
    events: int,
    workers: int,
    rate: float | None,
    encoding: str,
    faults: str,
    scenario: str,
    autoscale: tuple[int, int] | None,
    regions: int,
    lose: str,
    seed: int,
    keep: bool,
    report: Path | None,
    progress: str,
    as_json: bool,
) -> int:
    """Start a cluster of its own, drive events through it, watch the views fill, audit every number, stop. Exit 0 only if exact.

    It runs beside `marquee up` and other demos: own ports, own directory (var/clusters/demo-PID). What it was stands in var/demo.html.

    \b
    Examples:
      marquee demo
      marquee demo --events 2000000 --workers 2 --faults duplicates,late,malformed --json
      marquee demo --scenario flash-crowd
      marquee demo --autoscale 1..4 --scenario premiere --json
      marquee demo --regions 2 --lose eu-west-1 --json
    """
    from marquee.audit_table import show
    from marquee.demonstration import Demo, DemoOptions, natural_rate
    from marquee.regions_demo import RegionsOptions
    from marquee.screen import Screen

    if lose and regions < 2:
        raise UsageError("--lose needs --regions 2 or more: with one region nobody is left to answer")
    if regions > 1:
        given = click.get_current_context().get_parameter_source
        if autoscale is not None or report is not None:
            raise UsageError("--regions takes no --autoscale and no --report")
        each = workers if given("workers") != ParameterSource.DEFAULT else 1
        asked = RegionsOptions(events, regions, each, rate, lose, seed, keep, encoding, scenario, faults)
        return _regions(invocation, asked, progress, as_json=as_json)
    with Screen("marquee demo", progress) as screen:
        scaled = autoscale is not None
        chosen = click.get_current_context().get_parameter_source("scenario") != ParameterSource.DEFAULT
        options = DemoOptions(
            events=events, workers=workers, rate=rate or natural_rate(events, scaled), faults=faults, seed=seed, keep=keep, format=encoding,
            scenario="premiere" if scaled and not chosen else scenario, report=report, autoscale=autoscale,
        )  # fmt: skip
        played = Demo(invocation.settings, options, screen)
        result = played.play()
    if as_json:
        emit(played.document())
    else:
        show(result)
        say("steps: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in played.steps.items()))
        said = "for events that came in their own time; `marquee bench drain` measures how fast they can"
        say(f"workers: {number(played.outcome.cpu_s)} s of CPU, {said}")
    return 0 if result.proven else 1


def _regions(invocation: Invocation, options: RegionsOptions, progress: str, *, as_json: bool) -> int:
    from marquee.audit_table import show
    from marquee.regions_demo import RegionsDemo
    from marquee.screen import Screen

    with Screen("marquee demo", progress) as screen:
        played = RegionsDemo(invocation.settings, options, screen)
        result = played.play()
    if as_json:
        emit(played.document())
    else:
        show(result)
        say(f"crossed: {number(result.crossed)} events are in the logs of two regions")
        for told in played.visitors.told.values() if played.visitors else ():
            say(told.line())
        say("steps: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in played.steps.items()))
    failed = any(told.failed for told in played.visitors.told.values()) if played.visitors else False
    return 0 if result.proven and not failed else 1


COMMAND = demo
