"""`marquee capacity`: how much the running system sustains, or systems of its own with 1, 2, … workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from marquee.durations import DURATION
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import CountRange, FiniteRange, Rates
from marquee.output import emit, json_option, say, table

if TYPE_CHECKING:
    from marquee.capacity import Capacity, Demand, Method


@click.command()
@click.option("--workers", "counts", type=CountRange(1, 256), help="Start systems with 1..4 or 2 workers; without it, what runs is tried.")
@click.option("--cluster", "given", is_flag=True, help="With --workers: on the servers of the settings instead of servers of its own.")
@click.option("--loads", "rates", type=Rates(), help="The demand metric: of each of these rates, 5000,10000, the fewest workers.")
@click.option("--p99", "p99_s", type=FiniteRange(min=0, min_open=True), default=2.0, show_default=True, help="Seconds of freshness.")
@click.option("--from", "first", type=FiniteRange(min=2), default=20_000.0, show_default=True, help="Events a second of the first trial.")
@click.option("--search", type=click.Choice(["binary", "linear"]), default="binary", show_default=True, help="How rates are chosen.")
@click.option("--precision", type=FiniteRange(0.01, 1), default=0.1, show_default=True, help="Share by which a refused rate is above.")
@click.option("--duration", "trial_s", type=FiniteRange(min=6), default=24.0, show_default=True, help="Seconds of a trial's load.")
@click.option("--repeats", type=click.IntRange(1, 99), default=1, show_default=True, help="Trials a rate; most of them decide.")
@click.option("--most", "most_s", type=DURATION, default="15m", show_default=True, help="Of searching, for each number of workers.")
@click.option("--chart", type=click.Path(path_type=Path), help="Write a chart to this file, as SVG.")
@format_option
@json_option
@pass_invocation
def capacity(
    invocation: Invocation,
    counts: range | None,
    given: bool,
    rates: tuple[float, ...] | None,
    p99_s: float,
    first: float,
    search: str,
    precision: float,
    trial_s: float,
    repeats: int,
    most_s: float,
    chart: Path | None,
    encoding: str,
    as_json: bool,
) -> int:
    """Find the highest rate that the running system sustains; with --workers, for each number of them. docs/capacity.md says how.

    A rate is sustained when, over the last two thirds of a load at that rate, the lag does not grow and 99 of 100 events are in Redis
    within --p99 of the time at which they were to be sent. The load is open loop; when the generator itself falls behind, it says so.
    Exit code 1 when nothing was sustained.

    \b
    Examples:
      marquee capacity                                        # of `marquee up`, with its workers
      marquee capacity --workers 1..2 --chart docs/images/capacity.svg
      marquee capacity --workers 1..4 --loads 10000,20000,40000 --json
    """
    if given and counts is None:
        raise click.UsageError("--cluster goes with --workers; without both, what runs is tried")
    if rates and counts is None:
        raise click.UsageError("--loads asks for the fewest workers of some; say of which, --workers 1..4")
    from marquee.capacity import Method, capacities, demands, own_systems, running_system
    from marquee.searching import Search
    from marquee.sustaining import Bounds

    method = Method(Search(first, precision, search == "linear"), Bounds(p99_s * 1000, lag_s=None), encoding, trial_s, repeats, most_s)
    settings = invocation.settings
    systems = own_systems(settings, counts, given, say) if counts is not None else (running_system(settings) for _ in range(1))
    if rates:
        return _demanded(demands(systems, rates, method, say), method, chart, as_json)
    return _sustained(capacities(systems, method, say), method, chart, as_json)


def _sustained(found: list[Capacity], method: Method, chart: Path | None, as_json: bool) -> int:
    from marquee.capacity_chart import capacity_chart

    if chart is not None:
        chart.write_text(capacity_chart(found, method))
        say(f"chart: {chart}")
    documents = [one.document() for one in found]
    if as_json:
        emit({"metric": "capacity", **_described(method), "capacity": documents})
    else:
        names = ("workers", "rate", "not_sustained", "limited_by", "p99_ms", "events_per_core_second", "seconds")
        rows = [[*(one[name] for name in names), len(one["trials"])] for one in documents]
        heads = ("workers", "sustained/s", "not sustained/s", "limited by", "p99 ms", "per core-second", "seconds", "trials")
        table(heads, rows, right=[head for head in heads if head != "limited by"])
    return 0 if all(one.rate for one in found) else 1


def _demanded(found: list[Demand], method: Method, chart: Path | None, as_json: bool) -> int:
    from marquee.capacity_chart import demand_chart

    if chart is not None:
        chart.write_text(demand_chart(found, method))
        say(f"chart: {chart}")
    documents = [one.document() for one in found]
    if as_json:
        emit({"metric": "demand", **_described(method), "demand": documents})
    else:
        rows = [(one["rate"], one["workers"], len(one["trials"])) for one in documents]
        table(("events/s", "fewest workers", "trials"), rows, right=("events/s", "fewest workers", "trials"))
    return 0 if all(one.workers for one in found) else 1


def _described(method: Method) -> dict[str, object]:
    bounds, search = method.bounds, method.search
    return {
        "bounds": {"p99_ms": bounds.p99_ms, "lag_growth_s_per_s": bounds.growth, "late_share": bounds.late_share},
        "format": method.encoding, "search": "linear" if search.linear else "binary", "precision": search.precision,
        "trial_s": method.trial_s, "repeats": method.repeats,
    }  # fmt: skip


COMMAND = capacity
