"""Final rows in a real Cassandra, and the volumes that they are bound into: made once every source has passed, made anew when one comes
later, the same whoever makes them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial

import pytest
from cassandra.cluster import Session

from connectors.cassandra import close, connect
from connectors.cassandra_finals import FinalPack, Mark, top_bucket
from connectors.cassandra_schema import ensure_schema
from connectors.cassandra_store import CellStore
from loadgen import audit_volumes
from streams.binding import bind_volume, volumes_of
from streams.historian import Historian, History
from tests.topologies.packed import encode_pack
from topologies import volumes
from topologies.concurrents import CONCURRENTS
from topologies.flushes import Pack
from topologies.packs import BUCKETS, PackedCell, bucket_of, decode_pack
from topologies.settings import Settings
from topologies.sources import LATENESS_MS, Finish, Source, SourceStatus
from topologies.view import HOUR, KEY_SEPARATOR, MINUTE, View
from topologies.volumes import Contents
from topologies.watch_time import WATCH_TIME

VIEWS = (CONCURRENTS, WATCH_TIME)
H = 3_600_000
PASSED = 2 * H + LATENESS_MS
"""The watermark that makes the hour from H on final."""
Cells = Mapping[tuple[str, ...], int]


def source(number: int) -> Source:
    return Source("local", "viewing-events", "AAAAAAAAAAAAAAAAAAAAAA", number)


class World:
    """A keyspace of its own, its sources as workers store them, and historians over it."""

    def __init__(self, settings: Settings, session: Session) -> None:
        self._settings = settings
        self.session = session
        self._store = CellStore(session, settings.cassandra, VIEWS)
        self.history = History.opened(session, settings.cassandra, VIEWS)

    def historian(self, name: str = "one") -> Historian:
        opened = partial(History.opened, self.session, self._settings.cassandra, VIEWS)
        return Historian(VIEWS, opened, name, share=1.0)

    async def store(self, number: int, offset: int, watermark_ms: int, hours: Mapping[int, Cells], minutes: Cells | None = None) -> None:
        """Source `number` at `offset`: watched_ms by (title, region) in the hours that start then; viewers by minute in the first hour."""
        packs: list[Pack] = []
        for start_ms, cells in hours.items():
            packed = [PackedCell(start_ms, 0, key, (watched, 1, 0)) for key, watched in cells.items()]
            by_bucket: dict[int, list[PackedCell]] = {}
            for cell in packed:
                by_bucket.setdefault(bucket_of(cell.key), []).append(cell)
            packs += [Pack(WATCH_TIME, HOUR, start_ms, bucket, encode_pack(held)) for bucket, held in by_bucket.items()]
        if minutes:
            viewers = [PackedCell(H + int(minute) * 60_000, 3, (), (count,)) for (minute,), count in minutes.items()]
            packs.append(Pack(CONCURRENTS, MINUTE, H, bucket_of(()), encode_pack(viewers)))
        await self._store.write_packs(source(number), offset, packs)
        await self._store.write_status(SourceStatus(source(number), offset, watermark_ms + 60_000, watermark_ms, 0, 0, 0, 0, 0))

    def mark(self, view: View = WATCH_TIME, window: str = "hour", pack_ms: int = H) -> Mark | None:
        return self.history.finals.marks(view, window).get(pack_ms)

    def packs(self, view: View = WATCH_TIME, window: str = "hour", pack_ms: int = H) -> list[FinalPack]:
        found = self.history.finals.packs(view, window, [pack_ms], range(BUCKETS))
        return sorted(found, key=lambda pack: pack.bucket)

    def watched(self, pack_ms: int = H) -> dict[tuple[str, ...], int]:
        return {cell.key: cell.values[0] for pack in self.packs(pack_ms=pack_ms) for cell in decode_pack(pack.blob)}

    def volume(self, first_ms: int = 0) -> tuple[Mark | None, dict[int, bytes]]:
        """The mark of a day's volume, and its packs that the mark tells of."""
        name = volumes.name_of(HOUR)
        mark = self.history.finals.marks(WATCH_TIME, name).get(first_ms)
        found = self.history.finals.packs(WATCH_TIME, name, [first_ms], range(volumes.BUCKETS))
        return mark, {} if mark is None else {
            pack.bucket: pack.blob for pack in found if Contents.parsed(mark.sources).has(pack.bucket) and pack.upto <= mark.upto
        }

    def bound(self, first_ms: int = 0) -> dict[tuple[int, tuple[str, ...]], int]:
        """What the day's volume has, in hours of the day."""
        cells = [cell for blob in self.volume(first_ms)[1].values() for cell in decode_pack(blob)]
        return {((cell.start_ms - first_ms) // H, cell.key): cell.values[0] for cell in cells}

    def best(self, pack_ms: int = H) -> list[tuple[tuple[str, ...], int]]:
        (pack,) = self.history.finals.packs(WATCH_TIME, "hour", [pack_ms], [top_bucket(0)])
        return [(cell.key, cell.values[0]) for cell in decode_pack(pack.blob)]


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    session = connect(settings.cassandra)
    try:
        ensure_schema(session, settings.cassandra, VIEWS)
        yield World(settings, session)
    finally:
        close(session)


A, B, C = ("a", "eu"), ("b", "eu"), ("c", "us")


async def test_a_span_gets_its_final_rows_when_the_last_source_has_passed_it(world: World) -> None:
    historian = world.historian()
    await world.store(0, 100, PASSED, {H: {A: 5, B: 9}, 2 * H: {A: 1}})
    await world.store(1, 50, PASSED - 1, {H: {A: 2, C: 1}})
    assert await historian.round() == 0
    assert (world.mark(), world.packs()) == (None, [])
    await world.store(1, 60, PASSED, {})
    assert await historian.round() == 1
    mark = world.mark()
    assert mark is not None
    assert mark.sources == f"{source(0)} {source(1)}"
    assert world.watched() == {A: 7, B: 9, C: 1}
    assert world.best() == [(B, 9), (A, 7), (C, 1)]
    assert world.mark(pack_ms=2 * H) is None
    assert await historian.round() == await world.historian("another").round() == 0


async def test_the_minutes_of_a_span_are_final_together(world: World) -> None:
    passed = H + MINUTE.pack_ms + LATENESS_MS
    await world.store(0, 10, passed - 1, {}, {("1",): 5, ("2",): 7})
    assert await world.historian().round() == 0
    await world.store(0, 20, passed, {})
    await world.store(1, 20, passed, {}, {("2",): 1})
    assert await world.historian().round() == 1
    (pack,) = world.packs(CONCURRENTS, "minute")
    assert [(cell.start_ms - H, cell.values) for cell in decode_pack(pack.blob)] == [(60_000, (5,)), (120_000, (8,))]


async def test_a_source_that_comes_later_is_waited_for_and_then_counted(world: World) -> None:
    historian = world.historian()
    await world.store(0, 100, PASSED, {H: {A: 5}})
    assert await historian.round() == 1
    before = world.mark()
    await world.store(2, 10, H, {H: {A: 1}})  # a backfill begins
    assert await historian.round() == 0
    await world.store(2, 40, PASSED + H, {H: {A: 3, B: 4}, 2 * H: {B: 1}})
    assert await historian.round() == 1
    after = world.mark()
    assert before is not None
    assert after is not None
    assert after.upto > before.upto
    assert after.basis != before.basis
    assert world.watched() == {A: 8, B: 4}
    assert world.best() == [(A, 8), (B, 4)]


async def test_a_view_that_came_later_has_no_final_rows_until_it_is_counted(world: World, settings: Settings) -> None:
    historian = world.historian()
    older = CellStore(world.session, settings.cassandra, (CONCURRENTS,))  # who stored it did not compute watch_time
    await older.write_status(SourceStatus(source(0), 100, PASSED + 60_000, PASSED, 0, 0, 0, 0, 0))
    await world.store(0, 30, H, {H: {A: 1}})  # counted from the log's beginning, below the status that stands
    assert await historian.round() == 0
    await world.store(0, 100, PASSED, {H: {A: 5}})
    assert await historian.round() == 1
    assert world.watched() == {A: 5}


async def test_a_source_without_a_cell_in_the_span_changes_its_mark_alone(world: World) -> None:
    historian = world.historian()
    await world.store(0, 100, PASSED, {H: {A: 5}})
    await historian.round()
    packs, before = world.packs(), world.mark()
    await world.store(1, 10, PASSED, {2 * H: {A: 1}})
    assert await historian.round() == 1
    after = world.mark()
    assert before is not None
    assert after is not None
    assert (after.sources, world.packs()) == (before.sources, packs)
    assert after.basis != before.basis


async def test_a_historian_that_knew_less_changes_nothing(world: World) -> None:
    await world.store(0, 100, PASSED, {H: {A: 5}})
    slow = world.historian("slow")
    slow._history = world.history
    old = world.history.bases()
    await world.store(1, 10, PASSED, {H: {A: 1}})
    assert await world.historian().round() == 1
    mark, packs = world.mark(), world.packs()
    (late,) = slow._lacking(world.history, old, WATCH_TIME, HOUR)
    assert await slow._make(world.history, late)
    assert (world.mark(), world.packs()) == (mark, packs)
    assert world.watched() == {A: 6}


async def test_several_historians_at_once_write_what_one_would(world: World) -> None:
    hours: dict[int, Cells] = {H * hour: {(f"t{hour}", "eu"): hour, A: hour} for hour in range(1, 9)}
    for number in range(3):
        await world.store(number, 10, 20 * H, hours)
    made = await asyncio.gather(*(world.historian(name).round() for name in ("one", "two", "three")))
    assert sum(made) >= 8
    assert all(world.watched(start_ms) == {key: 3 * watched for key, watched in cells.items()} for start_ms, cells in hours.items())
    assert await world.historian("four").round() == 0


async def test_a_source_that_has_ended_counts_as_it_stood(world: World) -> None:
    historian = world.historian()
    await world.store(0, 100, PASSED, {H: {A: 5}})
    await world.store(1, 7, H, {H: {A: 1}})
    assert await historian.round() == 0
    world.history.notes.end(source(1), 1)
    assert await historian.round() == 1
    assert world.watched() == {A: 6}
    await world.store(1, 8, H, {H: {A: 2}})  # what its last owner had folded comes late
    assert await historian.round() == 1
    mark = world.mark()
    assert mark is not None
    assert mark.sources.endswith("@8")
    assert world.watched() == {A: 7}


async def test_a_backfill_that_is_done_is_awaited_no_more_until_it_goes_on(world: World) -> None:
    historian, notes = world.historian(), world.history.notes
    await world.store(0, 100, PASSED, {H: {A: 5}})
    await world.store(1, 7, H, {H: {A: 1}})
    notes.finish(source(1), Finish(6, 1))
    assert await historian.round() == 0
    notes.finish(source(1), Finish(7, 1))
    assert await historian.round() == 1
    assert world.watched() == {A: 6}
    await world.store(1, 9, H, {H: {A: 3}})  # its topic is loaded again
    assert await world.historian("another").round() == 0
    assert world.history.bases().of(WATCH_TIME, HOUR, H) is None
    notes.finish(source(1), Finish(9, 2))
    notes.finish(source(1), Finish(7, 3))  # a worker that is behind
    assert await historian.round() == 1
    mark = world.mark()
    assert mark is not None
    assert mark.sources.endswith("@9")
    assert world.watched() == {A: 8}


async def test_a_historian_killed_before_its_mark_leaves_nothing_that_is_not_read(world: World) -> None:
    await world.store(0, 100, PASSED, {H: {A: 5}})
    await world.historian().round()
    written = {pack.bucket: pack.blob for pack in world.packs()}
    await world.store(0, 200, PASSED + 9, {})
    basis = world.history.bases().of(WATCH_TIME, HOUR, H)
    assert basis is not None
    world.history.store.write(WATCH_TIME, "hour", H, basis.version, written)  # it had looked before the mark was there
    mark = world.mark()
    assert mark is not None
    assert mark.basis == basis.digest
    assert {pack.upto for pack in world.packs()} == {mark.upto}


async def test_a_mark_below_its_packs_is_written_anew(world: World) -> None:
    """As versions that grew with every record left them."""
    await world.store(0, 100, PASSED, {H: {A: 5}})
    basis = world.history.bases().of(WATCH_TIME, HOUR, H)
    assert basis is not None
    rows = encode_pack([PackedCell(H, 0, A, (5, 1, 0))])
    world.history.store.write(WATCH_TIME, "hour", H, 250, {bucket_of(A): rows})
    world.history.store.mark(WATCH_TIME, "hour", H, Mark(101, basis.digest, str(source(0))))
    historian = world.historian()
    assert await historian.round() == 1
    mark, (pack,) = world.mark(), world.packs()
    assert mark is not None
    assert pack.upto <= mark.upto
    assert await historian.round() == 0


async def test_a_pack_that_cannot_be_read_holds_up_no_other_span(world: World) -> None:
    await world.store(0, 100, PASSED + H, {H: {A: 5}, 2 * H: {A: 1}})
    torn = dataclasses.replace(Pack(WATCH_TIME, HOUR, H, bucket_of(A), b""), blob=b"MQP1 torn")
    await world._store.write_packs(source(0), 101, [torn])
    assert await world.historian().round() == 1
    assert world.mark() is None
    assert world.watched(2 * H) == {A: 1}


# -- volumes --------------------------------------------------------------------------------------------------------------

DAY_PASSED = 24 * H + LATENESS_MS


async def settle(historian: Historian) -> int:
    """How many final rows and volumes could be made."""
    made = 0
    while more := await historian.round():
        made += more
    return made


async def test_a_day_gets_its_volume_when_its_last_hour_is_final_and_a_new_one_when_another_source_has_passed(world: World) -> None:
    historian = world.historian()
    await world.store(0, 100, DAY_PASSED - 1, {H: {A: 5, B: 9}, 3 * H: {A: 1}, 24 * H: {A: 7}})
    assert await settle(historian) == 2
    assert world.volume() == (None, {})
    await world.store(0, 110, DAY_PASSED, {})
    assert await settle(historian) == 1
    assert world.bound() == {(1, A): 5, (1, B): 9, (3, A): 1}
    before, packs = world.volume()
    assert await settle(world.historian("another")) == 0

    await world.store(1, 10, 0, {})  # a source that has nothing in it: the mark alone is another one
    assert await settle(historian) == 0
    await world.store(1, 20, DAY_PASSED, {25 * H: {A: 1}})
    assert await settle(historian) == 3
    after, same = world.volume()
    assert before is not None
    assert after is not None
    assert (after.upto > before.upto, after.basis != before.basis, after.sources, same) == (True, True, before.sources, packs)

    await world.store(2, 20, DAY_PASSED, {3 * H: {A: 2}, 4 * H: {C: 8}})
    assert await settle(historian) == 4  # three hours, two of which had rows, and the day
    assert world.bound() == {(1, A): 5, (1, B): 9, (3, A): 3, (4, C): 8}
    marks = world.history.finals.marks(WATCH_TIME, volumes.name_of(HOUR))
    audited = audit_volumes.read(world.history.finals, WATCH_TIME, HOUR, marks)
    assert {
        (start_ms // H, tuple(key.split(KEY_SEPARATOR))): values[0] for _, _, _, _, start_ms, _, key, values in audited
    } == world.bound()


async def test_a_volume_whose_historian_was_killed_or_knew_less_is_what_it_would_be(world: World) -> None:
    await world.store(0, 100, DAY_PASSED, {hour * H: {A: hour, B: 1} for hour in range(24)})
    await settle(world.historian())
    mark, packs = world.volume()
    old = world.history.bases()
    await world.store(1, 10, DAY_PASSED, {2 * H: {C: 1}})
    basis = volumes.basis_of(world.history.bases(), WATCH_TIME, HOUR, 0)
    assert mark is not None
    assert basis is not None
    torn = volumes.bucket_of("a"), volumes.bucket_of("z")  # one that knew more was killed, whatever it had written
    world.history.store.write(WATCH_TIME, volumes.name_of(HOUR), 0, basis.version - 1, dict.fromkeys(torn, b"MQP1 torn"))
    assert world.volume()[0] == mark, "what was not written anew is read as before"
    assert world.volume()[1] == {bucket: blob for bucket, blob in packs.items() if bucket not in torn}
    await asyncio.gather(*(settle(world.historian(name)) for name in ("two", "three")))
    watched = {(hour, A): hour for hour in range(24)} | {(hour, B): 1 for hour in range(24)}
    assert world.bound() == watched | {(2, C): 1}
    whole = world.volume()
    spans = old.of_spans(WATCH_TIME, HOUR, range(0, 24 * H, H))
    (late,) = volumes_of(old, WATCH_TIME, HOUR, spans)
    assert not await bind_volume(world.history.finals, world.history.store, late, asyncio.to_thread), "its hours are no more"
    world.history.store.mark(WATCH_TIME, volumes.name_of(HOUR), 0, mark)
    assert world.volume() == whole


async def test_a_volume_that_would_be_too_large_is_not_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.binding.MOST_BYTES", 10)
    historian = world.historian()
    await world.store(0, 100, DAY_PASSED, {H: {A: 5}})
    assert await settle(historian) == 1
    assert world.volume() == (None, {})
