"""Final rows as an answer reads them: those that are made of every source that is known, and no others.

They are read through Memcached, some spans together: of a title's hours a day at a time. A key names the place, what is asked there, and of
each span the digest of the basis that the reader reckoned. Final packs are a function of their basis, and so is that a span has none: a
key has one right value, and whoever finds it needs neither marks nor packs. Kept are the cells that the answer has of them, merged over
what it leaves out, as Cassandra had them under those very marks: of all of the spans or not at all. Another basis is another key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic

from connectors.cassandra_finals import top_bucket
from connectors.read_through import Found as Got
from connectors.read_through import Store
from serving.cells import Cell, Place, Sums
from serving.columns import Columns
from serving.questions import Plan
from serving.stores import Known, Stores
from topologies.finals import BEST, Bases
from topologies.packs import BUCKETS, bucket_of

SPANS_TOGETHER: Final = 24
"""Of a question that is answered from one bucket; of sketches, of which one may take 16 KiB, and of all others each span stands alone."""
MOST_KEYS: Final = 128
"""A question for more is not read through Memcached."""


@dataclass(frozen=True)
class Taken:
    """Which starts of windows had final rows, and which of them Memcached had."""

    starts_ms: frozenset[int] = frozenset()
    remembered: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Held(Generic[Cell]):
    """What was found of some spans: those of them that have final rows, or have nothing for ever; the cells that the answer has of their
    windows, by place; and whether those are all spans that were looked for."""

    spans_ms: frozenset[int]
    cells: Mapping[Place, Cell]
    all_of_them: bool


def take_final(stores: Stores, known: Known, columns: Columns[Cell], sums: Sums[Cell], starts_ms: Sequence[int], *, alone: bool) -> Taken:
    """Takes in the cells of those windows that have final rows. alone: no other window can be in the answer, so its first rows may come
    from a top list. Raises ServerAway or StoreError."""
    plan = columns.plan
    wanted: dict[int, list[int]] = {}
    for start_ms in starts_ms:
        wanted.setdefault(plan.stored.pack_of(start_ms), []).append(start_ms)
    bases = Bases(known.stored, known.over, known.counted)
    digests = {pack_ms: basis.digest for pack_ms in wanted if (basis := bases.of(plan.view, plan.stored, pack_ms)) is not None}
    found = _Rows(stores, known, columns, digests, listed=alone and _is_listed(plan)).read()
    asked = set(starts_ms)
    for held, _ in found:
        # No window is in two of them, nor was it read before.
        sums.cells.update({place: cell for place, cell in held.cells.items() if place[0] in asked})
    return Taken(
        frozenset(start_ms for held, _ in found for pack_ms in held.spans_ms for start_ms in wanted[pack_ms]),
        frozenset(start_ms for held, was in found if was for pack_ms in held.spans_ms for start_ms in wanted[pack_ms]),
    )


class _Rows(Generic[Cell]):
    """The final rows of these spans, each with the digest of its basis, as far as a question asks for them."""

    def __init__(self, stores: Stores, known: Known, columns: Columns[Cell], digests: Mapping[int, str], *, listed: bool) -> None:
        plan = columns.plan
        self._stores = stores
        self._known = known
        self._columns = columns
        self._digests = digests
        self._listed = listed
        self._buckets = [top_bucket(plan.grouping)] if listed else _buckets(plan)
        self._pinned = len(self._buckets) == 1
        self._spans = self._blocks()

    def read(self) -> list[Got[Held[Cell]]]:
        """What there is of them."""
        keys = list(self._spans)
        if len(keys) > MOST_KEYS:
            return [Got(held, remembered=False) for held in self._load(keys).values()]
        ttl_s = self._stores.settings.memcached.finals_ttl_s
        return list(self._stores.through.read(keys, Store(self._load, self._packed, self._unpacked, ttl_s)).values())

    def _blocks(self) -> dict[str, list[int]]:
        """The spans that are read together, by their key. Blocks begin at whole multiples, so that questions that overlap share them."""
        plan, view = self._columns.plan, self._columns.plan.view
        together = SPANS_TOGETHER if self._pinned and view.distinct is None else 1
        blocks: dict[int, list[int]] = {}
        for pack_ms in sorted(self._digests):
            blocks.setdefault(pack_ms // (plan.stored.pack_ms * together), []).append(pack_ms)
        what = ("final", plan.grouping, self._listed, sorted(plan.fixed.items()), plan.kept)
        keyed = self._stores.key_of
        return {
            keyed(view.final_table, plan.stored.name, *what, [(pack_ms, self._digests[pack_ms]) for pack_ms in block]): block
            for block in blocks.values()
        }

    def _load(self, keys: Sequence[str]) -> dict[str, Held[Cell]]:
        """From Cassandra: the marks, then the packs."""
        plan, finals = self._columns.plan, self._stores.finals
        asked = {pack_ms for key in keys for pack_ms in self._spans[key]}
        if not asked:
            return {}
        marks = self._stores.marks(plan.view, plan.stored.name, min(asked), max(asked), self._known)
        there = {pack_ms: mark.upto for pack_ms, mark in marks.items() if pack_ms in asked and self._digests[pack_ms] == mark.basis}
        packs = list(finals.packs(plan.view, plan.stored.name, sorted(there), self._buckets))
        renewed = {pack.pack_ms for pack in packs if pack.upto > there[pack.pack_ms]}
        unmarked = asked - marks.keys()
        # Nobody makes final rows of nothing.
        empty = unmarked - self._stores.spans(plan.view, plan.stored.name, self._known) if unmarked else unmarked
        whole = (there.keys() - renewed) | empty
        sums = self._columns.sums()
        for pack in packs:
            if pack.pack_ms in whole:
                found = self._columns.decoded(pack.blob) if self._listed else self._columns.decoded_final(pack.blob)
                sums.take(found, range(pack.pack_ms, pack.pack_ms + plan.stored.pack_ms))
        cells: dict[int, dict[Place, Cell]] = {}
        for place, cell in sums.cells.items():
            cells.setdefault(plan.stored.pack_of(place[0]), {})[place] = cell
        return {key: self._held(self._spans[key], whole, cells) for key in keys}

    @staticmethod
    def _held(block: Sequence[int], whole: Collection[int], cells: Mapping[int, Mapping[Place, Cell]]) -> Held[Cell]:
        held = frozenset(pack_ms for pack_ms in block if pack_ms in whole)
        found = {place: cell for pack_ms in block for place, cell in cells.get(pack_ms, {}).items()}
        return Held(held, found, len(held) == len(block))

    def _packed(self, held: Held[Cell]) -> bytes | None:
        return self._columns.packed(held.cells) if held.all_of_them else None

    def _unpacked(self, key: str, payload: bytes) -> Held[Cell]:
        return Held(frozenset(self._spans[key]), self._columns.unpacked(payload), all_of_them=True)


def _is_listed(plan: Plan) -> bool:
    """Whether the first cells of a window are the answer, and a top list has so many."""
    view = plan.view
    whole = not plan.fixed and len(plan.kept) == len(view.groupings[plan.grouping])
    return whole and plan.top is not None and plan.top <= BEST and view.leaderboard is not None and len(view.parts) == 1


def _buckets(plan: Plan) -> list[int]:
    """Those that may hold what is asked for."""
    if not plan.view.groupings[plan.grouping]:
        return [bucket_of(())]
    return [bucket_of((plan.fixed[0],))] if 0 in plan.fixed else list(range(BUCKETS))
