"""Where a window is read, and when what was read there is final, by what each store knows of the sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from serving import stores as stores_module
from serving.columns import columns_of
from serving.questions import Question, plan
from serving.reading import is_cached, is_settled, read
from serving.stores import Known, Stores
from topologies.errors import ServerAway
from topologies.settings import Settings
from topologies.sources import LATENESS_MS, Counted, Source, SourceStatus
from topologies.view import HOUR
from topologies.watch_time import WATCH_TIME

START = 500_000 * HOUR.length_ms
PASSED = START + HOUR.length_ms + LATENESS_MS
BEFORE = PASSED - 1


def statuses(watermarks_ms: Mapping[int, int]) -> dict[str, SourceStatus]:
    """By partition; who is further has the greater offset."""
    sources = {partition: Source("local", "t", "A" * 22, partition) for partition in watermarks_ms}
    return {
        str(source): SourceStatus(source, watermarks_ms[partition], watermarks_ms[partition], watermarks_ms[partition], 0, 0, 0, 0, 0)
        for partition, source in sources.items()
    }


@pytest.mark.parametrize(
    ("cached", "stored", "settled"),
    [
        ({0: PASSED, 1: PASSED}, {0: PASSED, 1: PASSED}, True),
        ({0: PASSED, 1: PASSED}, {0: PASSED, 1: BEFORE}, False),  # Cassandra is a flush behind, and the window is read there
        ({0: PASSED, 1: PASSED}, {0: PASSED}, False),  # it has not even heard of one
        ({}, {0: PASSED, 1: PASSED}, True),
        ({0: PASSED}, {}, False),
        ({}, {}, False),
    ],
)
def test_a_window_is_final_when_the_store_that_it_is_read_from_has_all_of_it(
    cached: dict[int, int], stored: dict[int, int], settled: bool
) -> None:
    known = Known(statuses(cached), statuses(stored), ("t",))
    assert is_settled(WATCH_TIME, HOUR, START, known) is settled
    if PASSED in cached.values():
        assert not is_cached(plan(Question("watch_time")), START, known, START)


def test_nothing_is_final_of_a_view_that_is_being_counted() -> None:
    both = statuses({0: PASSED, 1: PASSED})
    counted = Counted(both, {name: {WATCH_TIME.table: BEFORE} for name in both})
    assert not is_settled(WATCH_TIME, HOUR, START, Known(both, both, ("t",), counted=counted))
    assert is_settled(WATCH_TIME, HOUR, START, Known(both, both, ("t",), counted=replace(counted, ended=frozenset(both))))


def test_a_backfill_that_is_done_holds_nothing_back_and_makes_nothing_final_by_itself() -> None:
    both, done = statuses({0: PASSED, 1: BEFORE}), frozenset(statuses({1: 0}))
    assert is_settled(WATCH_TIME, HOUR, START, Known(both, both, ("t",), finished=done))
    assert not is_settled(WATCH_TIME, HOUR, START + HOUR.length_ms, Known(both, both, ("t",), finished=done))
    alone = statuses({1: BEFORE})
    assert not is_settled(WATCH_TIME, HOUR, START, Known(alone, alone, ("t",), finished=done))
    assert is_settled(WATCH_TIME, HOUR, START - HOUR.length_ms, Known(alone, alone, ("t",), finished=done))


def test_a_cassandra_that_did_not_answer_is_not_asked_for_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(stores_module, "connect", connect)
    question = plan(Question("watch_time"))
    with Stores(Settings()) as stores, pytest.raises(ServerAway, match="no answer"):
        read(stores, Known({}, {}, ("t",), away="no answer"), columns_of(question)[0], [START], START)


def test_who_has_ended_holds_nothing_back() -> None:
    both = statuses({0: PASSED, 1: BEFORE})
    known = Known(both, both, ("t",), ended=frozenset(statuses({1: 0})))
    assert is_settled(WATCH_TIME, HOUR, START, known)
    assert not is_settled(WATCH_TIME, HOUR, START + HOUR.length_ms, known)
