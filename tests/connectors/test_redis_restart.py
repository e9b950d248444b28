"""A Redis that was restarted, with or without what it held, is noticed and filled again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cluster.local import LocalCluster
from connectors.redis_cache import CellCache, FlushOutcome
from connectors.redis_reader import CellReader
from tests.connectors.redis_cells import NOW_MS, VIEWERS, VIEWS, open_cache, source, status, viewers
from topologies.errors import ServerAway
from topologies.settings import Settings


@pytest.fixture
def lone(bare_settings: Settings, tmp_path: Path) -> Iterator[LocalCluster]:
    """A Redis of this test's own, so that it can be killed."""
    with LocalCluster(tmp_path / "lone", bare_settings, services=("redis",), preferred={"redis": 0}) as running:
        yield running


async def flush(cache: CellCache, offset: int, viewers_of_a: int, last: int | None) -> FlushOutcome:
    batch = viewers({("a",): (viewers_of_a,)})
    return await cache.flush(status(0, offset), [batch], last_applied=last, worker="w", at_ms=NOW_MS)


@pytest.mark.parametrize("kept", [False, True], ids=["emptied", "with its data"])
async def test_a_restarted_server_is_noticed_and_filled_again(lone: LocalCluster, kept: bool) -> None:
    reader = CellReader(lone.settings.redis, VIEWS)
    async with open_cache(lone.settings) as cache:
        assert await flush(cache, 10, 1, None) is FlushOutcome.WRITTEN
        if kept:
            client = redis.Redis.from_url(lone.settings.redis.url)
            client.save()
            client.close()
        lone.kill("redis")
        with pytest.raises(ServerAway, match=r"does not answer .*; start it, or set redis\.url"):
            await flush(cache, 11, 2, 10)
        lone.restart("redis")
        assert await flush(cache, 12, 3, 10) is FlushOutcome.MISMATCH
        assert await cache.reset(source(0), 12) is FlushOutcome.WRITTEN
        assert await flush(cache, 12, 3, None) is FlushOutcome.WRITTEN
        assert await flush(cache, 13, 4, 12) is FlushOutcome.WRITTEN
    assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (4,)}
    reader.close()
