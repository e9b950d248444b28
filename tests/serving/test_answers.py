"""Answers from the real stores: where each window is read, what is said about it, and that nothing is lost or counted twice."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest
import redis
from cassandra.cluster import Session

from connectors.bookmark_store import BookmarkStore
from connectors.cassandra import close, connect
from connectors.cassandra_schema import ensure_schema
from connectors.cassandra_store import CellStore
from connectors.cell_id import join_key
from connectors.redis import RedisKeys
from connectors.redis_cache import CellCache
from connectors.source_notes import SourceNotes
from serving.answers import Answer, ask, ask_accounting
from serving.cells import Shown
from serving.instants import iso
from serving.questions import Question
from serving.stores import Stores
from tests.topologies.packed import encode_pack
from topologies.cells import DURABLE
from topologies.concurrents import CONCURRENTS
from topologies.errors import ServerAway
from topologies.flushes import CellBatch, Pack
from topologies.fold import PartitionState
from topologies.packs import PackedCell, bucket_of
from topologies.settings import Settings
from topologies.sources import Source, SourceStatus
from topologies.texts import Texts
from topologies.view import HOUR, LIVE, MINUTE, View, Window
from topologies.views import every_part
from topologies.watch_time import WATCH_TIME

HOUR_MS = 3_600_000
NOON = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS
"""Start of the present hour: Redis forgets windows by its own clock."""
NOW = NOON + 30 * 60_000


class Cell(NamedTuple):
    view: View
    window: Window
    start_ms: int
    grouping: int
    key: tuple[str, ...]
    values: tuple[int, ...]


def live(title: str, viewers: int) -> Cell:
    return Cell(CONCURRENTS, LIVE, 0, 0, (title,), (viewers,))


def watched(title: str, region: str, watched_ms: int, start_ms: int = NOON) -> Cell:
    return Cell(WATCH_TIME, HOUR, start_ms, 0, (title, region), (watched_ms, 1, 1))


def at_minute(minute: int, viewers: int) -> Cell:
    return Cell(CONCURRENTS, MINUTE, NOON + minute * 60_000, 3, (), (viewers,))


class World:
    """Writes as workers do: one source's cells to Redis, to Cassandra, or both."""

    def __init__(self, settings: Settings, session: Session, views: Sequence[View] | None = None) -> None:
        self.settings = settings
        self._session = session
        self._store = CellStore(session, settings.cassandra, every_part() if views is None else views)

    def status(self, partition: int, offset: int = 100, clock_ms: int = NOW, dead: int = 3) -> SourceStatus:
        source = Source(self.settings.worker.region, self.settings.kafka.topics[0], "AAAAAAAAAAAAAAAAAAAAAA", partition)
        return SourceStatus(source, offset, clock_ms, clock_ms - 60_000, 10, 4, 2, 1, dead)

    async def cache(self, status: SourceStatus, cells: Sequence[Cell]) -> None:
        batches = [
            CellBatch(view, window, start_ms, grouping, Texts.of([join_key(key)]), np.array([values], dtype=np.int64))
            for view, window, start_ms, grouping, key, values in cells
        ]
        await self._cache(status, batches)

    async def _cache(self, status: SourceStatus, batches: Sequence[CellBatch]) -> None:
        cache = CellCache(self.settings.redis, every_part())
        try:
            await cache.connect()
            await cache.flush(status, batches, last_applied=None, worker="w", at_ms=NOW)
        finally:
            await cache.close()

    async def store(self, status: SourceStatus, cells: Sequence[Cell]) -> None:
        await self.write_packs(status, cells)
        await self._store.write_status(status)

    async def write_packs(self, status: SourceStatus, cells: Sequence[Cell]) -> None:
        """The cells, and not yet the status that covers them."""
        packs: dict[tuple[str, str, int, int], tuple[View, Window, list[PackedCell]]] = {}
        for cell in cells:
            place = (cell.view.name, cell.window.name, cell.window.pack_of(cell.start_ms), bucket_of(cell.key))
            packed = packs.setdefault(place, (cell.view, cell.window, []))[2]
            packed.append(PackedCell(cell.start_ms, cell.grouping, cell.key, cell.values))
        written = [Pack(view, window, place[2], place[3], encode_pack(held)) for place, (view, window, held) in packs.items()]
        await self._store.write_packs(status.source, status.offset, written)

    async def _write(self, status: SourceStatus, packs: Sequence[Pack]) -> None:
        await self._store.write_packs(status.source, status.offset, packs)
        await self._store.write_status(status)

    async def both(self, status: SourceStatus, cells: Sequence[Cell]) -> None:
        await self.cache(status, cells)
        await self.store(status, cells)

    async def fold(self, state: PartitionState) -> None:
        """All cells that a partition's state has, to both; its bookmarks to Cassandra."""
        await self._cache(state.status(), state.take_cached()[0])
        await self._write(state.status(), state.take_packs()[0])
        if state.bookmarks is not None:
            await BookmarkStore(self._session, self.settings.cassandra).write(state.bookmarks.take(DURABLE)[0])

    async def end(self, source: Source) -> None:
        """As a worker does that finds another topic under the name."""
        SourceNotes(self._session, self.settings.cassandra).end(source, NOW)
        cache = CellCache(self.settings.redis, every_part())
        await cache.connect()
        await cache.conclude(source, NOW)
        await cache.close()

    async def forget(self, source: Source) -> None:
        """Redis, emptied by hand, has been written again by the sources that there still are."""
        with redis.Redis.from_url(self.settings.redis.url) as client:
            keys = RedisKeys(self.settings.redis.prefix)
            client.delete(keys.status(str(source)), keys.register(str(source)))

    def ask(self, question: Question, settings: Settings | None = None) -> Answer:
        with Stores(settings or self.settings) as stores:
            return ask(stores, question, lambda: NOW + 1_500)


@contextmanager
def world_of(settings: Settings) -> Iterator[World]:
    """A world of these settings, with all tables."""
    session = connect(settings.cassandra)
    try:
        ensure_schema(session, settings.cassandra, every_part())
        yield World(settings, session)
    finally:
        close(session)


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    with world_of(settings) as opened:
        yield opened


def without_redis(settings: Settings) -> Settings:
    return dataclasses.replace(settings, redis=dataclasses.replace(settings.redis, url="redis://127.0.0.1:1/0"))


def without_cassandra(settings: Settings) -> Settings:
    return dataclasses.replace(settings, cassandra=dataclasses.replace(settings.cassandra, port=1))


def found(answer: Answer) -> dict[tuple[str, ...], Shown]:
    return {row.key: row.values for row in answer.rows}


async def test_what_is_live_is_summed_over_sources_from_redis(world: World) -> None:
    await world.both(world.status(0), [live("a", 5), live("b", 1)])
    await world.both(world.status(1, clock_ms=NOW - 500), [live("a", 2), live("c", 9)])
    answer = world.ask(Question("concurrents", top=2))
    assert [(row.key, row.values) for row in answer.rows] == [(("c",), (9,)), (("a",), (7,))]
    assert answer.read == {"redis": 1, "final": 0, "cassandra": 0}
    assert (answer.standing.as_of_ms, answer.standing.lag_s) == (NOW - 500, 2.0)
    assert (answer.standing.heard, answer.standing.known, answer.standing.complete) == (2, 2, 1.0)
    assert not answer.final


async def test_one_cell_is_found_by_its_key(world: World) -> None:
    await world.both(world.status(0), [live("a", 5), live("b", 1)])
    assert found(world.ask(Question("concurrents", {"title": "a"}))) == {("a",): (5,)}
    assert found(world.ask(Question("concurrents", {"title": "zzz"}))) == {}


async def test_without_redis_the_answer_is_cassandras_and_says_so(world: World) -> None:
    await world.both(world.status(0), [live("a", 5)])
    answer = world.ask(Question("concurrents", top=1), without_redis(world.settings))
    assert found(answer) == {("a",): (5,)}
    assert answer.read == {"redis": 0, "final": 0, "cassandra": 1}
    assert any("Redis at" in note and "does not answer" in note for note in answer.notes)


async def test_a_source_that_redis_has_not_heard_of_is_not_left_out(world: World) -> None:
    """Redis was emptied and one of two workers has written it again: its totals are of one source only."""
    await world.both(world.status(0), [live("a", 5)])
    await world.store(world.status(1), [live("a", 2)])
    answer = world.ask(Question("concurrents", top=1))
    assert found(answer) == {("a",): (7,)}
    assert any("not all of 1 of the 2 sources" in note for note in answer.notes)


async def test_without_cassandra_what_is_live_is_answered_and_history_is_not(world: World) -> None:
    await world.both(world.status(0), [live("a", 5)])
    away = without_cassandra(world.settings)
    answer = world.ask(Question("concurrents", top=1), away)
    assert found(answer) == {("a",): (5,)}
    assert any("history was not looked at" in note for note in answer.notes)
    with pytest.raises(ServerAway, match="Cassandra"):
        world.ask(Question("concurrents", window="minute"), away)


async def test_without_both_stores_one_error_names_both(world: World) -> None:
    with pytest.raises(ServerAway, match=r"neither store answers: Redis .* Cassandra"):
        world.ask(Question("concurrents"), without_redis(without_cassandra(world.settings)))


async def test_a_window_that_every_watermark_has_passed_is_final_and_cassandras(world: World) -> None:
    old = NOON - 2 * HOUR_MS
    await world.both(world.status(0), [watched("a", "eu", 7, old), watched("a", "eu", 5)])
    answer = world.ask(Question("watch_time", from_ms=old, to_ms=old + HOUR_MS))
    assert (answer.final, answer.read) == (True, {"redis": 0, "final": 0, "cassandra": 1})
    assert found(answer) == {("a", "eu"): (7, 1, 1)}
    now = world.ask(Question("watch_time"))
    assert (now.final, now.read) == (False, {"redis": 1, "final": 0, "cassandra": 0})
    assert found(now) == {("a", "eu"): (5, 1, 1)}


async def test_one_slow_source_keeps_a_window_provisional(world: World) -> None:
    old = NOON - 2 * HOUR_MS
    await world.both(world.status(0), [watched("a", "eu", 7, old)])
    await world.both(world.status(1, clock_ms=NOON - HOUR_MS), [watched("a", "eu", 1, old)])
    answer = world.ask(Question("watch_time", from_ms=old, to_ms=old + HOUR_MS))
    assert not answer.final
    assert found(answer) == {("a", "eu"): (8, 2, 2)}


async def test_a_window_final_at_one_source_only_is_not_read_from_a_redis_that_may_have_lost_it(world: World) -> None:
    old = NOON - 2 * HOUR_MS
    await world.store(world.status(0), [watched("a", "eu", 7, old)])
    await world.cache(world.status(0), [watched("b", "eu", 5)])  # emptied and filled again, after the old window was forgotten
    await world.both(world.status(1, clock_ms=NOON - HOUR_MS), [watched("a", "eu", 1, old)])
    answer = world.ask(Question("watch_time", from_ms=old, to_ms=old + HOUR_MS))
    assert (answer.final, found(answer)) == (False, {("a", "eu"): (8, 2, 2)})


async def test_a_span_over_both_stores_counts_each_window_once(world: World) -> None:
    old = NOON - 2 * HOUR_MS
    await world.both(world.status(0), [watched("a", "eu", 7, old), watched("a", "us", 3, old), watched("b", "eu", 5)])
    answer = world.ask(Question("watch_time", {"title": None}, from_ms=old, to_ms=NOON + 1))
    assert [(row.start_ms, row.key, row.values) for row in answer.rows] == [(old, ("a",), (10, 2, 2)), (NOON, ("b",), (5, 1, 1))]
    assert "summed over region" in answer.notes
    assert sum(answer.read.values()) == 3
    assert answer.read["redis"] == 1  # of the last hour; the two before it are final


async def test_the_peak_of_an_hour_is_of_the_sums_of_its_minutes(world: World) -> None:
    await world.store(world.status(0), [at_minute(1, 5), at_minute(2, 1)])
    await world.store(world.status(1), [at_minute(1, 1), at_minute(2, 7)])
    series = world.ask(Question("concurrents", window="minute", from_ms=NOON, to_ms=NOON + HOUR_MS))
    assert [(row.start_ms - NOON, row.values) for row in series.rows] == [(60_000, (6,)), (120_000, (8,))]
    peak = world.ask(Question("concurrents", window="hour", from_ms=NOON, to_ms=NOON + HOUR_MS))
    assert [(row.start_ms, row.values) for row in peak.rows] == [(NOON, (8,))]


async def test_accounting_takes_the_further_status_and_checks_the_equation(world: World) -> None:
    await world.store(world.status(0, offset=50), [])
    await world.cache(world.status(0, offset=100), [live("a", 1)])
    with Stores(world.settings) as stores:
        answer = ask_accounting(stores)
    assert [row.values for row in answer.rows] == [(10, 4, 2, 1, 3)]
    assert "at every source" in answer.notes[0]
    await world.cache(world.status(0, offset=101, dead=4), [])
    with Stores(world.settings) as stores:
        assert "but not at local:" in ask_accounting(stores).notes[0]


async def test_the_document_says_where_it_stands(world: World) -> None:
    await world.both(world.status(0), [watched("a", "eu", 5)])
    document = world.ask(Question("watch_time", {"region": "eu"}, top=3)).document()
    assert document["cells"] == [{"title": "a", "region": "eu", "watched_ms": 5, "plays": 1, "attempts": 1}]
    assert document["as_of"] == iso(NOW)
    assert document["sources"] == {"heard": 1, "known": 1}
    assert (document["complete"], document["final"], document["lag_s"]) == (1.0, False, 1.5)


async def test_a_topic_made_anew_leaves_what_was_watched_and_takes_its_viewers_with_it(world: World) -> None:
    old, new = world.status(0, clock_ms=NOW - 600_000), world.status(1)
    gone = dataclasses.replace(old, source=dataclasses.replace(old.source, topic_id="B" * 22))
    cells = [live("t", 2), watched("t", "eu", 5_000)]
    await world.both(gone, cells)
    await world.both(new, cells)
    viewers, hours = Question("concurrents", {"title": "t"}), Question("watch_time", {"title": "t", "region": "eu"})
    assert found(world.ask(viewers)) == {("t",): (4,)}

    await world.end(gone.source)
    answer = world.ask(viewers)
    assert found(answer) == {("t",): (2,)}
    assert (answer.standing.as_of_ms, answer.standing.complete, answer.standing.known) == (NOW, 1.0, 1)
    assert found(world.ask(hours)) == {("t", "eu"): (10_000, 2, 2)}
    from_cassandra = world.ask(viewers, without_redis(world.settings))
    assert found(from_cassandra) == {("t",): (2,)}
    assert (from_cassandra.standing.as_of_ms, from_cassandra.standing.complete) == (NOW, 1.0)

    await world.forget(gone.source)  # Redis loses it: what it counted comes from Cassandra, and the viewers now from Redis all the same
    answer = world.ask(viewers)
    assert (found(answer), answer.read) == ({("t",): (2,)}, {"redis": 1, "final": 0, "cassandra": 0})
    assert answer.notes == ()
    answer = world.ask(dataclasses.replace(hours, from_ms=NOON, to_ms=NOON + HOUR_MS))
    assert (found(answer), answer.read) == ({("t", "eu"): (10_000, 2, 2)}, {"redis": 0, "final": 0, "cassandra": 1})
    assert answer.final is False
