"""The highest rate that a running system sustains: live load in steps, each judged by whether the lag grew.

A rate is sustained when, over the second half of its load, Redis did not fall further behind the log, nor was ever far behind it, and the
generator sent on time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from loadgen.load import LoadOptions, run_load
from marquee.applied import AppliedWatch, Course, EndsWatch
from marquee.catching_up import catch_up
from topologies.settings import Settings

FIRST_RATE: Final = 20_000.0
STEP: Final = 1.4
"""Each step is so many times the one before; the last gap is halved once, so the answer is up to 18 % below the truth."""
STEP_S: Final = 15.0
LOOK_S: Final = 3.0
"""Lag is looked at for so long around the load's middle and before its end: with each flush it falls, so a moment says little."""
LOOKS: Final = 60
GROWTH_S: Final = 0.25
"""Lag so much greater at the end of the load than at its middle has grown: between the two looks are 6 s, so the rate is 4 % more than
what workers keep up with."""
FAR_S: Final = 1.0
"""Who is so far behind at either look has not kept up, though the lag no longer grows: what a flush costs falls as flushes come round more
rarely, so a worker that is overloaded by a little stays where its numbers are seconds old."""
LATE_SHARE: Final = 0.05
"""A generator that hands over more than this share of its records 100 ms late or more is at its own limit."""


@dataclass(frozen=True)
class Step:
    """One rate that was tried: lag in seconds at the middle and the end of the load; gave_out: "", "workers" or "generator"."""

    rate: float
    lag_mid_s: float
    lag_end_s: float
    late_share: float
    gave_out: str


def sustainable(settings: Settings, encoding: str, on_step: Callable[[Step], None]) -> tuple[float, list[Step]]:
    """The highest rate found, events a second in that format, and all steps; 0 if even the first is too much. Workers run already."""
    steps: list[Step] = []

    def tried(rate: float) -> bool:
        step = _tried(settings, encoding, rate)
        steps.append(step)
        on_step(step)
        return not step.gave_out

    best, rate = 0.0, FIRST_RATE
    while tried(rate):
        best, rate = rate, rate * STEP
    if best and tried(middle := (best * rate) ** 0.5):
        best = middle
    return best, steps


def _tried(settings: Settings, encoding: str, rate: float) -> Step:
    topic = settings.kafka.topics[0]
    applied, ends = AppliedWatch.of(settings, topic), EndsWatch(settings, topic)
    applied.start()
    ends.start()
    run = run_load(settings, LoadOptions(rate=rate, duration_s=STEP_S, format=encoding), lambda _: None)
    catch_up(settings, topic, lambda _: None)
    applied.end()
    ends.end()
    mid, end = lag_mid_and_end_s(applied.courses, ends.courses, run.span_start_ms, run.span_end_ms)
    late = run.late_sends / max(run.generated, 1)
    return Step(rate, round(mid, 2), round(end, 2), round(late, 3), gave_out(mid, end, late))


def lag_mid_and_end_s(applied: Sequence[Course], ends: Sequence[Course], from_ms: float, to_ms: float) -> tuple[float, float]:
    """The greatest lag, on an average of LOOK_S seconds, around the middle of a load that was to be sent in this span, and at its end.

    Not when the log ended to grow: the worker's ticks go on, and the generator writes its ledger while the workers catch up."""

    def mean(since_ms: float) -> float:
        return fmean(greatest_lag_s(applied, ends, since_ms + LOOK_S * 1000 * look / LOOKS) for look in range(LOOKS))

    return mean((from_ms + to_ms - LOOK_S * 1000) / 2), mean(to_ms - LOOK_S * 1000)


def gave_out(lag_mid_s: float, lag_end_s: float, late_share: float) -> str:
    """Who could not keep up with a step: "workers", "generator" or "" for nobody."""
    behind = lag_end_s > lag_mid_s + GROWTH_S or max(lag_mid_s, lag_end_s) > FAR_S
    return "workers" if behind else "generator" if late_share > LATE_SHARE else ""


def greatest_lag_s(applied: Sequence[Course], ends: Sequence[Course], when_ms: float) -> float:
    """`lag_s` of the partition that is furthest behind."""
    return max(lag_s(course, end, when_ms) for course, end in zip(applied, ends, strict=True))


def lag_s(applied: Course, ends: Course, when_ms: float) -> float:
    """How long before `when_ms` the log first held something that Redis did not have then, seconds; 0 when it had all."""
    place = bisect_right(ends.offsets, applied.at(when_ms))
    if place == len(ends.offsets) or ends.seen_ms[place] > when_ms:
        return 0.0
    return (when_ms - ends.seen_ms[place]) / 1000
