"""What KEDA's Kafka scaler tells the HorizontalPodAutoscaler: the consumer group's lag, total, cut to what the partitions can use.

As getTotalLag and GetMetricsAndActivity in pkg/scalers/kafka_scaler.go, which https://keda.sh/docs/latest/scalers/apache-kafka/
describes. KEDA makes an HPA with this metric as AverageValue = lagThreshold, so between one replica and the greatest number it is the HPA
that scales, with its sync period, tolerance and behaviour (a metric is asked for at each sync; pollingInterval counts between zero and
one replica). A group that is active never goes to zero, and active it is while its lag is over activationLagThreshold; cooldownPeriod
counts from one to zero only
(https://keda.sh/docs/latest/reference/scaledobject-spec/). A worker that stands by is needed here for ticks and expiry, so the simulator's
minReplicaCount is 1 unless its limits say 0.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
COOLDOWN_S: Final = 300.0
"""cooldownPeriod."""
ACTIVATION: Final = 0.0
"""activationLagThreshold."""


def told_lag(lag: Floats, threshold: Floats, partitions: int, even: NDArray[np.bool_]) -> Floats:
    """The metric's value. lag: of all partitions; even: ensureEvenDistributionOfPartitions, which makes it the least multiple of
    lagThreshold by a divisor of the partitions that is enough. allowIdleConsumers is false: never more than one replica a partition."""
    divisors = [number for number in range(1, partitions + 1) if partitions % number == 0]
    balanced = np.full_like(lag, partitions)
    for divisor in reversed(divisors):
        balanced = np.where(divisor * threshold >= lag, divisor, balanced)
    found = np.where(even, balanced * threshold, lag)
    cut: Floats = np.where(np.floor(found / threshold) > partitions, partitions * threshold, found)
    return cut


def between_zero_and_one(current: Ints, lag: Floats, idle_s: Floats, activation: float, least: int) -> Ints:
    """What KEDA itself does: from 0 to 1 when the lag is over activationLagThreshold; to 0 when it has not been for cooldownPeriod, where
    minReplicaCount (least) is 0. Else the replicas that there are, at least one."""
    active = lag > activation
    stays = active | (idle_s < COOLDOWN_S) & (current > 0) | (least > 0)
    found: Ints = np.where(stays, np.maximum(current, 1), 0)
    return found
