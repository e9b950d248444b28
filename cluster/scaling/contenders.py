"""Who scales in a simulation: each looks at its fleets as it would at real ones, as often as it does, and sets how many workers are
wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from cluster.scaling.fleet import DAY_S, Fleets, Floats, Ints
from cluster.scaling.hpa import SYNC_S, Behaviour, desired_by_average, desired_by_cpu
from cluster.scaling.keda import ACTIVATION, between_zero_and_one, told_lag
from cluster.scaling.policy import Measurement, Partition, Past, Rules, decide

LOOK_S: Final = 5
"""The simulation's step: what the periods below have in common."""
DECIDE_S: Final = 10
"""How often this system's own policy is asked."""


class Contender(Protocol):
    """Scales the fleets at `places`."""

    places: slice

    def look(self, fleets: Fleets) -> None:
        """Called every LOOK_S simulated seconds, before they pass; sets fleets.wanted[places], or leaves it."""


@dataclass
class ByPolicy:
    """This system's policy: one past a fleet, which each starts with."""

    places: slice
    rules: Rules
    pasts: list[Past]
    told: list[str] = field(default_factory=list)
    """Of the last decisions, why."""
    _before: Floats | None = None

    def look(self, fleets: Fleets) -> None:
        """A decision a fleet, on what came and was applied since the last one. Nothing has been measured at the very first."""
        if fleets.second % DECIDE_S:
            return
        now = fleets.totals[self.places, :2].copy()
        if self._before is not None:
            per_s = (now - self._before) / DECIDE_S
            decisions = [
                decide(self.rules, past, _seen(fleets, self.places.start + place, per_s[place]), float(fleets.second))
                for place, past in enumerate(self.pasts)
            ]
            self.pasts = [decision.past for decision in decisions]
            self.told = [decision.why for decision in decisions]
            fleets.wanted[self.places] = [decision.wanted for decision in decisions]
        self._before = now


def _seen(fleets: Fleets, fleet: int, per_s: Floats) -> Measurement:
    partitions = fleets.ground.partitions
    arrived, applied = per_s / partitions
    waiting = fleets.partitions_waiting(fleet)
    return Measurement(
        float(fleets.second),
        fleets.ground.measured.capacity_per_s,
        tuple(Partition(float(arrived), float(applied), one) for one in waiting),
    )


class HpaOnCpu:
    """An HPA on CPU: one request is one worker's core, used in proportion to what the worker applies. target: averageUtilization ÷ 100.

    In its favour: usage is what it was in the fifteen seconds until the sync, with no scrape in between, and a worker that starts uses
    none.
    """

    def __init__(self, places: slice, target: Floats, behaviour: Behaviour, fleets: Fleets) -> None:
        self.places = places
        self._target = target
        self._behaviour = behaviour
        self._served = np.zeros(len(target))
        self._ready: Ints = fleets.ready[places].copy()

    def look(self, fleets: Fleets) -> None:
        if fleets.second % SYNC_S or not fleets.second:
            return
        served, ready = fleets.total("served")[self.places].copy(), fleets.ready[self.places].copy()
        used = (served - self._served) / (SYNC_S * fleets.ground.measured.capacity_per_s)
        current = fleets.wanted[self.places]
        # a pod that became ready within the last window has no measurement since
        desired = desired_by_cpu(current, used, np.minimum(self._ready, ready), self._target)
        fleets.wanted[self.places] = self._behaviour.replicas(current, desired)
        self._served, self._ready = served, ready


class KedaOnLag:
    """KEDA's Kafka scaler over an HPA. threshold: lagThreshold, events; even: ensureEvenDistributionOfPartitions.

    Its lag is the log's end less what the group has committed: what waits, and what was applied within the last Measured.committed_s.
    """

    def __init__(self, places: slice, threshold: Floats, even: Sequence[bool], behaviour: Behaviour) -> None:
        self.places = places
        self._threshold = threshold
        self._even = np.array(even)
        self._behaviour = behaviour
        self._served = np.zeros(len(threshold))
        self._idle_s = np.zeros(len(threshold))

    def look(self, fleets: Fleets) -> None:
        if fleets.second % SYNC_S or not fleets.second:
            return
        served = fleets.total("served")[self.places].copy()
        uncommitted = (served - self._served) / SYNC_S * fleets.ground.measured.committed_s
        lag = fleets.backlog()[self.places] + uncommitted
        current = fleets.wanted[self.places]
        told = told_lag(lag, self._threshold, fleets.ground.partitions, self._even)
        self._idle_s = np.where(lag > ACTIVATION, 0.0, self._idle_s + SYNC_S)
        replicas = self._behaviour.replicas(current, desired_by_average(current, told, self._threshold))
        fleets.wanted[self.places] = between_zero_and_one(replicas, lag, self._idle_s, ACTIVATION, fleets.ground.least)
        self._served = served


def run_day(fleets: Fleets, contenders: Sequence[Contender]) -> None:
    """A day of all."""
    for _ in range(DAY_S // LOOK_S):
        for contender in contenders:
            contender.look(fleets)
        fleets.advance(LOOK_S)
