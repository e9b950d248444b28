"""Topics as Marquee makes them, their ids and offsets, and letters."""

from __future__ import annotations

import dataclasses
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import KafkaError, KafkaException

from cluster.local import LocalCluster
from cluster.process import wait_until
from connectors.kafka import ensure_topic, ensure_topics, kafka_errors, matching_topics, partition_offsets, produce_bytes, topic_ids
from connectors.letters import Letter, read_letters
from topologies.errors import NoTopic, ServerAway, SourceError, StoreError
from topologies.settings import Settings


def letter(offset: int, row: int = 0) -> Letter:
    return Letter("local:AAAAAAAAAAAAAAAAAAAA-_:3", "viewing-events", 3, offset, row, "not_json", 1_700_000_000_000, b"acc", b"\xff\x00")


def post(settings: Settings, *letters: Letter) -> None:
    produce_bytes(settings, settings.kafka.dead_topic, [(each.key, each.value, each.headers()) for each in letters])


def test_topics_are_made_once_and_found(settings: Settings) -> None:
    ensure_topics(settings)
    ensure_topics(settings)
    backfill = f"{settings.kafka.backfill_prefix}r1"
    ensure_topic(settings, backfill, live=False, partitions=2)
    assert matching_topics(settings) == sorted([*settings.kafka.topics, backfill])
    assert partition_offsets(settings, backfill) == {0: (0, 0), 1: (0, 0)}


def test_several_processes_may_make_a_topic_at_once(settings: Settings) -> None:
    name = settings.kafka.topics[0]
    with ThreadPoolExecutor(4) as pool:
        for made in [pool.submit(ensure_topic, settings, name, live=True) for _ in range(4)]:
            made.result()
    assert len(partition_offsets(settings, name)) == settings.kafka.partitions


def test_a_topic_of_another_partition_count_or_time_is_refused(settings: Settings) -> None:
    name = settings.kafka.topics[0]
    ensure_topic(settings, name, live=True, partitions=3)
    with pytest.raises(SourceError, match=r"has 3 partitions and 8 are asked for; .* cut over to a new topic"):
        ensure_topic(settings, name, live=True)
    with pytest.raises(SourceError, match="has LogAppendTime and CreateTime is needed"):
        ensure_topic(settings, name, live=False, partitions=3)


def test_a_topic_id_is_written_as_kafka_writes_it(settings: Settings, cluster: LocalCluster) -> None:
    names = [f"{settings.kafka.backfill_prefix}{number}" for number in range(12)]
    for name in names:
        ensure_topic(settings, name, live=False, partitions=1)
    files = {name: cluster.server("kafka").directory / "data" / f"{name}-0" / "partition.metadata" for name in names}
    assert wait_until(lambda: all(file.exists() for file in files.values()), 120)  # the broker answers before it has made them
    kept = {name: re.findall(r"topic_id: (\S{22})\n?", file.read_text())[0] for name, file in files.items()}
    assert topic_ids(settings, names) == kept
    assert len(set(kept.values())) == len(names)


def test_offsets_follow_what_is_appended(settings: Settings) -> None:
    name = settings.kafka.topics[0]
    ensure_topic(settings, name, live=True, partitions=2)
    assert produce_bytes(settings, name, [(f"account {number}".encode(), b"{}", []) for number in range(1000)]) == 1000
    offsets = partition_offsets(settings, name)
    assert sum(end - first for first, end in offsets.values()) == 1000
    assert all(end > first for first, end in offsets.values())


def test_each_letter_is_read_once_however_often_it_was_written(settings: Settings) -> None:
    ensure_topics(settings)
    post(settings, letter(1), letter(1, row=1), letter(2))
    post(settings, letter(1), letter(3), dataclasses.replace(letter(4), key=None, value=None))
    found = list(read_letters(settings, settings.kafka.dead_topic))
    expected = [letter(1), letter(1, row=1), letter(2), letter(3), dataclasses.replace(letter(4), key=None, value=None)]
    assert sorted(found, key=lambda each: (each.offset, each.row)) == expected
    assert list(read_letters(settings, settings.kafka.late_topic)) == []


def test_a_record_that_is_no_letter_is_named(settings: Settings) -> None:
    ensure_topics(settings)
    produce_bytes(settings, settings.kafka.dead_topic, [(b"k", b"v", [("source", b"x")])])
    with pytest.raises(StoreError, match=r"record 0 of .*\.dead partition \d is no letter"):
        list(read_letters(settings, settings.kafka.dead_topic))


def test_an_absent_topic_is_named(settings: Settings) -> None:
    absent = f"absent-{uuid.uuid4().hex}"
    for ask in (lambda: partition_offsets(settings, absent), lambda: topic_ids(settings, [absent])):
        with pytest.raises(NoTopic, match=f"there is no topic {absent}"):
            ask()
    with pytest.raises(NoTopic, match=f"there is no topic {absent}"):
        produce_bytes(settings, absent, [(b"k", b"v", [])])


@pytest.mark.parametrize("code", [KafkaError._NOENT, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE])
def test_partitions_that_nobody_leads_are_away_and_not_wrong(code: int) -> None:
    """As all are for a moment after their broker stood still: who asks tries again."""
    said = r"has a partition that nobody leads .* see whether all its brokers are up"
    with pytest.raises(ServerAway, match=said), kafka_errors(Settings().kafka):
        raise KafkaException(KafkaError(code))
    with pytest.raises(StoreError), kafka_errors(Settings().kafka):
        raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
