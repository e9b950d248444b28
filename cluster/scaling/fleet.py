"""Fleets of workers as the simulator has them: many side by side, each with its own day and its own number of workers, second by second.

    arrivals ──► partitions, all alike ──► workers: each partition is read at its worker's capacity ÷ the partitions that worker has
                 what waits in each        while a rebalance goes on, none is

A worker that is asked for starts for `start_s`; when it joins, and when one leaves, every partition stands still for as long as the slowest
was measured to. Both are the cautious side: in truth only those that move stand so long. It costs from the moment it is asked for until it
has left. Of fewer workers, those that still start are given up first, as Kubernetes does.

Lag is the age of the oldest event that waits. It is over its bound when more waits in a partition than came to it within that time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cluster.scaling.measured import Measured
from topologies.compiled import kernel

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
DAY_S: Final = 86_400
MINUTE_S: Final = 60
BOUND_S: Final = 5.0
"""The lag that is a violation: what freshness is to stay under while everything restarts."""
TINY: Final = 1e-6
TOTALS: Final = ("arrived", "served", "worker_s", "violated_s", "changes")
"""What is summed over a simulation, in the order in which `_advance` has it: events, events, seconds that workers cost, seconds in which
the lag was over its bound, how often the number of workers was changed."""


@dataclass(frozen=True)
class Ground:
    """What all fleets of a simulation have in common."""

    measured: Measured = field(default_factory=Measured)
    partitions: int = 8
    least: int = 1
    most: int = 8
    bound_s: float = BOUND_S

    def capacity_per_s(self, workers: int) -> float:
        """What so many workers bear: the one with most partitions is the bound."""
        return self.measured.capacity_per_s * self.partitions / -(-self.partitions // workers)

    def sized_for(self, peak_per_s: float) -> int:
        """The fewest workers that bear a rate, within the partitions; the limits of scaling do not count."""
        numbers = range(1, self.partitions + 1)
        return next((number for number in numbers if self.capacity_per_s(number) >= peak_per_s), self.partitions)


class Fleets:
    """Fleets side by side. by_minute: [days, minutes] rates, events a second; day: which of them each fleet has; workers: how many run at
    the start, ready.

    `wanted` is what whoever scales sets between two calls of `advance`. Partitions that always fare alike are kept as one.
    """

    def __init__(self, ground: Ground, by_minute: Floats, day: Ints, workers: Ints) -> None:
        fleets = len(day)
        self.ground = ground
        self.day = day
        self.second = 0
        self.by_minute = by_minute
        shares = _shares(ground, int(max(ground.most, workers.max())))
        self._shares, alike = np.unique(shares, axis=1, return_counts=True)
        self._alike = alike.astype(np.float64)
        self._due = _arrived_within(by_minute, ground.bound_s) / ground.partitions
        self.ready = workers.astype(np.int64)
        """Workers that have partitions."""
        self.wanted = self.ready.copy()
        self._starting = np.zeros((fleets, max(1, round(ground.measured.start_s))), np.int64)
        """By the second in which they join, modulo their number."""
        self.waiting = np.zeros((fleets, len(alike)))
        """Events that wait in one partition of each kind."""
        self._stands_s = np.zeros(fleets)
        self.totals = np.zeros((fleets, len(TOTALS)))
        self.workers_at = np.zeros((fleets, by_minute.shape[1]), np.int64)
        """Workers that cost, at the end of each minute."""
        self.lag_s = np.zeros((fleets, by_minute.shape[1]))
        """The greatest lag of each minute, where it was over its bound; else 0."""

    def starting(self) -> Ints:
        """Workers that were asked for and have not joined, of each fleet."""
        found: Ints = self._starting.sum(axis=1)
        return found

    def total(self, name: str) -> Floats:
        """One of TOTALS since the start, of each fleet."""
        found: Floats = self.totals[:, TOTALS.index(name)]
        return found

    def backlog(self) -> Floats:
        """Events that wait, of each fleet."""
        return self.waiting @ self._alike

    def partitions_waiting(self, fleet: int) -> list[float]:
        """What waits in each partition of one fleet."""
        return [float(one) for one in np.repeat(self.waiting[fleet], self._alike.astype(np.int64))]

    def advance(self, seconds: int) -> None:
        """So many seconds, with the number of workers that is wanted."""
        stands_s = self.ground.measured.join_stands_s, self.ground.measured.leave_stands_s
        _advance(
            self.second, seconds, stands_s, float(self.ground.partitions), self.day, self.by_minute, self._due, self._shares, self._alike,
            self.wanted, self.ready, self._starting, self._stands_s, self.waiting, self.totals, self.workers_at, self.lag_s,
        )  # fmt: skip
        self.second += seconds


@kernel
def _advance(
    second: int, seconds: int, stand_s: tuple[float, float], partitions: float, day: Ints, by_minute: Floats, due: Floats, shares: Floats,
    alike: Floats, wanted: Ints, ready: Ints, starting: Ints, stands_s: Floats, waiting: Floats, totals: Floats, workers_at: Ints, lag_s:
    Floats,
) -> None:  # fmt: skip
    lasting = starting.shape[1]
    for fleet in range(len(day)):
        rates = by_minute[day[fleet]]
        coming = starting[fleet].sum()
        for now in range(second, second + seconds):
            place = now % lasting
            joining = starting[fleet, place]
            if joining > 0:
                ready[fleet] += joining
                coming -= joining
                starting[fleet, place] = 0
                stands_s[fleet] = max(stands_s[fleet], stand_s[0])
            more = wanted[fleet] - ready[fleet] - coming
            if more != 0:
                totals[fleet, 4] += 1
            if more > 0:
                starting[fleet, place] += more
                coming += more
            for back in range(lasting):  # the youngest are given up first
                if more >= 0:
                    break
                given_up = min(-more, starting[fleet, (place - back) % lasting])
                starting[fleet, (place - back) % lasting] -= given_up
                coming -= given_up
                more += given_up
            if more < 0:
                ready[fleet] += more
                stands_s[fleet] = max(stands_s[fleet], stand_s[1])
                totals[fleet, 2] -= more * stand_s[1]
            stands = min(stands_s[fleet], 1.0)
            stands_s[fleet] -= stands
            rate = rates[now // MINUTE_S]
            worst = 0.0
            for kind in range(len(alike)):
                there = waiting[fleet, kind] + rate / partitions
                served = min(there, shares[ready[fleet], kind] * (1.0 - stands))
                waiting[fleet, kind] = there - served
                totals[fleet, 1] += served * alike[kind]
                worst = max(worst, there - served)
            totals[fleet, 0] += rate
            totals[fleet, 2] += ready[fleet] + coming
            workers_at[fleet, now // MINUTE_S] = ready[fleet] + coming
            if worst > due[day[fleet], now] + TINY:
                totals[fleet, 3] += 1
                lag_s[fleet, now // MINUTE_S] = max(lag_s[fleet, now // MINUTE_S], _age_s(rates, now, worst * partitions))


@kernel
def _age_s(rates: Floats, now: int, waiting: float) -> float:
    """How old the oldest event is when so many of the last ones wait, at the end of that second; minute by minute back."""
    minute = now // MINUTE_S
    span = float(now % MINUTE_S + 1)
    age_s = 0.0
    while minute > 0 and waiting > rates[minute] * span:
        waiting -= rates[minute] * span
        age_s += span
        minute -= 1
        span = float(MINUTE_S)
    return age_s + (waiting / rates[minute] if rates[minute] > 0 else 0.0)


def _shares(ground: Ground, most: int) -> Floats:
    """[workers, partitions]: events a second that a partition is read at when so many workers are ready."""
    shares = np.zeros((most + 1, ground.partitions))
    for workers in range(1, most + 1):
        each, more = divmod(ground.partitions, workers)
        of_worker = [each + 1] * more + [each] * (workers - more)
        shares[workers] = [ground.measured.capacity_per_s / size for size in of_worker for _ in range(size)]
    return shares


def _arrived_within(by_minute: Floats, bound_s: float) -> Floats:
    """[days, seconds]: what came in the last bound_s seconds, at the end of each second; before the day, as much as at its start."""
    by_second = np.repeat(by_minute, MINUTE_S, axis=1)
    ahead = int(np.ceil(bound_s)) + 1
    padded = np.concatenate([np.repeat(by_second[:, :1], ahead, axis=1), by_second], axis=1)
    sums = np.concatenate([np.zeros((len(by_minute), 1)), np.cumsum(padded, axis=1)], axis=1)
    ends = np.arange(ahead + 1, ahead + by_second.shape[1] + 1)
    whole = int(bound_s)
    part = bound_s - whole
    found: Floats = sums[:, ends] - sums[:, ends - whole] + part * padded[:, ends - whole - 1]
    return found
