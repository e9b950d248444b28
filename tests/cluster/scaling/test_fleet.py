"""The simulated fleets: nothing is lost or made, workers come and go with their delays, and lag is the age of the oldest event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.scaling.days import MINUTES
from cluster.scaling.fleet import DAY_S, Fleets, Ground
from cluster.scaling.measured import Measured

PLAIN = Measured(capacity_per_s=100.0, start_s=10.0, join_stands_s=3.0, leave_stands_s=1.5)


def fleet(rates: Sequence[float], workers: int, ground: Ground) -> Fleets:
    """One fleet, on a day that begins with these minutes and goes on as the last of them."""
    by_minute = np.array([[*rates, *[rates[-1]] * (MINUTES - len(rates))]], np.float64)
    return Fleets(ground, by_minute, np.array([0]), np.array([workers]))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 5_000), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(1, 120), st.integers(1, 12)), min_size=1, max_size=20),
    st.integers(1, 12),
    st.integers(12, 30),
)
def test_what_came_was_served_or_waits(rates: list[float], changes: list[tuple[int, int]], workers: int, partitions: int) -> None:
    one = fleet(rates, workers, Ground(PLAIN, partitions, 1, 12))
    for seconds, wanted in changes:
        one.wanted[:] = wanted
        one.advance(seconds)
        assert one.total("served")[0] + one.backlog()[0] == pytest.approx(one.total("arrived")[0], rel=1e-9, abs=1e-6)
        assert one.ready[0] + one.starting()[0] == wanted
        assert sum(one.partitions_waiting(0)) == pytest.approx(one.backlog()[0])
        assert len(one.partitions_waiting(0)) == partitions


def test_a_worker_helps_when_it_has_started_and_the_rebalance_is_over() -> None:
    one = fleet([200.0], 1, Ground(PLAIN, 8, 1, 8))
    one.wanted[:] = 2
    one.advance(10)
    assert (one.ready[0], one.starting()[0]) == (1, 1)
    assert one.backlog()[0] == 10 * (200 - 100)
    one.advance(3)
    assert (one.ready[0], one.starting()[0]) == (2, 0)
    assert one.backlog()[0] == 10 * (200 - 100) + 3 * 200
    one.advance(60)
    assert one.backlog()[0] == 10 * (200 - 100) + 3 * 200


def test_a_worker_costs_from_when_it_is_asked_for_until_it_has_left() -> None:
    one = fleet([0.0], 1, Ground(PLAIN, 8, 1, 8))
    one.wanted[:] = 3
    one.advance(30)
    one.wanted[:] = 1
    one.advance(30)
    assert one.total("worker_s")[0] == 30 * 3 + 30 * 1 + 2 * 1.5
    assert one.total("changes")[0] == 2


def test_of_fewer_workers_those_that_still_start_are_given_up_first() -> None:
    one = fleet([150.0], 2, Ground(PLAIN, 8, 1, 8))
    one.wanted[:] = 4
    one.advance(5)
    one.wanted[:] = 2
    one.advance(60)
    assert one.ready[0] == 2
    assert one.backlog()[0] == 0  # nobody joined or left: nothing stood still


def test_while_one_leaves_all_stand_still() -> None:
    one = fleet([50.0], 2, Ground(PLAIN, 8, 1, 8))
    one.wanted[:] = 1
    one.advance(1)
    assert one.backlog()[0] == 50
    one.advance(1)
    assert one.backlog()[0] == 50 + 50 - 0.5 * 100


def test_partitions_that_cannot_be_shared_evenly_bound_the_fleet() -> None:
    ground = Ground(PLAIN, 8)
    assert [round(ground.capacity_per_s(workers)) for workers in range(1, 9)] == [100, 200, 267, 400, 400, 400, 400, 800]
    assert [ground.sized_for(peak) for peak in (0, 100, 101, 300, 401, 800, 10_000)] == [1, 1, 2, 4, 8, 8, 8]
    one = fleet([300.0], 3, ground)
    one.advance(100)
    assert one.backlog()[0] == pytest.approx(6 * 100 * (300 / 8 - 100 / 3), abs=1e-6)


def test_lag_is_the_age_of_the_oldest_event_and_a_second_over_the_bound_a_violation() -> None:
    one = fleet([200.0, 200.0, 0.0], 1, Ground(PLAIN, 8, 1, 8, bound_s=5.0))
    one.advance(120)
    # after t seconds half is served: the oldest came at t ÷ 2
    assert one.total("violated_s")[0] == 110
    assert one.lag_s[0, :2].tolist() == pytest.approx([30.0, 60.0])
    one.advance(120)
    # and then half of what is left is served while it gets older
    assert one.lag_s[0, 2] == pytest.approx(60 + 30)
    assert one.lag_s[0, 3] == pytest.approx(120, abs=1)
    assert one.total("violated_s")[0] == 110 + 119  # in the last second nothing waits any more
    one.advance(DAY_S - 240)
    assert one.total("violated_s")[0] == 110 + 119
    assert one.backlog()[0] == 0


def test_fleets_side_by_side_do_not_mind_each_other() -> None:
    ground = Ground(PLAIN, 8, 1, 8)
    by_minute = np.array([[150.0] * MINUTES, [90.0] * MINUTES])
    many = Fleets(ground, by_minute, np.array([0, 1, 0]), np.array([1, 1, 2]))
    many.advance(300)
    assert many.backlog().tolist() == [300 * 50, 0, 0]
    assert many.workers_at[:, 0].tolist() == [1, 1, 2]
