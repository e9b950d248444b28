"""What KEDA's Kafka scaler tells the HorizontalPodAutoscaler: the consumer group's lag, total, cut to what the partitions can use.

As getTotalLag and GetMetricsAndActivity in pkg/scalers/kafka_scaler.go, which https://keda.sh/docs/latest/scalers/apache-kafka/ describes. KEDA makes
an HPA with this metric as AverageValue = lagThreshold, so between one replica and the greatest number it is the HPA that scales, with its
sync period, tolerance and behaviour (a metric is asked for at each sync; pollingInterval counts between zero and one replica). A group that is
active never goes to zero, and active it is while its lag is over activationLagThreshold; cooldownPeriod counts from one to zero only
(https://keda.sh/docs/latest/reference/scaledobject-spec/). With minReplicaCount: 1, as the simulator has it, neither ever matters; both are here.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
COOLDOWN_S: Final = 300.0
"""cooldownPeriod."""


def told_lag(lag: Floats, threshold: Floats, partitions: int, even: NDArray[np.bool_]) -> Floats:
    """The metric's value. lag: of all partitions; even: ensureEvenDistributionOfPartitions, which makes it the least multiple of lagThreshold by
    a divisor of the partitions that is enough. allowIdleConsumers is false: never more than one replica a partition."""
    divisors = [number for number in range(1, partitions + 1) if partitions % number == 0]
    balanced = np.full_like(lag, partitions)
    for divisor in reversed(divisors):
        balanced = np.where(divisor * threshold >= lag, divisor, balanced)
    found = np.where(even, balanced * threshold, lag)
    cut: Floats = np.where(np.floor(found / threshold) > partitions, partitions * threshold, found)
    return cut


def replicas_at_least(lag: float, activation: float, idle_s: float, least: int) -> int:
    """What KEDA itself scales between: 0 when minReplicaCount is 0 and the lag has been at most activationLagThreshold for cooldownPeriod."""
    if least > 0:
        return least
    return 1 if lag > activation or idle_s < COOLDOWN_S else 0
