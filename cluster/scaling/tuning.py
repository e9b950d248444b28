"""The rivals' settings: every one of a grid is run on every day, and those chosen that do best for them.

tuned on plain days     the fewest violations on PLAIN_DAYS plain days that differ in their noise, then the fewest worker-hours there:
                        what an operator can do who has watched a week
tuned on that very day  the fewest violations on the day that is judged, then the fewest worker-hours: what nobody can do
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Generic, TypeVar

import numpy as np

from cluster.scaling.contenders import Contender, HpaOnCpu, KedaOnLag, run_day
from cluster.scaling.fleet import Fleets, Floats, Ground, Ints
from cluster.scaling.hpa import Behaviour

PLAIN_DAYS: Final = 7
WINDOWS_S: Final = (0, 120, 300, 900)
"""Stabilisation windows for going down; Kubernetes' own default is 300."""
CPU_TARGETS: Final = (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
LAG_SHARES: Final = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.84, 0.88, 0.92, 0.96, 1.0, 1.1, 1.3, 1.6, 2.5)
"""lagThreshold against what one worker at its capacity has applied and not yet committed."""


@dataclass(frozen=True)
class HpaSetting:
    target: float
    window_s: int

    def told(self) -> str:
        return f"CPU {self.target:.0%}, down window {self.window_s} s"


@dataclass(frozen=True)
class KedaSetting:
    threshold: float
    even: bool
    window_s: int

    def told(self) -> str:
        return f"lagThreshold {self.threshold:,.0f}, down window {self.window_s} s" + (", even distribution" if self.even else "")


Setting = TypeVar("Setting", HpaSetting, KedaSetting)


@dataclass(frozen=True)
class Grid(Generic[Setting]):
    """All settings of a rival on all days, fleet by fleet: setting s on day d is fleets' d · len(settings) + s."""

    settings: Sequence[Setting]
    fleets: Fleets

    def best(self, days: Sequence[int]) -> int:
        """The setting with the fewest violations on these days, and of such the one with the fewest worker-hours."""
        violated, cost = (self._by_setting(name, days) for name in ("violated_s", "worker_s"))
        return int(np.lexsort((cost, violated))[0])

    def _by_setting(self, name: str, days: Sequence[int]) -> Floats:
        found: Floats = self.fleets.total(name).reshape(-1, len(self.settings))[list(days)].sum(axis=0)
        return found

    def place(self, day: int, setting: int) -> int:
        return day * len(self.settings) + setting


def hpa_grid(ground: Ground, by_minute: Floats, at_first: Ints) -> Grid[HpaSetting]:
    """An HPA on CPU, all settings on all days. at_first: each day's workers at its beginning."""
    settings = [HpaSetting(*one) for one in product(CPU_TARGETS, WINDOWS_S)]

    def scaling(fleets: Fleets, all_of: slice, behaviour: Behaviour) -> Contender:
        return HpaOnCpu(all_of, np.tile([one.target for one in settings], len(by_minute)), behaviour, fleets)

    return _run(ground, by_minute, at_first, settings, scaling)


def keda_grid(ground: Ground, by_minute: Floats, at_first: Ints) -> Grid[KedaSetting]:
    """KEDA's lag threshold, all settings on all days."""
    uncommitted = ground.measured.capacity_per_s * ground.measured.committed_s
    thresholds = [max(1.0, round(share * uncommitted, -3)) for share in LAG_SHARES]
    settings = [KedaSetting(*one) for one in product(thresholds, (False, True), WINDOWS_S)]

    def scaling(_fleets: Fleets, all_of: slice, behaviour: Behaviour) -> Contender:
        thresholds = np.tile([one.threshold for one in settings], len(by_minute))
        return KedaOnLag(all_of, thresholds, [one.even for one in settings] * len(by_minute), behaviour)

    return _run(ground, by_minute, at_first, settings, scaling)


def _run(
    ground: Ground,
    by_minute: Floats,
    at_first: Ints,
    settings: Sequence[Setting],
    scaling: Callable[[Fleets, slice, Behaviour], Contender],
) -> Grid[Setting]:
    days, each = len(by_minute), len(settings)
    fleets = Fleets(ground, by_minute, np.repeat(np.arange(days), each), np.repeat(at_first, each))
    behaviour = Behaviour(ground.least, ground.most, np.tile([one.window_s for one in settings], days))
    run_day(fleets, [scaling(fleets, slice(0, days * each), behaviour)])
    return Grid(settings, fleets)
