"""Cells of a distinct count: the sketches of the log's values, whatever the blocks, flushes and restarts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.arrows import batch_of, block_of, stream
from tests.topologies.crowds import crowd, records, sketch_of
from tests.topologies.logs import EVENT, SOURCE, apply, examples, folded, random_steps, tick, walked
from topologies.audience import AUDIENCE
from topologies.cells import CACHE, DURABLE
from topologies.errors import DeclarationError
from topologies.flushes import Pack
from topologies.fold import PartitionState
from topologies.sketch_cells import SketchCells
from topologies.sketch_packs import PackedSketch, decode_sketches
from topologies.sources import LATENESS_MS
from topologies.state_codec import dump_state, load_state, pack_state
from topologies.view import DAY, HOUR, MINUTE, Distinct, View, Window, parts_of

MANY = View(
    name="many",
    summary="distinct counts of all kinds",
    groupings=(("title", "region"), ("cdn",), ()),
    windows=(DAY, MINUTE, HOUR),
    distincts=(Distinct("accounts", "", of=("account",)), Distinct("sessions", "", of=("account", "session")), Distinct("viewers", "")),
)
PARTS = parts_of((AUDIENCE, MANY))
HOUR_MS = HOUR.length_ms


def cells_of(state: PartitionState, name: str = "audience.viewers") -> SketchCells:
    found = next(cells for cells in state.tumbling if cells.view.name == name)
    assert isinstance(found, SketchCells)
    return found


def expected(view: View, events: Iterable[dict[str, Any]]) -> dict[tuple[str, int, bytes, int], tuple[int, ...]]:
    """The cells of these events, all of them applied, from sets of values."""
    assert view.distinct is not None
    values: defaultdict[tuple[str, int, bytes, int], set[str]] = defaultdict(set)
    for fields in events:
        value = "\x1f".join(str(fields[name]) for name in view.distinct.of)
        for grouping, names in enumerate(view.groupings):
            key = "\x1f".join(str(fields.get(name, "")) for name in names).encode()
            for window in view.windows:
                values[window.name, window.start_of(fields["ts"]), key, grouping].add(value)
    return {place: tuple(sketch_of(found).tolist()) for place, found in values.items()}


CROWD = crowd(1, 6000, 3000)


def test_sketches_are_those_of_the_logs_values_sparse_and_dense() -> None:
    state = folded(PARTS, records(CROWD), range(0, 6000, 700))
    for view in PARTS:
        assert cells_of(state, view.name).canonical() == expected(view, CROWD)
    sizes = [len(coupons) for coupons in cells_of(state, "many.viewers").canonical().values()]
    assert min(sizes) < 30
    assert max(sizes) > 2000


def test_arrow_gives_the_sketches_that_json_gives() -> None:
    state = PartitionState(SOURCE, PARTS)
    state.apply(block_of([stream(batch_of(CROWD[low : low + 1000])) for low in range(0, 6000, 1000)], rts=CROWD[-1]["ts"]))
    assert state.status().applied == 6000
    assert cells_of(state).canonical() == expected(AUDIENCE.parts[0], CROWD)


@given(st.integers(0, 2**32), st.lists(st.integers(1, 399), max_size=6), st.integers(0, 400))
@examples(25)
def test_neither_blocks_nor_flushes_nor_a_restart_change_a_sketch(seed: int, cuts: list[int], restart: int) -> None:
    log = walked(random_steps(seed, 400))
    state = PartitionState(SOURCE, PARTS)
    for low, high in pairwise(sorted({0, restart, 400, *cuts})):
        if low == restart:
            state = load_state(pack_state(dump_state(state)), SOURCE, PARTS)
        apply(state, log[low:high])
        state.take_packs()
        state.close_final()
    whole = folded(PARTS, log)
    whole.take_packs()
    whole.close_final()
    assert state.canonical() == whole.canonical()


def place(pack: Pack, sketch: PackedSketch) -> tuple[str, int, bytes, int]:
    return pack.window.name, sketch.start_ms, "\x1f".join(sketch.key).encode(), sketch.grouping


def stored(packs: Iterable[Pack]) -> dict[tuple[str, int, bytes, int], tuple[int, ...]]:
    return {place(pack, sketch): tuple(sketch.coupons.tolist()) for pack in packs for sketch in decode_sketches(pack.blob)}


def test_packs_hold_every_sketch_and_then_those_that_have_changed() -> None:
    state = folded(AUDIENCE.parts, records(CROWD))
    packs, taken = state.take_packs()
    assert stored(packs) == cells_of(state).canonical()
    assert state.take_packs()[0] == []
    last = CROWD[-1]
    apply(state, records([{**last, "session": "again"}]))
    assert state.take_packs()[0] == []
    apply(state, records([{**last, "session": "new", "account": "new", "title": "t1", "region": "r1"}]))
    changed, _ = state.take_packs()
    assert {(pack.window.name, pack.pack_ms) for pack in changed} == {(w.name, w.pack_of(last["ts"])) for w in (HOUR, DAY)}
    assert len(changed) == 2
    assert stored(changed).items() <= cells_of(state).canonical().items()
    state.put_back(taken)
    assert stored(state.take_packs()[0]) == cells_of(state).canonical()
    state.mark_all(DURABLE)
    assert stored(state.take_packs()[0]) == cells_of(state).canonical()


def test_minutes_share_packs() -> None:
    state = folded(parts_of((MANY,)), records(CROWD))
    packs = [pack for pack in state.take_packs()[0] if pack.view.name == "many.accounts"]
    assert stored(packs) == cells_of(state, "many.accounts").canonical()
    starts = {sketch.start_ms for pack in packs if pack.window.name == "minute" for sketch in decode_sketches(pack.blob)}
    assert len(starts) > len({pack.pack_ms for pack in packs if pack.window.name == "minute"})


def test_the_cache_gets_no_sketch() -> None:
    state = folded(PARTS, records(CROWD[:50]))
    state.mark_all(CACHE)
    assert state.take_cached()[0] == []


def test_what_is_final_and_stored_is_dropped_and_the_rest_stays_as_it_is() -> None:
    state = folded(AUDIENCE.parts, records(CROWD))
    cells, before = cells_of(state), cells_of(state).canonical()
    end = max(start for window, start, _, _ in before if window == "hour") + HOUR_MS
    apply(state, [tick(end + LATENESS_MS + 60_000)])
    state.close_final()
    assert cells.canonical() == before
    state.take_packs()
    used = cells.nbytes
    state.close_final()
    kept = {key: coupons for key, coupons in before.items() if key[0] == "day"}
    assert cells.canonical() == kept
    assert cells.nbytes < used
    more = {**CROWD[0], "ts": end + LATENESS_MS, "session": "more", "account": "more"}
    apply(state, records([more]))
    assert cells.canonical() == kept | {
        key: coupons for key, coupons in expected(AUDIENCE.parts[0], [*CROWD, more]).items() if key[0] == "day" or key[1] >= end
    }


def test_a_state_takes_little_for_many_small_sketches() -> None:
    """20,000 cells of a viewer each, an hour and a day of them: 120 bytes a sketch at the most."""
    rows = [{**EVENT, "session": f"s{at}", "account": f"a{at}", "title": f"t{at}"} for at in range(20_000)]
    state = folded(AUDIENCE.parts, records(rows))
    cells = cells_of(state)
    assert len(cells) == 40_000
    assert cells.nbytes - (2 << 20) < 40_000 * 120 + 500_000


def test_windows_of_a_distinct_count_lie_in_one_another() -> None:
    odd = Window("odd", 5_400_000, 5_400_000, cached=False, retention_s=0)
    with pytest.raises(DeclarationError, match="each is a multiple of the next shorter"):
        View(name="odd", summary="", groupings=((),), windows=(HOUR, odd), distincts=(Distinct("viewers", ""),))


def test_sketches_of_a_restored_state_go_on() -> None:
    log = records(CROWD)
    state = load_state(pack_state(dump_state(folded(PARTS, log[:4000]))), SOURCE, PARTS)
    assert all(array.flags.writeable for array in (cells_of(state)._words, cells_of(state)._free))
    apply(state, log[4000:])
    assert state.canonical() == folded(PARTS, log).canonical()
    assert np.array_equal(cells_of(state).sketch(0), cells_of(folded(PARTS, log)).sketch(0))
