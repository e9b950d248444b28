"""The HorizontalPodAutoscaler's own algorithm, over many fleets at once: one element of each array is one fleet.

Formulas and names as in Kubernetes' controller (pkg/controller/podautoscaler: replica_calculator.go, horizontal.go; autoscaling/v2), which
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ describes:

    desired = ceil(ready × usage ÷ target), nothing within the tolerance of 0.1
    stabilisation: up to the least of the up window's recommendations, down to the greatest of the down window's
    policies: at most so many pods, or per cent of those at the period's start, are added or removed in a period; the greater counts
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
SYNC_S: Final = 15
"""--horizontal-pod-autoscaler-sync-period."""
TOLERANCE: Final = 0.1
"""--horizontal-pod-autoscaler-tolerance."""


@dataclass(frozen=True)
class Limit:
    """One HPAScalingPolicy: in period_s, a number of pods, or per cent of those at the period's start."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_s: int


UP: Final = (Limit("Percent", 100, 15), Limit("Pods", 4, 15))
DOWN: Final = (Limit("Percent", 100, 15),)
"""The defaults of autoscaling/v2."""
DOWN_WINDOW_S: Final = 300


def desired_by_cpu(current: Ints, used: Floats, ready: Ints, target: Floats) -> Ints:
    """GetResourceReplicas. current: replicas asked for; used: CPU of the ready pods, in requests of one; ready: pods whose CPU is measured
    since they were ready; target: averageUtilization ÷ 100. Pods that are not ready count as idle when they would make it scale up less."""
    ratio = used / (np.maximum(ready, 1) * target)
    unready = current - ready
    plain = np.where(_within(ratio), current, _ceil(ratio * ready))
    damped_ratio = used / (np.maximum(current, 1) * target)
    damped = _ceil(damped_ratio * current)
    damped = np.where(_within(damped_ratio) | (damped_ratio < 1.0) | (damped < current), current, damped)
    found: Ints = np.where(ready < 1, current, np.where((unready > 0) & (ratio > 1.0), damped, plain))
    return found


def desired_by_average(current: Ints, total: Floats, target: Floats) -> Ints:
    """GetExternalPerPodMetricReplicas: an external metric's total against the AverageValue that one pod is to have."""
    ratio = total / (target * np.maximum(current, 1))
    found: Ints = np.where(_within(ratio), current, _ceil(total / target))
    return found


def limit_up(current: Ints, changed: Callable[[int], Ints], limits: Sequence[Limit]) -> Ints:
    """calculateScaleUpLimitWithScalingRules, selectPolicy Max. changed: pods added less removed within so many seconds."""
    found: Ints = np.maximum.reduce([_after(limit, current - changed(limit.period_s), 1) for limit in limits])
    return found


def limit_down(current: Ints, changed: Callable[[int], Ints], limits: Sequence[Limit]) -> Ints:
    """calculateScaleDownLimitWithBehaviors, selectPolicy Max (the greatest change is the least number)."""
    found: Ints = np.minimum.reduce([_after(limit, current - changed(limit.period_s), -1) for limit in limits])
    return found


def _after(limit: Limit, start: Ints, sign: int) -> Ints:
    if limit.kind == "Pods":
        return start + sign * limit.value
    if sign > 0:
        return _ceil(start.astype(np.float64) * (1 + limit.value / 100))
    found: Ints = np.trunc(start * (1 - limit.value / 100)).astype(np.int64)
    return found


class Behaviour:
    """What the controller remembers, and how a recommendation becomes a number of replicas; one call a sync.

    down_window_s: stabilizationWindowSeconds of scaleDown, of each fleet. All else are the defaults: scaleUp by UP with no window,
    scaleDown by DOWN.
    """

    def __init__(self, least: int, most: int, down_window_s: Ints) -> None:
        self._least, self._most = least, most
        syncs = max(1, int(down_window_s.max()) // SYNC_S)
        self._recommended = np.zeros((syncs, len(down_window_s)), np.int64)
        ages_s = (np.arange(syncs)[:, None] + 1) * SYNC_S
        self._in_window = ages_s < down_window_s[None, :]
        self._changes = np.zeros((60 // SYNC_S, len(down_window_s)), np.int64)

    def replicas(self, current: Ints, desired: Ints) -> Ints:
        """normalizeDesiredReplicasWithBehaviors: stabilised, then limited; remembered."""
        greatest = np.maximum(desired, np.max(self._recommended * self._in_window, axis=0))
        self._recommended = np.concatenate([desired[None, :], self._recommended[:-1]])
        stabilised = np.minimum(np.maximum(current, desired), greatest)
        up = np.minimum(np.maximum(limit_up(current, self._changed, UP), current), self._most)
        down = np.maximum(np.minimum(limit_down(current, self._changed, DOWN), current), self._least)
        replicas: Ints = np.where(stabilised > current, np.minimum(stabilised, up), np.minimum(np.maximum(stabilised, down), current))
        self._changes = np.concatenate([(replicas - current)[None, :], self._changes[:-1]])
        return replicas

    def _changed(self, period_s: int) -> Ints:
        """Of events after the period's beginning; the one exactly at it is out."""
        found: Ints = self._changes[: (period_s - 1) // SYNC_S].sum(axis=0)
        return found


def _within(ratio: Floats) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.abs(1.0 - ratio) <= TOLERANCE + 1e-12
    return found


def _ceil(values: Floats) -> Ints:
    found: Ints = np.ceil(values - 1e-9).astype(np.int64)
    return found
