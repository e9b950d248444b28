"""Whatever a Redis loses while workers write to it is noticed, and comes back exact: evictions, keys deleted by hand, no memory,
a replica promoted that lacks the last second."""

from __future__ import annotations

import dataclasses
import random
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
import redis

from cluster.local import LocalCluster
from cluster.process import wait_until
from connectors.redis import RedisKeys, at_shelves
from connectors.redis_cache import CellCache, FlushOutcome
from connectors.redis_reader import CellReader
from tests.connectors.redis_cells import (
    NOW_MS,
    START_MS,
    VIEWERS,
    VIEWS,
    WATCHED,
    Cells,
    assert_totals_are_sums,
    open_cache,
    source,
    status,
    viewers,
    watched,
)  # fmt: skip
from topologies.errors import StoreError
from topologies.flushes import CellBatch
from topologies.settings import Settings
from topologies.view import HOUR

SOURCES = (source(0), source(1))


@pytest.fixture(scope="module")
def server(bare_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A Redis of this module's own, whose settings may be changed."""
    with LocalCluster(tmp_path_factory.mktemp("lossy"), bare_settings, services=("redis",), preferred={"redis": 0}) as running:
        yield running


@pytest.fixture
def settings(server: LocalCluster) -> Settings:
    prefix = f"mq-[{uuid.uuid4().hex[:8]}]*:"  # a pattern's signs are no pattern in a prefix
    return dataclasses.replace(server.settings, redis=dataclasses.replace(server.settings.redis, prefix=prefix))


@pytest.fixture
def client(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis.url) as opened:
        yield opened
        opened.config_set("maxmemory", 0)
        opened.config_set("maxmemory-policy", "noeviction")
        opened.flushall()


@pytest.fixture
def reader(settings: Settings) -> Iterator[CellReader]:
    opened = CellReader(settings.redis, VIEWS)
    yield opened
    opened.close()


@pytest.fixture
async def cache(settings: Settings, client: redis.Redis) -> AsyncIterator[CellCache]:  # noqa: ARG001  # is reset behind us
    async with open_cache(settings) as opened:
        yield opened


def named_keys(settings: Settings) -> dict[str, str]:
    """A key of each kind that the first source's hour stands in."""
    keys = RedisKeys(settings.redis.prefix)
    stem = keys.stem(WATCHED, "hour", START_MS, 0)
    return {
        "s": keys.cells(stem, str(source(0))), "t": keys.totals(stem), "b": str(keys.board(stem, WATCHED)),
        "register": keys.register(str(source(0))), "status": keys.status(str(source(0))),
    }  # fmt: skip


WATCHED_CELLS: Cells = {("t", "eu"): (1, 2, 3), ("u", "eu"): (4, 5, 6)}


def cells(viewers_of_a: int) -> list[CellBatch]:
    return [viewers({("a",): (viewers_of_a,)}), viewers({(): (viewers_of_a,)}, 1), watched(WATCHED_CELLS)]


async def flush(cache: CellCache, partition: int, offset: int, batches: Sequence[CellBatch], last: int | None) -> FlushOutcome:
    return await cache.flush(status(partition, offset), batches, last_applied=last, worker="w", at_ms=NOW_MS)


async def write_both(cache: CellCache, offset: int, last: int | None = None) -> None:
    for partition in (0, 1):
        assert await flush(cache, partition, offset, cells(partition + 1), last) is FlushOutcome.WRITTEN


async def write_again(cache: CellCache, offset: int, last: int) -> None:
    """What owners do: they find that their last flush is gone, and write all of their cells."""
    for partition in (0, 1):
        assert await flush(cache, partition, offset, (), last) is FlushOutcome.MISMATCH
        assert await cache.reset(source(partition), offset) is FlushOutcome.WRITTEN
        assert await flush(cache, partition, offset, cells(partition + 1), None) is FlushOutcome.WRITTEN


def assert_whole(reader: CellReader) -> None:
    assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (3,)}
    assert reader.totals(WATCHED, "hour", START_MS, 0) == {("t", "eu"): (2, 4, 6), ("u", "eu"): (8, 10, 12)}
    assert_totals_are_sums(reader, 2)


async def test_a_server_that_keeps_everything_is_left_alone(cache: CellCache, reader: CellReader) -> None:
    await write_both(cache, 10)
    assert await cache.inspect(SOURCES) == []
    nobody = [viewers({("a",): (0,)}), viewers({(): (0,)}, 1)]  # whose s-keys go with it
    assert await flush(cache, 0, 11, nobody, 10) is FlushOutcome.WRITTEN
    assert await cache.inspect(SOURCES) == []
    assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (2,)}


async def test_a_window_that_expired_is_not_lost_for_a_worker_whose_clock_is_behind(cache: CellCache, reader: CellReader) -> None:
    hour = 1_700_000_000_000 - 1_700_000_000_000 % HOUR.length_ms  # 2023; the server does not keep what expires in the past
    batches = [*cells(1), watched(WATCHED_CELLS, hour)]
    assert await cache.flush(status(0, 10), batches, last_applied=None, worker="w", at_ms=hour) is FlushOutcome.WRITTEN
    assert reader.windows(WATCHED, "hour") == [START_MS]
    assert await cache.inspect(SOURCES) == []
    assert await flush(cache, 0, 11, (), 10) is FlushOutcome.WRITTEN


async def test_the_set_of_sources_deleted_with_a_window_s_totals_is_missed_by_whoever_writes_first(
    cache: CellCache, reader: CellReader, client: redis.Redis, settings: Settings
) -> None:
    await write_both(cache, 10)
    assert client.delete(RedisKeys(settings.redis.prefix).sources, named_keys(settings)["t"]) == 2
    newcomer = [watched({("t", "eu"): (7, 8, 9)})]
    assert await flush(cache, 2, 5, newcomer, None) is FlushOutcome.MISMATCH
    await write_again(cache, 11, 10)
    assert_whole(reader)
    assert client.delete(RedisKeys(settings.redis.prefix).sources, named_keys(settings)["t"]) == 2
    assert await flush(cache, 1, 12, (), 11) is FlushOutcome.MISMATCH
    await write_again(cache, 13, 12)
    assert_whole(reader)


@pytest.mark.parametrize("kind", ["s", "t", "b", "register", "status"])
async def test_a_key_deleted_by_hand_is_missed_and_everything_is_written_again(
    cache: CellCache, reader: CellReader, client: redis.Redis, settings: Settings, kind: str
) -> None:
    named = named_keys(settings)
    await write_both(cache, 10)
    assert client.delete(named[kind]) == 1
    told = await cache.inspect(SOURCES)
    if kind == "status":  # its owner's next flush finds that by itself, and what else stands there is whole
        assert told == []
        assert await flush(cache, 0, 11, (), 10) is FlushOutcome.MISMATCH
        assert await cache.reset(source(0), 11) is FlushOutcome.WRITTEN
        assert await flush(cache, 0, 11, cells(1), None) is FlushOutcome.WRITTEN
    else:
        [sentence] = told
        assert f"has lost {named[kind]!r} before its time" in sentence
        assert client.keys("mq-*") == [RedisKeys(settings.redis.prefix).server.encode()]
        await write_again(cache, 11, 10)
    assert_whole(reader)


@pytest.mark.parametrize("kind", ["s", "t", "b", "register", "status"])
async def test_a_key_deleted_by_hand_is_missed_by_the_next_flush_before_it_makes_it_anew(
    cache: CellCache, reader: CellReader, client: redis.Redis, settings: Settings, kind: str
) -> None:
    await write_both(cache, 10)
    assert client.delete(named_keys(settings)[kind]) == 1
    changed = [watched({("t", "eu"): (7, 8, 9)})]
    assert await flush(cache, 0, 11, changed, 10) is FlushOutcome.MISMATCH
    for offset in (12, 13):  # whoever has been written again may be taken away once more by the other, then both are whole
        await settle(cache, offset)
    assert_whole(reader)


@pytest.mark.parametrize("seed", range(20))
async def test_whichever_keys_are_deleted_under_load_all_is_right_again_after_a_few_flushes(
    cache: CellCache, reader: CellReader, client: redis.Redis, settings: Settings, seed: int
) -> None:
    chance = random.Random(seed)
    await write_both(cache, 10)
    for offset in range(11, 15):
        keys = sorted(client.scan_iter(f"{settings.redis.prefix.replace('[', chr(92) + '[').replace('*', chr(92) + '*')}*"))
        gone = [key for key in keys if chance.random() < 1 / 3]
        if gone:
            client.delete(*gone)
        for partition in chance.sample((0, 1), 2):
            some = chance.sample(cells(partition + 1), chance.randint(0, 3))
            await written(cache, partition, offset, some)
    for offset in (15, 16):
        await cache.inspect(SOURCES)
        await settle(cache, offset)
    assert_whole(reader)


async def written(cache: CellCache, partition: int, offset: int, some: Sequence[CellBatch]) -> None:
    """What an owner does in one flush: some of its cells, or all of them when it finds that something is gone."""
    if await flush(cache, partition, offset, some, offset - 1) is not FlushOutcome.WRITTEN:
        while await cache.reset(source(partition), offset) is not FlushOutcome.WRITTEN:
            pass
        while await flush(cache, partition, offset, cells(partition + 1), None) is not FlushOutcome.WRITTEN:
            assert await cache.reset(source(partition), offset) is FlushOutcome.WRITTEN


async def settle(cache: CellCache, offset: int) -> None:
    for partition in (0, 1):
        await written(cache, partition, offset, ())


async def test_an_emptied_server_is_filled_again(cache: CellCache, reader: CellReader, client: redis.Redis) -> None:
    await write_both(cache, 10)
    client.flushall()
    await write_again(cache, 11, 10)
    assert_whole(reader)


async def test_shelves_that_are_emptied_alone_are_missed_and_everything_is_written_again(
    cache: CellCache, reader: CellReader, settings: Settings
) -> None:
    """Their owners have bookmarks that Cassandra lacks still, and are told in the one way in which every loss is told."""
    await write_both(cache, 10)
    assert await cache.inspect(SOURCES) == []
    with redis.Redis.from_url(at_shelves(settings.redis).url) as shelves:
        shelves.flushdb()
    [sentence] = await cache.inspect(SOURCES)
    assert "has lost all shelves" in sentence
    await write_again(cache, 11, 10)
    assert await cache.inspect(SOURCES) == []
    assert_whole(reader)


async def test_an_eviction_policy_set_under_a_worker_stops_its_flushes_until_it_is_taken_back(
    cache: CellCache, reader: CellReader, client: redis.Redis
) -> None:
    await write_both(cache, 10)
    client.config_set("maxmemory-policy", "allkeys-lru")
    [sentence] = await cache.inspect(SOURCES)
    assert "evicts keys (allkeys-lru)" in sentence
    assert reader.statuses() == {}  # so that readers go to Cassandra
    with pytest.raises(StoreError, match="set its maxmemory-policy to noeviction"):
        await flush(cache, 0, 11, (), 10)
    client.config_set("maxmemory-policy", "noeviction")
    assert await cache.inspect(SOURCES) == []
    await write_again(cache, 11, 10)
    assert_whole(reader)


async def test_evictions_between_two_looks_are_noticed_though_the_policy_is_right_again(
    cache: CellCache, reader: CellReader, client: redis.Redis, settings: Settings
) -> None:
    await write_both(cache, 10)
    assert await cache.inspect(SOURCES) == []
    client.set("evict:me", "x" * 1_000_000)
    client.config_set("maxmemory-policy", "allkeys-random")
    client.config_set("maxmemory", client.info("memory")["used_memory"] - 500_000)
    client.set("one", "more")
    client.config_set("maxmemory", 0)
    client.config_set("maxmemory-policy", "noeviction")
    [sentence, *_] = await cache.inspect(SOURCES)
    assert "has evicted keys" in sentence
    assert await cache.inspect(SOURCES) == []
    await write_again(cache, 11, 10)
    assert_whole(reader)
    # the mark of that outlives whatever takes our keys away later, so that nobody takes it for evictions once more
    client.delete(named_keys(settings)["t"])
    [sentence] = await cache.inspect(SOURCES)
    assert "has lost" in sentence
    await write_again(cache, 12, 11)
    assert await cache.inspect(SOURCES) == []
    assert_whole(reader)


async def test_a_server_without_memory_takes_nothing_half_and_goes_on_when_it_has_some(
    cache: CellCache, reader: CellReader, client: redis.Redis
) -> None:
    await write_both(cache, 10)
    client.config_set("maxmemory", 1)
    with pytest.raises(StoreError, match="is out of memory; raise its maxmemory"):
        await flush(cache, 0, 11, cells(7), 10)
    assert await cache.inspect(SOURCES) == []
    assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (3,)}
    client.config_set("maxmemory", 0)
    assert_whole(reader)
    assert await flush(cache, 0, 11, cells(7), 10) is FlushOutcome.WRITTEN
    assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (9,)}
    assert_totals_are_sums(reader, 2)


async def test_a_promoted_replica_that_lacks_the_last_second_is_brought_up_to_date(
    cache: CellCache, server: LocalCluster, bare_settings: Settings, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with LocalCluster(tmp_path_factory.mktemp("replica"), bare_settings, services=("redis",), preferred={"redis": 0}) as second:
        place = dataclasses.replace(second.settings.redis, prefix=settings.redis.prefix)
        with redis.Redis.from_url(place.url) as replica:
            replica.replicaof("127.0.0.1", server.server("redis").ports["redis"])
            await write_both(cache, 10)
            wanted = f"{settings.redis.prefix}src:{source(1)}"
            assert wait_until(lambda: replica.hget(wanted, "applied") == b"10", 120)
            replica.replicaof("NO", "ONE")
        await write_both(cache, 11, 10)  # which the replica never gets
        reader = CellReader(place, VIEWS)
        async with open_cache(dataclasses.replace(settings, redis=place)) as promoted:
            await write_again(promoted, 12, 11)
        assert {found.status.offset for found in reader.statuses().values() if found.status} == {12}
        assert_whole(reader)
        reader.close()


async def test_what_a_source_whose_topic_is_no_more_counted_stays_and_its_viewers_go(
    cache: CellCache, reader: CellReader, client: redis.Redis
) -> None:
    await write_both(cache, 10)
    for _ in range(2):
        await cache.conclude(source(0), NOW_MS)
        assert await cache.sources() == [(source(0), True), (source(1), False)]
        assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (2,)}
        assert reader.totals(WATCHED, "hour", START_MS, 0) == {("t", "eu"): (2, 4, 6), ("u", "eu"): (8, 10, 12)}
        assert_totals_are_sums(reader, 2)
    assert reader.statuses()[str(source(0))].ended
    # an owner that does not know it yet changes nothing
    assert await flush(cache, 0, 99, cells(5), 10) is FlushOutcome.REFUSED
    assert await cache.reset(source(0), 99) is FlushOutcome.REFUSED
    assert await cache.inspect(SOURCES) == []
    client.hset(f"{RedisKeys(cache._settings.prefix).status(str(source(1)))}", "seen", 11)  # its worker died within a flush
    await cache.conclude(source(1), NOW_MS)
    assert reader.totals(WATCHED, "hour", START_MS, 0) == {("t", "eu"): (1, 2, 3), ("u", "eu"): (4, 5, 6)}
    assert str(source(1)) not in reader.statuses()
