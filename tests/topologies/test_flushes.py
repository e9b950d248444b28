"""What flushes carry: whatever is written, fails, is lost or comes again after a crash, the stores end up with the state's cells.

Two pretend stores keep the promises that the real ones make: the cache takes cells, and refuses or asks for all of them as
docs/architecture.md says; the durable one takes whole packs, the newest version of each.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import BY_THREE, SOURCE, T0, Record, apply, event, examples, folded, random_steps, tick, walked
from topologies.cells import CACHE, DURABLE
from topologies.concurrents import CONCURRENTS
from topologies.flushes import CellBatch, Pack
from topologies.fold import FlushTaken, PartitionState
from topologies.packs import PackedCell, decode_pack
from topologies.playbacks import SESSIONS
from topologies.sources import LATENESS_MS
from topologies.state_codec import dump_state, load_state, pack_state
from topologies.view import HOUR, LIVE, MINUTE, View
from topologies.watch_time import WATCH_TIME

VIEWS = (CONCURRENTS, WATCH_TIME, BY_THREE)
StoredCell = tuple[str, str, int, bytes, int]
"""View, window, start, key, grouping."""


def all_cells(state: PartitionState) -> dict[StoredCell, tuple[int, ...]]:
    cells = state.canonical()["cells"]
    return {(view, *cell): values for view, found in cells.items() for cell, values in found.items()}


@dataclass
class Cache:
    """Redis as connectors/redis.py draws it, for one source."""

    cells: dict[StoredCell, tuple[int, ...]] = field(default_factory=dict)
    seen: int = -1
    applied: int = -1

    def put(self, batches: Iterable[CellBatch]) -> None:
        for batch in batches:
            for key, values in zip(batch.keys, batch.values.tolist(), strict=True):
                cell = (batch.view.name, batch.window.name, batch.start_ms, key, batch.grouping)
                self.cells.pop(cell, None)
                if any(values):
                    self.cells[cell] = tuple(values)


@dataclass
class Durable:
    """Cassandra: the newest version of each pack, and the newest checkpoint."""

    packs: dict[tuple[str, str, int, int], tuple[int, bytes]] = field(default_factory=dict)
    checkpoint: tuple[int, bytes] = (0, b"")

    def put(self, version: int, packs: Iterable[Pack]) -> None:
        for pack in packs:
            place = (pack.view.name, pack.window.name, pack.pack_ms, pack.bucket)
            if version >= self.packs.get(place, (-1, b""))[0]:
                self.packs[place] = (version, pack.blob)

    def cells(self) -> dict[StoredCell, tuple[int, ...]]:
        found: dict[StoredCell, tuple[int, ...]] = {}
        for (view, window, _, _), (_, blob) in self.packs.items():
            for cell in decode_pack(blob):
                place = (view, window, cell.start_ms, "\x1f".join(cell.key).encode(), cell.grouping)
                assert place not in found
                found[place] = cell.values
        return found


class Owner:
    """A partition's owner over one log, as streams/flush.py has it, with every outcome that a store may have."""

    def __init__(self, views: Sequence[View], records: Sequence[Record]) -> None:
        self.views, self.records = views, records
        self.state = PartitionState(SOURCE, views)
        self._eager()
        self.cached: int | None = None
        self.cache, self.durable = Cache(), Durable()
        self.lost = False
        """Whether the cache lost what it had after windows had been dropped as final."""

    def _eager(self) -> None:
        if self.state.live is not None:
            self.state.live.dropped_at_once = 1

    def fold(self, count: int) -> None:
        apply(self.state, self.records[self.state.offset : self.state.offset + count])

    def flush_cache(self, outcome: str, meanwhile: int = 0) -> None:
        """outcome: written, failed (nothing written), torn (half written)."""
        batches, taken = self.state.take_cached()
        version, cache = self.state.offset, self.cache
        self.fold(meanwhile)
        if version < cache.seen or outcome == "failed":
            self.state.put_back(taken)
            return
        if (self.cached is not None or cache.applied >= 0) and cache.applied < (self.cached or 0):
            self.cache = Cache(seen=version)
            self.state.mark_all(CACHE)
            self.cached = None
            self.lost = True
            return
        cache.seen = version
        if outcome == "torn":
            cache.put(batches[: len(batches) // 2])
            self.state.put_back(taken)
            return
        cache.put(batches)
        cache.applied = self.cached = version

    def flush_durable(self, outcome: str, meanwhile: int = 0, close: bool = True) -> None:
        """outcome: written, failed, torn."""
        packs, taken = self.state.take_packs()
        version = self.state.offset
        self.fold(meanwhile)
        if outcome != "written":
            self.durable.put(version, packs[: len(packs) // 2] if outcome == "torn" else ())
            self.state.put_back(taken)
            return
        self.durable.put(version, packs)
        if close:
            self.state.close_final()

    def checkpoint(self, meanwhile: int = 0) -> None:
        """Of any moment between two flushes of cells, whatever they left marked."""
        snapshot = dump_state(self.state)
        self.fold(meanwhile)
        self.durable.checkpoint = (snapshot.offset, pack_state(snapshot))

    def crash(self) -> None:
        """Another owner goes on from the newest checkpoint."""
        version, payload = self.durable.checkpoint
        self.state = load_state(payload, SOURCE, self.views) if payload else PartitionState(SOURCE, self.views)
        self._eager()
        self.cached = version if payload else None

    def lose_cache(self) -> None:
        self.cache = Cache()

    def settle(self) -> None:
        """Fold the rest, then flush until both stores took everything."""
        self.fold(len(self.records))
        self.flush_cache("written")
        self.flush_cache("written")
        assert self.cache.applied == self.state.offset
        self.flush_durable("written")


def walk(owner: Owner, seed: int, steps: int, faults: Sequence[str]) -> None:
    draw = random.Random(seed)
    for _ in range(steps):
        action = draw.choice(("fold", "fold", "cache", "cache", "durable", "checkpoint", *faults))
        outcome = draw.choice(("written", "written", "failed", "torn"))
        meanwhile = draw.choice((0, 0, 5, 60))
        if action == "fold":
            owner.fold(draw.randrange(40))
        elif action == "cache":
            owner.flush_cache(outcome, meanwhile)
        elif action == "durable":
            owner.flush_durable(outcome, meanwhile)
        elif action == "checkpoint":
            owner.checkpoint(meanwhile)
        elif action == "crash":
            owner.crash()
        else:
            owner.lose_cache()


def settled(owner: Owner) -> None:
    """Both stores hold exactly the cells of a state that was never flushed."""
    owner.settle()
    truth = all_cells(folded(owner.views, owner.records))
    assert owner.durable.cells() == truth
    watermark = owner.state.status().watermark_ms
    windows = {(view.name, window.name): window for view in owner.views for window in view.windows}
    kept = {cell: values for cell, values in truth.items() if windows[cell[:2]].cached}
    for cell, values in owner.cache.cells.items():
        assert kept.get(cell) == values
    for cell in kept.keys() - owner.cache.cells.keys():
        window = windows[cell[:2]]
        final = window.length_ms > 0 and watermark >= cell[2] + window.length_ms + LATENESS_MS
        expired = final and watermark >= cell[2] + window.length_ms + window.retention_s * 1000
        assert expired or (final and owner.lost)


def test_a_viewer_whose_leaving_was_stored_between_two_records_is_there_for_an_owner_that_sees_them_at_once() -> None:
    """The first owner stores that the viewer has left, which is true only between the last two records, and dies."""
    other = event(T0 + 31_000, session="other", title="other", region="other", device="other")
    records = [event(T0, type="play_start"), other, event(T0 + 32_000, type="resume", seq=1)]
    owner = Owner((CONCURRENTS,), records)
    for at in range(2):
        owner.fold(1)
        owner.flush_cache("written")
        owner.flush_durable("written")
        if at == 0:
            owner.checkpoint()
    owner.crash()
    settled(owner)


def test_a_session_whose_close_was_stored_between_two_records_is_open_for_an_owner_that_sees_them_at_once() -> None:
    """The first owner stores that silence has closed the session, which is true only between the last two records, and dies."""
    records = [event(T0, type="play_start"), tick(T0 + 661_000), event(T0 + 662_000, seq=1, title="other")]
    owner = Owner(SESSIONS.parts, records)
    for at in range(2):
        owner.fold(1)
        owner.flush_cache("written")
        owner.flush_durable("written")
        if at == 0:
            owner.checkpoint()
    assert owner.durable.cells()
    owner.crash()
    settled(owner)
    assert not owner.durable.cells()


SEEDS = st.integers(0, 2**32)
SUBSETS = st.sampled_from([VIEWS, (WATCH_TIME,), (CONCURRENTS,), (BY_THREE, CONCURRENTS), SESSIONS.parts])


@given(SEEDS, SUBSETS)
@examples(40)
def test_both_stores_end_up_with_every_cell(seed: int, views: tuple[View, ...]) -> None:
    owner = Owner(views, walked(random_steps(seed, 500)))
    walk(owner, seed, 60, ())
    assert not owner.lost
    settled(owner)


@given(SEEDS, SUBSETS)
@examples(40)
def test_crashes_and_a_lost_cache_leave_no_wrong_cell(seed: int, views: tuple[View, ...]) -> None:
    owner = Owner(views, walked(random_steps(seed, 500)))
    walk(owner, seed, 60, ("crash", "lost"))
    settled(owner)


def hours(count: int, minutes: int = 1) -> list[Record]:
    """A viewer for hours on end, an event each `minutes`."""
    return [event(T0 + at * 60_000 * minutes, seq=at, watched_ms=1000) for at in range(count * 60 // minutes)]


def test_a_final_window_that_the_cache_lacks_is_kept_for_it() -> None:
    owner = Owner((WATCH_TIME,), hours(8))
    owner.fold(200)
    owner.flush_durable("written")
    owner.flush_cache("written")
    settled(owner)


def test_a_flush_that_fails_after_its_window_was_closed_is_made_good() -> None:
    owner = Owner((WATCH_TIME,), hours(8))
    owner.fold(300)
    owner.flush_durable("written")
    _, taken = owner.state.take_cached()
    owner.state.close_final()
    owner.state.put_back(taken)
    settled(owner)


def test_final_windows_leave_the_state_once_both_stores_have_them() -> None:
    owner = Owner((WATCH_TIME,), hours(8))
    owner.settle()
    owner.flush_cache("written")
    owner.state.close_final()
    starts = sorted(start for window, start, _, _ in owner.state.canonical()["cells"]["watch_time"] if window == "hour")
    watermark = owner.state.status().watermark_ms
    assert starts
    assert all(start + HOUR.length_ms + LATENESS_MS > watermark for start in starts)


def test_a_window_that_the_cache_no_longer_wants_is_not_kept_for_it() -> None:
    owner = Owner((WATCH_TIME,), [*hours(2), tick(T0 + 40 * 3_600_000)])
    owner.fold(len(owner.records))
    owner.flush_durable("written")
    assert {window for window, *_ in owner.state.canonical()["cells"]["watch_time"]} == {"day"}


def test_an_hour_of_samples_is_never_stored_in_part() -> None:
    """The clock runs through hours while a flush is under way: what was stored before is still needed for its pack."""
    records = [record for at in range(4 * 60) for record in (event(T0 + at * 60_000, seq=at), tick(T0 + at * 60_000 + 59_999))]
    for stop in range(40, 140, 3):
        owner = Owner((CONCURRENTS,), records)
        owner.fold(stop)
        owner.flush_durable("written", meanwhile=300)
        settled(owner)


def test_samples_are_dropped_only_so_many_at_once() -> None:
    state = folded((CONCURRENTS,), [event(T0 + at * 20_000, seq=at) for at in range(3 * 60 * 30)])
    assert state.live is not None
    held = len(all_cells(state))
    state.take_packs()
    state.live.dropped_at_once = 1_000_000
    state.close_final()
    assert len(all_cells(state)) == held
    state.live.dropped_at_once = 1
    state.close_final()
    assert len(all_cells(state)) < held


def test_a_count_that_fell_to_zero_leaves_both_stores() -> None:
    owner = Owner((CONCURRENTS,), [event(T0, type="play_start"), event(T0 + 1, seq=1, type="stop")])
    everyone = ("concurrents", "live", 0, b"", 3)
    owner.fold(1)
    owner.flush_cache("written")
    owner.flush_durable("written")
    assert owner.cache.cells[everyone] == owner.durable.cells()[everyone] == (1,)
    owner.fold(1)
    owner.flush_cache("written")
    owner.flush_durable("written")
    assert owner.cache.cells == {}
    assert owner.durable.cells() == {}


def test_an_unchanged_state_has_nothing_to_flush() -> None:
    state = folded(VIEWS, walked(random_steps(5, 200)))
    state.take_cached()
    state.take_packs()
    batches, cached = state.take_cached()
    packs, stored = state.take_packs()
    assert (batches, packs) == ([], [])
    state.put_back(cached)
    state.put_back(stored)
    assert state.take_cached()[0] == []
    assert state.take_packs()[0] == []


@pytest.mark.parametrize("store", [CACHE, DURABLE])
def test_everything_can_be_asked_for_again(store: int) -> None:
    state = folded(VIEWS, walked(random_steps(5, 300)))
    state.take_cached()
    state.take_packs()
    state.mark_all(store)
    cache, durable = Cache(), Durable()
    cache.put(state.take_cached()[0])
    durable.put(0, state.take_packs()[0])
    truth = all_cells(state)
    assert durable.cells() == (truth if store == DURABLE else {})
    assert cache.cells == ({cell: values for cell, values in truth.items() if cell[1] != MINUTE.name} if store == CACHE else {})


def test_a_batch_is_of_one_grouping_and_names_its_cells() -> None:
    state = folded((CONCURRENTS,), [event(T0, type="play_start"), event(T0, session="b", type="play_start", title="u")])
    batches, taken = state.take_cached()
    assert isinstance(taken, FlushTaken)
    found = {batch.grouping: (sorted(batch.keys), batch.window, batch.start_ms) for batch in batches}
    assert found == {0: ([b"t", b"u"], LIVE, 0), 1: ([b"r"], LIVE, 0), 2: ([b"d"], LIVE, 0), 3: ([b""], LIVE, 0)}
    assert all(batch.values.dtype == np.int64 and batch.values.shape == (len(batch.keys), 1) for batch in batches)


def test_a_pack_holds_what_shares_its_bucket() -> None:
    state = folded((WATCH_TIME,), [event(T0, type="play_start", region=region) for region in ("r", "q")])
    packs, _ = state.take_packs()
    assert [(pack.window.name, pack.pack_ms) for pack in packs] == [("hour", T0 - T0 % HOUR.length_ms), ("day", T0 - T0 % 86_400_000)]
    assert decode_pack(packs[0].blob) == [PackedCell(packs[0].pack_ms, 0, ("t", "r"), (0, 1, 0))]
