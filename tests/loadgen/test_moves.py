"""A load into the logs of several regions: who is at home where, what moves while a region is lost, and what of it is in two logs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from cluster.process import wait_until
from connectors.kafka import ensure_topic
from loadgen.audience import make_plan, make_world
from loadgen.faults import parse_faults
from loadgen.homes import homes_of_regions
from loadgen.ledger import PartitionSpan, RegionLog, Run, write_table
from loadgen.moves import MOVE_SCHEMA, Stay, stays_of
from loadgen.shard import Shard
from loadgen.way import LOST_S, Moved, Sent, Way
from tests.loadgen.test_load import log_of
from topologies.errors import MarqueeError
from topologies.settings import Settings

PATIENCE_S = 30.0


def test_viewers_are_at_home_in_the_region_that_is_named_after_theirs_or_near() -> None:
    # us-east us-west eu-west eu-central ap-south sa-east
    assert homes_of_regions(6, ("eu-west-1", "us-east-1")).tolist() == [1, 1, 0, 0, 0, 1]
    assert homes_of_regions(6, ("us-west-2", "us-east-1")).tolist()[:2] == [1, 0]


def shard(logs: tuple[str, ...], partitions: int) -> Shard:
    world = make_world(
        seed=3, span_ms=20_000, live=True, titles=20, regions=6, vanish=0.1, faults=parse_faults("key-changes=0.1").limits(), first_hour=0
    )
    return Shard(make_plan(world, 4_000), "tag", 6, 0, partitions, frozenset(range(partitions)), logs=logs)


def test_two_logs_have_the_records_of_one_each_in_the_partition_of_its_key() -> None:
    alone, both = shard((), 4), shard(("eu-west-1", "us-east-1"), 8)
    one = Counter((p, v) for chunk in alone.chunks(5_000) for p, v in zip(chunk.partitions.tolist(), chunk.values, strict=True))
    records = [(p, v) for chunk in both.chunks(5_000) for p, v in zip(chunk.partitions.tolist(), chunk.values, strict=True)]
    assert Counter((place % 4, value) for place, value in records) == one
    for place, value in records:
        assert value is not None
        assert (b'"region":"us-' in value or b'"region":"sa-' in value) == (place >= 4)


def run_of(path: Path, *moves: tuple[int, str, int, bool, int]) -> Run:
    """A finished run of two logs of one partition each, whose places have 100 and 80 records."""
    path.mkdir(exist_ok=True)
    write_table(path, "moves", pl.DataFrame(list(moves), schema=MOVE_SCHEMA, orient="row").lazy())
    return Run(
        name="r", path=path, tag="tag", kind="load", state="finished", live=True, topic="t", topic_id="a", seed=1, options={}, started_ms=0,
        ended_ms=9, span_start_ms=0, span_end_ms=9, partitions=(PartitionSpan(0, 0, 99, 100), PartitionSpan(1, 0, 79, 80)),
        logs=(RegionLog("eu", "a"), RegionLog("us", "b")),
    )  # fmt: skip


def test_where_a_lost_regions_records_are_is_told_by_the_logs(tmp_path: Path) -> None:
    """Of eu's, 40 were acknowledged, and 47 had arrived; 40 to 69 came to us, the rest home again."""
    run = run_of(tmp_path / "r", (0, "us", 40, False, 1), (0, "eu", 70, True, 2))
    stays = stays_of(run, {("eu", 0): 47 + 30, ("us", 0): 80 + 30})
    assert stays == {0: (Stay(0, "eu", 0, 47), Stay(0, "us", 40, 70), Stay(0, "eu", 70, 100)), 1: (Stay(1, "us", 0, 80),)}


def test_without_a_loss_each_place_is_at_home(tmp_path: Path) -> None:
    assert stays_of(run_of(tmp_path / "r"), {}) == {0: (Stay(0, "eu", 0, 100),), 1: (Stay(1, "us", 0, 80),)}


def test_what_no_log_can_tell_is_refused(tmp_path: Path) -> None:
    lost = [(0, "us", 40, False, 1), (0, "eu", 70, True, 2), (0, "us", 80, False, 3)]
    with pytest.raises(MarqueeError, match="lost 2 times"):
        stays_of(run_of(tmp_path / "r", *lost), {("eu", 0): 60, ("us", 0): 140})


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_what_a_lost_region_has_not_acknowledged_is_sent_elsewhere_in_its_order(settings: Settings) -> None:
    """At home nobody listens."""
    topic, clock = settings.kafka.topics[0], Clock()
    ensure_topic(settings, topic, live=True)
    brokers = {"eu": replace(settings.kafka, bootstrap="127.0.0.1:1"), "us": settings.kafka}
    way = Way("eu", brokers, topic, [0, 1], 8, None, clock)
    sent = [Sent(b"%d" % number, b"key", 1, number) for number in range(60)]
    for number, one in enumerate(sent[:40]):
        assert way.send(number % 2, one)
    way.poll()
    assert [way.lost, way.waiting] == [False, 40]
    clock.now_s += LOST_S + 0.1
    assert way.lost
    assert way.move("us") == [Moved(0, "us", 0, clean=False), Moved(1, "us", 0, clean=False)]
    for number, one in enumerate(sent[40:]):
        assert way.send(number % 2, one)
    assert wait_until(lambda: way.poll() is None and not way.waiting, PATIENCE_S)
    assert (way.lost, way.acknowledged) == (False, {0: 30, 1: 30})
    arrived = [record for record in log_of(settings, topic) if record.key == b"key"]
    for partition in (0, 1):
        assert [record.value for record in arrived if record.partition == partition] == [one.value for one in sent[partition::2]]


def test_a_way_goes_home_when_all_is_acknowledged(settings: Settings) -> None:
    topic = settings.kafka.topics[0]
    ensure_topic(settings, topic, live=True)
    way = Way("eu", {"eu": settings.kafka, "us": settings.kafka}, topic, [3], 8, None)
    assert way.move("us") == [Moved(3, "us", 0, clean=True)]
    assert way.send(3, Sent(b"one", b"key", 1, 1))
    assert way.go_home() == [Moved(3, "eu", 1, clean=True)]
    assert (way.region, way.waiting) == ("eu", 0)
