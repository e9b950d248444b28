"""A client that sends too much waits, and nobody else does."""

from __future__ import annotations

from serving.limits import Buckets


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_client_may_send_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    buckets = Buckets(100, 200, clock)
    assert buckets.take("a", 200) == 0
    assert buckets.take("a", 1) == 1
    assert buckets.take("b", 200) == 0
    clock.now = 0.5
    assert buckets.take("a", 50) == 0
    assert buckets.take("a", 1) == 1


def test_a_request_beyond_the_burst_goes_through_and_is_owed() -> None:
    clock = Clock()
    buckets = Buckets(100, 200, clock)
    assert buckets.take("a", 1_200) == 0
    assert buckets.take("a", 1) == 11
    clock.now = 10.0
    assert buckets.take("a", 1) == 1
    clock.now = 10.5
    assert buckets.take("a", 1) == 0


def test_a_rate_of_none_limits_nothing() -> None:
    buckets = Buckets(0, 0, Clock())
    assert [buckets.take("a", 10**9) for _ in range(3)] == [0, 0, 0]
