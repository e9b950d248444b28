"""sessions: each that is over counts once, as it stands, wherever the log is cut; the rules are topologies.playbacks'."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import SOURCE, T0, Record, apply, event, examples, folded, random_steps, tick, walked
from tests.topologies.reference import Cell, agrees
from topologies.concurrents import CONCURRENTS
from topologies.fold import PartitionState
from topologies.playbacks import MOST_RUNS, SESSIONS
from topologies.session_rows import ISLAND_ROWS
from topologies.spells import TELLINGS
from topologies.state_codec import dump_state, load_state, pack_state
from topologies.view import DAY, Measure, View

PARTS = SESSIONS.parts
HOUR_MS = 3_600_000
SILENT = T0 + 660_001
"""The first clock that finds a session silent whose last event was at T0: the watermark trails it by 60 s."""


def sessions_of(state: PartitionState) -> dict[Cell, tuple[int, ...]]:
    """Cells of sessions, ended, closed, complete, exits before start."""
    cells: dict[Cell, tuple[int, ...]] = state.canonical()["cells"]["sessions"]
    return cells


def cell(ts: int, title: str = "t", device: str = "d") -> Cell:
    return ("hour", ts - ts % HOUR_MS, f"{title}\x1f{device}".encode(), 0)


def every_way(records: Sequence[Record]) -> PartitionState:
    """The state, which is the reference's, record by record, as one block, and cut at every single place."""
    for cuts in (range(len(records)), *((cut,) for cut in range(len(records)))):
        agrees(PARTS, records, cuts)
    return folded(PARTS, records)


@pytest.mark.parametrize("step", [300_000, 60_000, 7_777_777])
def test_a_vanished_session_is_closed_by_ticks_alone_and_once(step: int) -> None:
    state = folded(PARTS, [event(T0, type="play_start"), tick(SILENT - 1)])
    assert sessions_of(state) == {}
    apply(state, [tick(SILENT)])
    assert sessions_of(state) == {cell(T0): (1, 0, 1, 0, 0)}
    for at in range(30):
        apply(state, [tick(SILENT + at * step)])
    assert sessions_of(state) == {cell(T0): (1, 0, 1, 0, 0)}


def test_a_session_that_goes_on_after_its_stop_counts_where_it_ends_at_last() -> None:
    first = [event(T0, type="play_start"), event(T0 + 1000, seq=1, type="stop")]
    assert sessions_of(every_way(first)) == {cell(T0): (1, 1, 0, 0, 0)}
    on = [event(T0 + minute * 60_000, seq=1 + minute, title="next", watched_ms=60_000) for minute in range(1, 60)]
    assert sessions_of(folded(PARTS, [*first, *on])) == {}
    end = T0 + HOUR_MS
    last = event(end, seq=61, type="error", fatal=True, title="next", device="tv")
    state = agrees(PARTS, [*first, *on, last], (1, 2, 9, 60))
    assert sessions_of(state) == {cell(end, "next", "tv"): (1, 1, 0, 0, 0)}


def test_a_session_that_speaks_again_after_its_silence_was_never_closed() -> None:
    records = [event(T0, type="play_start"), tick(SILENT), event(SILENT + 1, seq=1), event(SILENT + 2, seq=2, type="pause")]
    assert sessions_of(every_way(records)) == {}


def test_a_session_may_stay_silent_though_an_old_event_of_it_comes() -> None:
    """Its time is too long ago for the session to be open; but title, device and hour are then those of this event."""
    other = event(SILENT + 100_000, session="other")
    records = [event(T0, type="play_start"), other, event(SILENT + 100_001, ts=T0 + 1, seq=1, title="next"), tick(SILENT + 100_002)]
    assert sessions_of(every_way(records)) == {cell(T0, "next"): (1, 0, 1, 0, 0)}


def test_what_comes_after_the_end_still_belongs_to_the_session() -> None:
    """The finish overtakes what was before it: state, title and device are its, what was seen and when it began are theirs."""
    finish = event(T0 + 30_000, seq=3, type="finish", title="end", runtime_s=20, position_s=20, watched_ms=5000)
    assert sessions_of(folded(PARTS, [finish])) == {cell(T0, "end"): (1, 1, 0, 0, 1)}
    rest = [event(T0 + 31_000, ts=T0 + at * 10_000, seq=at, position_s=5 * at + 5, watched_ms=5000) for at in (2, 1, 0)]
    assert sessions_of(every_way([finish, *rest])) == {cell(T0, "end"): (1, 1, 0, 1, 1)}
    state = every_way([finish, *rest, event(T0 + 31_000, ts=T0 + 1, seq=4, type="play_start", title="later")])
    assert sessions_of(state) == {}


@pytest.mark.parametrize(
    ("seen", "runtime_s", "complete"),
    [
        ([(0, 90)], 100, 1),
        ([(0, 89)], 100, 0),
        ([(0, 45), (45, 90)], 100, 1),
        ([(0, 50), (10, 40), (0, 50)], 100, 0),
        ([(60, 100), (0, 50)], 100, 1),
        ([(60, 100), (0, 49)], 100, 0),
        ([(80, 100), (0, 20), (40, 60), (20, 40), (60, 70)], 100, 1),
        ([(0, 1)], 1, 1),
        ([(0, 100)], 0, 0),
        ([(0, 100)], None, 0),
        ([], 100, 0),
    ],
)
def test_a_session_is_complete_that_saw_nine_tenths_of_the_content(
    seen: list[tuple[int, int]], runtime_s: int | None, complete: int
) -> None:
    runs = [{"position_s": high, "watched_ms": (high - low) * 1000 + 999} for low, high in seen]
    records = [event(T0 + at, seq=at, runtime_s=runtime_s, **run) for at, run in enumerate(runs)]
    state = every_way([*records, event(T0 + 100, seq=100, type="stop")])
    assert sessions_of(state)[cell(T0)][3] == complete


def test_the_runtime_is_the_last_that_was_told() -> None:
    records = [
        event(T0 + seq, seq=seq, position_s=9, watched_ms=9000, **fields)
        for seq, fields in enumerate([{"runtime_s": 100}, {"runtime_s": 10}, {}])
    ]
    stop = event(T0 + 3, seq=3, type="stop")
    for order in itertools.permutations(records):
        assert sessions_of(folded(PARTS, [*order, stop]))[cell(T0)][3] == 1


def scattered(pieces: int, *more: tuple[int, int]) -> list[Record]:
    """A session that sees every other second of so many, then these content seconds, (low, high]; and stops. The pieces are nearly all."""
    seen = [*((2 * at, 2 * at + 1) for at in range(pieces)), *more]
    records = [event(T0, seq=at, position_s=high, watched_ms=(high - low) * 1000) for at, (low, high) in enumerate(seen)]
    return [*records, event(T0, seq=len(seen), type="stop", runtime_s=MOST_RUNS + 1)]


@pytest.mark.parametrize(
    ("pieces", "more", "complete"),
    [
        (MOST_RUNS, [], 1),
        (MOST_RUNS, [(1, 2), (2 * MOST_RUNS, 2 * MOST_RUNS + 1)], 1),  # two become one before there is one more
        (MOST_RUNS, [(2 * MOST_RUNS, 2 * MOST_RUNS + 1), (1, 2)], 0),
        (MOST_RUNS + 1, [(0, 3 * MOST_RUNS)], 0),  # all of it, too late
    ],
)
def test_a_session_that_saw_too_many_pieces_saw_nothing(pieces: int, more: list[tuple[int, int]], complete: int) -> None:
    records = scattered(pieces, *more)
    state = agrees(PARTS, records, (100, len(records) - 2))
    assert sessions_of(state)[cell(T0)] == (1, 1, 0, complete, 1)
    restored = load_state(pack_state(dump_state(folded(PARTS, records[:-2]))), SOURCE, PARTS)
    apply(restored, records[-2:])
    assert restored.canonical() == state.canonical()
    state.sessions.make_island_room()
    assert state.sessions.counters[ISLAND_ROWS] <= (MOST_RUNS if complete else 0)


RUNS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12_000)), min_size=1, max_size=40)


@given(RUNS, st.integers(1, 70), st.randoms(use_true_random=False))
@examples(60)
def test_what_was_seen_is_the_same_in_any_order(runs: list[tuple[int, int]], runtime_s: int, draw: random.Random) -> None:
    records = [event(T0, seq=at, position_s=position, watched_ms=watched) for at, (position, watched) in enumerate(runs)]
    stop = event(T0, seq=len(runs), type="stop", runtime_s=runtime_s)
    truth = agrees(PARTS, [*records, stop])
    draw.shuffle(records)
    assert folded(PARTS, [stop, *records]).canonical()["cells"] == truth.canonical()["cells"]


def test_each_life_of_a_session_counts_for_itself() -> None:
    """The second begins in the block in which the first is closed, and forgotten."""
    lives = [event(T0 + life * HOUR_MS + at, type=kind, seq=at) for life in range(3) for at, kind in enumerate(("play_start", "heartbeat"))]
    state = every_way([*lives, tick(T0 + 3 * HOUR_MS)])
    assert sessions_of(state) == {cell(T0 + life * HOUR_MS): (1, 0, 1, 0, 0) for life in range(3)}


def test_more_sessions_end_at_once_than_tellings_may_wait() -> None:
    crowd = [event(T0, session=f"s{who}", type="play_start" if who % 2 else "stop", title=f"t{who % 5}") for who in range(3 * TELLINGS)]
    again = [event(T0 + 1, session=f"s{who}", seq=1, title="next", watched_ms=1) for who in range(3 * TELLINGS)]
    state = agrees(PARTS, [*crowd, *again, tick(SILENT + 1)], (7, 9000))
    assert sessions_of(state)[cell(T0, "next")] == (3 * TELLINGS, 0, 3 * TELLINGS, 0, 3 * TELLINGS // 2)


def test_what_a_silent_session_saw_outlasts_the_islands_that_are_dropped() -> None:
    """In one block: sessions see pieces, fall silent long enough to be forgotten, and others need the room of their islands."""
    pieces = [
        event(T0, session=f"s{who}", seq=at, position_s=30 * at + 20, watched_ms=20_000, runtime_s=100 + who)
        for at in range(5)
        for who in range(40)
    ]
    gaps = [event(T0 + 2_000_000 + at, session="gaps", seq=2 * at) for at in range(3000)]
    state = agrees(PARTS, [*pieces, *gaps])
    assert sessions_of(state) == {cell(T0): (40, 0, 40, 12, 40)}
    assert state.sessions.counters[ISLAND_ROWS] > 1000
    before = [*pieces, tick(T0 + 1)]
    restored = load_state(pack_state(dump_state(folded(PARTS, before))), SOURCE, PARTS)
    apply(restored, gaps)
    assert sessions_of(restored) == sessions_of(state)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 300), min_size=1, max_size=6))
@examples(25)
def test_a_session_is_what_it_is_after_any_checkpoint(seed: int, stops: list[int]) -> None:
    records = walked(random_steps(seed, 300, sessions=4))
    state = PartitionState(SOURCE, PARTS)
    for low, high in itertools.pairwise(sorted({0, 300, *stops})):
        apply(state, records[low:high])
        state = load_state(pack_state(dump_state(state)), SOURCE, PARTS)
    assert state.canonical() == agrees(PARTS, records).canonical()


def test_final_hours_leave_the_state_and_nothing_is_taken_from_them_later() -> None:
    state = PartitionState(SOURCE, PARTS)
    for at in range(200):
        apply(state, [event(T0 + at * 240_000, session=f"s{at // 5}", seq=at % 5, type="stop" if at % 2 else "heartbeat")])
        state.take_packs()
        state.take_cached()
        state.take_cached()
        state.close_final()
    kept = sessions_of(state)
    assert {start for _, start, _, _ in kept} <= set(range(0, T0 + 10**9, HOUR_MS))
    assert all(min(values) >= 0 for values in kept.values())
    assert sum(values[0] for values in kept.values()) < 40


def test_sessions_cost_nothing_where_no_view_is_of_them() -> None:
    state = folded((CONCURRENTS,), walked(random_steps(5, 300)))
    assert not len(state.sessions.spell_rows())
    assert not state.sessions.spells.waiting[0]
    assert state.dimensions == ("device", "region", "title")


def test_another_view_of_sessions_folds_beside_it() -> None:
    lengths = View("lengths", "how long", ((), ("device",)), (DAY,), (Measure("s", "seconds", sum_of="length_s"),), of="session")
    records = walked(random_steps(8, 400))
    views = (lengths, CONCURRENTS, *PARTS)
    assert agrees(views, records).canonical() == folded(views, records, range(0, 400, 7)).canonical()
