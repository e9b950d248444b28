"""What many threads ask of Cassandra's sources is read once, and never older than is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.process import wait_until
from serving.histories import FRESH_S, HEARD_FRESH_S, HEARD_STALE_S, RENEWERS, STALE_S, Histories, History, Recent
from topologies.errors import ServerAway


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
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
    clock.now_s += HEARD_FRESH_S / 2
    assert histories.heard("a", lambda: [2]) is first
    assert histories.heard("another", lambda: [3]) == [3]
    clock.now_s += HEARD_STALE_S
    assert histories.heard("a", lambda: [4]) == [4]


def test_what_redis_has_heard_does_not_wait_for_a_slow_cassandra(histories: Histories, clock: Clock) -> None:
    slow, begun = threading.Event(), [threading.Event() for _ in range(RENEWERS)]

    def read(at: int) -> History:
        begun[at].set()
        assert slow.wait(120)
        return told("later")

    for at in range(RENEWERS):
        histories.of(str(at), lambda: told("a"))
    histories.heard("a", lambda: [1])
    clock.now_s += FRESH_S
    for at in range(RENEWERS):  # all who read Cassandra anew are held
        assert histories.of(str(at), lambda at=at: read(at)) == told("a")  # type: ignore[misc]
        assert begun[at].wait(60)
    assert histories.heard("a", lambda: [2]) == [2]
    clock.now_s += 1.5 * HEARD_FRESH_S
    assert histories.heard("a", lambda: [3]) == [2]
    heard = wait_until(lambda: histories.heard("a", lambda: [4]) != [2], 30)
    slow.set()
    assert heard


def test_who_was_told_of_a_change_hears_what_was_read_since(histories: Histories, clock: Clock) -> None:
    histories.heard("a", lambda: [1])
    clock.now_s += HEARD_FRESH_S / 2
    assert histories.heard("a", lambda: [2], clock.now_s) == [2]
    assert histories.heard("a", lambda: [3]) == [2]


def test_who_was_told_of_a_change_does_not_take_what_was_begun_to_be_read_before(histories: Histories, clock: Clock) -> None:
    histories.heard("a", lambda: [1])
    clock.now_s += HEARD_FRESH_S * 2
    begun, go_on = threading.Event(), threading.Event()

    def old() -> list[int]:
        begun.set()
        assert go_on.wait(60)
        return [2]

    assert histories.heard("a", old) == [1]  # read anew behind one's back
    assert begun.wait(60)
    clock.now_s += HEARD_FRESH_S / 2
    go_on.set()
    assert histories.heard("a", lambda: [3], clock.now_s) == [3]


def test_a_store_that_hangs_is_waited_for_by_all_at_once(histories: Histories, clock: Clock) -> None:
    """Each after the other, the last of eight would wait for eight time-outs."""
    begun, go_on = threading.Event(), threading.Event()
    readings: list[int] = []

    def hangs() -> list[int]:
        readings.append(1)
        begun.set()
        assert go_on.wait(60)
        raise ServerAway("Redis does not answer")

    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(histories.heard, "a", hangs)
        assert begun.wait(60)
        others = [threads.submit(histories.heard, "a", hangs) for _ in range(3)]
        assert wait_until(lambda: clock.asked >= 4, 60)
        go_on.set()
        for one in (first, *others):
            with pytest.raises(ServerAway):
                one.result(60)
    assert len(readings) <= 2  # whoever looked at the clock and not yet at what is being read, reads


def test_a_reading_that_failed_is_told_and_not_kept(histories: Histories) -> None:
    with pytest.raises(ServerAway):
        histories.heard("a", away)
    assert histories.heard("a", lambda: [1]) == [1]


def test_a_spans_lack_of_final_rows_is_remembered_by_its_basis_for_as_long_as_is_said(histories: Histories, clock: Clock) -> None:
    histories.are_unmarked([("t", 0, "basis"), ("t", 1, "basis")])
    assert histories.unmarked([("t", 0, "basis"), ("t", 1, "basis")])
    assert not histories.unmarked([("t", 0, "basis"), ("t", 2, "basis")])
    assert not histories.unmarked([("t", 0, "another")])
    clock.now_s += STALE_S
    assert not histories.unmarked([("t", 0, "basis")])


def test_so_many_are_kept_and_the_oldest_goes(clock: Clock) -> None:
    recent = Recent(2, clock)
    for key in "abc":
        assert recent.get(key, lambda key=key: key) == (key, False)  # type: ignore[misc]
    assert [recent.has(key) for key in "abc"] == [False, True, True]
    assert recent.get("c", lambda: "another") == ("c", True)
