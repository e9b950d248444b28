"""What Redis has of views that were declared otherwise is in nobody's way, and is exact again when they are declared as they were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
import redis

from connectors.redis import RedisKeys
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
    source,
    status,
    viewers,
    watched,
)
from topologies.flushes import CellBatch
from topologies.settings import Settings
from topologies.view import HOUR, View

FOREIGN: Final = 2**53 - 1
"""What the owner of a source that is recounted asks Redis for (streams.partition)."""
SOURCES: Final = (source(0), source(1))
UNCACHED: Final = replace(WATCHED, windows=(replace(HOUR, cached=False),))
UNRANKED: Final = replace(WATCHED, leaderboard=None)
BY_PLAYS: Final = replace(WATCHED, leaderboard="plays")


@pytest.fixture
def client(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis.url) as opened:
        yield opened


def batches(views: Sequence[View], scale: int, titles: int) -> list[CellBatch]:
    """Of each of these views that is in Redis, a cell a title; they are greater the greater `scale` is."""
    hours: Cells = {(f"t{number}", "eu"): (number, scale * number, 0) for number in range(1, titles + 1)}
    made = [watched(hours), viewers({(f"t{number}",): (scale * number,) for number in range(1, titles + 1)})]
    return [replace(batch, view=view) for batch in made for view in views if view.name == batch.view.name and view.windows[0].cached]


async def counted_anew(settings: Settings, views: Sequence[View], offset: int, scale: int, titles: int = 3) -> None:
    """Workers of these views begin, whose checkpoints are refused: both sources are recounted."""
    cache = CellCache(settings.redis, views)
    try:
        await cache.connect()
        for partition in range(2):
            await _written(cache, partition, offset, batches(views, scale, titles), FOREIGN)
        for partition in range(2):  # the first may have been taken away again with what the second found
            await _written(cache, partition, offset + 1, batches(views, scale, titles), offset)
        assert await cache.inspect(SOURCES) == []
    finally:
        await cache.close()


async def _written(cache: CellCache, partition: int, offset: int, cells: Sequence[CellBatch], last: int | None) -> None:
    """As streams.flush does it."""
    for _ in range(4):
        outcome = await cache.flush(status(partition, offset), cells, last_applied=last, worker="w", at_ms=NOW_MS)
        if outcome is FlushOutcome.WRITTEN:
            return
        assert outcome is FlushOutcome.MISMATCH
        await cache.reset(source(partition), offset)
        last = None
    raise AssertionError("it is never written")


def assert_exact(settings: Settings, views: Sequence[View], scale: int) -> None:
    reader = CellReader(settings.redis, views)
    assert_totals_are_sums(reader, 2)
    ranked = [(("t3", "eu"), 6 * scale), (("t2", "eu"), 4 * scale), (("t1", "eu"), 2 * scale)]
    assert reader.top(WATCHED, "hour", START_MS, 0, 5) == ranked
    reader.close()


@pytest.mark.parametrize("others", [(VIEWERS,), (UNCACHED, VIEWERS)])
async def test_what_is_left_of_a_view_stops_nobody_and_goes(settings: Settings, client: redis.Redis, others: tuple[View, ...]) -> None:
    await counted_anew(settings, VIEWS, 1, 100, titles=5)
    left = set(client.keys(f"{RedisKeys(settings.redis.prefix).stem(WATCHED, 'hour', START_MS, 0)}[st]*"))
    assert len(left) == 3
    cache = CellCache(settings.redis, others)
    assert await cache.inspect(SOURCES) == []  # before it is written, too
    await cache.close()
    await counted_anew(settings, others, 3, 90)
    assert client.exists(*left) == 0
    await counted_anew(settings, VIEWS, 5, 1)
    assert_exact(settings, VIEWS, 1)


@pytest.mark.parametrize("other", [UNRANKED, BY_PLAYS])
async def test_a_leaderboard_that_was_declared_away_is_right_when_it_is_declared_again(settings: Settings, other: View) -> None:
    await counted_anew(settings, VIEWS, 1, 100, titles=5)
    await counted_anew(settings, (other, VIEWERS), 3, 1, titles=2)
    await counted_anew(settings, VIEWS, 5, 2)
    assert_exact(settings, VIEWS, 2)


async def test_a_reset_asks_once_for_each_window_though_other_leaderboards_go_with_it(
    settings: Settings, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await counted_anew(settings, VIEWS, 1, 100)
    stem = RedisKeys(settings.redis.prefix).stem(WATCHED, "hour", START_MS, 0)
    client.zadd(f"{stem}b:plays", {"left": 1})
    cache, asked = CellCache(settings.redis, VIEWS), list[str]()
    execute = cache._client.execute_command

    async def counted(command: str, name: str, *arguments: Any) -> Any:
        asked.append(f"{command} {name}")
        return await execute(command, name, *arguments)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(cache._client, "execute_command", counted)
    assert await cache.reset(source(0), 9) is FlushOutcome.WRITTEN
    await cache.close()
    assert asked == ["FCALL mq_reset", "FCALL mq_take", "FCALL mq_take"]
    assert not client.exists(f"{stem}b:plays")


async def test_nothing_is_said_of_a_view_that_is_not_asked_for(settings: Settings) -> None:
    await counted_anew(settings, VIEWS, 1, 100)
    reader = CellReader(settings.redis, (VIEWERS,))
    assert {look.view for look in reader.snapshot(SOURCES)} == {VIEWERS.name}
    reader.close()
