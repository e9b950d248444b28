"""What befalls a log: records gone before they were read, a topic made anew, a topic that grew. Each answer, on the real servers."""

from __future__ import annotations

import dataclasses
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from cluster.process import wait_until
from cluster.supervisor import Workers
from connectors.kafka import client_options, ensure_topics, partition_offsets, produce_bytes, topic_ids
from loadgen.audit import audit
from marquee.catching_up import catch_up
from serving.answers import Answer, ask
from serving.overview import look
from serving.questions import Question
from serving.stores import Stores
from tests.marquee.running import document, marquee, sentence
from topologies.settings import Settings
from topologies.sources import SourceStatus

DAY_MS = 86_400_000
GONE = 3
"""Records deleted before anybody folded them."""


class World:
    """One worker after another, and what is asked of them."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.settings = settings
        self.topic = settings.kafka.topics[0]
        self.directory = directory
        self.workers = Workers(settings, 1, directory)
        self.admin = AdminClient(client_options(settings.kafka))
        self.since_ms = int(time.time() * 1000) - DAY_MS
        """What was watched is asked of all days from then on: one may begin in the middle of the test."""
        self._accounts = 0
        self._seq = 1

    def play(self, count: int, title: str) -> None:
        """So many accounts start and watch a minute of it: two events each."""
        first, self._accounts = self._accounts, self._accounts + count
        self._append(first, title, [("play_start", 0, 0), ("heartbeat", 1, 60_000)])

    def seen(self, count: int, title: str) -> bool:
        """Whether exactly so many viewers are answered: those who came last. They say once more that they are there: who was not heard of
        for half a minute is no viewer any more, and it may take longer until these are seen."""
        self._seq += 1
        self._append(self._accounts - count, title, [("heartbeat", self._seq, 0)])
        return [row.values for row in self.ask(Question("concurrents", {"title": title})).rows] == [(count,)]

    def _append(self, first: int, title: str, events: list[tuple[str, int, int]]) -> None:
        """Of all accounts from this one on: each event's type, number and milliseconds watched."""
        now_ms = int(time.time() * 1000)
        records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = []
        for number in range(first, self._accounts):
            account = f"a{number}"
            event = {"v": 1, "session": "s", "ts": now_ms, "account": account, "profile": "p", "title": title, "region": "eu"}
            for kind, seq, watched_ms in events:
                value = {**event, "device": "tv", "seq": seq, "type": kind, "watched_ms": watched_ms}
                records.append((account.encode(), json.dumps(value).encode(), []))
        produce_bytes(self.settings, self.topic, records)

    def ask(self, question: Question) -> Answer:
        with Stores(self.settings) as stores:
            return ask(stores, question)

    def statuses(self) -> dict[int, SourceStatus]:
        """By partition, of the topic as it is now."""
        identity = topic_ids(self.settings, [self.topic])[self.topic]
        with Stores(self.settings) as stores:
            found = stores.known().best
        return {status.source.partition: status for status in found if status.source.topic_id == identity}

    def watched_ms(self, title: str) -> int:
        rows = self.ask(Question("watch_time", {"title": title, "region": "eu"}, window="day", from_ms=self.since_ms)).rows
        return sum(int(row.values[0] or 0) for row in rows)

    def readiness(self) -> tuple[int, dict[str, Any]]:
        ready = self.workers.ready(len(self.workers) - 1)
        assert ready is not None
        try:
            with urllib.request.urlopen(f"{ready['http']}/readyz", timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def metric(self, line: str) -> str:
        ready = self.workers.ready(len(self.workers) - 1)
        assert ready is not None
        with urllib.request.urlopen(f"{ready['http']}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        [found] = [one.removeprefix(line).strip() for one in lines if one.startswith(line)]
        return str(found)

    def marquee(self, *arguments: str) -> Any:
        return marquee(self.directory, *arguments, environment=self.settings.environment())

    def caught_up(self) -> None:
        catch_up(self.settings, self.topic, lambda _: None)


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> Iterator[World]:
    settings = dataclasses.replace(
        settings,
        kafka=dataclasses.replace(settings.kafka, partitions=2),
        worker=dataclasses.replace(settings.worker, cassandra_flush_s=0.5),
    )
    ensure_topics(settings)
    made = World(settings, tmp_path)
    with made.workers:
        made.workers.wait_ready()
        yield made


def true_within(condition: Callable[[], bool], timeout_s: float = 300.0) -> bool:
    return wait_until(condition, timeout_s, 0.2)


def test_records_gone_a_topic_made_anew_and_one_that_grew_are_each_answered(world: World) -> None:
    world.play(20, "old")
    world.caught_up()
    lost_source = _records_gone_before_they_were_read(world)
    _a_topic_made_anew(world, lost_source)
    _a_topic_that_grew(world)


def _records_gone_before_they_were_read(world: World) -> str:
    """The partition is held, the other is read; an operator accepts; what was lost is told from then on. Returns the source."""
    assert world.workers.stop(0).status == 0
    status = max(world.statuses().values(), key=lambda found: found.received)
    source, place = status.source, TopicPartition(world.topic, status.source.partition, status.offset + GONE)
    world.play(20, "old")
    ends = {partition: end for partition, (_, end) in partition_offsets(world.settings, world.topic).items()}
    assert ends[source.partition] > place.offset
    for deleted in world.admin.delete_records([place]).values():
        deleted.result(timeout=60)

    world.workers.add()
    world.workers.wait_ready()
    code, told = world.readiness()
    assert (code, list(told["held"])) == (503, [f"{world.topic}/{source.partition}"])
    assert f"{GONE} records are gone; `marquee source accept-gap {source}` goes on without them" in told["reason"]
    assert world.metric('marquee_partitions{state="held"}') == "1.0"
    other = 1 - source.partition
    assert true_within(lambda: world.statuses()[other].offset >= ends[other])
    assert world.statuses()[source.partition].offset == status.offset

    assert "nobody can be asked here" in sentence(world.marquee("source", "accept-gap", str(source)), 2)
    accepted = document(world.marquee("source", "accept-gap", str(source), "--yes", "--json"))
    assert (accepted["first"], accepted["upto"]) == (status.offset, status.offset + GONE)
    assert true_within(lambda: world.readiness()[0] == 200)
    world.caught_up()
    assert world.watched_ms("old") < 60_000 * 40
    now = world.statuses()[source.partition]
    assert now.received == status.received + ends[source.partition] - status.offset - GONE
    assert world.metric(f'marquee_source_lost_records{{partition="{source.partition}",topic="{world.topic}"}}') == f"{GONE}.0"
    shown = document(world.marquee("source", "show", str(source), "--json"))
    assert [(gap["first"], gap["upto"], gap["records"]) for gap in shown["gaps"]] == [(status.offset, status.offset + GONE, GONE)]
    assert "nothing is gone" in sentence(world.marquee("source", "accept-gap", str(source), "--yes"), 2)
    [operated] = document(world.marquee("operations", "--json"))["operations"]
    assert (operated["method"], operated["outcome"]) == ("source accept-gap", "done")
    assert operated["target"].startswith(str(source))
    [trouble] = [one.trouble for one in audit(world.settings, None, lambda _: None).sources if one.source == str(source)]
    assert f"records {status.offset} to {status.offset + GONE - 1} ({GONE}) were gone before they were folded" in trouble
    return str(source)


def _a_topic_made_anew(world: World, lost_source: str) -> None:
    """Its viewers go, what they watched stays, and answers are complete without it."""
    watched = world.watched_ms("old")
    viewers = Question("concurrents", {"title": "old"})
    world.play(4, "old")
    assert true_within(lambda: world.seen(4, "old"))
    assert true_within(lambda: world.watched_ms("old") == watched + 4 * 60_000)
    world.admin.delete_topics([world.topic])[world.topic].result(timeout=60)
    assert true_within(lambda: world.topic not in world.admin.list_topics(timeout=60).topics)
    ensure_topics(world.settings)
    made_ms = time.time() * 1000
    world.play(2, "seen")
    assert true_within(lambda: sum(found.applied for found in world.statuses().values()) == 4)  # Kafka's clients look every 30 s
    world.play(6, "new")
    assert true_within(lambda: world.seen(6, "new"))
    assert true_within(lambda: not world.ask(viewers).rows)
    world.caught_up()
    standing = world.ask(viewers).standing
    assert (standing.heard, standing.known) == (2, 2)
    assert true_within(lambda: (lag_s := world.ask(viewers).standing.lag_s) is not None and lag_s < 60)
    assert world.watched_ms("old") == watched + 4 * 60_000
    [trouble] = [one.trouble for one in audit(world.settings, None, lambda _: None).sources if one.source == lost_source]
    assert "it has ended, for its topic was made anew" in trouble
    seen = look(world.settings)
    ready = world.workers.ready(1)
    assert ready is not None
    assert {one.http for one in seen.sources if not one.ended} == {ready["http"]}
    assert {str(one.source) for one in seen.sources if one.ended} >= {lost_source}
    assert seen.lag is not None
    assert seen.as_of_ms > made_ms


def _a_topic_that_grew(world: World) -> None:
    """The worker ends with a sentence, and none begins."""
    world.admin.create_partitions([NewPartitions(world.topic, 3)])[world.topic].result(timeout=60)
    assert true_within(lambda: world.workers.watch() == [1])
    said = "has 3 partitions instead of 2, which splits sessions; cut over to a new topic"
    assert said in world.workers[1].log.read_text()
    assert "cut over to a new topic" in sentence(world.marquee("worker"), 1)
