"""Bookmarks against their definition written down with dicts; and: no split, no restore, no flush changes what stands or what is due."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.arrows import batch_of, block_of, stream
from tests.topologies.logs import SOURCE, T0, Record, apply, event, examples, tick
from tests.topologies.shelved import MINUTE_MS, VIEWS, Key, Shelves, Stored, empty_state, random_log, walked_through
from topologies.cells import CACHE, DURABLE
from topologies.errors import OutdatedState
from topologies.events import TICK_VALUE
from topologies.fold import PartitionState
from topologies.marks import Mark
from topologies.state_codec import dump_state, load_state, pack_state


def remembered(state: PartitionState) -> dict[Key, Mark]:
    assert state.bookmarks is not None
    shelves = state.bookmarks.canonical(state.status().watermark_ms)
    return {
        (key[0].decode(), key[1].decode(), title.decode()): Mark(values[0], values[1], bool(values[2]), values[3], values[4])
        for key, kept in shelves.items()
        if isinstance(key, tuple)
        for title, values in kept[1].items()
    }


def folded(records: Sequence[Record], cuts: Iterable[int]) -> PartitionState:
    state = empty_state()
    for low, high in itertools.pairwise(sorted({0, len(records), *cuts})):
        apply(state, records[low:high])
    return state


SEEDS = st.integers(0, 2**32)
CUTS = st.lists(st.integers(1, 249), max_size=6)


@given(SEEDS, CUTS)
@examples(60)
def test_a_bookmark_is_that_of_the_greatest_ts_and_seq_whatever_the_split(seed: int, cuts: list[int]) -> None:
    records = random_log(seed, 250)
    state = folded(records, cuts)
    assert remembered(state) == walked_through(records).remembered()
    assert state.canonical() == folded(records, ()).canonical()


@given(SEEDS, CUTS)
@examples(60)
def test_what_is_due_is_written_at_the_next_flush_and_never_what_is_older(seed: int, cuts: list[int]) -> None:
    """Flushes at any places, of which some fail; both stores have at least what was due, and nothing that is not in the log."""
    records, draw, state = random_log(seed, 250), random.Random(seed), empty_state()
    reference, stores = Shelves(), {CACHE: Stored(), DURABLE: Stored()}
    for low, high in itertools.pairwise(sorted({0, len(records), *cuts})):
        apply(state, records[low:high])
        for record in records[low:high]:
            reference.feed(record)
        for store, stored in stores.items():
            stored.take(state, store, fails=draw.random() < 0.3)
            stored.take(state, store)
            assert stored.keys() <= reference.marks.keys()
            assert all(stored.get(key, mark) >= mark and key in stored for key, mark in reference.due.items())
            assert all(mark <= reference.marks[key] for key, mark in stored.items())
        state.close_final()
    assert remembered(state) == reference.remembered()


@given(SEEDS, st.integers(1, 249))
@examples(40)
def test_a_restored_state_goes_on_as_if_nothing_had_been(seed: int, at: int) -> None:
    records = random_log(seed, 250)
    state, stored, again = empty_state(), Stored(), Stored()
    apply(state, records[:at])
    stored.take(state, DURABLE)
    again |= stored
    state.close_final()
    restored = load_state(pack_state(dump_state(state)), SOURCE, VIEWS, bookmarks=True)
    assert restored.canonical() == state.canonical()
    for each, store in ((state, stored), (restored, again)):
        apply(each, records[at:])
        store.take(each, DURABLE)
    assert restored.canonical() == state.canonical()
    assert stored == again


def test_a_profile_is_written_once_a_minute_and_at_once_when_its_viewer_stops() -> None:
    state, stored = empty_state(), Stored()
    beats = [event(T0 + at * 5_000, seq=at, title="a" if at % 2 else "b", position_s=at) for at in range(49)]
    written = []
    for beat in beats:
        apply(state, [beat])
        if stored.take(state, DURABLE):
            written.append((beat.rts - T0) // 1000)
    assert written == [60, 120, 180, 240]
    apply(state, [event(T0 + 241_000, seq=49, title="a", position_s=48)])
    assert stored.take(state, DURABLE) == []
    apply(state, [event(T0 + 245_000, seq=50, title="b", position_s=49, type="pause")])
    assert sorted(stored.take(state, DURABLE)) == [("a", "p", "a"), ("a", "p", "b")]
    assert stored["a", "p", "b"].position_s == 49
    apply(state, [tick(T0 + 400_000)])
    assert stored.take(state, DURABLE) == []


def test_an_event_that_arrives_late_does_not_move_the_bookmark_back() -> None:
    state = empty_state()
    apply(state, [event(T0, seq=5, ts=T0, position_s=500), event(T0 + 1, seq=4, ts=T0 - 9_000, position_s=491)])
    apply(state, [event(T0 + 2, seq=1, session="other", ts=T0 - 60_000, position_s=7, type="stop")])
    assert remembered(state) == {("a", "p", "t"): Mark(T0, 5, False, 500, -1)}


@pytest.mark.parametrize("fields", [{"type": "finish"}, {"position_s": 90, "runtime_s": 90}, {"position_s": 91}])
def test_a_title_is_finished_by_finish_or_at_its_end(fields: dict[str, Any]) -> None:
    state = empty_state()
    apply(state, [event(T0, seq=0, position_s=3, runtime_s=90), event(T0 + 9, seq=1, **fields)])
    [mark] = remembered(state).values()
    assert mark.finished
    assert mark.runtime_s == 90


def test_what_both_stores_have_is_forgotten_and_its_place_used_again() -> None:
    state = empty_state()
    assert state.bookmarks is not None
    sizes = []
    for minute in range(40):
        rts = T0 + minute * MINUTE_MS
        apply(state, [event(rts, session=f"{minute}/{n}", account=f"{minute}/{n}", position_s=1, type="stop") for n in range(100)])
        state.bookmarks.take(DURABLE)
        if minute != 30:
            state.bookmarks.take(CACHE)
        state.close_final()
        sizes.append((len(remembered(state)), int(state.bookmarks.profiles.arrays.counts[0])))
    assert {count for count, _ in sizes[20:]} == {1600}
    assert max(rows for _, rows in sizes) <= 2_000


def test_a_restored_state_is_no_larger_than_what_it_remembers_though_a_store_was_away_for_hours() -> None:
    state = empty_state()
    assert state.bookmarks is not None
    for minute in range(60):
        rts = T0 + minute * MINUTE_MS
        apply(state, [event(rts, session=f"{minute}/{n}", account=f"{minute}/{n}", position_s=1, type="stop") for n in range(100)])
        state.bookmarks.take(DURABLE)
        state.close_final()
    state.bookmarks.take(CACHE)
    apply(state, [tick(T0 + 70 * MINUTE_MS), event(T0 + 70 * MINUTE_MS, session="last", position_s=1)])
    state.bookmarks.take(CACHE)
    state.close_final()
    restored = load_state(pack_state(dump_state(state)), SOURCE, VIEWS, bookmarks=True)
    assert restored.bookmarks is not None
    assert restored.canonical() == state.canonical()
    rows = {name: len(column) for name, column in restored.bookmarks.dump().items()}
    assert rows["marks"] == rows["profile_rows"] == len(remembered(state)) < 1_000
    assert rows["profile_pool"] == sum(len(account + profile) for account, profile, _ in remembered(state))


def test_a_store_that_lost_everything_is_given_all_that_is_known() -> None:
    state, cache = empty_state(), Stored()
    apply(state, [event(T0, session=str(n), account=str(n), position_s=n, type="stop") for n in range(20)])
    cache.take(state, CACHE)
    assert cache.take(state, CACHE) == []
    state.mark_all(CACHE)
    assert len(cache.take(state, CACHE)) == 20


def test_a_checkpoint_without_bookmarks_is_no_state_with_them() -> None:
    plain = pack_state(dump_state(PartitionState(SOURCE, VIEWS)))
    with pytest.raises(OutdatedState):
        load_state(plain, SOURCE, VIEWS, bookmarks=True)
    with pytest.raises(OutdatedState):
        load_state(pack_state(dump_state(empty_state())), SOURCE, VIEWS)


@given(SEEDS, st.booleans())
@examples(15)
def test_arrow_records_move_the_same_bookmarks(seed: int, coded: bool) -> None:
    """Texts in dictionaries and without, JSON records between them."""
    log = [record for record in random_log(seed, 150) if record.value != TICK_VALUE]
    state, plain = empty_state(), empty_state()
    for low in range(0, 150, 10):
        records = [Record(log[low].rts, record.value) for record in log[low : low + 10]]
        apply(plain, records)
        made = batch_of([json.loads(record.value or b"") for record in records[:7]]) if records else None
        if made is None:
            break
        for name in ("account", "profile", "title") if coded else ():
            place = made.schema.get_field_index(name)
            made = made.set_column(place, name, made.column(place).dictionary_encode())
        values = [stream(made), *(record.value for record in records[7:])]
        state.apply(replace(block_of(values, first=state.offset), timestamps=np.full(len(values), log[low].rts)))
    watermark = plain.status().watermark_ms
    assert state.bookmarks is not None
    assert plain.bookmarks is not None
    assert state.bookmarks.canonical(watermark) == plain.bookmarks.canonical(watermark)
