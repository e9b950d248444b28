"""What is measured between two looks."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace

import pytest

from cluster.process import wait_until
from cluster.scaling.meter import STALE_S, Meter, Sight, Sizes, Stand, measured, sighted
from cluster.scaling.policy import Partition
from connectors.kafka import LogEnds
from connectors.redis_reader import CachedStatus, CellReader
from tests.cluster.registry_conformance import PATIENCE_S
from topologies.errors import ServerAway
from topologies.settings import Settings
from topologies.sources import Source, SourceStatus

LIVE = ("viewing-events",)
UNKNOWN = Partition(None, None, None)


def cached(
    partition: int, offset: int, received: int, *, topic_id: str = "one", at_ms: int = 1_000, ended: bool = False, region: str = "local"
) -> CachedStatus:
    source = Source(region, "viewing-events", topic_id, partition)
    return CachedStatus(source, SourceStatus(source, offset, 0, 0, received, received, 0, 0, 0), offset, "worker-0", at_ms, ended)


def sight(at_s: float, *stands: Stand) -> Sight:
    return Sight(at_s, {("viewing-events", number): stand for number, stand in enumerate(stands)})


def test_rates_and_what_waits_are_of_events() -> None:
    seen = measured(sight(100, Stand(1_000, 900, 900, 99)), sight(110, Stand(2_000, 1_800, 1_800, 109)), LIVE, 5_000, Sizes())
    assert seen.at_s == 110
    assert seen.capacity_per_s == 5_000
    assert seen.partitions == (Partition(100.0, 90.0, 200.0),)


def test_records_of_many_events_are_counted_as_many_as_they_were() -> None:
    sizes = Sizes()
    (one,) = measured(sight(0, Stand(10, 10, 1_000)), sight(10, Stand(30, 20, 2_000)), LIVE, 1, sizes).partitions
    assert one == Partition(200.0, 100.0, 1_000.0)
    (still,) = measured(sight(10, Stand(30, 20, 2_000, 9)), sight(20, Stand(35, 20, 2_000, 19)), LIVE, 1, sizes).partitions
    assert still == Partition(50.0, 0.0, 1_500.0)


def test_what_is_not_known_is_never_a_number() -> None:
    unheard = Stand(50, None, None)
    assert measured(sight(0, unheard), sight(10, unheard), LIVE, 1, Sizes()).partitions == (UNKNOWN,)
    assert measured(sight(0), sight(10, Stand(5, 5, 5)), LIVE, 1, Sizes()).partitions == (UNKNOWN,)
    back = measured(sight(0, Stand(90, 80, 80)), sight(10, Stand(95, 70, 70)), LIVE, 1, Sizes())
    anew = measured(sight(0, Stand(90, 80, 80)), sight(10, Stand(5, 5, 5)), LIVE, 1, Sizes())
    assert back.partitions == anew.partitions == (UNKNOWN,)


def test_a_partition_without_a_record_is_known_to_be_empty() -> None:
    empty = sighted(0, {("viewing-events", 0): 0}, {}, "local")
    assert empty.stands == {("viewing-events", 0): Stand(0, 0, 0)}
    assert sighted(0, {("viewing-events", 0): 9}, {}, "local").stands == {("viewing-events", 0): Stand(9, None, None)}


def test_of_a_topic_made_anew_the_source_that_goes_on_is_seen() -> None:
    old, new, gone = (
        cached(0, 500, 500, at_ms=5_000),
        cached(0, 3, 3, topic_id="two", at_ms=9_000),
        cached(0, 7, 7, topic_id="zero", at_ms=99_000, ended=True),
    )
    found = sighted(1, {("viewing-events", 0): 4}, {"a": old, "b": new, "c": gone}, "local")
    assert found.stands == {("viewing-events", 0): Stand(4, 3, 3, 9.0)}


def test_of_a_source_that_is_written_anew_nothing_is_known() -> None:
    anew = replace(cached(0, 3, 3, at_ms=5_000), status=None)
    assert sighted(6, {("viewing-events", 0): 4}, {"a": anew}, "local").stands == {("viewing-events", 0): Stand(4, None, None, 5.0)}


def test_what_another_region_has_applied_is_not_this_ones() -> None:
    own, other = cached(0, 3, 3, at_ms=5_000), cached(0, 4, 4, at_ms=9_000, region="abroad")
    assert sighted(1, {("viewing-events", 0): 4}, {"a": own, "b": other}, "local").stands == {("viewing-events", 0): Stand(4, 3, 3, 5.0)}
    assert sighted(1, {("viewing-events", 0): 4}, {"b": other}, "local").stands == {("viewing-events", 0): Stand(4, None, None)}


def test_where_nothing_was_told_for_long_while_records_wait_nobody_knows() -> None:
    """Redis takes nothing, say: workers may go on all the same. Where nothing waits there is nothing to be told."""
    waits, empty = Stand(50, 10, 10, 100.0), Stand(10, 10, 10, 100.0)
    known = (Partition(0.0, 0.0, 40.0), Partition(0.0, 0.0, 0.0))
    seen = measured(sight(100 + STALE_S - 10, waits, empty), sight(100 + STALE_S, waits, empty), LIVE, 1, Sizes())
    assert seen.partitions == known
    later = measured(sight(100 + STALE_S - 9, waits, empty), sight(101 + STALE_S, waits, empty), LIVE, 1, Sizes())
    assert later.partitions == (UNKNOWN, known[1])


def test_one_of_which_nothing_is_told_while_others_go_on_is_stuck() -> None:
    stuck = Stand(50, 10, 10, 0.0)
    seen = measured(sight(100, stuck, Stand(20, 20, 20, 99)), sight(110, stuck, Stand(30, 30, 30, 109)), LIVE, 1, Sizes())
    assert seen.partitions == (Partition(0.0, 0.0, 40.0), Partition(1.0, 1.0, 0.0))


def test_backfills_count_while_they_come_or_wait() -> None:
    done, waits = Stand(10, 10, 10, 9), Stand(10, 4, 4, 9)
    before = Sight(0, {("backfill-a", 0): done, ("backfill-b", 0): waits, ("viewing-events", 0): done})
    now = Sight(10, dict(before.stands))
    seen = measured(before, now, LIVE, 1, Sizes())
    assert seen.partitions == (Partition(0.0, 0.0, 6.0), Partition(0.0, 0.0, 0.0))


def test_a_server_that_is_away_or_not_understood_is_no_measurement_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once each time that something else is wrong; measured again as soon as there is an answer."""
    answers: deque[Exception | dict[tuple[str, int], int]] = deque()
    looks: list[float] = []

    def read(_: LogEnds) -> dict[tuple[str, int], int]:
        looks.append(time.time())
        answer = answers[0] if len(answers) == 1 else answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def statuses(_: CellReader) -> dict[str, CachedStatus]:
        return {"a": cached(0, 3, 3, at_ms=int(time.time() * 1_000))}

    monkeypatch.setattr(LogEnds, "read", read)
    monkeypatch.setattr(CellReader, "statuses", statuses)
    monkeypatch.setattr("cluster.scaling.meter.LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("cluster.scaling.meter.WINDOW_S", 0.1)
    answers.extend([ServerAway("Kafka is away")] * 3 + [KeyError("half of it")] * 2 + [ServerAway("Kafka is away")])
    with Meter(Settings(), 5_000) as meter:
        assert wait_until(lambda: len(looks) > 8, PATIENCE_S)
        assert meter.newest() is None
        assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
            "Kafka is away",
            "KeyError('half of it')",
            "Kafka is away",
        ]
        answers.append({("viewing-events", 0): 3})
        assert wait_until(lambda: meter.newest() is not None, PATIENCE_S)
        seen = meter.newest()
        assert seen is not None
        assert seen.partitions == (Partition(0.0, 0.0, 0.0),)
