"""What `marquee capacity` found, as charts: bars of what was sustained, beside them every trial."""

from __future__ import annotations

from collections.abc import Sequence

from marquee.bar_chart import Column, bar_chart
from marquee.capacity import Capacity, Demand, Method


def capacity_chart(found: Sequence[Capacity], method: Method) -> str:
    """By number of workers the highest rate that they sustain, as SVG."""
    columns = [
        Column(
            str(one.workers),
            one.rate or None,
            f"{one.rate:,.0f}" if one.rate else "none",
            [trial.rate for trial in one.trials if not trial.gave_out],
            [trial.rate for trial in one.trials if trial.gave_out],
        )
        for one in found
    ]
    return bar_chart("Capacity: the highest rate that is sustained", _lead(method), "workers", "events/s", columns)


def demand_chart(found: Sequence[Demand], method: Method) -> str:
    """By rate the fewest workers that sustain it, as SVG."""
    columns = [
        Column(
            f"{one.rate:,.0f}",
            one.workers,
            "none" if one.workers is None else str(one.workers),
            [workers for workers, trial in one.trials if not trial.gave_out],
            [workers for workers, trial in one.trials if trial.gave_out],
        )
        for one in found
    ]
    return bar_chart("Demand: the fewest workers that sustain a rate", _lead(method), "events/s", "workers", columns)


def _lead(method: Method) -> str:
    bound = "" if method.bounds.p99_ms is None else f", freshness p99 within {method.bounds.p99_ms / 1000:g} s"
    return f"lag not growing{bound}; {method.encoding}, trials of {method.trial_s:g} s: ● sustained, × not"
