"""Sums and best keys over the Redis of two regions: those of all their cells together, whatever is where."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import redis

from connectors.redis_reader import CellReader
from serving.cells import Sums
from serving.histories import History
from serving.known import Known, known_of
from serving.reading import NEVER, Reading, cached_from, region_cached_from
from serving.regions import Links, RegionalCells, RegionAway
from serving.standing import by_region
from tests.connectors.redis_cells import VIEWERS, VIEWS, open_cache, status, viewers
from topologies.errors import ServerAway
from topologies.settings import RegionsSettings, Settings
from topologies.sources import Source, SourceStatus
from topologies.view import HOUR, LIVE

TITLES = 300


@pytest.fixture
def regions(settings: Settings) -> Iterator[Settings]:
    """Two regions, whose cells stand in one server under two prefixes: each is given the other's by its database."""
    third = settings.redis.url.rpartition("/")[0] + "/2"
    named = RegionsSettings(redis=(f"local={settings.redis.url}", f"us={third}"), kafka=("local=a:1", "us=b:1"), timeout_s=5.0)
    own = replace(settings, regions=named)
    yield own
    with redis.Redis.from_url(third) as client:
        client.flushdb()


@contextmanager
def opened(settings: Settings) -> Iterator[RegionalCells]:
    own = CellReader(settings.redis, VIEWS)
    with Links(settings) as links, RegionalCells(settings, VIEWS, links, own) as cells:
        yield cells
    own.close()


async def filled(settings: Settings, seed: int) -> dict[tuple[str, ...], int]:
    """Both regions with viewers of their own, many of titles that are in both; the sums."""
    drawn, sums = random.Random(seed), dict[tuple[str, ...], int]()
    for number, url in enumerate((settings.redis.url, settings.regions.redis[1].partition("=")[2])):
        cells: dict[tuple[str, ...], tuple[int, ...]] = {}
        for title in range(TITLES):
            if drawn.random() < 0.6:
                cells[f"t{title}",] = (drawn.choice((1, 2, 3, 50 - title % 50)),)
        async with open_cache(replace(settings, redis=replace(settings.redis, url=url, shelves_db=5))) as cache:
            await cache.flush(status(number, 10), [viewers(cells)], last_applied=None, worker="w", at_ms=1)
        for key, values in cells.items():
            sums[key] = sums.get(key, 0) + values[0]
    return sums


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_best_of_two_regions_are_the_best_of_their_sums(regions: Settings, seed: int) -> None:
    sums = await filled(regions, seed)
    wanted = sorted(sums, key=lambda key: (-sums[key], key))
    with opened(regions) as cells:
        everybody = cells.totals(("local", "us"), VIEWERS, LIVE.name, 0, 0, None)
        assert {key: values[0] for key, values in everybody.items()} == sums
        for count in (1, 5, 40, TITLES + 1):
            assert cells.best(("local", "us"), VIEWERS, LIVE.name, 0, 0, count) == wanted[:count]
        some = wanted[:3]
        assert {key: values[0] for key, values in cells.totals(("us", "local"), VIEWERS, LIVE.name, 0, 0, some).items()} == {
            key: sums[key] for key in some
        }


async def test_a_region_that_is_not_there_is_said_and_then_not_asked_again(regions: Settings) -> None:
    """Nobody listens at its address."""
    nowhere = replace(regions, regions=replace(regions.regions, redis=(regions.regions.redis[0], "us=redis://127.0.0.1:1/0"), retry_s=60.0))
    with opened(nowhere) as cells:
        found = cells.statuses()
        assert isinstance(found["us"], ServerAway)
        assert found["local"] == {}
        with pytest.raises(RegionAway, match=r"127\.0\.0\.1:1"):
            cells.totals(("local", "us"), VIEWERS, LIVE.name, 0, 0, None)
        assert cells.totals(("local",), VIEWERS, LIVE.name, 0, 0, None) == {}


def of(region: str, offset: int, clock_ms: int = 5_000_000) -> SourceStatus:
    return SourceStatus(Source(region, "viewing-events", "AAAAAAAAAAAAAAAAAAAA-_", 0), offset, clock_ms, clock_ms - 60_000, 1, 1, 0, 0, 0)


def known(here: SourceStatus | None, there: SourceStatus | ServerAway, stored: tuple[SourceStatus, ...], away: str = "") -> Known:
    from connectors.redis_reader import CachedStatus

    def said(one: SourceStatus | ServerAway | None) -> dict[str, CachedStatus] | ServerAway:
        if isinstance(one, ServerAway):
            return one
        return {str(one.source): CachedStatus(one.source, one, one.offset, "w", 1)} if one is not None else {}

    history = History({str(one.source): one for one in stored})
    return known_of({"eu": said(here), "us": said(there)}, history, ("viewing-events",), away)


def read_of(**how: object) -> Reading[object]:
    return replace(Reading[object](Sums, (0,), ()), **how)  # type: ignore[arg-type]


def test_each_region_is_read_from_its_own_redis_as_long_as_that_has_all() -> None:
    whole = known(of("eu", 9), of("us", 9), (of("eu", 9), of("us", 9)))
    assert cached_from(LIVE, whole, 1) == 0
    behind = known(of("eu", 9), of("us", 8), (of("eu", 9), of("us", 9)))
    assert region_cached_from(LIVE, behind.regions["us"], behind, 1) == NEVER
    assert region_cached_from(LIVE, behind.regions["eu"], behind, 1) == 0
    assert cached_from(LIVE, behind, 1) == 0
    assert cached_from(LIVE, known(None, ServerAway("gone"), (of("eu", 9), of("us", 9))), 1) == NEVER


def test_a_window_that_is_final_in_one_region_is_read_from_cassandra_in_all() -> None:
    late, early = of("eu", 9, 5 * HOUR.length_ms), of("us", 9, 2 * HOUR.length_ms)
    both = known(late, early, (late, early))
    assert cached_from(HOUR, both, 5 * HOUR.length_ms) == cached_from(HOUR, known(late, late, (late,)), 5 * HOUR.length_ms)


def test_all_regions_there_are_heard_each_as_of_its_own_clock() -> None:
    both = known(of("eu", 9, 5_000), of("us", 9, 4_000), (of("eu", 9, 5_000),))
    standing = by_region(both, [read_of()], LIVE, 6_000)
    assert (standing.heard, standing.known, standing.as_of_ms, standing.complete) == (2, 2, 4_000, 1.0)
    assert {name: (share.standing.as_of_ms, share.read, share.why) for name, share in standing.regions.items()} == {
        "eu": (5_000, "redis", ""),
        "us": (4_000, "redis", ""),
    }
    assert standing.document()["regions"]["us"]["lag_s"] == 2.0


def test_a_lost_region_is_in_the_answer_as_of_its_end_and_not_heard() -> None:
    gone = known(of("eu", 9, 9_000), ServerAway("us does not answer"), (of("eu", 8, 8_000), of("us", 5, 4_000)))
    standing = by_region(gone, [read_of(apart=frozenset({"us"}), near=True)], LIVE, 10_000)
    assert (standing.heard, standing.known, standing.complete) == (1, 2, 0.5)
    us = standing.regions["us"]
    assert (us.standing.as_of_ms, us.read, us.standing.heard) == (4_000, "cassandra", 0)
    assert us.why == "us does not answer; what it stored last may be missing"
    assert standing.regions["eu"].why == ""
    assert standing.as_of_ms == 4_000


def test_one_whose_redis_alone_is_gone_is_answered_for_by_cassandra_and_heard() -> None:
    gone = known(of("eu", 9, 9_000), ServerAway("us does not answer"), (of("eu", 8, 8_000), of("us", 5, 4_000)))
    standing = by_region(gone, [read_of(apart=frozenset({"us"}))], LIVE, 10_000)
    assert standing.complete == 1.0
    assert standing.regions["us"].why == "us does not answer"


def test_without_cassandra_a_lost_region_is_left_out_and_said() -> None:
    gone = known(of("eu", 9, 9_000), ServerAway("us does not answer"), (), away="Cassandra is away")
    standing = by_region(gone, [read_of(apart=frozenset({"us"}), near=True)], LIVE, 10_000)
    assert standing.regions["us"].standing.as_of_ms == -1
    assert "us does not answer" in standing.regions["us"].why
