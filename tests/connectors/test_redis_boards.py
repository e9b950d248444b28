"""A leaderboard of many keys holds the greatest totals only, and is right whatever they do."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import redis

from connectors import redis_cache
from connectors.redis import BOARD_FEWEST, LIBRARY, RedisKeys
from connectors.redis_cache import CellCache, FlushOutcome
from connectors.redis_reader import CellReader
from tests.connectors.redis_cells import NOW_MS, START_MS, VIEWS, assert_totals_are_sums, open_cache, source, status, viewers, watched
from topologies.settings import Settings
from topologies.view import LIVE

KEYS = [f"t{number:04d}" for number in range(5_000)]
Log = dict[str, int]


async def written(cache: CellCache, partition: int, offset: int, values: Log, last: int | None) -> None:
    batch = viewers({(key,): (value,) for key, value in values.items()})
    assert await cache.flush(status(partition, offset), [batch], last_applied=last, worker="w", at_ms=NOW_MS) is FlushOutcome.WRITTEN


def assert_ranked(reader: CellReader, logs: list[Log]) -> int:
    """Whatever k is asked for, the best k are the best of all totals. → how many the leaderboard has."""
    assert_totals_are_sums(reader, len(logs))
    totals = Counter[str]()
    for log in logs:
        totals.update(log)
    best = sorted(((key, total) for key, total in totals.items() if total), key=lambda cell: (-cell[1], cell[0]))
    for k in (1, 10, 700, len(KEYS)):
        assert reader.top(VIEWS[1], LIVE.name, 0, 0, k) == [((key,), total) for key, total in best[:k]]
    [look] = reader.snapshot([source(partition) for partition in range(len(logs))])
    assert look.board is not None
    return len(look.board)


@pytest.mark.parametrize("most", [3, 1_000_000])
async def test_the_best_are_found_while_totals_rise_and_fall(settings: Settings, most: int) -> None:
    chance, logs, reader = random.Random(most), [Log(), Log()], CellReader(settings.redis, VIEWS)
    lasts: list[int | None] = [None, None]
    async with open_cache(settings) as cache:
        for offset, (changed, top) in enumerate(
            [(5_000, most), (2_500, most), (400, most), (4_000, most // 2), (5_000, 2), (4_900, 0), (300, most)], 1
        ):
            for partition, log in enumerate(logs):
                log |= {key: chance.randint(0, top) for key in chance.sample(KEYS, changed)}
                await written(cache, partition, offset, log, lasts[partition])
                lasts[partition] = offset
                held = assert_ranked(reader, logs[: partition + 1] if offset == 1 else logs)
                assert most == 3 or held <= 2_000
    reader.close()


async def test_a_leaderboard_is_filled_anew_when_the_best_leave(settings: Settings) -> None:
    reader, log = CellReader(settings.redis, VIEWS), {key: rank for rank, key in enumerate(KEYS, 1)}
    async with open_cache(settings) as cache:
        await written(cache, 0, 1, log, None)
        assert assert_ranked(reader, [log]) <= 2_000
        for offset in range(2, 10):
            for key in KEYS[-500 * (offset - 1) :]:
                log[key] = 0
            await written(cache, 0, offset, log, offset - 1)
            assert assert_ranked(reader, [log]) >= 500
    reader.close()


async def test_a_leaderboard_that_is_filled_anew_expires_with_its_window(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_cache, "CELLS_A_CALL", 4_000)  # so that one call takes all that is ranked
    client, reader = redis.Redis.from_url(settings.redis.url), CellReader(settings.redis, VIEWS)
    keys = RedisKeys(settings.redis.prefix)
    stem = keys.stem(VIEWS[0], "hour", START_MS, 0)
    async with open_cache(settings) as cache:
        for partition, (some, value) in enumerate([(KEYS[:1_000], 9), (KEYS[1_000:], 1)]):
            batch = watched({(key, "eu"): (1, value, 1) for key in some})
            now = status(partition, 1)
            assert await cache.flush(now, [batch], last_applied=None, worker="w", at_ms=NOW_MS) is FlushOutcome.WRITTEN
        assert client.zcard(str(keys.board(stem, VIEWS[0]))) == 1_000
        assert await cache.reset(source(0), 2) is FlushOutcome.WRITTEN
    assert client.expiretime(str(keys.board(stem, VIEWS[0]))) == client.expiretime(keys.totals(stem)) > 0
    client.close()
    reader.close()


def test_readers_know_how_few_a_leaderboard_may_have() -> None:
    assert f"local FEWEST, KEPT, MOST = {BOARD_FEWEST}," in LIBRARY


async def test_a_source_that_is_taken_away_leaves_the_best_of_the_others(settings: Settings) -> None:
    chance, reader = random.Random(1), CellReader(settings.redis, VIEWS)
    logs = [{key: chance.randint(1, 10_000) for key in KEYS} for _ in range(2)]
    async with open_cache(settings) as cache:
        for partition, log in enumerate(logs):
            await written(cache, partition, 1, log, None)
        assert await cache.reset(source(0), 2) is FlushOutcome.WRITTEN
        assert_ranked(reader, [Log(), logs[1]])
    reader.close()
