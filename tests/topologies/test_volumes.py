"""A volume has its spans' cells in order, where a question for one title looks for them; and is another one when any of its bases is."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import examples
from tests.topologies.packed import encode_pack
from tests.topologies.test_finals import HOUR_MS, KEPT, KEYS, OVER, PAST, SUMS, known
from topologies import packs, volumes
from topologies.audience import AUDIENCE
from topologies.errors import StoreError
from topologies.finals import Bases, merge
from topologies.pack_search import cells_of
from topologies.packs import PackedCell, decode_pack
from topologies.view import DAY, HOUR, LIVE, MINUTE
from topologies.volumes import SPANS, Contents, VolumeBasis, basis_of, bind
from topologies.watch_time import WATCH_TIME

DAY_MS = 24 * HOUR_MS
Spans = dict[int, dict[tuple[str, ...], tuple[int, int]]]
SOME = st.tuples(st.integers(0, 9), st.integers(0, 2**33)).filter(any)
HELD = st.dictionaries(KEYS, SOME, max_size=8)
HOURS: st.SearchStrategy[Spans] = st.dictionaries(st.sampled_from(range(0, DAY_MS, HOUR_MS)), HELD, max_size=9)


def volume_of(spans: Spans) -> dict[int, bytes]:
    """The volume of these hours, as historians make it: of each hour's final packs, a bucket at a time."""
    found: dict[int, bytes] = {}
    for bucket in range(packs.BUCKETS):
        held = [cell for cell in cells_in(spans) if packs.bucket_of(cell.key) == bucket]
        by_hour = [[cell for cell in held if cell.start_ms == start_ms] for start_ms in spans]
        bound = bind(SUMS, [merge(SUMS, [encode_pack(cells)]) if cells else b"" for cells in by_hour])
        assert not bound.keys() & found.keys()
        assert {volume_bucket % packs.BUCKETS for volume_bucket in bound} <= {bucket}
        found |= bound
    return found


def cells_in(spans: Spans) -> list[PackedCell]:
    return [PackedCell(start_ms, 2 - len(key), key, values) for start_ms, held in spans.items() for key, values in held.items()]


@given(HOURS)
@examples(80)
def test_a_volume_is_the_cells_of_its_spans_in_order(spans: Spans) -> None:
    found = volume_of(spans)
    for bucket, blob in found.items():
        expected = [cell for cell in cells_in(spans) if volumes.bucket_of(cell.key[0]) == bucket]
        assert decode_pack(blob) == sorted(expected, key=lambda cell: (cell.grouping, packs.join(cell.key), cell.start_ms))
    assert sum(len(decode_pack(blob)) for blob in found.values()) == len(cells_in(spans))
    assert all(found.values()), "a bucket of nothing has no row"


@given(HOURS, KEYS)
@examples(60)
def test_a_titles_hours_are_found_in_its_bucket(spans: Spans, key: tuple[str, ...]) -> None:
    blob = volume_of(spans).get(volumes.bucket_of(key[0]), b"")
    for grouping in (0, 1):
        expected = [cell for cell in cells_in(spans) if (cell.grouping, cell.key[0]) == (grouping, key[0])]
        found = [PackedCell(*cell) for cell in cells_of(blob, grouping, key[0])]
        assert found == sorted(expected, key=lambda cell: (packs.join(cell.key), cell.start_ms))


@given(HOURS)
@examples(30)
def test_the_order_of_the_spans_changes_no_byte(spans: Spans) -> None:
    assert volume_of(dict(reversed(spans.items()))) == volume_of(spans)


def test_what_is_kept_is_kept_as_it_is() -> None:
    cells = [PackedCell(start_ms, 1, ("a",), (0, 0, start_ms // HOUR_MS + 1)) for start_ms in (0, HOUR_MS)]
    (blob,) = bind(KEPT.part("newest"), [encode_pack([cell]) for cell in cells]).values()
    assert decode_pack(blob) == cells


def test_the_total_stands_in_the_bucket_of_no_value() -> None:
    total = dataclasses.replace(SUMS, groupings=((),))
    cell = PackedCell(0, 0, (), (1, 2))
    assert {bucket: decode_pack(blob) for bucket, blob in bind(total, [encode_pack([cell])]).items()} == {volumes.bucket_of(""): [cell]}


def test_a_broken_pack_makes_no_volume() -> None:
    pack = encode_pack([PackedCell(0, 0, ("a", "eu"), (1, 2))])
    with pytest.raises(StoreError, match="cannot be read"):
        bind(SUMS, [pack, pack[:-1]])


def test_a_volume_is_a_day_of_hours_a_quarter_of_a_day_of_minutes_and_24_days() -> None:
    assert [volumes.length_ms(window) for window in (HOUR, MINUTE, DAY)] == [DAY_MS, DAY_MS // 4, SPANS * DAY_MS]
    assert volumes.start_of(HOUR, 3 * DAY_MS + 5 * HOUR_MS) == 3 * DAY_MS
    assert list(volumes.spans_of(HOUR, DAY_MS)) == list(range(DAY_MS, 2 * DAY_MS, HOUR_MS))
    assert not volumes.are_kept(WATCH_TIME, LIVE)
    assert not volumes.are_kept(AUDIENCE.part("viewers"), HOUR)
    assert packs.BUCKETS * (volumes.BUCKETS // packs.BUCKETS) == volumes.BUCKETS


# -- of what it is made ---------------------------------------------------------------------------------------------------

PAST_DAY = PAST + DAY_MS - 2 * HOUR_MS


def basis(*sources: tuple[str, int, int], over: Collection[str] = ()) -> VolumeBasis | None:
    return basis_of(Bases(known(*sources), over), WATCH_TIME, HOUR, 0)


def test_a_volume_is_final_with_its_last_span() -> None:
    assert basis(("a", 5, PAST_DAY - 1)) is None
    assert basis(("a", 5, PAST_DAY)) == basis(("a", 99, PAST_DAY + DAY_MS))
    assert basis_of(Bases(known(("a", 5, PAST_DAY)), ()), WATCH_TIME, HOUR, DAY_MS) is None
    assert basis() is None


def test_another_source_and_one_that_goes_on_make_another_basis_of_a_later_version() -> None:
    a = ("a", 5, PAST_DAY)
    over = [("b", 7, 0), ("b", 9, 0), ("b", 9, 3 * HOUR_MS)]
    told = [basis(a), *(basis(a, b, over=OVER) for b in over), basis(a, ("b", 9, PAST_DAY))]
    found = [one for one in told if one is not None]
    assert len({one.digest for one in found}) == len(told)
    assert sorted({one.version for one in found}) == [one.version for one in found]
    assert basis(a, ("b", 7, 0)) is None, "it goes on"


@given(st.lists(st.integers(0, 3), min_size=SPANS, max_size=SPANS), st.integers(0, SPANS - 1))
@examples(40)
def test_one_span_of_another_basis_makes_another_volume(offsets: list[int], at: int) -> None:
    def of(offsets: list[int]) -> VolumeBasis:
        found = [Bases(known(("a", 5, PAST), ("b", offset, 0)), OVER).of(WATCH_TIME, HOUR, HOUR_MS) for offset in offsets]
        return VolumeBasis.of([one for one in found if one is not None])

    other = [*offsets[:at], offsets[at] + 1, *offsets[at + 1 :]]
    assert of(offsets) == of(list(offsets))
    assert of(other).digest != of(offsets).digest
    assert of(other).version > of(offsets).version


@given(st.sets(st.integers(0, volumes.BUCKETS - 1)))
@examples(40)
def test_a_mark_tells_what_is_in_a_volume(buckets: set[int]) -> None:
    spans = ["a b", "", *["a"] * (SPANS - 2)]
    told = Contents.of(spans, buckets)
    assert Contents.parsed(told.text) == told
    assert {bucket for bucket in range(volumes.BUCKETS) if told.has(bucket)} == buckets
    assert told.sources == volumes.digest_of(spans) != volumes.digest_of([*spans[1:], "a b"])


@pytest.mark.parametrize("text", ["", "local:AAAA:0 local:AAAA:1", "0123"])
def test_another_mark_is_no_volumes(text: str) -> None:
    with pytest.raises(StoreError, match="none of this version's"):
        Contents.parsed(text)
