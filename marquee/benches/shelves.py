"""`marquee bench shelves`: how long Redis takes to give one of a million profiles' shelves."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any, Final

import click
import numpy as np
import redis

from connectors.redis_cache import CellCache
from connectors.shelves import ShelfReader
from marquee.arena import arena, servers_cpu_s, show
from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option, say
from topologies.dictionary import Dictionary
from topologies.marks import MarkBatch
from topologies.settings import Settings

TITLES: Final = 18_214
_START_MS: Final = 1_760_000_400_000
_PROFILES_A_BATCH: Final = 10_000


@click.command()
@click.option("--profiles", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="How many profiles have a shelf.")
@click.option("--titles", type=click.IntRange(min=1, max=50), default=10, show_default=True, help="Titles on a shelf.")
@click.option("--reads", type=click.IntRange(min=100), default=100_000, show_default=True, help="Shelves that are read, at random.")
@json_option
@pass_invocation
def shelves(invocation: Invocation, profiles: int, titles: int, reads: int, as_json: bool) -> int:
    """Write so many profiles' shelves as workers do, then read some at random. On a Redis of its own, which they would else stay in.

    p50_ms and p99_ms are of one client, around the command and its answer on loopback: what the store takes, and the way there and back.
    at_store_ms is what the server itself says it takes on the average (INFO commandstats). Exit 1 unless p99 is below a millisecond.

    \b
    Examples:
      marquee bench shelves --json
      marquee bench shelves --profiles 100000 --titles 50
    """
    with arena(invocation.settings, "shelves", given=False, services=("redis",)) as (settings, _, cluster):
        say(f"writing {profiles:,} shelves of {titles} titles")
        begun, before = time.perf_counter(), servers_cpu_s(cluster)
        asyncio.run(_written(settings, profiles, titles))
        write_s, after = time.perf_counter() - begun, servers_cpu_s(cluster)
        document = {
            "profiles": profiles,
            "titles": titles,
            "write_s": round(write_s, 2),
            "write_server_us_a_shelf": round((after["redis"] - before["redis"]) / profiles * 1e6, 2) if cluster else None,
            **_read(settings, profiles, reads),
        }
    show(document, as_json)
    return 0 if document["p99_ms"] < 1 else 1


async def _written(settings: Settings, profiles: int, titles: int) -> None:
    cache = CellCache(settings.redis, ())
    try:
        await cache.connect()
        for batch in _batches(profiles, titles):
            await cache.write_marks(batch)
    finally:
        await cache.close()


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


def _read(settings: Settings, profiles: int, reads: int) -> dict[str, Any]:
    reader, draw, took_s = ShelfReader(settings.redis), random.Random(2), np.empty(reads)
    server = redis.Redis.from_url(settings.redis.url)
    try:
        memory = server.info("memory")["used_memory"]
        server.config_resetstat()
        for at in range(reads):
            account = f"a{draw.randrange(profiles):08d}"
            begun = time.perf_counter()
            reader.shelf(account, "p1")
            took_s[at] = time.perf_counter() - begun
        told = server.info("commandstats")["cmdstat_hgetall"]
    finally:
        reader.close()
        server.close()
    p50, p99, most = np.quantile(took_s, [0.5, 0.99, 1.0]) * 1000
    return {
        "reads": reads,
        "p50_ms": round(float(p50), 4),
        "p99_ms": round(float(p99), 4),
        "max_ms": round(float(most), 3),
        "at_store_ms": round(told["usec_per_call"] / 1000, 5),
        "redis_mb": round(memory / 2**20, 1),
    }


COMMAND = shelves
