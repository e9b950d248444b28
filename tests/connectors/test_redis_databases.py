"""Which databases of a Redis cells and shelves stand in: a neighbour's shelves are left alone, and a database that is refused is told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import pytest
import redis
from click.testing import CliRunner

from cluster.local import LocalCluster
from connectors.redis import RedisKeys
from connectors.redis_cache import CellCache, FlushOutcome
from connectors.shelves import CachedShelf, ShelfReader
from marquee.cli import cli
from tests.connectors.redis_cells import NOW_MS, VIEWERS, VIEWS, open_cache, source, status, viewers
from tests.serving.test_shelves import batch_of
from topologies.errors import StoreError
from topologies.marks import Mark
from topologies.settings import RedisSettings, Settings

REFUSED = r"does not give profiles' shelves that database .*: set redis\.shelves_db to"


@pytest.fixture(scope="module")
def server(bare_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A Redis alone, of sixteen databases."""
    with LocalCluster(tmp_path_factory.mktemp("databases"), bare_settings, services=("redis",), preferred={"redis": 0}) as running:
        yield running


@pytest.fixture
def settings(server: LocalCluster) -> Iterator[Settings]:
    yield server.settings
    with redis.Redis.from_url(server.settings.redis.url) as client:
        client.flushall()


@pytest.fixture
def last(settings: Settings) -> RedisSettings:
    """Cells in the last database, so that there is none after it."""
    return dataclasses.replace(settings.redis, url=f"{settings.redis.url.rpartition('/')[0]}/15")


async def test_a_neighbours_shelves_that_stand_among_the_cells_are_left_alone(settings: Settings) -> None:
    """Of a Marquee on the database before this one, of the same prefix."""
    keys = RedisKeys(settings.redis.prefix)
    stem = keys.stem(VIEWERS, "live", 0, 0)
    with redis.Redis.from_url(settings.redis.url) as client:
        client.set(keys.shelved, 1)
        client.hset(keys.shelf("a:1", "p"), "title", "bookmark")
        async with open_cache(settings) as cache:
            written = [viewers({("a",): (1,)})]
            assert await cache.flush(status(0, 10), written, last_applied=None, worker="w", at_ms=NOW_MS) is FlushOutcome.WRITTEN
            client.delete(keys.totals(stem))
            [sentence] = await cache.inspect([source(0)])
        assert "has lost" in sentence
        assert set(client.keys()) == {key.encode() for key in (keys.server, keys.shelved, keys.shelf("a:1", "p"))}


async def test_a_database_that_the_server_refuses_shelves_is_told_with_the_setting_to_change(last: RedisSettings) -> None:
    cache = CellCache(last, VIEWS)
    for call in (cache.connect, lambda: cache.inspect([]), lambda: cache.write_marks(batch_of(("a", "p", "t", Mark(1, 2, False, 3, 4))))):
        with pytest.raises(StoreError, match=REFUSED):
            await call()
    await cache.close()
    reader = ShelfReader(last)
    for ask in (
        reader.require,
        lambda: reader.shelf("a", "p"),
        lambda: list(reader.every()),
        lambda: reader.renew("a", "p", {}, CachedShelf({}, whole=False)),
    ):
        with pytest.raises(StoreError, match=REFUSED):
            ask()
    reader.close()
    cache = CellCache(dataclasses.replace(last, shelves_db=3), VIEWS)
    await cache.connect()
    await cache.close()


def test_doctor_tells_whether_redis_has_a_database_for_shelves(settings: Settings, last: RedisSettings) -> None:
    for url, ok in ((settings.redis.url, True), (last.url, False)):
        told = CliRunner().invoke(cli, ["-s", f"redis.url={url}", "doctor", "--json"], env=settings.environment())
        document = json.loads(told.stdout)
        [check] = [check for check in document["checks"] if check["name"] == "redis.shelves_db"]
        assert (check["ok"], check["needed"]) == (ok, True)
        assert ok or "redis.shelves_db" in check["detail"]
        assert ok or not document["ok"]
