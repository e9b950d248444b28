"""What a load says of itself: its lateness, and who made it late."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.measured import Delays, add_delays, bottleneck, ceiling, delays_of
from loadgen.measuring import Outside, measured
from loadgen.produce import BLOCKED_MS, COUNTERS, CPU_MS, HANDED_OVER, LATE_SENDS, MAX_LATENESS_MS, SENDING_MS, SENT
from topologies.bins import BINS


def test_quantiles_of_lateness_are_near_and_its_greatest_is_exact() -> None:
    bins = np.zeros(BINS, np.int64)
    assert delays_of(bins, 0) == Delays()
    add_delays(np.array([-5.0, 3.0, 1_000.0]), np.array([1, 97, 2]), bins)
    found = delays_of(bins, 1_000)
    assert (found.p50_ms, found.max_ms) == (3, 1_000)
    assert found.p99_ms == pytest.approx(1_000, rel=1 / 64)


@pytest.mark.parametrize(
    ("late", "busiest", "blocked", "whose"),
    [(0.0005, 1.0, 1.0, ""), (0.2, 0.95, 0.0, "generator"), (0.2, 0.95, 0.3, "broker"), (0.2, 0.4, 0.0, "machine")],
)
def test_who_makes_events_late_is_told_by_what_the_processes_did(late: float, busiest: float, blocked: float, whose: str) -> None:
    assert bottleneck(late, busiest, blocked) == whose


def test_the_ceiling_is_of_the_cores_that_there_are() -> None:
    assert ceiling(1_000_000, [1.0, 1.0], 4) == 1_000_000
    assert ceiling(1_000_000, [0.5, 0.5, 0.5, 0.5], 2) == 1_000_000
    assert ceiling(0, [0.0], 2) == 0


def test_what_processes_counted_becomes_one_account() -> None:
    counters = np.zeros((2, COUNTERS), np.int64)
    counters[:, SENT], counters[:, CPU_MS], counters[:, SENDING_MS] = 500, (950, 400), 1_000
    counters[0, LATE_SENDS], counters[0, MAX_LATENESS_MS], counters[1, BLOCKED_MS] = 100, 250, 20
    counters[:, HANDED_OVER] = 450
    counters[0, HANDED_OVER + 50] = 100
    found = measured(counters, Outside(parent_cpu_s=0.65, broker_cpu_s=None, sending_s=2.0))
    assert (found.events_per_s, found.cpu_s, found.events_per_core_second) == (500, 2.0, 500)
    assert (found.busiest_core_share, found.blocked_share, found.bottleneck) == (0.95, 0.02, "generator")
    assert (found.handed_over.p50_ms, found.handed_over.p99_ms, found.handed_over.max_ms) == (0, 50, 250)
