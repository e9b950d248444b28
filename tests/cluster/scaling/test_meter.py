"""What is measured between two looks."""

from __future__ import annotations

from cluster.scaling.meter import Sight, Sizes, Stand, measured, sighted
from cluster.scaling.policy import Partition
from connectors.redis_reader import CachedStatus
from topologies.sources import Source, SourceStatus

LIVE = ("viewing-events",)
UNKNOWN = Partition(None, None, None)


def cached(partition: int, offset: int, received: int, *, topic_id: str = "one", at_ms: int = 1, ended: bool = False) -> CachedStatus:
    source = Source("local", "viewing-events", topic_id, partition)
    return CachedStatus(source, SourceStatus(source, offset, 0, 0, received, received, 0, 0, 0), offset, "worker-0", at_ms, ended)


def sight(at_s: float, *stands: Stand) -> Sight:
    return Sight(at_s, {("viewing-events", number): stand for number, stand in enumerate(stands)})


def test_rates_and_what_waits_are_of_events() -> None:
    seen = measured(sight(100, Stand(1_000, 900, 900)), sight(110, Stand(2_000, 1_800, 1_800)), LIVE, 5_000, Sizes())
    assert seen.at_s == 110
    assert seen.capacity_per_s == 5_000
    assert seen.partitions == (Partition(100.0, 90.0, 200.0),)


def test_records_of_many_events_are_counted_as_many_as_they_were() -> None:
    sizes = Sizes()
    (one,) = measured(sight(0, Stand(10, 10, 1_000)), sight(10, Stand(30, 20, 2_000)), LIVE, 1, sizes).partitions
    assert one == Partition(200.0, 100.0, 1_000.0)
    (still,) = measured(sight(10, Stand(30, 20, 2_000)), sight(20, Stand(35, 20, 2_000)), LIVE, 1, sizes).partitions
    assert still == Partition(50.0, 0.0, 1_500.0)


def test_what_is_not_known_is_never_a_number() -> None:
    unheard = Stand(50, None, None)
    assert measured(sight(0, unheard), sight(10, unheard), LIVE, 1, Sizes()).partitions == (UNKNOWN,)
    assert measured(sight(0), sight(10, Stand(5, 5, 5)), LIVE, 1, Sizes()).partitions == (UNKNOWN,)
    back = measured(sight(0, Stand(90, 80, 80)), sight(10, Stand(95, 70, 70)), LIVE, 1, Sizes())
    anew = measured(sight(0, Stand(90, 80, 80)), sight(10, Stand(5, 5, 5)), LIVE, 1, Sizes())
    assert back.partitions == anew.partitions == (UNKNOWN,)


def test_a_partition_without_a_record_is_known_to_be_empty() -> None:
    empty = sighted(0, {("viewing-events", 0): 0}, {})
    assert empty.stands == {("viewing-events", 0): Stand(0, 0, 0)}
    assert sighted(0, {("viewing-events", 0): 9}, {}).stands == {("viewing-events", 0): Stand(9, None, None)}


def test_of_a_topic_made_anew_the_source_that_goes_on_is_seen() -> None:
    old, new, gone = (
        cached(0, 500, 500, at_ms=5),
        cached(0, 3, 3, topic_id="two", at_ms=9),
        cached(0, 7, 7, topic_id="zero", at_ms=99, ended=True),
    )
    found = sighted(1, {("viewing-events", 0): 4}, {"a": old, "b": new, "c": gone})
    assert found.stands == {("viewing-events", 0): Stand(4, 3, 3)}


def test_backfills_count_while_they_come_or_wait() -> None:
    done, waits = Stand(10, 10, 10), Stand(10, 4, 4)
    before = Sight(0, {("backfill-a", 0): done, ("backfill-b", 0): waits, ("viewing-events", 0): done})
    now = Sight(10, dict(before.stands))
    seen = measured(before, now, LIVE, 1, Sizes())
    assert seen.partitions == (Partition(0.0, 0.0, 6.0), Partition(0.0, 0.0, 0.0))
