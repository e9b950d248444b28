"""Answers of views that are stored in parts, from the real stores: quantiles beside integers, and what is trending."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from serving.questions import Question
from tests.serving.test_answers import NOW, Cell, World, without_cassandra, without_redis, world_of
from topologies.bins import bin_of
from topologies.decay import decay
from topologies.errors import ServerAway
from topologies.quality import QUALITY
from topologies.settings import Settings
from topologies.trending import TRENDING
from topologies.view import DAY, MINUTE, RECENT_MINUTE

MINUTE_MS = 60_000
WEIGHTS = decay(6 * 3600)
SCORED = ("plays", "expected", "score")


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    with world_of(settings) as opened:
        yield opened


def quality(cdn: str, minute: int, stall_ms: int, watched_ms: int) -> Cell:
    return Cell(QUALITY, MINUTE, NOW + minute * MINUTE_MS, 0, (cdn, "eu", "tv", "a"), (1, 1, 0, 0, watched_ms, stall_ms, 1, 0))


def started(cdn: str, minute: int, startup_ms: int, count: int) -> Cell:
    part = QUALITY.part("startup")
    return Cell(part, part.window("minute"), NOW + minute * MINUTE_MS, 0, (cdn, "eu", "tv", "a", str(bin_of(startup_ms))), (count,))


def played(title: str, region: str, minute: int, plays: int) -> list[Cell]:
    """What a minute's plays leave in both groupings of minutes and days; those of a day are summed by `whole`."""
    start_ms = NOW + minute * MINUTE_MS
    values = (plays, plays * WEIGHTS[start_ms % DAY.length_ms // MINUTE_MS])
    return [
        Cell(TRENDING, window, window.start_of(start_ms), grouping, key, values)
        for window in (RECENT_MINUTE, DAY)
        for grouping, key in ((0, (title,)), (1, (region, title)))
    ]


def whole(*cells: list[Cell]) -> list[Cell]:
    """The cells of one source, those of one place added."""
    sums: dict[tuple[str, int, int, tuple[str, ...]], Cell] = {}
    for cell in (cell for more in cells for cell in more):
        place = (cell.window.name, cell.start_ms, cell.grouping, cell.key)
        before = sums.get(place, cell._replace(values=(0, 0)))
        sums[place] = cell._replace(values=(before.values[0] + cell.values[0], before.values[1] + cell.values[1]))
    return list(sums.values())


async def test_quantiles_and_rates_stand_beside_the_integers_of_all_sources(world: World) -> None:
    await world.store(world.status(0), [quality("x", 0, 10, 30), quality("y", 0, 0, 0), started("x", 0, 1_000, 99)])
    await world.store(world.status(1), [quality("x", -1, 10, 50), started("x", 0, 9_000, 1), started("y", -1, 50, 3)])
    answer = world.ask(Question("quality", {"cdn": None}, top=2))
    assert [row.key for row in answer.rows] == [("x",), ("y",)]
    first, second = (dict(zip(answer.measures, row.values, strict=True)) for row in answer.rows)
    assert (first["attempts"], first["rebuffer_pct"], first["startup_count"]) == (2, 20.0, 100)
    assert first["startup_p99"] == pytest.approx(1_000, rel=1 / 64)
    assert (second["rebuffer_pct"], second["startup_p50"]) == (None, 50.0)
    document = answer.document()
    assert (document["errors"], document["units"]["startup_p50"]) == ({"startup": 1 / 64}, "ms")
    assert document["cells"][1]["rebuffer_pct"] is None
    with pytest.raises(ServerAway, match="Cassandra"):
        world.ask(Question("quality"), without_cassandra(world.settings))
    assert answer.read == {"redis": 0, "final": 29, "cassandra": 31}  # in the two quarters before the last there never was anything


async def test_a_span_of_minutes_shows_each_with_its_quantiles(world: World) -> None:
    cells = [quality("x", -1, 0, 9), started("x", -1, 7, 1), quality("x", 0, 0, 9), started("x", 0, 8, 1)]
    await world.store(world.status(0), cells)
    answer = world.ask(Question("quality", {"cdn": "x"}, from_ms=NOW - MINUTE_MS, to_ms=NOW + MINUTE_MS))
    p50 = answer.measures.index("startup_p50")
    assert [(row.start_ms - NOW, row.values[p50]) for row in answer.rows] == [(-MINUTE_MS, 7.0), (0, 8.0)]


async def test_what_trends_is_of_all_sources_as_of_the_oldest_clock_from_either_store(world: World) -> None:
    before = world.ask(Question("trending"))
    assert (before.rows, before.standing.lag_s, before.span_ms) == ((), None, None)
    steady = [played("old", "eu", minute, 10) for minute in range(-20, -4)]
    await world.both(world.status(0), whole(*steady, played("old", "eu", -1, 20), played("new", "us", 0, 3)))
    await world.both(world.status(1, clock_ms=NOW + 90_000), whole(played("old", "us", 0, 20), played("old", "us", 1, 500)))
    answer = world.ask(Question("trending"))
    assert answer.measures == SCORED
    assert [(row.key, row.values[0], row.values[2]) for row in answer.rows] == [(("old",), 40, 4.0), (("new",), 3, 0.3)]
    expected = 160 * 0.693147 * 300 / 21_600
    assert answer.rows[0].values[1] == pytest.approx(expected, rel=0.05)
    assert (answer.standing.as_of_ms, answer.window, answer.final) == (NOW, "5m", False)
    assert answer.span_ms == (NOW - 4 * MINUTE_MS, NOW + MINUTE_MS)
    assert answer.read["cassandra"] == 0
    stored = world.ask(Question("trending"), without_redis(world.settings))
    assert (stored.rows, stored.read["redis"]) == (answer.rows, 0)
    assert any("does not answer" in note for note in stored.notes)


async def test_what_trends_in_a_region_is_ranked_there(world: World) -> None:
    cells = whole(played("a", "eu", 0, 30), played("b", "us", 0, 90), played("c", "eu", 0, 60))
    await world.both(world.status(0), cells)
    in_eu = world.ask(Question("trending", {"region": "eu"}))
    assert [(row.key, row.values) for row in in_eu.rows] == [(("eu", "c"), (60, 0.0, 6.0)), (("eu", "a"), (30, 0.0, 3.0))]
    assert [row.key for row in world.ask(Question("trending", top=1)).rows] == [("b",)]
    by_region = world.ask(Question("trending", {"region": None}))
    assert [(row.key, row.values[0]) for row in by_region.rows] == [(("eu",), 90), (("us",), 90)]
    day = world.ask(Question("trending", {"title": "b"}, window="day"))
    assert [(row.key, row.values) for row in day.rows] == [(("b",), (90,))]


async def test_integers_that_are_fresher_than_their_quantiles_are_as_of_the_quantiles(world: World) -> None:
    """A view of one's own may keep its integers in Redis: what is Cassandra's beside them is a flush older, and the answer says so."""
    measures = tuple(measure for measure in QUALITY.measures if not measure.times)
    rates = tuple(rate for rate in QUALITY.rates if "bits" not in rate.of)
    fresher = dataclasses.replace(QUALITY, windows=(RECENT_MINUTE,), measures=measures, rates=rates)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("serving.stores.view_named", lambda _: fresher)
        cell = quality("x", 0, 0, 9)
        cell = cell._replace(view=fresher, window=RECENT_MINUTE, values=cell.values[: len(measures)])
        await world.cache(world.status(0, offset=200, clock_ms=NOW), [cell])
        await world.store(world.status(0, offset=100, clock_ms=NOW - 5_000), [started("x", 0, 7, 1)])
        answer = world.ask(Question("quality", {"cdn": "x"}, from_ms=NOW, to_ms=NOW + MINUTE_MS))
    (row,) = answer.rows
    shown = dict(zip(answer.measures, row.values, strict=True))
    assert (shown["watched_ms"], shown["startup_p50"]) == (9, 7.0)
    assert answer.standing.as_of_ms == NOW - 5_000
    assert answer.notes[-1] == "startup_count, startup_p50, startup_p95, startup_p99: Cassandra's, up to a flush older"
