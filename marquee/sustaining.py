"""Whether a running system sustains a rate: one live load, open loop, judged by whether the lag grew and how fresh Redis was.

    ├── warm-up: a third ──┼──────── judged ────────┤ catch up
    load ───────────────────────────────────────────►

After the service level objectives of Theodolite (Henning and Hasselbring, Big Data Research 25, 2021, https://doi.org/10.1016/j.bdr.2021.100209):
a straight line through the lag over the judged part must not rise. Lag is in seconds, so how many records that is does not matter.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from loadgen.load import LoadOptions, run_load, run_name
from marquee.applied import AppliedWatch, Course, EndsWatch
from marquee.catching_up import catch_up
from marquee.freshness import intended_waits_ms, percentiles
from topologies.settings import Settings

TRIAL_S: Final = 24.0
WARM_UP_SHARE: Final = 1 / 3
"""Of a trial's load: flushes come further apart as the CPU is used up, which takes some seconds to settle."""
LOOKS: Final = 200
"""At the lag, evenly over the judged part: with each flush it falls, so a moment says little."""
GROWTH: Final = 0.03
"""Lag that grows by more seconds a second: the rate is so much more than what workers keep up with."""
FAR_S: Final = 1.0
"""Who is so far behind has not kept up, though the lag no longer grows: what a flush costs falls as flushes come round more rarely, so a
worker that is overloaded by a little stays where its numbers are seconds old."""
LATE_SHARE: Final = 0.05
"""A generator that hands over more than this share of its records 100 ms late or more is at its own limit."""
HOPELESS_S: Final = 15.0
"""Workers so far behind do not sustain the rate: the load ends before its time, and what is to be caught up is not so much."""


@dataclass(frozen=True)
class Bounds:
    """What a sustained rate keeps to. p99_ms: from when an event was to be sent until Redis has it; lag_s: at the middle and the end of
    what is judged; None for no bound."""

    p99_ms: float | None = None
    lag_s: float | None = FAR_S
    growth: float = GROWTH
    late_share: float = LATE_SHARE


@dataclass(frozen=True)
class Trial:
    """One rate that was tried, events a second. growth: of the lag, seconds a second; lag_s: at the middle or the end of what is judged,
    the greater; p50_ms, p99_ms: from when an event was to be sent until Redis had it, None when the load ended before its time; late_share:
    of the records that left late.
    gave_out: who did not keep up, "workers", "freshness" or "generator", or "" for nobody."""

    rate: float
    growth: float
    lag_s: float
    p50_ms: float | None
    p99_ms: float | None
    late_share: float
    gave_out: str
    events: int
    seconds: float
    cpu_s: float | None = None
    """The workers', until they had caught up; None where it is not known."""


def tried(
    settings: Settings, encoding: str, rate: float, bounds: Bounds, duration_s: float = TRIAL_S, cpu_s: Callable[[], float] | None = None
) -> Trial:
    """One trial, on workers that run already; returns when they have caught up. KeyboardInterrupt when its load was stopped from outside,
    and as `run_load` and `catch_up` raise."""
    topic = settings.kafka.topics[0]
    cpu_before = cpu_s() if cpu_s else 0.0
    hopeless = False
    with AppliedWatch.of(settings, topic) as applied, EndsWatch(settings, topic) as ends:

        def enough() -> bool:
            nonlocal hopeless
            with applied.lock, ends.lock:
                hopeless = greatest_lag_s(applied.courses, ends.courses, time.time() * 1000) > HOPELESS_S
            return hopeless

        load = LoadOptions(rate=rate, duration_s=duration_s, format=encoding, run=run_name(None, "capacity"))
        run = run_load(settings, load, lambda _: None, enough)
        stopped_ms = time.time() * 1000
        if run.state == "stopped" and not hopeless:
            raise KeyboardInterrupt
        catch_up(settings, topic, lambda _: None)
    to_ms = min(run.span_end_ms, stopped_ms)
    from_ms = run.span_start_ms + WARM_UP_SHARE * (to_ms - run.span_start_ms)
    growth, lag_s = growth_and_lag(applied.courses, ends.courses, from_ms, to_ms)
    p50_ms, p99_ms = (None, None) if hopeless else percentiles(intended_waits_ms(applied.courses, from_ms, to_ms), 50, 99)
    late = run.late_sends / max(run.generated, 1)
    return Trial(
        rate, round(growth, 3), round(lag_s, 2), p50_ms, p99_ms, round(late, 3),
        "workers" if hopeless else gave_out(growth, lag_s, p99_ms, late, bounds),
        run.generated, round((to_ms - run.span_start_ms) / 1000, 1),
        round(cpu_s() - cpu_before, 2) if cpu_s else None,
    )  # fmt: skip


def growth_and_lag(applied: Sequence[Course], ends: Sequence[Course], from_ms: float, to_ms: float) -> tuple[float, float]:
    """By how many seconds a second the greatest lag grew in this span, by least squares, and the greater of what that line says of its
    middle and its end, seconds."""
    seconds = np.linspace(0.0, (to_ms - from_ms) / 1000, LOOKS)
    slope, start = np.polyfit(seconds, [greatest_lag_s(applied, ends, from_ms + second * 1000) for second in seconds], 1)
    return float(slope), max(0.0, float(start + slope * seconds[-1 if slope > 0 else LOOKS // 2]))


def gave_out(growth: float, lag_s: float, p99_ms: float | None, late_share: float, bounds: Bounds) -> str:
    """Who could not keep up with a load: "workers", "generator", "freshness" or "" for nobody."""
    if growth > bounds.growth or (bounds.lag_s is not None and lag_s > bounds.lag_s):
        return "workers"
    if late_share > bounds.late_share:
        return "generator"
    return "freshness" if bounds.p99_ms is not None and (p99_ms is None or p99_ms > bounds.p99_ms) else ""


def greatest_lag_s(applied: Sequence[Course], ends: Sequence[Course], when_ms: float) -> float:
    """`lag_s` of the partition that is furthest behind."""
    return max(lag_s(course, end, when_ms) for course, end in zip(applied, ends, strict=True))


def lag_s(applied: Course, ends: Course, when_ms: float) -> float:
    """How long before `when_ms` the log first held something that Redis did not have then, seconds; 0 when it had all."""
    place = bisect_right(ends.offsets, applied.at(when_ms))
    if place == len(ends.offsets) or ends.seen_ms[place] > when_ms:
        return 0.0
    return (when_ms - ends.seen_ms[place]) / 1000
