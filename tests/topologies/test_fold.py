"""The fold against docs/architecture.md written down plainly; and: no split, no restore, no growth changes anything."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import (
    BY_THREE,
    COMMON_RTS_STEPS,
    COUNTED,
    RTS_STEPS,
    SEQ_STEPS,
    SOURCE,
    T0,
    TS_STEPS,
    TYPES_WALKED,
    Record,
    Step,
    apply,
    block,
    event,
    examples,
    folded,
    random_steps,
    tick,
    walked,
)
from tests.topologies.reference import agrees
from topologies.concurrents import CONCURRENTS
from topologies.errors import DeclarationError, SourceError
from topologies.fold import PartitionState
from topologies.playbacks import SESSIONS
from topologies.state_codec import dump_state, load_state, pack_state
from topologies.view import LIVE, MINUTE, Measure, View, parts_of
from topologies.views import every_part
from topologies.watch_time import WATCH_TIME

VIEWS = (CONCURRENTS, WATCH_TIME, BY_THREE)
SUBSETS: tuple[tuple[View, ...], ...] = (
    VIEWS, (WATCH_TIME,), (CONCURRENTS,), (BY_THREE, CONCURRENTS), (), SESSIONS.parts, every_part(), parts_of((COUNTED, SESSIONS))
)  # fmt: skip

STEPS = st.lists(
    st.builds(
        Step,
        rts=st.one_of(st.sampled_from(COMMON_RTS_STEPS), st.sampled_from(RTS_STEPS)),
        kind=st.sampled_from(("event",) * 12 + ("tick", "broken")),
        who=st.integers(0, 2),
        seq=st.sampled_from(SEQ_STEPS),
        ts=st.sampled_from(TS_STEPS),
        type=st.sampled_from(TYPES_WALKED),
        amount=st.integers(0, 13),
        where=st.integers(0, 11),
    ),
    max_size=60,
)
SEEDS = st.integers(0, 2**32)


@given(STEPS, st.sampled_from(SUBSETS))
@examples(150)
def test_the_fold_is_what_the_architecture_says(steps: list[Step], views: tuple[View, ...]) -> None:
    agrees(views, walked(steps))


@given(SEEDS, st.lists(st.integers(0, 400), max_size=12))
@examples(50)
def test_the_fold_is_what_the_architecture_says_after_a_long_walk(seed: int, cuts: list[int]) -> None:
    agrees(parts_of((*VIEWS, SESSIONS, COUNTED)), walked(random_steps(seed, 400)), cuts)


@given(SEEDS)
@examples(10)
def test_one_session_of_many_gaps_and_returns(seed: int) -> None:
    agrees((*VIEWS, SESSIONS), walked(random_steps(seed, 600, sessions=1, places=2)))


@given(SEEDS, st.sampled_from(SUBSETS), st.lists(st.integers(0, 250), max_size=20))
@examples(40)
def test_any_split_into_blocks_gives_the_same_state(seed: int, views: tuple[View, ...], cuts: list[int]) -> None:
    records = walked(random_steps(seed, 250))
    assert folded(views, records, cuts).canonical() == folded(views, records).canonical()


@given(SEEDS, st.sampled_from(SUBSETS), st.lists(st.integers(0, 250), min_size=1, max_size=3))
@examples(30)
def test_going_on_from_any_checkpoint_gives_the_same_state(seed: int, views: tuple[View, ...], stops: list[int]) -> None:
    records = walked(random_steps(seed, 250))
    state = PartitionState(SOURCE, views)
    bounds = sorted({0, len(records), *stops})
    for low, high in itertools.pairwise(bounds):
        apply(state, records[low:high])
        state = load_state(pack_state(dump_state(state)), SOURCE, views)
    assert state.canonical() == folded(views, records).canonical()


def crowd(sessions: int, minutes: int) -> list[Record]:
    """Many sessions of titles of their own, one event each a minute, every third one with a gap before it."""
    records: list[Record] = []
    for minute in range(minutes):
        for who in range(sessions):
            rts = T0 + minute * 60_000 + who * 60_000 // sessions
            seq = minute * (2 if who % 3 == 0 else 1)
            records.append(event(rts, session=f"s{who}", account=f"a{who % 7}", seq=seq, title=f"title {who}", watched_ms=1))
    return records


def test_every_table_grows_without_a_trace() -> None:
    records = crowd(2500, 4)
    state = agrees(VIEWS, records, range(0, len(records), 3001))
    assert state.canonical() == folded(VIEWS, records, range(0, len(records), 700)).canonical()


def test_islands_grow_without_a_trace() -> None:
    records = [event(T0 + at, session=f"s{at % 5}", seq=2 * (at // 5)) for at in range(2000)]
    records += [event(T0 + 3000 + at, session=f"s{at % 5}", seq=at // 5) for at in range(2000)]
    agrees(VIEWS, records)


def test_forgotten_sessions_make_room_for_new_ones() -> None:
    records = [event(T0 + at * 10_000, session=f"s{at}") for at in range(3000)]
    state = agrees((CONCURRENTS,), records)
    assert len(state.canonical()["sessions"]) < 200
    assert len(state.sessions.arrays.rows) <= 2048


def test_a_silent_viewer_leaves_by_the_clock_alone() -> None:
    state = folded((CONCURRENTS,), [event(T0, type="play_start")])
    everyone = ("live", 0, b"", 3)
    apply(state, [tick(T0 + 29_999)])
    assert state.canonical()["cells"]["concurrents"][everyone] == (1,)
    apply(state, [tick(T0 + 30_000)])
    assert everyone not in state.canonical()["cells"]["concurrents"]


@pytest.mark.parametrize("jump", [97_000, 127_000, 128_000, 129_000, 158_000, 256_000, 12_800_000])
def test_the_wheel_is_right_after_a_long_silence(jump: int) -> None:
    """Nobody is live, the clock jumps, somebody comes: whoever comes is found where the sweep looks next."""
    records = [event(T0, type="play_start"), event(T0 + 1000, seq=1, type="pause"), tick(T0 + jump)]
    records += [event(T0 + jump + 10, session="b", type="play_start"), event(T0 + jump + 20, seq=2, type="resume")]
    records += [tick(T0 + jump + 20 + step) for step in range(0, 40_000, 500)]
    for cuts in ((), range(len(records)), (3,), (4,)):
        agrees((CONCURRENTS,), records, cuts)


def test_what_does_not_follow_is_refused_untouched() -> None:
    state = folded(VIEWS, walked(random_steps(1, 50)))
    before = state.canonical()
    for first in (49, 51, 0):
        with pytest.raises(SourceError, match="does not follow"):
            state.apply(block([event(T0)], first))
    assert state.canonical() == before


def test_an_empty_block_moves_the_offset_only() -> None:
    state = folded(VIEWS, [event(T0)])
    before: dict[str, Any] = state.canonical()
    state.apply(dataclasses.replace(block([], 1), next_offset=9))
    assert state.offset == 9
    assert {**state.canonical(), "status": None} == {**before, "status": None}


def test_a_record_keeps_its_key_and_value() -> None:
    made = block([Record(T0, b"abc"), Record(T0, None), Record(T0, b"")], 0)
    assert [made.value(row) for row in range(3)] == [b"abc", None, b""]
    assert [made.key(row) for row in range(3)] == [None] * 3


def test_a_live_view_of_too_many_dimensions_is_refused() -> None:
    wide = View("wide", "", (("title", "region"), ("device", "cdn")), (LIVE, MINUTE), (Measure("viewers", ""),))
    with pytest.raises(DeclarationError, match="3 dimensions"):
        PartitionState(SOURCE, (wide,))


def test_two_live_views_are_refused() -> None:
    other = View("other", "", ((),), (LIVE, MINUTE), (Measure("viewers", ""),))
    with pytest.raises(DeclarationError, match="only one view"):
        PartitionState(SOURCE, (CONCURRENTS, other))


def test_another_view_beside_the_live_one_does_not_move_its_dimensions() -> None:
    """A session's row has room for the live view's dimensions only, whatever else is declared."""
    wide = View("a_wide", "", (("app", "asn", "cdn"), ("country", "kind", "os")), BY_THREE.windows, BY_THREE.measures)
    views = (wide, *VIEWS)
    state = agrees(views, walked(random_steps(7, 300)))
    assert state.dimensions[:3] == ("device", "region", "title")
    assert state.nbytes > 0


def test_the_state_is_the_same_whatever_bytes_surround_the_values() -> None:
    records = walked(random_steps(3, 100))
    plain = block(records, 0)
    shifted = np.concatenate([np.full(17, 0x22, dtype=np.uint8), plain.buffer])
    shifted.flags.writeable = False
    starts, ends = (np.where(column < 0, column, column + 17) for column in (plain.starts, plain.ends))
    moved = dataclasses.replace(plain, buffer=shifted, starts=starts, ends=ends)
    state = PartitionState(SOURCE, VIEWS)
    state.apply(moved)
    assert state.canonical() == folded(VIEWS, records).canonical()


def test_a_table_forgets_as_it_goes_and_finds_what_it_keeps() -> None:
    """Sessions come all the time; every second one is silent for good, the others say something each ten minutes. What goes leaves holes in
    the lookup that hide nobody behind them: whoever was forgotten wrongly would count his events twice."""
    records: list[Record] = []
    for at in range(6000):
        records.append(event(T0 + at * 1000, session=f"s{at}", watched_ms=1))
        for ago in range(600, 2400, 600):
            if at % 2 and at >= ago:
                seq = ago // 600
                records.append(event(T0 + at * 1000, session=f"s{at - ago}", seq=seq, watched_ms=1))
                records.append(event(T0 + at * 1000, session=f"s{at - ago}", seq=seq - at % 3 % 2, watched_ms=1))
    state = agrees(VIEWS, records, range(0, len(records), 1700))
    assert len(state.sessions.rows()) <= 2 * len(state.canonical()["sessions"]) + 100
    restored = load_state(pack_state(dump_state(state)), SOURCE, VIEWS)
    assert len(restored.sessions.rows()) < len(state.sessions.rows())
    more = [event(T0 + 6_000_000 + at, session=f"s{6000 - at}", seq=3, watched_ms=1) for at in range(3000)]
    apply(state, more)
    apply(restored, more)
    assert restored.canonical() == state.canonical()
