"""Totals are the sum of the sources, whatever the workers did and in whatever order."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field, replace

import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from connectors.cell_id import CellId
from connectors.redis_cache import CellCache, FlushOutcome
from connectors.redis_reader import CellReader
from tests.connectors.redis_cells import NOW_MS, VIEWS, assert_totals_are_sums, named, open_cache, source, status, viewers, watched
from topologies.flushes import CellBatch
from topologies.settings import Settings

PARTITIONS = 2
State = dict[str, int]

# The log of a source: entry n says what its cells become at offset n + 1.
entries = st.tuples(st.sampled_from("abc"), st.sampled_from([0, 0, 1, 2, -3, 2**40]))
steps = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 3), st.integers(1, 4)),
    st.tuples(st.just("flush"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("die"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("empty"), st.just(0), st.just(0)),
)


@dataclass
class Owner:
    """One worker's copy of a source: two for each, so that one of them is always a zombie."""

    partition: int
    log: list[tuple[str, int]]
    offset: int = 0
    cells: State = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    last: int | None = None

    def read(self, count: int) -> None:
        for key, value in self.log[self.offset : self.offset + count]:
            self.cells[key] = value
            self.dirty.add(key)
            self.offset += 1

    def batches(self, keys: set[str]) -> list[CellBatch]:
        values = {key: self.cells[key] for key in sorted(keys)}
        return [
            viewers({(key,): (value,) for key, value in values.items()}),
            watched({(key, "eu"): (value, -value, value) for key, value in values.items()}),
        ]

    async def flush(self, cache: CellCache) -> None:
        now = status(self.partition, self.offset)
        outcome = await cache.flush(now, self.batches(self.dirty), last_applied=self.last, worker="w", at_ms=NOW_MS)
        if outcome is FlushOutcome.MISMATCH:
            outcome = await cache.reset(now.source, now.offset)
            if outcome is FlushOutcome.WRITTEN:
                outcome = await cache.flush(now, self.batches(set(self.cells)), last_applied=None, worker="w", at_ms=NOW_MS)
                assert outcome is FlushOutcome.WRITTEN
        if outcome is FlushOutcome.WRITTEN:
            self.dirty.clear()
            self.last = self.offset


def truth(log: list[tuple[str, int]], offset: int) -> State:
    return {key: value for key, value in dict(log[:offset]).items() if value}


def check(reader: CellReader, logs: list[list[tuple[str, int]]]) -> None:
    assert_totals_are_sums(reader, PARTITIONS)
    for name, cached in reader.statuses().items():
        if cached.consistent:
            seen, cells = reader.source_cells(name)
            assert seen.status is not None
            state = truth(logs[seen.source.partition], seen.status.offset)
            live, hours = viewers({}), watched({})
            expected: dict[CellId, tuple[int, ...]] = {named(live, (key,)): (value,) for key, value in state.items()}
            expected |= {named(hours, (key, "eu")): (value, -value, value) for key, value in state.items()}
            assert cells == expected


@given(logs=st.tuples(*[st.lists(entries, min_size=1, max_size=12)] * PARTITIONS), work=st.lists(steps, max_size=25))
@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_interleaving_of_owners_zombies_and_lost_servers_leaves_a_state_of_the_log(
    settings: Settings, logs: tuple[list[tuple[str, int]], ...], work: list[tuple[str, int, int]]
) -> None:
    fresh = replace(settings, redis=replace(settings.redis, prefix=f"{settings.redis.prefix}{uuid.uuid4().hex}:"))
    asyncio.run(_play(fresh, list(logs), work))


async def _play(settings: Settings, logs: list[list[tuple[str, int]]], work: list[tuple[str, int, int]]) -> None:
    reader = CellReader(settings.redis, VIEWS)
    owners = [Owner(number % PARTITIONS, logs[number % PARTITIONS]) for number in range(2 * PARTITIONS)]
    async with open_cache(settings) as cache:
        for kind, number, count in work:
            owner = owners[number]
            if kind == "read":
                owner.read(count)
            elif kind == "flush":
                await owner.flush(cache)
                check(reader, logs)
            elif kind == "die":
                owners[number] = Owner(owner.partition, owner.log)
            else:
                _empty(reader, settings)
        for owner in owners:
            owner.read(len(owner.log))
            await owner.flush(cache)
    check(reader, logs)
    for partition, log in enumerate(logs):
        cached, _ = reader.source_cells(str(source(partition)))
        assert cached.status is not None
        assert cached.status.offset == len(log)
    reader.close()


def _empty(reader: CellReader, settings: Settings) -> None:
    """What a restart without a disk leaves of this test's keys: nothing."""

    client = redis.Redis.from_url(settings.redis.url)
    keys = list(client.scan_iter(f"{settings.redis.prefix}*", count=1000))
    if keys:
        client.delete(*keys)
    client.close()
    assert reader.statuses() == {}
