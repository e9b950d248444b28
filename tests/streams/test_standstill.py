"""A worker inside the test, on the real broker: partitions that stop, a log that is cut, a topic that comes, a store that is away."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import replace

import pytest
from aiokafka.structs import TopicPartition
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient

from cluster.local import LocalCluster
from cluster.process import wait_until
from connectors.kafka import client_options, ensure_topics, partition_offsets, produce_bytes
from connectors.redis_reader import CellReader
from loadgen.audit import audit
from loadgen.load import LoadOptions, run_load
from marquee.catching_up import catch_up
from serving.stores import Stores
from streams.observing import Running
from streams.room import MIB
from streams.worker import Worker
from tests.conftest import impatient
from tests.streams.conftest import Pipeline, assert_exact
from tests.topologies.logs import event
from topologies.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With a worker's own time-outs for what is away; but its group misses it late, for the tests hold up the loop that it works in."""
    settings = impatient(settings)
    return replace(settings, kafka=replace(settings.kafka, session_timeout_s=40.0))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(300):
        while not condition():  # noqa: ASYNC110  # of whatever the condition looks at
            await asyncio.sleep(0.05)


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[tuple[Running, asyncio.Task[int]]]:
    """A worker that has all partitions of the live topic."""
    await asyncio.to_thread(ensure_topics, settings)
    worker = Worker(settings, None)
    serving = asyncio.create_task(worker.serve())
    try:
        await until(lambda: serving.done() or (worker.running and len(worker.running.owners.all()) == settings.kafka.partitions))
        assert worker.running
        yield worker.running, serving
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def caught_up(running: Running, settings: Settings) -> None:
    """Returns when every partition's state stands where its log ended as of the call. The log is asked from another thread: the worker
    works in this one."""
    ends = await asyncio.to_thread(partition_offsets, settings, settings.kafka.topics[0])
    mine = [owner for owner in running.owners.all() if owner.source.topic == settings.kafka.topics[0]]
    await until(lambda: all(owner.state.offset >= ends[owner.source.partition][1] for owner in mine))


async def drive(settings: Settings, events: int) -> None:
    """Append so many valid events, each a session of its own, to all partitions of the live topic."""
    now_ms = int(time.time() * 1000)
    mark = uuid.uuid4().hex
    records = [(f"{mark}{at}".encode(), event(now_ms, session=f"{mark}{at}", account=f"{mark}{at}").value, ()) for at in range(events)]
    await asyncio.to_thread(produce_bytes, settings, settings.kafka.topics[0], records)


async def test_a_partition_paused_behind_fausts_back_is_seen_and_read_anew(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async with working(settings) as (running, serving):
        await drive(settings, 500)
        await caught_up(running, settings)
        consumer = running.app.batches._thread._consumer
        assert consumer is not None
        topic = settings.kafka.topics[0]
        consumer.pause(TopicPartition(topic, 3))
        running.app.batches.pause_partitions({running.app.batches._new_topicpartition(topic, 5)})
        await drive(settings, 2000)
        await caught_up(running, settings)
        assert running.watchdog.recoveries >= 2
        assert f"{topic} partition 3 has brought nothing for" in caplog.text
        assert f"{topic} partition 5 has brought nothing for" in caplog.text
        assert not serving.done()


async def test_a_partition_whose_log_is_cut_below_a_running_worker_is_held_and_not_counted_again(settings: Settings) -> None:
    settings = replace(settings, worker=replace(settings.worker, stalled_s=600.0))  # the partition is held back on purpose
    async with working(settings) as (running, serving):
        await drive(settings, 500)
        await caught_up(running, settings)
        topic = settings.kafka.topics[0]
        place = (topic, 0)
        owner = running.owners.get(place)
        assert owner is not None
        consumer = running.app.batches._thread._consumer
        assert consumer is not None
        consumer.pause(TopicPartition(topic, 0))
        await running.app.batches.topics()  # in the thread that hands on what was fetched, so that none is being handed on any more
        await until(lambda: not running.app.batches.waits_for_fold(place))
        before = owner.state.status()
        await drive(settings, 2000)
        end = (await asyncio.to_thread(partition_offsets, settings, topic))[0][1]
        admin = AdminClient(client_options(settings.kafka))  # whose answers come only as long as it lives
        for answer in admin.delete_records([Place(topic, 0, end)]).values():
            await asyncio.to_thread(answer.result, 60)
        consumer.resume(TopicPartition(topic, 0))
        await until(lambda: place in running.handover.held)
        gone = f"its checkpoint stands at offset {before.offset}, and the log begins at {end}: {end - before.offset} records are gone"
        assert gone in running.handover.held[place]
        assert owner.durable == before.offset
        assert owner.state.status() == before
        assert running.owners.get(place) is None
        await drive(settings, 500)
        await caught_up(running, settings)  # the others: the held one is owned by nobody
        assert not serving.done()


async def test_a_topic_that_comes_is_read_in_place_to_its_end_and_what_is_owned_stays(settings: Settings) -> None:
    async with working(settings) as (running, serving):
        await drive(settings, 500)
        await caught_up(running, settings)
        owned = {owner.source: owner for owner in running.owners.all()}
        load = LoadOptions(events=3000, backfill_s=60.0, processes=1)
        run = await asyncio.to_thread(run_load, settings, load, lambda _: None)
        await asyncio.to_thread(catch_up, settings, run.topic, lambda _: None)
        assert {owner.source: owner for owner in running.owners.all() if owner.source.topic != run.topic} == owned
        assert run.topic in await running.app.batches.topics()
        async with asyncio.timeout(300):  # who asks waits for no more of a backfill that is done
            while await asyncio.to_thread(over, settings) != {run.topic: len(run.partitions)}:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert not serving.done()
        await drive(settings, 500)
        await caught_up(running, settings)


def over(settings: Settings) -> dict[str, int]:
    """How many sources of each topic are awaited no more."""
    with Stores(settings) as stores:
        known = stores.known()
    return dict(Counter(known.stored[name].source.topic for name in known.over))


def folded(running: Running) -> int:
    return sum(owner.state.offset for owner in running.owners.all())


async def stands(running: Running, looks: int = 100) -> int:
    """Returns what is folded, when folding was found to wait so many times: what a store was answering as it was paused still makes room,
    for as long as a request waits for its answer. Looks are counted and not the time, which goes by when the worker is stopped, too."""
    same, stood = 0, -1

    def still() -> bool:
        nonlocal same, stood
        same = same + 1 if folded(running) == stood and not running.room.open else 0
        stood = folded(running)
        return same >= looks

    await until(still)
    return stood


async def in_redis(settings: Settings, offset: int) -> None:
    """Returns when Redis has so many records of all partitions together, or more."""

    def applied() -> int:
        with Stores(settings) as stores:
            return sum(status.offset for status in stores.known().cached.values())

    async with asyncio.timeout(300):
        while await asyncio.to_thread(applied) < offset:  # noqa: ASYNC110  # another process is asked
            await asyncio.sleep(0.1)


async def test_an_absent_cassandra_stops_fetching_at_the_bound_and_a_slow_one_harms_nothing(
    settings: Settings, cluster: LocalCluster
) -> None:
    worker = replace(settings.worker, max_unacked_mb=0.25, max_buffered_mb=1.0)
    settings = replace(settings, worker=worker, cassandra=replace(settings.cassandra, timeout_s=3.0))
    async with working(settings) as (running, serving):
        load = LoadOptions(events=20_000, rate=4_000.0, processes=1)
        driving = asyncio.create_task(asyncio.to_thread(run_load, settings, load, lambda _: None))
        await until(lambda: folded(running) > 4_000)
        cluster.pause("cassandra")
        try:
            stood = await stands(running)
            await in_redis(settings, stood)  # a flush gives new keys their texts
            held = running.held()
            assert MIB // 4 < held.unacked_bytes < MIB
            await until(driving.done)
            assert folded(running) == stood
            assert running.held().unacked_bytes == held.unacked_bytes
            assert running.held().state_bytes == held.state_bytes
            assert 0 < running.held().fetched_bytes < MIB
            ends = await asyncio.to_thread(partition_offsets, settings, settings.kafka.topics[0])
            assert stood < sum(end for _, end in ends.values())
            assert len(running.app.consumer.assignment()) == settings.kafka.partitions
            assert not running.app.rebalancing
        finally:
            cluster.resume("cassandra")
        for _ in range(5):  # awake for a fifth of the time
            cluster.pause("cassandra")
            await asyncio.sleep(0.8)
            cluster.resume("cassandra")
            await asyncio.sleep(0.2)
            assert running.held().unacked_bytes < MIB
        await caught_up(running, settings)
        run = driving.result()
        await asyncio.to_thread(catch_up, settings, run.topic, lambda _: None)
        assert_exact(await asyncio.to_thread(audit, settings, run.name, lambda _: None))
        assert not serving.done()


async def test_an_absent_redis_stops_neither_acks_nor_fetching_and_is_brought_up_to_date(settings: Settings, cluster: LocalCluster) -> None:
    async with working(settings) as (running, _):
        cluster.pause("redis")
        try:
            await drive(settings, 4_000)
            await caught_up(running, settings)
            await until(lambda: all(owner.durable >= 300 for owner in running.owners.all()))
        finally:
            cluster.resume("redis")
        await in_redis(settings, folded(running))


def test_a_worker_told_to_stop_while_cassandra_is_away_ends_in_time_and_says_what_is_not_stored(
    pipeline: Pipeline, cluster: LocalCluster
) -> None:
    reached, reader = threading.Event(), CellReader(pipeline.settings.redis, ())

    def cached() -> int:
        return sum(found.status.offset for found in reader.statuses().values() if found.status)

    with ThreadPoolExecutor(1) as driver, closing(reader):
        driven = driver.submit(pipeline.drive, LoadOptions(events=15_000, rate=3_000.0, processes=1), when=(6_000, reached))
        assert reached.wait(300)
        cluster.pause("cassandra")
        try:
            before = cached()
            assert wait_until(lambda: cached() > before, 300)  # so there is something that Cassandra has not
            ended = pipeline.workers.stop(0, drain_s=120.0)  # at which it would be killed: it ends by itself
        finally:
            cluster.resume("cassandra")
        assert ended.status == 0
        assert "are not stored and will be replayed" in pipeline.workers[0].log.read_text()
        pipeline.workers.restart(0)
        run = driven.result()
    assert_exact(pipeline.audited(run))
