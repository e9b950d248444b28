"""`marquee bench rebalance`: how long partitions that stay with their worker stand still when another worker comes, leaves or dies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from cluster.supervisor import Workers
from loadgen.audit import audit
from loadgen.load import LoadOptions, shape_of
from marquee.applied import AppliedWatch, Course
from marquee.arena import arena, cluster_option, show
from marquee.catching_up import catch_up
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option, say
from marquee.under_load import must_flow, under_load
from topologies.errors import MarqueeError
from topologies.settings import Settings

WARM_UP_S: Final = 15.0
READY_S: Final = 90.0
"""A worker that joins may take so long until it has its partitions: it starts beside those that work, on the same cores."""
APART_S: Final = 15.0
"""Between one event's end and the next: a session time-out, and the moves after it."""
LOAD_S: Final = WARM_UP_S + 5 * APART_S + 2 * READY_S


@dataclass(frozen=True)
class Span:
    """What happened, and the time within which it is to be seen (epoch ms)."""

    kind: str
    from_ms: float
    to_ms: float


@click.command()
@click.option("--rate", type=FiniteRange(min=1), default=10_000.0, show_default=True, help="Events a second.")
@click.option("--session-timeout", "session_s", type=FiniteRange(1, 1_800), default=6.0, show_default=True, help="Seconds.")
@cluster_option
@json_option
@pass_invocation
def rebalance(invocation: Invocation, rate: float, session_s: float, given: bool, as_json: bool) -> int:
    """Two workers under load in open loop: a third joins, leaves by SIGTERM, another joins and is killed by SIGKILL.

    For each: the longest time without progress in Redis of a partition that stayed with its worker, and of one that moved. A worker joins
    from its start until it has its partitions (join_ready_s is the longer of the two), and 15 s more. Without any event a partition moves
    as often as cells are flushed. Fails if an event moved no partition: then there was no rebalance to measure. The rate is to leave room
    for a worker that starts: servers, generator and two workers with all views want 1.5 cores at 10,000 JSON events a second; where the
    cores are full the pauses are of that, and quiet_pause_s, the longest while nothing happens, shows it.

    \b
    Examples:
      marquee bench rebalance --rate 10000
    """
    load = LoadOptions(rate=rate, duration_s=LOAD_S)
    shape_of(load)
    settings = replace(invocation.settings, kafka=replace(invocation.settings.kafka, session_timeout_s=session_s))
    with arena(settings, "rebalance", given) as (running, directory, _):
        document = {"rate": rate, "session_timeout_s": session_s, **_measured(running, directory, load)}
    show(document, as_json)
    return 0 if document["exact"] else 1


def _measured(settings: Settings, directory: Path, load: LoadOptions) -> dict[str, Any]:
    topic = settings.kafka.topics[0]
    with Workers(settings, 2, directory) as workers:
        workers.wait_ready(READY_S)
        applied = AppliedWatch.of(settings, topic)
        applied.start()
        ready_s: list[float] = []

        def join() -> None:
            begun_s = time.monotonic()
            workers.add()
            workers.wait_ready(READY_S)
            ready_s.append(time.monotonic() - begun_s)

        with under_load(settings, load) as driven:
            time.sleep(WARM_UP_S)
            spans = [
                _span("quiet", lambda: None),
                _span("join", join),
                _span("leave", lambda: workers.stop(2)),
                _span("join_again", join),
                _span("kill", lambda: workers.kill(3)),
            ]
            must_flow(driven, "the last event")
            run = driven.result()
        catch_up(settings, topic, lambda _: None)
        applied.end()
        say("auditing")
        result = audit(settings, run.name, say)
    return {
        **paused(applied.courses, spans),
        "join_ready_s": round(max(ready_s), 2),
        "exact": result.proven,
        "events": run.generated,
        "late_sends": run.late_sends,
    }


def _span(kind: str, event: Callable[[], object]) -> Span:
    say(kind)
    begun = time.time() * 1000
    event()
    time.sleep(APART_S)
    return Span(kind, begun, time.time() * 1000)


def paused(courses: list[Course], spans: list[Span]) -> dict[str, Any]:
    """The longest pauses of each span, seconds. Raises MarqueeError if one in which a worker came or went moved no partition."""
    moved = {f"{span.kind}_moved_s": _pause_s(courses, span, stayed=False) for span in spans if span.kind != "quiet"}
    if idle := [name.removesuffix("_moved_s") for name, pause in moved.items() if pause is None]:
        raise MarqueeError(f"no partition moved to another worker: {', '.join(idle)}; there was no rebalance to measure")
    return {**{f"{span.kind}_pause_s": _pause_s(courses, span, stayed=True) for span in spans}, **moved}


def _pause_s(courses: list[Course], span: Span, *, stayed: bool) -> float | None:
    """The longest pause of a partition whose worker did not change within the span, or of one whose worker did; None without any."""
    pauses = [
        course.longest_pause_s(span.from_ms, span.to_ms)
        for course in courses
        if (course.worker_at(span.from_ms) == course.worker_at(span.to_ms)) == stayed
    ]
    return round(max(pauses), 2) if pauses else None


COMMAND = rebalance
