"""Packs and statuses in Cassandra: the newest version stands, the newest only, and a reader sees whole offsets."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cassandra.cluster import Session

from connectors.cassandra import close, connect
from connectors.cassandra_checkpoints import CassandraCheckpoints
from connectors.cassandra_reader import CellRows
from connectors.cassandra_schema import TABLES, ensure_schema
from connectors.cassandra_store import CellStore
from tests.topologies.packed import encode_pack
from topologies.concurrents import CONCURRENTS
from topologies.errors import StoreError, UsageError
from topologies.flushes import Pack
from topologies.packs import BUCKETS, PackedCell, bucket_of, decode_pack
from topologies.settings import Settings
from topologies.sources import Source, SourceStatus
from topologies.view import HOUR, LIVE, MINUTE
from topologies.views import VIEWS
from topologies.watch_time import WATCH_TIME

HOUR_MS = 3_600_000
ALL = tuple(VIEWS.values())


def source(partition: int = 0) -> Source:
    return Source("local", "viewing-events", "AAAAAAAAAAAAAAAAAAAA-_", partition)


def status(partition: int, offset: int) -> SourceStatus:
    return SourceStatus(source(partition), offset, offset * 1000, offset * 900, offset, offset, 0, 0, 0)


def watched(start_ms: int, title: str, watched_ms: int) -> Pack:
    key = (title, "eu")
    return Pack(WATCH_TIME, HOUR, start_ms, bucket_of(key), encode_pack([PackedCell(start_ms, 0, key, (watched_ms, 1, 2))]))


@pytest.fixture
def session(settings: Settings) -> Iterator[Session]:
    opened = connect(settings.cassandra)
    ensure_schema(opened, settings.cassandra, ALL)
    yield opened
    close(opened)


@pytest.fixture
def store(session: Session, settings: Settings) -> CellStore:
    return CellStore(session, settings.cassandra, ALL)


@pytest.fixture
def rows(session: Session, settings: Settings) -> CellRows:
    return CellRows(session, settings.cassandra, ALL)


async def test_packs_and_status_are_read_as_they_were_written(store: CellStore, rows: CellRows) -> None:
    minute = PackedCell(HOUR_MS + 60_000, 3, (), (17,))
    packs = [
        watched(HOUR_MS, "a", 5),
        watched(2 * HOUR_MS, "Ω", 2**60),
        Pack(CONCURRENTS, MINUTE, HOUR_MS, bucket_of(()), encode_pack([minute])),
        Pack(CONCURRENTS, LIVE, 0, bucket_of(("a",)), b""),
    ]
    await store.write_packs(source(), 10, packs)
    await store.write_status(status(0, 10))
    assert rows.statuses() == {str(source()): status(0, 10)}
    assert rows.pack_spans(WATCH_TIME, "hour") == [HOUR_MS, 2 * HOUR_MS]
    assert rows.pack_spans(CONCURRENTS, "live") == [0]
    (one,) = rows.packs(CONCURRENTS, "minute", HOUR_MS, bucket_of(()))
    assert (one.source, one.upto, decode_pack(one.blob)) == (str(source()), 10, [minute])
    assert rows.packs(CONCURRENTS, "minute", HOUR_MS) == [one]
    assert rows.packs(CONCURRENTS, "minute", HOUR_MS, (bucket_of(()) + 1) % BUCKETS) == []
    seen, cells = rows.source_cells(str(source()))
    assert seen == status(0, 10)
    named = {(cell.view, cell.window, cell.start_ms, cell.grouping, cell.key): values for cell, values in cells.items()}
    assert named == {
        ("watch_time", "hour", HOUR_MS, 0, ("a", "eu")): (5, 1, 2),
        ("watch_time", "hour", 2 * HOUR_MS, 0, ("Ω", "eu")): (2**60, 1, 2),
        ("concurrents", "minute", HOUR_MS + 60_000, 3, ()): (17,),
    }


async def test_whatever_the_order_of_writing_the_newest_version_stands(store: CellStore, rows: CellRows) -> None:
    versions = list(range(1, 40))
    random.Random(5).shuffle(versions)
    for version in versions:
        await store.write_packs(source(), version, [watched(HOUR_MS, "a", version)])
        await store.write_status(status(0, version))
    (pack,) = rows.packs(WATCH_TIME, "hour", HOUR_MS)
    assert (pack.upto, decode_pack(pack.blob)[0].values) == (39, (39, 1, 2))
    assert rows.statuses()[str(source())] == status(0, 39)


async def test_an_emptied_pack_stays_empty_whatever_a_zombie_writes(store: CellStore, rows: CellRows) -> None:
    await store.write_packs(source(), 10, [watched(HOUR_MS, "a", 5)])
    await store.write_packs(source(), 12, [dataclasses.replace(watched(HOUR_MS, "a", 5), blob=b"")])
    await store.write_packs(source(), 11, [watched(HOUR_MS, "a", 5)])
    await store.write_status(status(0, 12))
    assert rows.source_cells(str(source()))[1] == {}


async def test_many_packs_of_several_sources_at_once_all_arrive(store: CellStore, rows: CellRows) -> None:
    titles = [f"title {number}" for number in range(300)]
    buckets = {bucket_of((title, "eu")): title for title in titles}
    packs = [watched(HOUR_MS * hour, title, hour) for hour in range(1, 5) for title in buckets.values()]
    await asyncio.gather(*(store.write_packs(source(partition), 7, packs) for partition in range(4)))
    await asyncio.gather(*(store.write_status(status(partition, 7)) for partition in range(4)))
    names = [str(source(partition)) for partition in range(4)]
    looks = await asyncio.to_thread(rows.source_packs, names)
    assert [len(looks[name].packs) for name in names] == [len(packs)] * 4
    assert len(rows.packs(WATCH_TIME, "hour", HOUR_MS)) == 4 * len(buckets)


async def test_packs_and_large_checkpoints_share_a_connection(
    store: CellStore, rows: CellRows, session: Session, settings: Settings
) -> None:
    """The driver refuses statements while its socket is full; they are to wait, not to fail."""
    checkpoints = CassandraCheckpoints(session, settings.cassandra)
    payload = random.Random(1).randbytes(12_000_000)
    packs = [watched(HOUR_MS * hour, f"title {number}", hour) for hour in range(1, 5) for number in range(60)]
    large = [checkpoints.write(source(partition), 7, "w", payload) for partition in range(3)]
    await asyncio.gather(*large, *(store.write_packs(source(partition), 7, packs) for partition in range(3)))
    for partition in range(3):
        found = await checkpoints.newest(source(partition))
        assert found is not None
        assert found.payload == payload
    assert {pack.source for pack in rows.packs(WATCH_TIME, "hour", HOUR_MS)} == {str(source(partition)) for partition in range(3)}


async def test_a_source_in_the_middle_of_a_flush_is_waited_for(store: CellStore, rows: CellRows) -> None:
    await store.write_packs(source(), 10, [watched(HOUR_MS, "a", 10), watched(2 * HOUR_MS, "a", 10)])
    await store.write_status(status(0, 10))
    await store.write_packs(source(), 20, [watched(HOUR_MS, "a", 20)])
    with pytest.raises(StoreError, match=r"had unfinished flushes in Cassandra for 0\.2 s"):
        await asyncio.to_thread(rows.source_cells, str(source()), 0.2)
    reading = asyncio.create_task(asyncio.to_thread(rows.source_cells, str(source()), 120.0))
    await store.write_packs(source(), 20, [watched(2 * HOUR_MS, "a", 20)])
    await store.write_status(status(0, 20))
    seen, cells = await reading
    assert seen.offset == 20
    assert {values[0] for values in cells.values()} == {20}


async def test_a_reader_of_a_busy_source_only_ever_sees_whole_offsets(store: CellStore, rows: CellRows) -> None:
    """Every flush makes all packs carry its offset: a look with two offsets in it would be torn. The source rests longer after each, so
    that the slowest reader has its turn."""
    stop = threading.Event()

    async def write() -> int:
        version, rest_s = 0, 0.5
        while not stop.is_set():
            version += 1
            packs = [watched(HOUR_MS, f"title {number}", version) for number in (1, 2, 3)]
            packs += [watched(2 * HOUR_MS, f"title {number}", version) for number in (1, 2, 3)]
            await store.write_packs(source(), version, packs)
            await store.write_status(status(0, version))
            await asyncio.to_thread(stop.wait, rest_s)
            rest_s *= 1.2
        return version

    def read() -> list[int]:
        offsets: list[int] = []
        while len(offsets) < 3:
            if str(source()) in rows.statuses():
                seen, cells = rows.source_cells(str(source()), 300.0)
                assert {values[0] for values in cells.values()} == {seen.offset}
                offsets.append(seen.offset)
        return offsets

    writing = asyncio.create_task(write())
    try:
        offsets = await asyncio.to_thread(read)
    finally:
        stop.set()
        last = await writing
    assert offsets == sorted(offsets)
    assert offsets[-1] <= last


def test_an_unknown_source_is_an_error_not_an_empty_answer(rows: CellRows) -> None:
    with pytest.raises(StoreError, match="never heard of source"):
        rows.source_cells(str(source(9)))


def test_several_processes_may_make_the_schema_at_once(settings: Settings) -> None:
    sessions = [connect(settings.cassandra) for _ in range(4)]
    try:
        with ThreadPoolExecutor(4) as pool:
            for made in [pool.submit(ensure_schema, session, settings.cassandra, ALL) for session in sessions]:
                made.result()
        ensure_schema(sessions[0], settings.cassandra, ALL)
        query = "SELECT table_name, compaction FROM system_schema.tables WHERE keyspace_name = %s"
        found = {name: compaction["class"] for name, compaction in sessions[0].execute(query, (settings.cassandra.keyspace,))}
        assert found.keys() == {*TABLES, *(view.table for view in ALL), *(view.final_table for view in ALL)}
        assert all(name.endswith("UnifiedCompactionStrategy") for name in found.values())
        CellStore(sessions[1], settings.cassandra, ALL)
    finally:
        for session in sessions:
            close(session)


def test_a_data_centre_that_is_not_there_is_named(settings: Settings) -> None:
    with pytest.raises(UsageError, match=r"no data centre 'nowhere'; set cassandra\.datacenter to datacenter1"):
        connect(dataclasses.replace(settings.cassandra, datacenter="nowhere"))


def test_a_keyspace_without_tables_is_an_error_not_an_empty_answer(settings: Settings) -> None:
    session = connect(settings.cassandra)
    try:
        with pytest.raises(StoreError, match="answered with an error"):
            CellRows(session, settings.cassandra, ALL)
    finally:
        close(session)
