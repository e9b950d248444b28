"""Final rows are a function of the sources that they are made of, whoever makes them and in whatever order."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import examples
from tests.topologies.packed import encode_pack
from topologies.audience import AUDIENCE
from topologies.concurrents import CONCURRENTS
from topologies.errors import StoreError
from topologies.finals import BEST, PASSED, Bases, Basis, merge, top_packs
from topologies.packs import PackedCell, decode_pack
from topologies.sketch_packs import PackedSketch, encode_sketches
from topologies.sketches import RANK_BITS, Coupons
from topologies.sources import LATENESS_MS, Counted, Finish, Source, SourceStatus, finished
from topologies.view import HOUR, LIVE, MINUTE, Extreme, Measure, View
from topologies.watch_time import WATCH_TIME

HOUR_MS = 3_600_000
SUMS = View(
    name="summed",
    summary="two measures",
    groupings=(("title", "region"), ("title",)),
    windows=(HOUR,),
    measures=(Measure("plays", "plays", count_of="play_start"), Measure("stall_ms", "stalled", sum_of="stall_ms")),
    leaderboard="plays",
)
KEPT = dataclasses.replace(
    SUMS,
    extremes=(
        Extreme("most", "the most", "max", "watched_ms"),
        Extreme("least", "the least", "min", "watched_ms"),
        Extreme("newest", "the last", "last", "position_s"),
    ),
)
TITLES = st.sampled_from(["a", "a b", "b", "Ω", "a\x01"])
KEYS: st.SearchStrategy[tuple[str, ...]] = st.one_of(st.tuples(TITLES, st.sampled_from(["eu", "us"])), st.tuples(TITLES))


def packs_of(measures: int, most: int) -> st.SearchStrategy[list[list[PackedCell]]]:
    """The cells of some sources, each cell once in a source; as the fold leaves them, none of zeros."""
    values = st.tuples(*[st.integers(0, most)] * measures).filter(any)
    cells = st.dictionaries(st.tuples(KEYS, st.sampled_from([0, HOUR_MS])), values, max_size=12)
    return st.lists(cells.map(_cells), min_size=1, max_size=4)


def _cells(held: dict[tuple[tuple[str, ...], int], tuple[int, ...]]) -> list[PackedCell]:
    return [PackedCell(start, 2 - len(key), key, values) for (key, start), values in held.items()]


def by_name(cells: Sequence[PackedCell]) -> dict[tuple[int, tuple[str, ...], int], tuple[int, ...]]:
    return {(cell.grouping, cell.key, cell.start_ms): cell.values for cell in cells}


def together(sources: list[list[PackedCell]]) -> dict[tuple[int, tuple[str, ...], int], list[tuple[int, ...]]]:
    """What the sources have of each cell."""
    found: dict[tuple[int, tuple[str, ...], int], list[tuple[int, ...]]] = {}
    for cells in sources:
        for name, values in by_name(cells).items():
            found.setdefault(name, []).append(values)
    return found


@given(packs_of(2, 2**40))
@examples(80)
def test_sums_are_added_and_the_order_of_the_sources_changes_no_byte(sources: list[list[PackedCell]]) -> None:
    packs = [encode_pack(cells) if cells else b"" for cells in sources]
    merged = merge(SUMS, packs)
    assert by_name(decode_pack(merged)) == {name: tuple(map(sum, zip(*held, strict=True))) for name, held in together(sources).items()}
    shuffled = [encode_pack(random.Random(1).sample(cells, len(cells))) for cells in reversed(sources) if cells]
    assert merge(SUMS, shuffled) == merged
    assert merge(SUMS, [merged]) == merged


@given(packs_of(1, 5))
@examples(80)
def test_the_least_and_the_greatest_are_kept_and_none_is_neither(sources: list[list[PackedCell]]) -> None:
    packs = [encode_pack(cells) for cells in sources if cells]
    for name, kept in (("most", max), ("least", min)):
        merged = by_name(decode_pack(merge(KEPT.part(name), packs)))
        assert merged == {place: kept(held) for place, held in together(sources).items()}
    cell = PackedCell(0, 0, ("a", "eu"), (0,))
    none, some = encode_pack([cell]), encode_pack([dataclasses.replace(cell, values=(4,))])
    assert decode_pack(merge(KEPT.part("least"), [none, some]))[0].values == (4,)
    assert merge(KEPT.part("least"), [none, none]) == b""


@given(packs_of(3, 3))
@examples(80)
def test_the_last_is_of_the_greatest_time_then_place_in_the_session(sources: list[list[PackedCell]]) -> None:
    packs = [encode_pack(cells) for cells in sources if cells]
    merged = merge(KEPT.part("newest"), packs)
    assert by_name(decode_pack(merged)) == {name: max(held) for name, held in together(sources).items()}
    assert merge(KEPT.part("newest"), packs[::-1]) == merged


@given(st.lists(st.dictionaries(st.tuples(KEYS, st.sampled_from([0, HOUR_MS])), st.sets(st.integers(0, 5000), min_size=1)), max_size=4))
@examples(60)
def test_sketches_are_united(sources: list[dict[tuple[tuple[str, ...], int], set[int]]]) -> None:
    def coupons(registers: set[int]) -> Coupons:
        return np.array(sorted(register << RANK_BITS | 1 + register % 7 for register in registers), dtype=np.uint32)

    def packed(cells: dict[tuple[tuple[str, ...], int], set[int]]) -> bytes:
        return encode_sketches([PackedSketch(start, 0, key, coupons(held)) for (key, start), held in cells.items()]) if cells else b""

    expected: dict[tuple[tuple[str, ...], int], set[int]] = {}
    for cells in sources:
        for place, held in cells.items():
            expected[place] = expected.get(place, set()) | held
    assert merge(AUDIENCE.part("viewers"), [packed(cells) for cells in sources]) == packed(expected)
    assert merge(AUDIENCE.part("viewers"), [packed(cells) for cells in reversed(sources)]) == packed(expected)


def test_a_top_list_has_the_best_of_each_window_in_order_ties_by_key() -> None:
    rng = random.Random(3)
    spread = [PackedCell(start, 1, (f"t{title:03}",), (rng.randrange(40), 1)) for start in (0, HOUR_MS) for title in range(300)]
    few = [PackedCell(0, 0, ("t", region), (1, 0)) for region in ("us", "eu")]
    packs = [merge(SUMS, [encode_pack(spread[at::3] + few[at : at + 1])]) for at in range(3)]
    lists = top_packs(SUMS, [*packs, b""])
    assert lists == top_packs(SUMS, packs[::-1])
    ranked = sorted(spread, key=lambda cell: (cell.start_ms, -cell.values[0], cell.key))
    assert decode_pack(lists[1]) == ranked[:BEST] + ranked[300 : 300 + BEST]
    assert decode_pack(lists[0]) == few[::-1]
    assert top_packs(dataclasses.replace(SUMS, leaderboard=None), packs) == {}


def test_a_broken_pack_is_an_error_and_not_a_smaller_sum() -> None:
    pack = encode_pack([PackedCell(0, 0, ("a", "eu"), (1, 2))])
    with pytest.raises(StoreError, match="cannot be read"):
        merge(SUMS, [pack, pack[:-1]])


# -- when a span is final, and of what ------------------------------------------------------------------------------------


def known(*sources: tuple[str, int, int]) -> dict[str, SourceStatus]:
    """Statuses by text: topic id, offset, watermark."""
    found = [Source("local", "viewing-events", name, 0) for name, _, _ in sources]
    return {
        str(source): SourceStatus(source, offset, watermark + 60_000, watermark, 0, 0, 0, 0, 0)
        for source, (_, offset, watermark) in zip(found, sources, strict=True)
    }


def of(basis: Basis | None) -> dict[str, int]:
    assert basis is not None
    return {text.split(":")[1]: offset for text, offset in basis.sources}


PAST = 2 * HOUR_MS + LATENESS_MS
"""The watermark that makes the hour from HOUR_MS on final."""


def test_a_span_is_final_when_every_source_has_passed_its_end() -> None:
    assert of(Bases(known(("a", 5, PAST), ("b", 7, PAST + 1)), ()).of(WATCH_TIME, HOUR, HOUR_MS)) == {"a": PASSED, "b": PASSED}
    assert Bases(known(("a", 5, PAST), ("b", 7, PAST - 1)), ()).of(WATCH_TIME, HOUR, HOUR_MS) is None
    assert Bases({}, ()).of(WATCH_TIME, HOUR, HOUR_MS) is None
    assert Bases(known(("a", 5, PAST)), ()).of(CONCURRENTS, LIVE, 0) is None


def test_a_view_that_is_being_counted_has_no_final_span_until_it_has_all_that_the_statuses_say() -> None:
    statuses = known(("a", 5, PAST), ("b", 7, PAST))
    a, b = statuses

    def final(ended: tuple[str, ...] = (), **upto: dict[str, int]) -> bool:
        counted = Counted(statuses, {{"a": a, "b": b}[name]: tables for name, tables in upto.items()}, ended)
        return Bases(statuses, ended, counted).of(WATCH_TIME, HOUR, HOUR_MS) is not None

    assert final()  # an older version's rows say nothing of tables
    assert final(a={WATCH_TIME.table: 5}, b={WATCH_TIME.table: 9})
    assert not final(a={WATCH_TIME.table: 5}, b={WATCH_TIME.table: 6})
    assert not final(a={WATCH_TIME.table: 5}, b={CONCURRENTS.table: 7})
    assert final((b,), a={WATCH_TIME.table: 5}, b={CONCURRENTS.table: 7})  # nobody will count that


def test_a_span_of_minutes_is_final_with_its_last_minute() -> None:
    passed = HOUR_MS + MINUTE.pack_ms + LATENESS_MS
    assert Bases(known(("a", 5, passed - 1)), ()).of(CONCURRENTS, MINUTE, HOUR_MS) is None
    assert of(Bases(known(("a", 5, passed)), ()).of(CONCURRENTS, MINUTE, HOUR_MS)) == {"a": PASSED}


def test_a_source_that_comes_later_makes_it_provisional_and_then_another_basis() -> None:
    before = Bases(known(("a", 5, PAST)), ()).of(WATCH_TIME, HOUR, HOUR_MS)
    assert Bases(known(("a", 6, PAST + 9), ("b", 1, 0)), ()).of(WATCH_TIME, HOUR, HOUR_MS) is None
    after = Bases(known(("a", 6, PAST + 9), ("b", 4, PAST)), ()).of(WATCH_TIME, HOUR, HOUR_MS)
    again = Bases(known(("a", 50, PAST + 99)), ()).of(WATCH_TIME, HOUR, HOUR_MS)
    assert before is not None
    assert after is not None
    assert again is not None
    assert before.digest == again.digest != after.digest
    assert before.version < after.version
    assert before.version == again.version  # so who makes the same rows later writes no other ones


OVER = {str(Source("local", "viewing-events", "b", 0))}


def test_each_thing_more_that_is_known_of_a_source_that_is_over_makes_a_later_version() -> None:
    told = [known(("a", 5, PAST), ("b", offset, watermark)) for offset, watermark in ((7, 0), (9, 0), (10, PAST))]
    bases = [basis for statuses in told if (basis := Bases(statuses, OVER).of(WATCH_TIME, HOUR, HOUR_MS)) is not None]
    assert [of(basis)["b"] for basis in bases] == [7, 9, PASSED]
    assert bases[0].version < bases[1].version < bases[2].version


def test_what_no_source_has_passed_is_not_final_though_nobody_is_awaited() -> None:
    assert Bases(known(("b", 7, PAST - 1)), OVER).of(WATCH_TIME, HOUR, HOUR_MS) is None
    assert of(Bases(known(("b", 7, PAST)), OVER).of(WATCH_TIME, HOUR, HOUR_MS)) == {"b": PASSED}


def test_who_stands_where_its_log_was_found_to_have_ended_has_finished() -> None:
    statuses = known(("a", 5, PAST), ("b", 7, 0), ("c", 3, 0))
    a, b, c = statuses
    assert finished(statuses, {b: Finish(7, 1), c: Finish(2, 1), "unheard of": Finish(1, 1)}) == {b}
    assert finished({a: statuses[a]}, {b: Finish(7, 1)}) == frozenset()
    assert c not in finished(known(("c", 4, 0)), {c: Finish(3, 1)})  # it has gone on


def test_a_source_that_ended_holds_nothing_back_and_counts_as_it_stood() -> None:
    statuses, ended = known(("a", 5, PAST), ("b", 7, 0)), OVER
    basis = Bases(statuses, ended).of(WATCH_TIME, HOUR, HOUR_MS)
    assert of(basis) == {"a": PASSED, "b": 7}
    assert basis is not None
    assert basis.told(ended) == f"{next(iter(ended))}@7"
    stored_since = Bases(known(("a", 5, PAST), ("b", 8, 0)), ended).of(WATCH_TIME, HOUR, HOUR_MS)
    assert stored_since is not None
    assert stored_since.digest != basis.digest
    assert stored_since.version > basis.version
