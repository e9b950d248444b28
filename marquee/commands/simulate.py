"""`marquee simulate`: the scaling policy on whole days, beside fixed fleets, an HPA on CPU and KEDA's lag threshold."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange, Span
from marquee.output import emit, json_option, say, table

if TYPE_CHECKING:
    from cluster.scaling.simulator import Judged, Outcome

RIGHT = ("violated s", "minutes", "worst lag s", "worker-hours", "changes")


@click.command()
@click.option(
    "--days", type=click.Path(path_type=Path), help="Directory of the days, CSV files; the folder `days` in local.traces when left out."
)
@click.option("--workers", "limits", type=Span(), default="1..8", show_default=True, help="Limits of the number of workers, A..B.")
@click.option("--partitions", type=click.IntRange(1, 1_000), help="Partitions of the topic; kafka.partitions when left out.")
@click.option("--bound", type=FiniteRange(0.1, 3_600), default=5.0, show_default=True, help="Lag that is a violation, seconds.")
@click.option("--capacity", type=FiniteRange(1), help="Events a second that a worker sustains, instead of the measured.")
@click.option(
    "--start-up", type=FiniteRange(1, 600), help="Seconds from asking for a worker until it has partitions, instead of the measured."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the noise of the plain days that rivals are tuned on."
)
@click.option("--chart", type=click.Path(path_type=Path, dir_okay=False), help="Draw load and workers of each day into this SVG file.")
@json_option
@pass_invocation
def simulate(
    invocation: Invocation,
    days: Path | None,
    limits: tuple[int, int],
    partitions: int | None,
    bound: float,
    capacity: float | None,
    start_up: float | None,
    seed: int,
    chart: Path | None,
    as_json: bool,
) -> None:
    """Run days of load through the scaling policy and its rivals, and count lag violations and worker-hours of each.

    Capacity and delays are this system's own, out of benchmarks/results. The rivals are tuned on a week of plain days and, for
    comparison, on the very day that is judged. docs/scaling.md has the definitions. No server is needed.

    \b
    Examples:
      marquee simulate
      marquee simulate --partitions 24 --json
      marquee simulate --days days --chart scaling.svg
    """
    import numpy as np

    from cluster.scaling.days import read_days
    from cluster.scaling.fleet import Ground
    from cluster.scaling.measured import measured
    from cluster.scaling.simulator import judge
    from marquee.performance import RESULTS

    settings = invocation.settings
    found = read_days(days or Path(settings.local.traces) / "days")
    own = measured(RESULTS)
    taken = replace(own, capacity_per_s=capacity or own.capacity_per_s, start_s=start_up or own.start_s)
    ground = Ground(taken, partitions or settings.kafka.partitions, *limits, bound)
    judged = judge(ground, found, np.random.default_rng(seed))
    if chart is not None:
        from marquee.scaling_chart import drawn_days

        chart.write_text(drawn_days(judged, found), encoding="utf-8")
    if as_json:
        emit(document(judged))
        return
    rows = [(one.day, one.contender, *figures(one).values(), one.setting) for one in judged.outcomes]
    table(("day", "who scales", *RIGHT, "setting"), rows, right=RIGHT)
    for line in told(judged):
        say(line)


def document(judged: Judged) -> dict[str, Any]:
    """The JSON of a simulation."""
    from cluster.scaling.simulator import holds, verdicts

    found = verdicts(judged)
    ground = {**asdict(judged.ground), "measured": {**asdict(judged.ground.measured), "sources": dict(judged.ground.measured.sources)}}
    return {
        **ground,
        "days": {
            day: {one.contender: {**_named(one), "setting": one.setting} for one in judged.outcomes if one.day == day}
            for day in judged.days()
        },
        "plain_days": [_named(one) for one in judged.on_plain_days],
        "verdicts": [asdict(one) for one in found],
        "holds": holds(found),
    }


def figures(outcome: Outcome) -> dict[str, float]:
    """What is told of an outcome, by the table's columns."""
    minutes = int((outcome.lag_s > 0).sum())
    return dict(
        zip(
            RIGHT,
            (outcome.violated_s, minutes, round(outcome.worst_lag_s, 1), round(outcome.worker_hours, 2), outcome.changes),
            strict=True,
        )
    )


def told(judged: Judged) -> list[str]:
    """What holds and what does not, in sentences."""
    from cluster.scaling.simulator import DAYS_BETTER, FEWER, verdicts

    found, measured, plain = verdicts(judged), judged.ground.measured, judged.on_plain_days
    worse = [one.day for one in found if not one.no_more_violations_than_fixed]
    costly = [one.day for one in found if one.saved < FEWER]
    better = [one.day for one in found if one.better_than_keda]
    even_so = [one.day for one in found if one.not_worse_than_keda_that_day]
    files = sorted({file for _, file in measured.sources})
    saved = ", ".join(f"{one.day} {one.saved:.0%}" for one in found)
    stands = f"{measured.join_stands_s:g} s when one joins and {measured.leave_stands_s:g} s when one leaves"
    violated_s, hours = sum(one.violated_s for one in plain), sum(one.worker_hours for one in plain) / len(plain)
    return [
        f"a worker sustains {measured.capacity_per_s:,.0f} events/s and starts in {measured.start_s:g} s; all stands still {stands}",
        f"measured in {', '.join(files) or 'no file that is here'}",
        f"no more violations than the fixed fleet: {_where(worse)}",
        f"at least {FEWER:.0%} fewer worker-hours than a fleet for the day's own peak: {_where(costly)} ({saved})",
        f"fewer violations and fewer worker-hours than KEDA, on {DAYS_BETTER} days at least: on {', '.join(better) or 'none'}",
        f"no more of either than KEDA as tuned on that very day: on {', '.join(even_so) or 'none'}",
        f"on {len(plain)} plain days with other noise: {violated_s} s of violations, {hours:.2f} worker-hours a day",
    ]


def _where(failed: list[str]) -> str:
    return f"not on {', '.join(failed)}" if failed else "on every day"


def _named(outcome: Outcome) -> dict[str, float]:
    return {name.replace(" ", "_").replace("-", "_"): value for name, value in figures(outcome).items()}


COMMAND = simulate
