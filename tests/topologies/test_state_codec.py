"""Checkpoints: what is dumped is restored; what is not a checkpoint of this source, these views and this version is refused."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import mmap
import struct
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cramjam
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import BY_THREE, COUNTED, SOURCE, T0, Record, apply, event, examples, folded, random_steps, walked
from topologies.audience import AUDIENCE
from topologies.concurrents import CONCURRENTS
from topologies.errors import CheckpointError, OutdatedState
from topologies.flushes import CellBatch
from topologies.fold import PartitionState
from topologies.playbacks import SESSIONS
from topologies.session_rows import ISLAND_ROWS, STARTED
from topologies.sessions import SessionTable
from topologies.state_codec import MAGIC, SCHEMA, SnapshotRoom, dump_state, load, load_state, pack_state
from topologies.view import DAY, HOUR, LIVE, MINUTE, STORED_DAY, Extreme, Measure, View
from topologies.watch_time import WATCH_TIME

VIEWS = (CONCURRENTS, WATCH_TIME, BY_THREE, *SESSIONS.parts)
STATE = folded(VIEWS, walked(random_steps(11, 300)))
PAYLOAD = pack_state(dump_state(STATE))


def test_a_checkpoint_is_the_whole_state() -> None:
    restored = load_state(PAYLOAD, SOURCE, VIEWS)
    assert restored.canonical() == STATE.canonical()
    assert restored.offset == STATE.offset == 300


def test_an_empty_state_has_a_checkpoint_too() -> None:
    empty = PartitionState(SOURCE, VIEWS, 7)
    restored = load_state(pack_state(dump_state(empty)), SOURCE, VIEWS)
    assert restored.canonical() == empty.canonical()
    assert apply(restored, [event(T0)]) == []


def test_what_happens_after_the_dump_does_not_reach_it() -> None:
    state = load_state(PAYLOAD, SOURCE, VIEWS)
    document = dump_state(state)
    apply(state, [event(T0 + 10**7, session="new", title="new")])
    assert load_state(pack_state(document), SOURCE, VIEWS).canonical() == STATE.canonical()


@given(st.integers(0, 2**32), st.lists(st.integers(1, 299), min_size=1, max_size=4, unique=True))
@examples(15)
def test_a_snapshot_is_the_state_at_its_offset_though_the_fold_goes_on_beside_it(seed: int, stops: list[int]) -> None:
    """Every snapshot in the same room, made into bytes on another thread while the next batches are folded."""
    records, room, state = walked(random_steps(seed, 300)), SnapshotRoom(), PartitionState(SOURCE, VIEWS)
    with ThreadPoolExecutor(1) as aside:
        for low, high in itertools.pairwise([0, *sorted(stops), 300]):
            snapshot = dump_state(state, room)
            packing = aside.submit(pack_state, snapshot)
            apply(state, records[low:high])
            restored = load_state(packing.result(), SOURCE, VIEWS)
            assert restored.offset == low
            assert restored.canonical() == folded(VIEWS, records[:low]).canonical()
            aside.submit(room.reserve, len(state.sessions.rows())).result()


def test_room_is_kept_given_back_and_done_without() -> None:
    room, rows = SnapshotRoom(), np.arange(160_000, dtype=np.int64).reshape(-1, 16)
    assert room.copy(rows).tolist() == rows.tolist()
    room.reserve(len(rows))
    first = room.copy(rows)
    assert first.tolist() == rows.tolist()
    assert np.shares_memory(first, room.copy(rows[:7]))
    room.reserve(len(rows) * 8)
    assert not np.shares_memory(first, room.copy(rows))
    large = room.copy(rows)
    room.reserve(9)
    assert not np.shares_memory(large, room.copy(rows[:7]))


def test_a_kernel_without_huge_pages_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(mmap.mmap):
        def madvise(self, *_: int) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Small)
    table = SessionTable(4)
    table.make_room()
    assert len(table.arrays.rows) == 8


@pytest.mark.parametrize("change", [{"region": "us"}, {"topic_id": "B" * 22}, {"partition": 4}])
def test_another_sources_checkpoint_is_refused(change: dict[str, object]) -> None:
    other = dataclasses.replace(SOURCE, **change)  # type: ignore[arg-type]  # one field of each type
    with pytest.raises(CheckpointError, match="stands where one of"):
        load_state(PAYLOAD, other, VIEWS)


@pytest.mark.parametrize(
    "views",
    [
        (CONCURRENTS, WATCH_TIME),
        (WATCH_TIME, CONCURRENTS, BY_THREE),
        (CONCURRENTS, dataclasses.replace(WATCH_TIME, logic_version=2), BY_THREE),
        (CONCURRENTS, dataclasses.replace(WATCH_TIME, windows=(DAY,)), BY_THREE),
        (CONCURRENTS, dataclasses.replace(WATCH_TIME, groupings=(("title",),)), BY_THREE),
        (CONCURRENTS, dataclasses.replace(WATCH_TIME, measures=WATCH_TIME.measures[:2]), BY_THREE),
        (),
    ],
)
def test_a_checkpoint_of_other_views_is_refused(views: tuple[View, ...]) -> None:
    with pytest.raises(CheckpointError, match="other views"):
        load_state(PAYLOAD, SOURCE, views)


@pytest.mark.parametrize(
    "watch_time",
    [
        dataclasses.replace(WATCH_TIME, leaderboard="plays"),
        dataclasses.replace(WATCH_TIME, leaderboard=None),
        dataclasses.replace(WATCH_TIME, windows=(HOUR, STORED_DAY)),
        dataclasses.replace(WATCH_TIME, windows=(dataclasses.replace(HOUR, retention_s=86_400), DAY)),
    ],
)
def test_a_checkpoint_of_views_that_were_otherwise_in_redis_alone_is_the_state_and_redis_lacks_all_of_it(watch_time: View) -> None:
    state = folded(VIEWS, walked(random_steps(11, 300)))
    state.take_cached()
    kept = load(pack_state(dump_state(state)), SOURCE, VIEWS)
    assert (kept.recached, kept.state.take_cached()[0]) == (False, [])
    views = (CONCURRENTS, watch_time, *VIEWS[2:])
    loaded = load(pack_state(dump_state(state)), SOURCE, views)
    assert loaded.recached
    assert loaded.state.canonical() == STATE.canonical()
    again = load(pack_state(dump_state(loaded.state)), SOURCE, views)  # of an owner that ended before it could tell Redis
    assert not again.recached
    expected = folded(views, walked(random_steps(11, 300))).take_cached()[0]
    for batches in (loaded.state.take_cached()[0], again.state.take_cached()[0]):
        assert cells_of(batches) == cells_of(expected)


def cells_of(batches: Iterable[CellBatch]) -> dict[tuple[str, str, int, int, bytes], tuple[int, ...]]:
    return {
        (batch.view.name, batch.window.name, batch.start_ms, batch.grouping, bytes(key)): tuple(values)
        for batch in batches
        for key, values in zip(batch.keys, batch.values.tolist(), strict=True)
        if any(values)
    }


def test_a_checkpoint_that_does_not_say_what_redis_was_to_have_is_of_what_is_declared() -> None:
    document = msgspec.msgpack.decode(PAYLOAD[10:])
    del document["cached"]
    packed = msgspec.msgpack.encode(document)
    payload = PAYLOAD[:6] + struct.pack("<I", zlib.crc32(packed)) + packed
    assert load_state(payload, SOURCE, VIEWS).canonical() == STATE.canonical()


def test_a_least_that_is_declared_as_a_greatest_does_not_go_on_from_the_least() -> None:
    least = dataclasses.replace(COUNTED, extremes=(Extreme("edge", "an edge", "min", of="startup_ms"),))
    greatest = dataclasses.replace(COUNTED, extremes=(Extreme("edge", "an edge", "max", of="startup_ms"),))
    payload = pack_state(dump_state(folded(least.parts, [event(T0, startup_ms=5)])))
    assert load_state(payload, SOURCE, least.parts).canonical()
    with pytest.raises(OutdatedState, match="other views"):
        load_state(payload, SOURCE, greatest.parts)


def test_another_schema_is_refused() -> None:
    with pytest.raises(CheckpointError, match=f"has schema {SCHEMA + 1}"):
        load_state(MAGIC + struct.pack("<H", SCHEMA + 1) + PAYLOAD[6:], SOURCE, VIEWS)


@pytest.mark.parametrize("payload", [b"", b"MQST", PAYLOAD[:9], b"x" * 100, b"MQSU" + PAYLOAD[4:]])
def test_what_is_no_checkpoint_is_refused(payload: bytes) -> None:
    with pytest.raises(CheckpointError, match="drop it to go on without it"):
        load_state(payload, SOURCE, VIEWS)


@given(st.integers(0, len(PAYLOAD) - 1), st.integers(0, 7))
@examples(100)
def test_a_flipped_bit_is_noticed(at: int, bit: int) -> None:
    broken = bytearray(PAYLOAD)
    broken[at] ^= 1 << bit
    with pytest.raises(CheckpointError, match=r"drop it to go on without it|has schema"):
        load_state(bytes(broken), SOURCE, VIEWS)


@given(st.integers(0, len(PAYLOAD) - 1))
@examples(60)
def test_a_checkpoint_cut_short_is_noticed(length: int) -> None:
    with pytest.raises(CheckpointError, match="drop it to go on without it"):
        load_state(PAYLOAD[:length], SOURCE, VIEWS)


def test_keys_of_which_nothing_is_left_are_not_restored() -> None:
    views = (WATCH_TIME, COUNTED.parts[0], *AUDIENCE.parts)
    state = folded(views, [event(T0 + at, session=f"s{at}", title=f"old{at}", watched_ms=9, startup_ms=9) for at in range(300)])
    later = [event(T0 + 10 * 86_400_000 + at, session=f"s{at}", title=f"new{at % 3}", watched_ms=7, startup_ms=at) for at in range(60)]
    apply(state, later[:40])
    for take in (state.take_cached, state.take_cached, state.take_packs):
        take()
    state.close_final()
    assert all(len(cells.keys) > 300 for cells in state.tumbling)
    restored = load_state(pack_state(dump_state(state)), SOURCE, views)
    assert all(len(cells.keys) < 100 for cells in restored.tumbling)
    assert restored.canonical() == state.canonical()
    apply(state, later[40:])
    apply(restored, later[40:])
    assert restored.canonical() == state.canonical()
    assert [pack.blob for pack in restored.take_packs()[0]] == [pack.blob for pack in state.take_packs()[0]]


def test_restored_arrays_can_be_written() -> None:
    restored = load_state(PAYLOAD, SOURCE, VIEWS)
    assert restored.live is not None
    assert all(array.flags.writeable for array in (*restored.sessions.arrays, restored.live.live, restored.live.sample_keys))
    assert restored.sessions.counters.dtype == np.int64


def without_first_frames(state: PartitionState) -> dict[str, Any]:
    """The canonical state, but for whether each session's first frame was applied, which schemas 1 and 2 did not keep: no view of theirs
    asked for it, and a state of other views is counted anew."""
    found = state.canonical()
    return {**found, "sessions": {who: (*row[:6], row[6] & ~STARTED, *row[7:]) for who, row in found["sessions"].items()}}


@pytest.mark.parametrize("schema", [1, 2])
def test_a_checkpoint_of_an_earlier_schema_is_still_read(schema: int) -> None:
    """checkpoint_schema_N.zst was written by the last version that wrote schema N, half way between two flushes."""
    watching = View(
        "watching", "who is there", (("title",), ("region", "device"), ()), (LIVE, MINUTE), (Measure("viewers", "viewers"),)
    )  # fmt: skip
    measures = (Measure("watched_ms", "watched", sum_of="watched_ms"), Measure("plays", "plays", count_of="play_start"))
    views = (watching, View("time", "how long", (("title", "region"), ("kind",)), (HOUR, DAY), measures))
    packed = Path(__file__).with_name(f"checkpoint_schema_{schema}.zst").read_bytes()
    kept = msgspec.msgpack.decode(bytes(cramjam.zstd.decompress(packed)))
    assert struct.unpack_from("<4sH", kept["checkpoint"]) == (MAGIC, schema)
    records = [Record(*record) for record in kept["records"]]
    truth, restored = folded(views, records[: kept["upto"]]), load_state(kept["checkpoint"], SOURCE, views)
    assert without_first_frames(restored) == without_first_frames(truth)
    assert restored.sessions.counters[ISLAND_ROWS] == 45
    apply(truth, records[kept["upto"] :])
    apply(restored, records[kept["upto"] :])
    assert without_first_frames(restored) == without_first_frames(truth)
    packs, _ = load_state(kept["checkpoint"], SOURCE, views).take_packs()
    assert {(pack.view.name, pack.window.name) for pack in packs} >= {("watching", "live"), ("time", "hour")}
