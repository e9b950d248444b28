"""What an answer finds in volumes is what it finds in their spans' final packs; of another basis it takes none."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from connectors.cassandra_finals import FinalPack, Mark
from serving.columns import Integers
from serving.finals import runs_of
from serving.known import Known
from serving.questions import Question, plan
from serving.stores import Stores
from serving.volumes import FEWEST, take_volumes
from tests.topologies.logs import examples
from tests.topologies.packed import encode_pack
from tests.topologies.test_finals import HOUR_MS, KEYS, PAST, SUMS, known
from tests.topologies.test_volumes import HOURS, Spans, cells_in, volume_of
from topologies import volumes
from topologies.finals import Bases, merge
from topologies.view import HOUR, View
from topologies.volumes import SPANS, Contents

STATUSES = known(("a", 5, PAST + SPANS * HOUR_MS))
BASES = Bases(STATUSES, ())
KNOWN = Known({}, STATUSES, ("t",))
DAY = [hour * HOUR_MS for hour in range(SPANS)]
TITLE = "a"


class Kept:
    """Stores that have volumes alone, by their start."""

    def __init__(self, marks: Mapping[int, Mark], packs: Sequence[FinalPack]) -> None:
        self._marks = marks
        self._packs = packs
        self.finals = self

    def marks(self, _view: object, window: str, first_ms: int, last_ms: int, _known: object) -> dict[int, Mark]:
        assert window == volumes.name_of(HOUR)
        return {start_ms: mark for start_ms, mark in self._marks.items() if first_ms <= start_ms <= last_ms}

    def packs(self, _view: object, _window: str, starts_ms: Sequence[int], buckets: Collection[int]) -> Iterator[FinalPack]:
        return (pack for pack in self._packs if pack.pack_ms in starts_ms and pack.bucket in buckets)


def kept(spans: Spans) -> Kept:
    """The volume of the first day, as historians leave it."""
    basis, bound = volumes.basis_of(BASES, SUMS, HOUR, 0), volume_of(spans)
    assert basis is not None
    mark = Mark(basis.version, basis.digest, Contents.of([""] * SPANS, bound).text)
    return Kept({0: mark}, [FinalPack(0, bucket, basis.version, blob) for bucket, blob in bound.items()])


BY_REGION = replace(SUMS, groupings=SUMS.groupings[:1])
"""Of which a title's total is the sum of its regions."""


def columns(by: Mapping[str, str | None], view: View = SUMS) -> Integers:
    return Integers(plan(Question("summed", by), view))


def taken(
    stores: Kept, asked: Sequence[int], by: Mapping[str, str | None], first: str, view: View = SUMS
) -> tuple[frozenset[int], dict[Any, Any]]:
    """The spans that were found in volumes, and the cells of those that were asked for."""
    one = columns(by, view)
    sums = one.sums()
    found = take_volumes(cast(Stores, stores), KNOWN, one, sums, BASES, asked, first)
    return found, {place: cell for place, cell in sums.cells.items() if place[0] in asked}


@given(HOURS, KEYS, st.sets(st.sampled_from(DAY), min_size=FEWEST))
@examples(80)
def test_what_is_found_in_a_volume_is_what_its_spans_have(spans: Spans, key: tuple[str, ...], hours: set[int]) -> None:
    asked, title = sorted(hours), key[0]
    alone, both = {"title": title}, {"title": title, "region": None}
    for view, by in ((SUMS, alone), (BY_REGION, alone), (SUMS, {"title": title, "region": "eu"}), (SUMS, both)):
        one = columns(by, view)
        sums = one.sums()
        for start_ms in asked:
            cells = [cell for cell in cells_in(spans) if cell.start_ms == start_ms]
            sums.take(one.decoded_final(merge(SUMS, [encode_pack(cells)]) if cells else b""), [start_ms])
        assert taken(kept(spans), asked, by, title, view) == (frozenset(asked), sums.cells)


def others(mark: Mark, pack: FinalPack) -> dict[str, Kept]:
    """What a reader of that one volume may find instead."""
    return {
        "of another basis": Kept({0: replace(mark, basis="0" * 32)}, [pack]),
        "of a day that nobody bound": Kept({}, [pack]),
        "just made anew": Kept({0: mark}, [replace(pack, upto=pack.upto + 1)]),
        "without its row": Kept({0: mark}, []),
    }


def test_another_volume_is_not_taken() -> None:
    right = kept({hour: {(TITLE, "eu"): (1, 2)} for hour in DAY})
    by = {"title": TITLE, "region": "eu"}
    assert taken(right, DAY, by, TITLE) == (frozenset(DAY), {(hour, (TITLE, "eu")): (1, 2) for hour in DAY})
    for what, stores in others(right._marks[0], right._packs[0]).items():
        assert taken(stores, DAY, by, TITLE) == (frozenset(), {}), what


def test_of_few_spans_and_of_a_day_that_is_not_over_no_volume_is_looked_for() -> None:
    nobody = cast(Kept, None)
    assert taken(nobody, DAY[: FEWEST - 1], {"title": TITLE}, TITLE) == (frozenset(), {})
    tomorrow = [hour + SPANS * HOUR_MS for hour in DAY]
    assert taken(nobody, [*DAY[: FEWEST - 1], *tomorrow], {"title": TITLE}, TITLE) == (frozenset(), {})


def test_a_title_that_nobody_watched_all_day_is_known_to_have_nothing() -> None:
    stores = kept({0: {(TITLE, "eu"): (1, 2)}})
    stores.packs = cast(Any, None)  # type: ignore[method-assign]
    title = next(title for title in map(str, range(99)) if volumes.bucket_of(title) != volumes.bucket_of(TITLE))
    assert taken(stores, DAY, {"title": title}, title) == (frozenset(DAY), {})


def test_runs_end_where_a_span_is_missing() -> None:
    assert runs_of([], 5) == []
    assert runs_of([0, 5, 10, 20, 30, 35], 5) == [(0, 10), (20, 20), (30, 35)]
