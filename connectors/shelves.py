"""Profiles' shelves in Redis: the bookmarks of continue_watching, in a database beside the cells' and read in one round trip.

A shelf that Redis lost comes again with the next bookmark, but not whole: it says so, and its reader puts the rest back from Cassandra.
So too a full one that gets a title which it lacks: it may have had a greater bookmark of it. And one that was whole in another run of the
server: a snapshot that was restored, or a replica that was promoted, may be older than what was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import redis
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.retry import Retry as BlockingRetry

from connectors.redis import RedisKeys, at_shelves, connection_options, redis_errors, shown
from connectors.turns import Turns
from topologies.continue_watching import CACHED_S, MOST_TITLES
from topologies.errors import StoreError
from topologies.marks import Mark, MarkBatch
from topologies.settings import RedisSettings
from topologies.view import KEY_SEPARATOR

SHELVES_A_CALL: Final = 50
"""A function call holds the server for about 5 µs a shelf of one bookmark, 17 of ten (`marquee bench shelves`)."""
TITLES_A_SHELF: Final = 100
"""So many bookmarks of a shelf in one call at most."""
CALLS_IN_FLIGHT: Final = 4
SCANNED: Final = 1_000
WHOLE: Final = b""
"""The field that says in which run of the server a shelf was given all that Cassandra has."""
_RUN: Final = re.compile(rb"run_id:([0-9a-f]+)")
_NO_DATABASE: Final = re.compile("DB index|SELECT", re.IGNORECASE)
"""What a server says that has too few databases, is a cluster, or lets this user have none but the first."""
_Entry = tuple[str, list[Any]]


@contextmanager
def _given(settings: RedisSettings) -> Iterator[None]:
    """Raises StoreError, with the setting's name, where the server does not give shelves their database; else what is raised inside."""
    try:
        yield
    except redis.exceptions.ResponseError as error:
        if not _NO_DATABASE.search(str(error)):
            raise
        raise StoreError(
            f"Redis at {shown(settings.url)} does not give profiles' shelves that database ({error}): set redis.shelves_db to "
            f"one that it has and that is not redis.url's, or give it more (`databases` of redis.conf)"
        ) from error


class ShelfWriter:
    """Redis as workers write shelves, from asyncio. Every method raises what the library raises, and StoreError where the server has no
    database for them."""

    def __init__(self, settings: RedisSettings, turns: Turns) -> None:
        """settings: the cells'. turns: calls are sent in one of them. Raises UsageError if shelves were to stand among the cells."""
        self.settings = at_shelves(settings)
        """Of the shelves' database."""
        self._turns = turns
        self._keys = RedisKeys(settings.prefix)
        self._client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            self.settings.url, retry=Retry(NoBackoff(), 1), **connection_options(settings)
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def put(self, batch: MarkBatch) -> None:
        """Brings the bookmarks to their shelves, a few calls in flight."""
        with _given(self.settings):
            await self._put(batch)

    async def _put(self, batch: MarkBatch) -> None:
        waiting: list[_Entry] = []
        pipe, calls = self._client.pipeline(transaction=False), 0
        for entry in _entries(self._keys, batch):
            waiting.append(entry)
            if len(waiting) == SHELVES_A_CALL:
                _call(pipe, waiting)
                waiting, calls = [], calls + 1
                if calls == CALLS_IN_FLIGHT:
                    await self._sent(pipe)
                    calls = 0
        if waiting:
            _call(pipe, waiting)
        if waiting or calls:
            await self._sent(pipe)

    async def _sent(self, pipe: Any) -> None:
        async with self._turns.turn():
            await pipe.execute()

    async def is_marked(self) -> bool:
        """Whether the database still has the mark that `set_mark` left: it was not emptied since."""
        with _given(self.settings):
            return bool(await self._client.exists(self._keys.shelved))

    async def set_mark(self) -> None:
        with _given(self.settings):
            await self._client.set(self._keys.shelved, 1)


def _entries(keys: RedisKeys, batch: MarkBatch) -> Iterator[_Entry]:
    for shelf in batch.shelves():
        key = keys.shelf(shelf.account.decode(), shelf.profile.decode())
        pairs = [item for pair in zip(shelf.titles, shelf.marks, strict=True) for item in pair]
        for first in range(0, len(pairs), 2 * TITLES_A_SHELF):
            yield key, pairs[first : first + 2 * TITLES_A_SHELF]


def _call(pipe: Any, entries: list[_Entry]) -> None:
    arguments = [item for _, pairs in entries for item in (len(pairs) // 2, *pairs)]
    pipe.execute_command("FCALL", "mq_mark", len(entries), *(key for key, _ in entries), MOST_TITLES, CACHED_S, *arguments)


@dataclass(frozen=True)
class CachedShelf:
    """What Redis has of a profile: bookmarks by title, finished ones too; whether that is all that Cassandra has; the server's run."""

    marks: Mapping[str, Mark]
    whole: bool
    run: bytes = b""


class ShelfReader:
    """Redis as queries read shelves. Methods block and raise ServerAway or StoreError. One thread, so one connection."""

    def __init__(self, settings: RedisSettings) -> None:
        """settings: the cells'."""
        self._settings = at_shelves(settings)
        self._keys = RedisKeys(settings.prefix)
        self._run = b""
        """Of the server, as its connection was made: what was read last is of that run."""
        self._client: Any = redis.Redis.from_url(
            self._settings.url,
            retry=BlockingRetry(NoBackoff(), 1),
            redis_connect_func=self._connected,
            **connection_options(settings),
        )

    def close(self) -> None:
        self._client.close()

    def require(self) -> None:
        """Raises StoreError where the server has no database for shelves."""
        with redis_errors(self._settings), _given(self._settings):
            self._client.ping()

    def _connected(self, connection: Any) -> None:
        """A new run of a server is met through a new connection only, so it is asked for here and not with each shelf."""
        connection.on_connect()
        connection.send_command("INFO", "server")
        found = _RUN.search(connection.read_response())
        self._run = found[1] if found else b""

    def shelf(self, account: str, profile: str) -> CachedShelf:
        """The profile's shelf; an empty one that is not whole if Redis has none."""
        with redis_errors(self._settings), _given(self._settings):
            found: dict[bytes, bytes] = self._client.hgetall(self._keys.shelf(account, profile))
        return self._shelf_of(found)

    def every(self) -> Iterator[tuple[str, str, CachedShelf]]:
        """All shelves that are there throughout: account, profile, and what Redis has. For the audit."""
        stem = self._keys.shelf("", "").removesuffix(KEY_SEPARATOR)
        cursor = 0
        while True:
            with redis_errors(self._settings), _given(self._settings):
                cursor, found = self._client.scan(cursor, match=f"{_plain(stem)}*", count=SCANNED)
                pipe = self._client.pipeline(transaction=False)
                for key in found:
                    pipe.hgetall(key)
                shelves = pipe.execute()
            for key, fields in zip(found, shelves, strict=True):
                if fields:
                    account, profile = key.decode().removeprefix(stem).replace("%3A", ":").replace("%25", "%").split(KEY_SEPARATOR)
                    yield account, profile, self._shelf_of(fields)
            if not cursor:
                return

    def renew(self, account: str, profile: str, marks: Mapping[str, Mark], cached: CachedShelf) -> None:
        """Puts back what Cassandra has of the profile, as far as a shelf holds it, and of the titles that stood in Redis, which may stand
        lower than in Cassandra. cached: the shelf as it was read before Cassandra was; in another run of the server nothing is done. What
        Redis has got meanwhile and is greater stays."""
        best = sorted(marks.items(), key=lambda item: (not item[1].finished, item[1]), reverse=True)[:MOST_TITLES]
        told = dict(best) | {title: marks[title] for title in cached.marks}
        pairs = [item for title, mark in told.items() for item in (title, mark.packed())]
        with redis_errors(self._settings), _given(self._settings):
            key = self._keys.shelf(account, profile)
            self._client.execute_command("FCALL", "mq_renew", 1, key, MOST_TITLES, CACHED_S, cached.run, *pairs)

    def _shelf_of(self, fields: dict[bytes, bytes]) -> CachedShelf:
        marks = {title.decode(): Mark.of(mark) for title, mark in fields.items() if title != WHOLE}
        return CachedShelf(marks, fields.get(WHOLE) == self._run != b"", self._run)


def _plain(text: str) -> str:
    """What matches a pattern as it stands."""
    return re.sub(r"([\[\]*?\\^-])", r"\\\1", text)
