"""A profile's shelf on the real stores: the greatest bookmark stands whoever writes it when, fifty at most; what Redis lost comes back."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from cassandra.cluster import Session

from cluster.local import LocalCluster
from connectors.bookmark_store import BookmarkRows, BookmarkStore
from connectors.cassandra import close, connect
from connectors.cassandra_schema import ensure_schema
from connectors.redis import at_shelves
from connectors.redis_cache import CellCache
from connectors.shelves import ShelfReader
from serving.shelves import Shelf, Shelves, whose
from tests.topologies.logs import T0, apply
from tests.topologies.shelved import Stored, empty_state, random_log
from topologies.cells import CACHE, DURABLE
from topologies.dictionary import Dictionary
from topologies.errors import ServerAway, UsageError
from topologies.marks import Mark, MarkBatch
from topologies.settings import Settings

POSITION = 30


@pytest.fixture
def session(settings: Settings) -> Iterator[Session]:
    opened = connect(settings.cassandra)
    ensure_schema(opened, settings.cassandra, ())
    yield opened
    close(opened)


@pytest.fixture
async def cache(settings: Settings) -> AsyncIterator[CellCache]:
    opened = CellCache(settings.redis, ())
    await opened.connect()
    yield opened
    await opened.close()


@pytest.fixture
def store(session: Session, settings: Settings) -> BookmarkStore:
    return BookmarkStore(session, settings.cassandra)


def batch_of(*marks: tuple[str, str, str, Mark]) -> MarkBatch:
    """A flush of these: account, profile, title and bookmark."""
    titles = sorted({title for _, _, title, _ in marks})
    shelves = sorted({mark[:2] for mark in marks})
    numbers, values, bounds, people, pool = [], [], [0], [], b""
    for account, profile in shelves:
        people.append((len(pool), len(pool + account.encode()), len(pool + account.encode() + profile.encode())))
        pool += account.encode() + profile.encode()
        for mark in marks:
            if mark[:2] == (account, profile):
                numbers.append(titles.index(mark[2]) + 1)
                values.append(tuple(map(int, mark[3])))
        bounds.append(len(numbers))
    texts, at = np.frombuffer(pool, dtype=np.uint8), np.array(people, dtype=np.int64)
    known = Dictionary([title.encode() for title in titles])
    return MarkBatch(texts, at, np.array(bounds), np.array(numbers), np.array(values, dtype=np.int64), known)


def mark(ts: int, position_s: int = POSITION, *, seq: int = 1, finished: bool = False) -> Mark:
    return Mark(T0 + ts, seq, finished, position_s, 90)


def asked(settings: Settings, account: str = "a", profile: str = "p") -> Shelf:
    with Shelves(settings) as shelves:
        return shelves.shelf(account, profile)


def titles(shelf: Shelf) -> list[str]:
    return [title for title, _ in shelf.rows]


async def test_the_greatest_stands_in_both_stores_whatever_the_order(
    settings: Settings, session: Session, store: BookmarkStore, cache: CellCache
) -> None:
    """Replays and zombies write what is older, again; the same event twice; and one past the version's bits."""
    marks = [mark(5, 1), mark(5, 2, seq=2), mark(4, 9, seq=9), mark(6, 3, seq=2**31 - 2), mark(6, 4, seq=2**31 - 1), mark(1, 8)]
    for seed in range(6):
        shuffled = random.Random(seed).sample(marks, len(marks))
        for each in (*shuffled, *shuffled[:3]):
            batch = batch_of((f"a{seed}", "p:1\x7fé", "T", each))
            await store.write(batch)
            await cache.write_marks(batch)
        found = BookmarkRows(session, settings.cassandra).shelf(f"a{seed}", "p:1\x7fé")["T"]
        reader = ShelfReader(settings.redis)
        cached = reader.shelf(f"a{seed}", "p:1\x7fé")
        reader.close()
        assert cached.marks == {"T": mark(6, 4, seq=2**31 - 1)}
        assert not cached.whole
        assert found.ts == T0 + 6
        assert found.seq >= 2**31 - 2


async def test_a_shelf_is_what_is_not_finished_last_watched_first(settings: Settings, store: BookmarkStore, cache: CellCache) -> None:
    rows = [("a", "p", f"t{number:03d}", mark(number, finished=number % 7 == 0)) for number in range(80)]
    await store.write(batch_of(*rows, ("a", "q", "other", mark(999))))
    await cache.write_marks(batch_of(*rows, ("a", "q", "other", mark(999))))
    expected = [f"t{number:03d}" for number in range(79, -1, -1) if number % 7][:51]
    first, again = asked(settings), asked(settings)
    assert (first.read, again.read) == ("cassandra", "redis")
    assert titles(first) == titles(again) == expected[:50]
    reader = ShelfReader(settings.redis)
    assert len(reader.shelf("a", "p").marks) == 50
    reader.close()
    await cache.write_marks(batch_of(("a", "p", "t079", mark(1_000, finished=True))))
    assert titles(asked(settings)) == expected[1:51], "the shelf had no room for the last of them"


async def test_an_older_bookmark_of_a_title_that_a_full_shelf_gave_up_does_not_come_back(
    settings: Settings, store: BookmarkStore, cache: CellCache
) -> None:
    """A backfill's, or a zombie's: the shelf had no room any more for what superseded it."""
    rows = [("a", "p", f"t{number:03d}", mark(100 + number)) for number in range(50)]
    latest = [("a", "p", "t049", mark(500, finished=True)), ("a", "p", "new", mark(600)), ("a", "p", "newer", mark(601))]
    for batch in (batch_of(*rows), *map(batch_of, latest)):
        await store.write(batch)
        await cache.write_marks(batch)
        asked(settings)
    older = batch_of(("a", "p", "t049", mark(120)))
    await store.write(older)
    await cache.write_marks(older)
    expected = ["newer", "new", *(f"t{number:03d}" for number in range(48, 0, -1))]
    assert titles(asked(settings)) == titles(asked(settings)) == expected


async def test_a_title_finished_on_a_full_shelf_that_nobody_asked_for_is_not_put_back_unfinished(
    settings: Settings, store: BookmarkStore, cache: CellCache
) -> None:
    """It is asked for before Cassandra has been told that the title is finished."""
    rows = [("a", "p", f"t{number:03d}", mark(100 + number)) for number in range(50)]
    finished = batch_of(("a", "p", "seen", mark(900, finished=True)))
    await store.write(batch_of(*rows, ("a", "p", "seen", mark(120))))
    await cache.write_marks(batch_of(*rows))
    await cache.write_marks(finished)
    assert "seen" not in titles(asked(settings))
    newer = batch_of(("a", "p", "newer", mark(901)))
    await store.write(newer)
    await cache.write_marks(newer)
    assert "seen" not in titles(asked(settings)), "and room had to be made meanwhile"
    await store.write(finished)
    assert "seen" not in titles(asked(settings))
    assert (asked(settings).read, len(asked(settings).rows)) == ("redis", 50)


async def test_a_title_that_ends_while_its_full_shelf_is_put_back_leaves_its_place_to_another(settings: Settings, cache: CellCache) -> None:
    reader, found = ShelfReader(settings.redis), {f"t{number:03d}": mark(100 + number) for number in range(51)}
    cached = reader.shelf("a", "p")
    await cache.write_marks(batch_of(("a", "p", "t050", mark(900, finished=True))))
    reader.renew("a", "p", found, cached)
    assert not reader.shelf("a", "p").whole, "it lacks t000, for which there is room now"
    reader.close()


async def test_what_redis_lost_comes_from_cassandra_and_is_put_back(settings: Settings, store: BookmarkStore, cache: CellCache) -> None:
    await store.write(batch_of(*(("a", "p", f"t{number}", mark(number)) for number in range(3))))
    client = redis.Redis.from_url(at_shelves(settings.redis).url)
    for key in client.scan_iter(f"{settings.redis.prefix}*"):
        client.delete(key)
    await cache.write_marks(batch_of(("a", "p", "t9", mark(9))))  # its owner goes on: this shelf is there, and not whole
    assert titles(asked(settings)) == ["t9", "t2", "t1", "t0"]
    assert asked(settings).read == "redis"
    assert titles(asked(settings)) == ["t9", "t2", "t1", "t0"]
    away = replace(settings, cassandra=replace(settings.cassandra, port=1))
    assert titles(asked(away)) == ["t9", "t2", "t1", "t0"]
    with pytest.raises(ServerAway, match="does not answer"):
        asked(replace(away, redis=replace(settings.redis, url="redis://127.0.0.1:1/0")))
    without_redis = asked(replace(settings, redis=replace(settings.redis, url="redis://127.0.0.1:1/0")))
    assert (without_redis.read, titles(without_redis)) == ("cassandra", ["t2", "t1", "t0"])
    client.close()


async def test_a_shelf_of_a_redis_that_was_restored_is_read_from_cassandra_once(
    settings: Settings, store: BookmarkStore, bare_settings: Settings, tmp_path: Path
) -> None:
    """It is what it was when a snapshot was taken, whole then. Its reader and its writer go on."""
    with LocalCluster(tmp_path / "lone", bare_settings, services=("redis",), preferred={"redis": 0}) as lone:
        place = replace(settings, redis=replace(settings.redis, url=lone.settings.redis.url))
        cache = CellCache(place.redis, ())
        await cache.connect()
        with Shelves(place) as shelves, redis.Redis.from_url(place.redis.url) as client:
            old, new = ([("a", "p", title, mark(at)), ("quiet", "p", title, mark(at))] for title, at in (("old", 1), ("new", 2)))
            many = [("b", "p", f"t{number:03d}", mark(100 + number)) for number in range(49)]
            await store.write(batch_of(*old, *many))
            await cache.write_marks(batch_of(*old, *many))
            for read in ("cassandra", "redis"):
                assert {shelves.shelf(who, "p").read for who in ("a", "b", "quiet")} == {read}
            client.save()
            await store.write(batch_of(*new))
            await cache.write_marks(batch_of(*new))
            lone.kill("redis")
            lone.restart("redis")
            later = [("b", "p", "t048", mark(900, finished=True)), ("b", "p", "u", mark(901)), ("b", "p", "v", mark(902))]
            await cache.write_marks(batch_of(("a", "p", "old", mark(3)), *later))
            found = [shelves.shelf("a", "p") for _ in range(2)]
            assert [(shelf.read, titles(shelf)) for shelf in found] == [("cassandra", ["old", "new"]), ("redis", ["old", "new"])]
            found = [shelves.shelf("quiet", "p") for _ in range(2)]
            assert [(shelf.read, titles(shelf)) for shelf in found] == [("cassandra", ["new", "old"]), ("redis", ["new", "old"])]
            expected = ["v", "u", *(f"t{number:03d}" for number in range(47, -1, -1))]
            assert titles(shelves.shelf("b", "p")) == expected, "that t048 ended is not forgotten for want of room"
            await store.write(batch_of(*later))
            found = [shelves.shelf("b", "p") for _ in range(2)]
            assert [(shelf.read, titles(shelf)) for shelf in found] == [("cassandra", expected), ("redis", expected)]
        await cache.close()


async def test_a_shelf_is_not_put_back_whole_in_a_run_of_the_server_that_may_lack_what_came_since_it_was_read(
    settings: Settings, cache: CellCache
) -> None:
    await cache.write_marks(batch_of(("a", "p", "t", mark(1))))
    reader = ShelfReader(settings.redis)
    cached = reader.shelf("a", "p")
    reader.renew("a", "p", {"t": mark(1)}, replace(cached, run=b"another"))
    assert not reader.shelf("a", "p").whole
    reader.renew("a", "p", {"t": mark(1)}, cached)
    assert reader.shelf("a", "p").whole
    reader.close()


async def test_taking_away_the_cells_of_a_cache_that_lost_some_meets_no_shelf(settings: Settings, cache: CellCache) -> None:
    """Whatever an account is called."""
    names = ["a:s:b", "%3A", "[x]*?", "sources", "é"]
    await cache.write_marks(batch_of(*((name, ":s:", "t", mark(1)) for name in names)))
    client = redis.Redis.from_url(settings.redis.url)
    prefix = settings.redis.prefix
    assert client.keys(f"{prefix}*") == [f"{prefix}server".encode()], "shelves stand where nobody looks through all keys"
    client.sadd(f"{prefix}sources", "s")
    client.set(f"{prefix}server", f"{client.info('server')['run_id']}:5")  # it has evicted since
    await cache.inspect([])
    assert client.exists(f"{prefix}sources") == 0
    reader = ShelfReader(settings.redis)
    assert sorted(account for account, _, _ in reader.every()) == sorted(names)
    reader.close()
    client.close()


async def test_a_killed_owner_and_its_heir_write_the_same(
    settings: Settings, session: Session, store: BookmarkStore, cache: CellCache
) -> None:
    """Flushes of a state, and then of one that replays the log from its middle, flushed elsewhere: older bookmarks change nothing."""
    records = random_log(5, 250)

    async def flushed(start: int, steps: Iterable[int]) -> Stored:
        state, stored = empty_state(), Stored()
        assert state.bookmarks is not None
        apply(state, records[:start])
        for upto in steps:
            apply(state, records[state.offset : upto])
            await cache.write_marks(state.bookmarks.take(CACHE)[0])
            batch, _ = state.bookmarks.take(DURABLE)
            await store.write(batch)
            stored.keep(batch)
        return stored

    wholly = await flushed(0, range(10, 251, 10))
    heirs = [await flushed(100, (120, 180, 250)), await flushed(50, (60, 90))]
    rows = BookmarkRows(session, settings.cassandra)
    found = {(account, profile, title): each for account, profile, title, each in rows.every()}
    assert found == {key: max(stored[key] for stored in (wholly, *heirs) if key in stored) for key in wholly}
    reader = ShelfReader(settings.redis)
    assert {(account, profile): dict(shelf.marks) for account, profile, shelf in reader.every()} == {
        key[:2]: {other[2]: each for other, each in found.items() if other[:2] == key[:2]} for key in found
    }
    reader.close()


@pytest.mark.parametrize(
    "by", [{}, {"account": "a"}, {"profile": "p"}, {"account": "a", "profile": None}, {"account": "a", "profile": "p", "title": "t"}]
)
def test_a_shelf_is_asked_for_by_account_and_profile(by: dict[str, str | None]) -> None:
    with pytest.raises(UsageError, match="--by account=A --by profile=P"):
        whose(by)


def test_the_document_of_a_shelf_says_what_was_not_told() -> None:
    shelf = Shelf("a", "p", (("t", Mark(T0, 1, False, 5, -1)),), "redis")
    document: dict[str, Any] = json.loads(json.dumps(shelf.document()))
    assert document["titles"] == [{"title": "t", "position_s": 5, "runtime_s": None, "at": "2025-10-09T08:53:20.000Z", "at_ms": T0}]
