"""Measurements as the policy gets them, and days made for a test."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cluster.scaling.days import MINUTES, Day
from cluster.scaling.policy import Decision, Measurement, Partition, Past, Rules, decide

CAPACITY = 1_000.0


def measured(at_s: float, rate: float, *, partitions: int = 8, backlog: float = 0.0, capacity: float | None = CAPACITY) -> Measurement:
    """All partitions alike and in motion."""
    one = Partition(rate / partitions, rate / partitions, backlog / partitions)
    return Measurement(at_s, capacity, (one,) * partitions)


def follow(rules: Rules, past: Past, rates: Iterable[float], from_s: float = 0.0, every_s: float = 10.0) -> list[Decision]:
    """A decision for each rate, one every so many seconds."""
    decisions: list[Decision] = []
    for place, rate in enumerate(rates):
        at_s = from_s + place * every_s
        decisions.append(decide(rules, past, measured(at_s, rate), at_s))
        past = decisions[-1].past
    return decisions


def hill(name: str, peak: float, trough: float) -> Day:
    """A day that rises to its peak at 19:00 and falls again."""
    minutes = np.arange(MINUTES)
    return Day(name, trough + (peak - trough) * (0.5 + 0.5 * np.cos((minutes - 19 * 60) / MINUTES * 2 * np.pi)) ** 3)
