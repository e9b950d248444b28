"""`marquee chaos`: faults by a seed's plan, under load, and then the audit."""

from __future__ import annotations

import click

from marquee.chaos import MOST_FAULTS
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import emit, json_option, number, say, table


@click.command()
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="The same seed makes the same plan.")
@click.option("--minutes", type=FiniteRange(0, 300, min_open=True), help="How long the load with its faults goes on.")
@click.option("--faults", type=click.IntRange(1, MOST_FAULTS), help="Exactly so many faults, instead of --minutes.")
@click.option("--workers", type=click.IntRange(1, 64), default=3, show_default=True, help="Workers that stay; guests join and leave.")
@click.option("--rate", type=FiniteRange(1, 1e6), default=3_000.0, show_default=True, help="Events a second of the load.")
@click.option("--of", "which", type=click.Choice(["data", "front"]), default="data", show_default=True, help="What is struck; see below.")
@click.option("--plan", "only_plan", is_flag=True, help="Print the plan and exit.")
@click.option("--keep", is_flag=True, help="Keep the servers' data, the logs and the run's ledger even if all is exact.")
@json_option
@pass_invocation
def chaos(
    invocation: Invocation,
    seed: int,
    minutes: float | None,
    faults: int | None,
    workers: int,
    rate: float,
    which: str,
    only_plan: bool,
    keep: bool,
    as_json: bool,
) -> int:
    """Strike workers, servers and the data at random while events flow, heal everything, audit every number. Exit 0 only if exact, every
    fault hit something, and no worker ended on its own.

    --of data: workers, Kafka, Cassandra, Redis, the log. --of front: workers, APIs and collectors, HAProxy, ZooKeeper and the autoscaler
    that leads, while questions are asked and events told at HAProxy's address: each is to be answered, and each accepted event counted.

    What is struck, when and for how long follows from the seed alone. It runs on servers of its own, beside anything else. A run that is
    not exact keeps its logs, its plan and its data, and says how to repeat it. docs/chaos.md has the kinds of fault.

    \b
    Examples:
      marquee chaos --seed 7 --minutes 2
      marquee chaos --seed 7 --faults 20 --json
      marquee chaos --seed 7 --faults 20 --plan
      marquee chaos --seed 7 --faults 100 --of front
    """
    from marquee.chaos.kinds import SETS
    from marquee.chaos.plan import make_plan

    if faults is None and minutes is None:
        raise click.UsageError("say either how long (--minutes M) or how many (--faults N)")
    plan = make_plan(seed, workers, faults=faults, seconds=None if minutes is None else minutes * 60, kinds=SETS[which])
    if only_plan:
        if as_json:
            emit(plan.document())
        else:
            rows = [(f"{fault.at_s:.2f}", fault.kind, fault.lane, f"{fault.for_s:.2f}") for fault in plan.faults]
            table(("at s", "fault", "of", "for s"), rows, right=("at s", "for s"))
        return 0
    from marquee.audit_table import show
    from marquee.chaos.trial import ChaosOptions, Trial
    from marquee.screen import Screen

    much = f"--minutes {minutes:g}" if faults is None else f"--faults {faults}"
    again = f"marquee chaos --seed {seed} {much} --workers {workers} --rate {rate:g}" + ("" if which == "data" else f" --of {which}")
    with Screen("marquee chaos") as screen:
        trial = Trial(invocation.settings, ChaosOptions(plan, rate, again, keep), screen)
        result = trial.hold()
    if trial.shortfall:
        say(trial.shortfall)
    if as_json:
        emit(trial.document())
    else:
        show(result)
        say("struck: " + ", ".join(f"{kind} {number(count)}" for kind, count in sorted(trial.faults.items())))
        if trial.visitors is not None:
            seen = trial.visitors
            say(f"questions: {number(seen.answered)} answered, {number(seen.past)} past HAProxy, {len(seen.failed)} failed")
            say(f"events by HTTP: {number(seen.accepted)} accepted, {number(trial.counted)} counted")
        say(f"workers that ended on their own, or did not drain: {len(trial.unexpected)}")
    return 0 if trial.passed else 1


COMMAND = chaos
