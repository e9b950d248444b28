"""The cache: what is written is read, versions decide, and what the server lost is noticed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import redis

from connectors.redis_cache import CALLS_IN_FLIGHT, CELLS_A_CALL, CellCache, FlushOutcome
from connectors.redis_reader import CellReader
from tests.connectors.redis_cells import (
    NOW_MS,
    START_MS,
    VIEWERS,
    VIEWS,
    WATCHED,
    Cells,
    assert_totals_are_sums,
    named,
    open_cache,
    source,
    status,
    viewers,
    watched,
)
from topologies.errors import StoreError
from topologies.flushes import CellBatch
from topologies.settings import Settings
from topologies.texts import Texts

WRITTEN, REFUSED, MISMATCH = FlushOutcome.WRITTEN, FlushOutcome.REFUSED, FlushOutcome.MISMATCH


@pytest.fixture
def reader(settings: Settings) -> Iterator[CellReader]:
    opened = CellReader(settings.redis, VIEWS)
    yield opened
    opened.close()


async def flush(cache: CellCache, partition: int, offset: int, *batches: CellBatch, last: int | None = None) -> FlushOutcome:
    return await cache.flush(status(partition, offset), batches, last_applied=last, worker="w", at_ms=NOW_MS)


class Halved(Sequence[CellBatch]):
    """Two batches; whoever writes them is held between the first, of which Redis has most by then, and the second."""

    def __init__(self, first: CellBatch, second: CellBatch) -> None:
        assert len(first.keys) > CELLS_A_CALL * CALLS_IN_FLIGHT
        self._batches = (first, second)
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, at: Any) -> Any:
        return self._batches[at]

    def __iter__(self) -> Iterator[CellBatch]:
        yield self._batches[0]
        self.reached.set()
        assert self.go_on.wait(60)
        yield self._batches[1]


@asynccontextmanager
async def zombie(settings: Settings, cells: CellBatch) -> AsyncIterator[asyncio.Future[FlushOutcome]]:
    """While its block runs, another worker stands in the middle of its flush of twice `cells` at offset 10; then it goes on to its end."""
    halved = Halved(cells, cells)

    async def write() -> FlushOutcome:
        async with open_cache(settings) as cache:
            return await cache.flush(status(0, 10), halved, last_applied=None, worker="zombie", at_ms=NOW_MS)

    outcome = asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(write())))
    try:
        assert await asyncio.to_thread(halved.reached.wait, 60)
        yield outcome
    finally:
        halved.go_on.set()
        await outcome


async def test_what_a_source_flushed_is_read_at_its_offset(settings: Settings, reader: CellReader) -> None:
    titles = viewers({("Ω",): (3,), ("plain",): (2,)})
    nobody = viewers({(): (5,)}, grouping=1)
    hours = watched({("t", "eu"): (1, 9_000_000_000, 2)})
    async with open_cache(settings) as cache:
        assert await flush(cache, 0, 10, titles, nobody, hours) is WRITTEN
    cached, cells = reader.source_cells(str(source(0)))
    assert cached.status == status(0, 10)
    assert (cached.worker, cached.at_ms, cached.consistent) == ("w", NOW_MS, True)
    assert cells == {
        named(titles, ("Ω",)): (3,),
        named(titles, ("plain",)): (2,),
        named(nobody, ()): (5,),
        named(hours, ("t", "eu")): (1, 9_000_000_000, 2),
    }
    assert reader.totals(VIEWERS, "live", 0, 1) == {(): (5,)}
    assert reader.totals(WATCHED, "hour", START_MS, 0, [("t", "eu"), ("absent", "eu")]) == {("t", "eu"): (1, 9_000_000_000, 2)}
    assert reader.windows(WATCHED, "hour") == [START_MS]
    assert set(reader.statuses()) == {str(source(0))}


async def test_an_older_version_is_refused_an_equal_one_changes_nothing_a_newer_one_wins(settings: Settings, reader: CellReader) -> None:
    async with open_cache(settings) as cache:
        assert await flush(cache, 0, 10, viewers({("a",): (3,)})) is WRITTEN
        assert await flush(cache, 0, 9, viewers({("a",): (7,)}), last=9) is REFUSED
        assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (3,)}
        assert await flush(cache, 0, 10, viewers({("a",): (3,)}), last=10) is WRITTEN
        assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (3,)}
        assert await flush(cache, 0, 11, viewers({("a",): (4,)}), last=10) is WRITTEN
        assert await flush(cache, 1, 5, viewers({("a",): (10,)})) is WRITTEN
    assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (14,)}
    assert_totals_are_sums(reader, 2)


async def test_a_cell_of_zeros_is_gone_and_a_zombie_cannot_bring_it_back(settings: Settings, reader: CellReader) -> None:
    client = redis.Redis.from_url(settings.redis.url)
    async with open_cache(settings) as cache:
        await flush(cache, 0, 10, viewers({("a",): (3,)}), watched({("a", "eu"): (1, 1, 1)}))
        assert await flush(cache, 0, 20, viewers({("a",): (0,)}), watched({("a", "eu"): (0, 0, 0)}), last=10) is WRITTEN
        assert await flush(cache, 0, 15, viewers({("a",): (3,)}), last=10) is REFUSED
    assert reader.source_cells(str(source(0)))[1] == {}
    assert reader.totals(VIEWERS, "live", 0, 0) == {}
    assert reader.top(VIEWERS, "live", 0, 0, 10) == []
    left = {key.decode().removeprefix(settings.redis.prefix) for key in client.scan_iter(f"{settings.redis.prefix}*")}
    client.close()
    assert left == {"server", "sources", f"src:{source(0)}"}


async def test_a_zombie_in_the_middle_of_its_flush_is_refused_the_rest(settings: Settings, reader: CellReader) -> None:
    """Each call compares the version, not only the first: the new owner begins while the old one still has thousands of cells to write."""
    many = viewers({(f"title {number}",): (1,) for number in range(10_000)})
    async with open_cache(settings) as cache:
        async with zombie(settings, many) as outcome:
            assert not reader.statuses()[str(source(0))].consistent
            await cache.reset(source(0), 20)
            assert await flush(cache, 0, 20, viewers({("title 1",): (9,)})) is WRITTEN
        assert await outcome is REFUSED
    cells = reader.source_cells(str(source(0)))[1]
    assert cells == {named(many, ("title 1",)): (9,)}
    assert_totals_are_sums(reader, 1)


async def test_of_two_writers_at_one_version_only_the_later_goes_on(settings: Settings, reader: CellReader) -> None:
    """Else a zombie's reset takes away what the owner has just written, and the owner's end says that it stands there."""
    many = viewers({(f"title {number}",): (1,) for number in range(10_000)})
    async with open_cache(settings) as cache:
        async with zombie(settings, many) as outcome:
            assert await cache.reset(source(0), 10) is WRITTEN
        assert await outcome is REFUSED
        assert not reader.statuses()[str(source(0))].consistent
        assert await flush(cache, 0, 10, many) is WRITTEN
    assert len(reader.source_cells(str(source(0)))[1]) == 10_000
    assert_totals_are_sums(reader, 1)


async def test_leaders_come_greatest_first_and_equal_ones_by_key(settings: Settings, reader: CellReader) -> None:
    async with open_cache(settings) as cache:
        await flush(cache, 0, 1, viewers({("b",): (5,), ("a",): (5,), ("z",): (6,), ("c",): (1,)}))
        await flush(cache, 1, 1, viewers({("c",): (4,), ("d",): (5,)}))
    assert reader.top(VIEWERS, "live", 0, 0, 4) == [(("z",), 6), (("a",), 5), (("b",), 5), (("c",), 5)]
    assert reader.top(VIEWERS, "live", 0, 0, 0) == []


async def test_a_reset_takes_all_of_one_source_and_nothing_of_another(settings: Settings, reader: CellReader) -> None:
    many: Cells = {(f"title {number}",): (number + 1,) for number in range(3000)}
    async with open_cache(settings) as cache:
        await flush(cache, 0, 10, viewers(many), watched({("t", "eu"): (1, 2, 3)}))
        await flush(cache, 1, 10, viewers({("title 7",): (100,)}), watched({("t", "eu"): (5, 5, 5)}))
        assert await cache.reset(source(0), 9) is REFUSED
        assert await cache.reset(source(0), 10) is WRITTEN
        assert reader.statuses()[str(source(0))].status is None
        assert reader.totals(VIEWERS, "live", 0, 0) == {("title 7",): (100,)}
        assert reader.totals(WATCHED, "hour", START_MS, 0) == {("t", "eu"): (5, 5, 5)}
        assert reader.top(VIEWERS, "live", 0, 0, 5) == [(("title 7",), 100)]
        with pytest.raises(StoreError, match=r"was not consistent in Redis for 0\.1 s"):
            reader.source_cells(str(source(0)), timeout_s=0.1)
        assert await flush(cache, 0, 11, viewers(many)) is WRITTEN
    assert_totals_are_sums(reader, 2)


async def test_an_owner_whose_writes_are_missing_is_told_so(settings: Settings, reader: CellReader) -> None:
    async with open_cache(settings) as cache:
        assert await flush(cache, 0, 10, viewers({("a",): (1,)}), last=8) is MISMATCH, "it wrote, and nothing is there"
        assert await flush(cache, 0, 10, viewers({("a",): (1,)})) is WRITTEN
        assert await flush(cache, 0, 30, viewers({("a",): (2,)}), last=20) is MISMATCH, "it wrote more than is there"
        assert await cache.reset(source(0), 30) is WRITTEN
        assert await flush(cache, 0, 30, viewers({("a",): (2,), ("b",): (1,)})) is WRITTEN
    assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (2,), ("b",): (1,)}


async def test_a_first_flush_that_was_cut_short_is_not_built_upon(settings: Settings, reader: CellReader) -> None:
    """A worker dies in its first flush; the next one, which starts from nothing too, must not inherit half of its cells."""
    async with open_cache(settings) as cache:
        await flush(cache, 0, 10, viewers({("ghost",): (1,)}))
        client = redis.Redis.from_url(settings.redis.url)
        client.hdel(f"{settings.redis.prefix}src:{source(0)}", "applied")
        client.close()
        assert await flush(cache, 0, 12, viewers({("a",): (1,)})) is MISMATCH
        assert await cache.reset(source(0), 12) is WRITTEN
        assert await flush(cache, 0, 12, viewers({("a",): (1,)})) is WRITTEN
    assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (1,)}


async def test_the_functions_are_loaded_again_when_the_server_lost_them(settings: Settings, reader: CellReader) -> None:
    async with open_cache(settings) as cache:
        client = redis.Redis.from_url(settings.redis.url)
        client.function_flush()
        client.close()
        assert await flush(cache, 0, 10, viewers({("a",): (1,)})) is WRITTEN
    assert reader.totals(VIEWERS, "live", 0, 0) == {("a",): (1,)}


async def test_calls_of_a_flush_that_come_twice_count_once_and_do_not_stand_in_for_one_that_failed(
    settings: Settings, reader: CellReader
) -> None:
    client: Any = redis.Redis.from_url(settings.redis.url)

    def sent(call: tuple[str, int, list[str], list[Any]]) -> Any:
        name, count, names, arguments = call
        try:
            return client.execute_command("FCALL", name, count, *names, *arguments)
        except redis.ResponseError as error:
            return str(error)

    cells: dict[tuple[str, ...], tuple[int, ...]] = {(f"t{number}",): (1,) for number in range(2 * CELLS_A_CALL + CELLS_A_CALL // 2)}
    async with open_cache(settings) as cache:
        begin, first, second, third, end = cache._calls(status(0, 10), [viewers(cells)], None, "w", NOW_MS)
        assert [sent(call) for call in (begin, first, second, second, third, third, end)] == [b"ok"] * 7
        assert reader.statuses()[str(source(0))].consistent
        await flush(cache, 1, 10, viewers({("z",): (2**53 - 1,)}))
        cells[("z",)] = (7,)
        begin, first, second, third, end = cache._calls(status(0, 11), [viewers(cells)], 10, "w", NOW_MS)
        assert [sent(call) for call in (begin, first, second)] == [b"ok"] * 3
        for _ in range(3):
            assert "beyond 2^53" in str(sent(third))
            assert [sent(second), sent(end)] == [b"ok", b"refused"]
    assert not reader.statuses()[str(source(0))].consistent
    client.close()


async def test_a_window_expires_at_its_end_and_retention_and_is_not_written_after_it(settings: Settings, reader: CellReader) -> None:
    client = redis.Redis.from_url(settings.redis.url)
    old = START_MS - 27 * 3_600_000
    async with open_cache(settings) as cache:
        await flush(cache, 0, 10, watched({("t", "eu"): (1, 2, 3)}), watched({("t", "eu"): (1, 2, 3)}, old), viewers({("a",): (1,)}))
    assert reader.windows(WATCHED, "hour") == [START_MS]
    stem = f"{settings.redis.prefix}watched:1:hour:{START_MS}:0:"
    times = {client.expiretime(f"{stem}{kind}") for kind in ("t", f"s:{source(0)}", "b:watched_ms")}
    assert times == {START_MS // 1000 + 3600 + WATCHED.windows[0].retention_s}
    assert client.expiretime(f"{settings.redis.prefix}viewers:1:live:0:0:t") == -1
    client.close()


async def test_a_total_that_a_double_cannot_hold_is_an_error_and_changes_nothing(settings: Settings, reader: CellReader) -> None:
    async with open_cache(settings) as cache:
        await flush(cache, 0, 10, watched({("t", "eu"): (2**53 - 1, 1, 1)}))
        with pytest.raises(StoreError, match=r"beyond 2\^53"):
            await flush(cache, 1, 10, watched({("t", "eu"): (7, 1, 1)}), viewers({("t",): (1,)}))
    assert reader.totals(WATCHED, "hour", START_MS, 0) == {("t", "eu"): (2**53 - 1, 1, 1)}
    assert not reader.statuses()[str(source(1))].consistent, "its end came in one pipeline with the call that failed"


async def test_a_server_that_evicts_is_not_used(settings: Settings) -> None:
    client = redis.Redis.from_url(settings.redis.url)
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreError, match="noeviction"):
            async with open_cache(settings):
                pass
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.close()


async def test_cells_of_a_batch_larger_than_one_call_all_arrive(settings: Settings, reader: CellReader) -> None:
    keys = [f"title {number}".encode() for number in range(12_345)]
    batch = CellBatch(VIEWERS, VIEWERS.windows[0], 0, 0, Texts.of(keys), np.arange(12_345, dtype=np.int64).reshape(-1, 1))
    async with open_cache(settings) as cache:
        assert await flush(cache, 0, 10, batch) is WRITTEN
    totals = reader.totals(VIEWERS, "live", 0, 0)
    assert totals == {(f"title {number}",): (number,) for number in range(1, 12_345)}


def test_an_unknown_source_is_an_error_not_an_empty_answer(reader: CellReader) -> None:
    with pytest.raises(StoreError, match="never heard of source"):
        reader.source_cells(str(source(5)))
