"""The rivals scale as their documentation and their sources say: worked examples of both."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.scaling.hpa import Behaviour, Ints, Limit, desired_by_average, desired_by_cpu, limit_down, limit_up
from cluster.scaling.keda import between_zero_and_one, told_lag


def ints(*values: int) -> Ints:
    return np.array(values, np.int64)


def unchanged(_period_s: int) -> Ints:
    return ints(0)


@pytest.mark.parametrize(
    ("current", "used", "ready", "target", "desired"),
    [
        (3, 3 * 0.2, 3, 0.1, 6),  # Kubernetes' page: a metric of 200m where 100m is desired doubles the pods
        (4, 4 * 0.05, 4, 0.1, 2),  # and one of 50m halves them
        (10, 10 * 0.55, 10, 0.5, 10),  # a ratio of 1.1 is within the tolerance
        (10, 10 * 0.56, 10, 0.5, 12),
        (10, 10 * 0.44, 10, 0.5, 9),
        (3, 0.5 + 0.7, 2, 0.3, 4),  # replica_calculator_test.go, TestReplicaCalcScaleUpUnreadyLessScale
        (3, 0.4, 1, 0.3, 3),  # TestReplicaCalcScaleUpUnreadyNoScale
        (3, 0.0, 0, 0.3, 3),  # no metrics: nothing is done
    ],
)
def test_an_hpa_on_cpu_wants_so_many(current: int, used: float, ready: int, target: float, desired: int) -> None:
    assert desired_by_cpu(ints(current), np.array([used]), ints(ready), np.array([target])) == [desired]


@pytest.mark.parametrize(
    ("current", "total", "target", "desired"),
    [
        (1, 92.0, 10.0, 10),  # kedacore/keda#776: a lag of 92 with a threshold of 10
        (63, 64 * 3_000.0, 3_000.0, 63),  # kedacore/keda#2908: the last worker is within the tolerance and never comes
        (57, 64 * 3_000.0, 3_000.0, 64),
        (21, 24 * 1_000.0, 1_000.0, 24),  # 1.14 is beyond it
        (22, 24 * 1_000.0, 1_000.0, 22),  # kedacore/keda#4791: close to the greatest number it stops
        (5, 0.0, 10.0, 0),
    ],
)
def test_an_average_value_wants_so_many(current: int, total: float, target: float, desired: int) -> None:
    assert desired_by_average(ints(current), np.array([total]), np.array([target])) == [desired]


def test_going_down_is_limited_as_in_kubernetes_example() -> None:
    """Its page has 4 pods or 10 per cent a minute: 80 become 72, then 64 (7.2 is rounded up to 8); below 40 it is 4 at a time."""
    limits = (Limit("Pods", 4, 60), Limit("Percent", 10, 60))
    assert [int(limit_down(ints(pods), unchanged, limits)[0]) for pods in (80, 72, 64, 40, 36)] == [72, 64, 57, 36, 32]


def test_going_up_is_limited_by_the_greater_of_doubling_and_four() -> None:
    limits = (Limit("Percent", 100, 15), Limit("Pods", 4, 15))
    assert [int(limit_up(ints(pods), unchanged, limits)[0]) for pods in (1, 3, 4, 10)] == [5, 7, 8, 20]
    assert limit_up(ints(8), lambda _period_s: ints(4), limits) == [8]


def test_down_is_the_greatest_recommendation_of_the_window_and_up_is_at_once() -> None:
    behaviour = Behaviour(1, 100, ints(60))
    wanted = [int(behaviour.replicas(ints(10), ints(desired))[0]) for desired in (10, 4, 4, 4)]
    assert wanted == [10, 10, 10, 10]  # the 10 is 45 s old
    assert behaviour.replicas(ints(10), ints(3)) == [4]
    assert behaviour.replicas(ints(10), ints(12)) == [12]
    assert Behaviour(1, 100, ints(0)).replicas(ints(10), ints(4)) == [4]


def test_the_limits_bound_what_an_hpa_asks_for() -> None:
    assert Behaviour(2, 8, ints(0)).replicas(ints(3), ints(0)) == [2]
    assert Behaviour(2, 8, ints(0)).replicas(ints(7), ints(30)) == [8]


def test_kedas_lag_is_cut_to_what_the_partitions_can_use() -> None:
    """kedacore/keda#623 quotes it: with 5 partitions and a threshold of 500 no more than 2,500 is told, of 7,931."""
    even = np.array([False])
    assert told_lag(np.array([7_931.0]), np.array([500.0]), 5, even) == [2_500.0]
    assert told_lag(np.array([2_999.0]), np.array([500.0]), 5, even) == [2_999.0]  # 5.998, a whole number there: 5 is not more than 5
    assert told_lag(np.array([700.0]), np.array([500.0]), 5, even) == [700.0]


def test_kedas_even_distribution_takes_the_next_divisor_of_the_partitions() -> None:
    lags = np.array([0.0, 10.0, 11.0, 21.0, 41.0, 1e9])
    assert told_lag(lags, np.full(6, 10.0), 8, np.full(6, True)).tolist() == [10.0, 10.0, 20.0, 40.0, 80.0, 80.0]


def test_keda_goes_to_zero_after_its_cooldown_and_only_where_it_may() -> None:
    lag = np.array([0.0])
    assert between_zero_and_one(ints(1), lag, np.array([299.0]), 0.0, 0) == [1]
    assert between_zero_and_one(ints(1), lag, np.array([300.0]), 0.0, 0) == [0]
    assert between_zero_and_one(ints(1), lag, np.array([300.0]), 0.0, 1) == [1]
    assert between_zero_and_one(ints(0), lag, np.array([300.0]), 0.0, 0) == [0]
    assert between_zero_and_one(ints(0), np.array([4.0]), np.array([0.0]), 3.0, 0) == [1]
    assert between_zero_and_one(ints(0), np.array([3.0]), np.array([300.0]), 3.0, 0) == [0]
