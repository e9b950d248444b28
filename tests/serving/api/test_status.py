"""How everything stands, of the real servers: each partition's numbers, and how long ago its worker was heard of."""

from __future__ import annotations

import dataclasses
import time

from serving.instants import iso
from serving.overview import look
from tests.serving.test_answers import NOW, World, live, without_redis


async def test_each_source_has_its_watermark_and_what_became_of_its_events_by_the_store_that_is_further(world: World) -> None:
    await world.store(world.status(0, offset=50, dead=1), [])
    await world.cache(dataclasses.replace(world.status(0, offset=100), received=20, applied=14), [live("a", 1)])
    [source] = look(world.settings).document()["sources"]
    assert [source[name] for name in ("received", "applied", "duplicate", "late", "dead")] == [20, 14, 2, 1, 3]
    assert (source["watermark"], source["watermark_ms"]) == (iso(NOW - 60_000), NOW - 60_000)
    [source] = look(without_redis(world.settings)).document()["sources"]
    assert [source[name] for name in ("received", "applied", "duplicate", "late", "dead")] == [10, 4, 2, 1, 1]


async def test_a_worker_was_heard_of_when_the_newest_of_its_sources_was(world: World) -> None:
    await world.cache(world.status(0), [live("a", 1)])
    await world.cache(world.status(1), [live("a", 1)])
    seen = look(world.settings)
    [worker] = seen.document()["workers"]
    assert (worker["name"], len(worker["partitions"])) == ("w", 2)
    assert worker["heard_s"] == min(source.heard_s for source in seen.sources if source.heard_s is not None)
    assert abs(worker["heard_s"] - (time.time() - NOW / 1000)) < 60


async def test_of_a_source_that_nobody_has_worked_on_nothing_is_said(world: World) -> None:
    await world.store(dataclasses.replace(world.status(0), watermark_ms=-1, clock_ms=-1), [])
    [source] = look(world.settings).document()["sources"]
    assert (source["watermark"], source["as_of"]) == (None, None)
