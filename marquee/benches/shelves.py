"""`marquee bench shelves`: how long it takes to get one of a million shelves from Redis, and one that Redis lost from Cassandra."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import click
import numpy as np
import redis
from cassandra.cluster import Session

from connectors.bookmark_store import BookmarkStore
from connectors.cassandra import close, connect
from connectors.cassandra_schema import ensure_schema
from connectors.redis import RedisKeys, at_shelves
from connectors.redis_cache import CellCache
from connectors.shelves import ShelfReader
from marquee.arena import arena, servers_cpu_s, show
from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option, say
from serving.shelves import Shelves
from topologies.dictionary import Dictionary
from topologies.errors import MarqueeError
from topologies.marks import MarkBatch
from topologies.settings import Settings

TITLES: Final = 18_214
_START_MS: Final = 1_760_000_400_000
_PROFILES_A_BATCH: Final = 10_000
_ABREAST: Final = 4
"""So many batches are written side by side, as a worker flushes its partitions: one waits for the server while another is made ready."""
_TOLD_EVERY: Final = 100_000
_KEYS_A_COMMAND: Final = 1_000


@click.command()
@click.option("--profiles", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="How many profiles have a shelf.")
@click.option("--titles", type=click.IntRange(min=1, max=50), default=10, show_default=True, help="Titles on a shelf.")
@click.option("--reads", type=click.IntRange(min=100), default=100_000, show_default=True, help="Shelves that are read, at random.")
@click.option("--lost", type=click.IntRange(min=1), default=10_000, show_default=True, help="Shelves that Redis loses and Cassandra has.")
@json_option
@pass_invocation
def shelves(invocation: Invocation, profiles: int, titles: int, reads: int, lost: int, as_json: bool) -> int:
    """Write so many profiles' shelves as workers do, then read some at random; then some that Redis lost. On servers of its own.

    `redis`: the command and its answer, by one client on loopback. p50_ms and p99_ms are what the client waits, at_store_p50_ms and
    at_store_p99_ms what the server says that the command took (INFO latencystats). Exit 1 unless at_store_p99_ms is below 1.
    `lost`: the first profiles' shelves, which Cassandra has too, are deleted from Redis. What it takes to get such a one: from Redis in
    vain, from Cassandra, and put back. `again`: the same shelves once more, which come from Redis.

    \b
    Examples:
      marquee bench shelves --json
      marquee bench shelves --profiles 100000 --titles 50
    """
    lost = min(lost, profiles)
    with arena(invocation.settings, "shelves", given=False, services=("cassandra", "redis")) as (settings, _, cluster):
        say(f"writing {profiles:,} shelves of {titles} titles")
        begun, before = time.perf_counter(), servers_cpu_s(cluster)
        asyncio.run(_write(settings, profiles, titles))
        write_s, after = time.perf_counter() - begun, servers_cpu_s(cluster)
        say(f"reading {reads:,}")
        from_redis = _read(settings, profiles, reads)
        say(f"losing {lost:,}, and reading them")
        _store(settings, lost, titles)
        _lose(settings, lost)
        document = {
            "profiles": profiles,
            "titles": titles,
            "write_s": round(write_s, 2),
            "write_server_us_a_shelf": round((after["redis"] - before["redis"]) / profiles * 1e6, 2),
            **from_redis,
            "lost": _asked(settings, lost, titles, "cassandra"),
            "again": _asked(settings, lost, titles, "redis"),
        }
    show(document, as_json)
    return 0 if from_redis["redis"]["at_store_p99_ms"] < 1 else 1


async def _write(settings: Settings, profiles: int, titles: int) -> None:
    cache, batches, written, told = CellCache(settings.redis, ()), _batches(profiles, titles), 0, _TOLD_EVERY

    async def lane() -> None:
        nonlocal written, told
        for batch in batches:
            await cache.write_marks(batch)
            written += len(batch) // titles
            if written >= told:
                say(f"{written:>11,}")
                told += _TOLD_EVERY

    try:
        await cache.connect()
        await asyncio.gather(*(lane() for _ in range(_ABREAST)))
    finally:
        await cache.close()


def _store(settings: Settings, profiles: int, titles: int) -> None:
    """The first profiles' bookmarks, in Cassandra."""
    session = connect(settings.cassandra)
    try:
        ensure_schema(session, settings.cassandra, ())
        asyncio.run(_store_all(session, settings, profiles, titles))
    finally:
        close(session)


async def _store_all(session: Session, settings: Settings, profiles: int, titles: int) -> None:
    store = BookmarkStore(session, settings.cassandra)
    for batch in _batches(profiles, titles):
        await store.write(batch)


def _batches(profiles: int, titles: int) -> Iterator[MarkBatch]:
    dictionary, draw = Dictionary([b"t%05d" % number for number in range(TITLES)]), np.random.default_rng(1)
    for first in range(0, profiles, _PROFILES_A_BATCH):
        count = min(_PROFILES_A_BATCH, profiles - first)
        names = b"".join(b"a%08d" % number + b"p1" for number in range(first, first + count))
        begins = 11 * np.arange(count, dtype=np.int64)
        people = np.stack([begins, begins + 9, begins + 11], axis=1)
        values = np.empty((count * titles, 5), dtype=np.int64)
        values[:, 0] = _START_MS + draw.integers(0, 10**9, len(values))
        values[:, 1], values[:, 2], values[:, 3], values[:, 4] = 7, 0, 1_234, 5_400
        chosen = (draw.integers(0, TITLES, (count, 1)) + np.arange(titles)) % TITLES + 1
        bounds = np.arange(0, count * titles + 1, titles, dtype=np.int64)
        yield MarkBatch(np.frombuffer(names, dtype=np.uint8), people, bounds, chosen.reshape(-1), values, dictionary)


def _account(number: int) -> str:
    return f"a{number:08d}"


def _read(settings: Settings, profiles: int, reads: int) -> dict[str, Any]:
    reader, draw = ShelfReader(settings.redis), random.Random(2)
    with redis.Redis.from_url(settings.redis.url) as server:
        memory = server.info("memory")["used_memory"]
        server.config_resetstat()
        waited = _timed(reads, lambda _: reader.shelf(_account(draw.randrange(profiles)), "p1"))
        told = server.info("latencystats")["latency_percentiles_usec_hgetall"]
    reader.close()
    at_store = {f"at_store_{name}_ms": round(told[name] / 1000, 5) for name in ("p50", "p99")}
    return {"redis_mb": round(memory / 2**20, 1), "redis": {**waited, **at_store}}


def _lose(settings: Settings, lost: int) -> None:
    keys = RedisKeys(settings.redis.prefix)
    with redis.Redis.from_url(at_shelves(settings.redis).url) as server:
        for first in range(0, lost, _KEYS_A_COMMAND):
            server.unlink(*(keys.shelf(_account(number), "p1") for number in range(first, min(first + _KEYS_A_COMMAND, lost))))


def _asked(settings: Settings, lost: int, titles: int, store: str) -> dict[str, Any]:
    """Each of the shelves once, as `marquee query` asks. MarqueeError if one is not all there, or came from another store."""
    with Shelves(settings) as asked:
        asked.shelf("nobody", "p1")  # opens what is opened once

        def ask(number: int) -> None:
            shelf = asked.shelf(_account(number), "p1")
            if (shelf.read, len(shelf.rows)) != (store, titles):
                raise MarqueeError(f"{_account(number)} has {titles} titles, to be read from {store}; {shelf.line()}")

        return _timed(lost, ask)


def _timed(times: int, ask: Callable[[int], object]) -> dict[str, Any]:
    took_s = np.empty(times)
    for number in range(times):
        begun = time.perf_counter()
        ask(number)
        took_s[number] = time.perf_counter() - begun
    p50, p99, most = np.quantile(took_s, [0.5, 0.99, 1.0]) * 1000
    return {"reads": times, "p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4), "max_ms": round(float(most), 3)}


COMMAND = shelves
