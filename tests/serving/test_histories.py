"""What many threads ask of Cassandra's sources is read once, and never older than is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from serving.histories import FRESH_S, HEARD_S, STALE_S, Histories, History
from topologies.errors import ServerAway


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def histories(clock: Clock) -> Iterator[Histories]:
    kept = Histories(clock)
    yield kept
    kept.close()


def told(name: str) -> History:
    return History(ended=frozenset({name}))


def away() -> History:
    raise ServerAway("Cassandra does not answer")


def test_what_is_fresh_is_not_read_again(histories: Histories, clock: Clock) -> None:
    first = histories.of("k", lambda: told("a"))
    clock.now_s += FRESH_S / 2
    assert histories.of("k", away) is first
    assert histories.of("another", lambda: told("b")) == told("b")


def test_what_is_stale_is_waited_for_and_its_error_told(histories: Histories, clock: Clock) -> None:
    histories.of("k", lambda: told("a"))
    clock.now_s += STALE_S
    with pytest.raises(ServerAway):
        histories.of("k", away)
    assert histories.of("k", lambda: told("b")) == told("b")


def test_what_is_between_is_given_while_one_thread_reads_it_anew(histories: Histories, clock: Clock) -> None:
    histories.of("k", lambda: told("a"))
    clock.now_s += FRESH_S
    begun, go_on = threading.Event(), threading.Event()

    def held() -> History:
        begun.set()
        assert go_on.wait(60)
        return told("b")

    assert histories.of("k", held) == told("a")
    assert begun.wait(60)
    assert histories.of("k", away) == told("a")  # it is being read: nobody else does, or waits
    go_on.set()
    clock.now_s += STALE_S - FRESH_S  # stale now: whoever asks waits for the one that reads
    assert histories.of("k", lambda: told("c")) in (told("b"), told("c"))


def test_a_reading_that_failed_behind_ones_back_is_tried_again(histories: Histories, clock: Clock) -> None:
    histories.of("k", lambda: told("a"))
    clock.now_s += FRESH_S
    assert histories.of("k", away) == told("a")
    clock.now_s += STALE_S
    assert histories.of("k", lambda: told("b")) == told("b")


def test_what_is_shared_is_read_again_when_it_is_stale_or_asked_of_others(histories: Histories, clock: Clock) -> None:
    read = iter(range(9))
    assert [histories.shared("k", lambda: next(read)) for _ in range(2)] == [0, 0]
    assert histories.shared("another", lambda: next(read)) == 1
    clock.now_s += STALE_S
    assert histories.shared("k", lambda: next(read)) == 2


def test_what_redis_has_heard_is_read_once_for_all_who_ask_at_about_the_same_time(histories: Histories, clock: Clock) -> None:
    first = histories.heard("a", lambda: [1])
    clock.now_s += HEARD_S / 2
    assert histories.heard("a", lambda: [2]) is first
    assert histories.heard("another", lambda: [3]) == [3]
    clock.now_s += HEARD_S
    assert histories.heard("a", lambda: [4]) == [4]


def test_who_was_told_of_a_change_hears_what_was_read_since(histories: Histories, clock: Clock) -> None:
    histories.heard("a", lambda: [1])
    clock.now_s += HEARD_S / 2
    assert histories.heard("a", lambda: [2], clock.now_s) == [2]
    assert histories.heard("a", lambda: [3]) == [2]


def test_a_reading_that_failed_is_told_and_not_kept(histories: Histories) -> None:
    with pytest.raises(ServerAway):
        histories.heard("a", away)
    assert histories.heard("a", lambda: [1]) == [1]
