"""Where a window is read, and when what was read there is final, by what each store knows of the sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import stores as stores_module
from serving.columns import columns_of
from serving.known import Known
from serving.questions import Question, plan
from serving.reading import cached_from, is_cached, is_settled, read
from serving.stores import Stores
from tests.topologies.logs import examples
from topologies.errors import ServerAway
from topologies.settings import Settings
from topologies.sources import LATENESS_MS, SKEW_MS, Counted, Source, SourceStatus
from topologies.view import HOUR, LIVE
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


SOURCES = st.dictionaries(
    st.integers(0, 3), st.integers(START - 2, START + 2).map(lambda start_ms: start_ms + HOUR.length_ms + LATENESS_MS)
)
NAMES = st.frozensets(st.sampled_from(sorted(statuses(dict.fromkeys(range(4), 0)))))


@given(SOURCES, SOURCES, NAMES, NAMES, st.sampled_from(["", "no answer"]), st.integers(-3, 3))
@examples(150)
def test_redis_is_read_from_a_start_on(
    cached: dict[int, int], stored: dict[int, int], lacking: frozenset[str], ended: frozenset[str], redis_away: str, gone_ms: int
) -> None:
    """The same that each window by itself would tell: it is there, none of the sources that go on has passed it, and there is no doubt."""
    known = Known(statuses(cached), statuses(stored), ("t",), lacking=lacking, ended=ended, redis_away=redis_away)
    now_ms = START + HOUR.length_ms + HOUR.retention_s * 1000 + gone_ms
    clocks = [status.clock_ms + SKEW_MS for status in known.best]
    for start_ms in sorted({*range(START - 4, START + 5), *clocks, *(clock_ms + 1 for clock_ms in clocks)}):
        kept = now_ms < start_ms + HOUR.length_ms + HOUR.retention_s * 1000
        passed = any(status.watermark_ms >= start_ms + HOUR.length_ms + LATENESS_MS for status in known.going(known.best))
        expected = bool(known.cached) and kept and not passed and not known.doubt(HOUR, start_ms)
        assert (start_ms >= cached_from(HOUR, known, now_ms)) is expected
    live = bool(known.cached) and not known.doubt(LIVE, 0)
    assert (cached_from(LIVE, known, now_ms) <= 0) is live


def test_who_has_ended_holds_nothing_back() -> None:
    both = statuses({0: PASSED, 1: BEFORE})
    known = Known(both, both, ("t",), ended=frozenset(statuses({1: 0})))
    assert is_settled(WATCH_TIME, HOUR, START, known)
    assert not is_settled(WATCH_TIME, HOUR, START + HOUR.length_ms, known)
