"""Final rows as an answer reads them: those that are made of every source that is known, and no others.

    Memcached    what the answer has of some spans together: of a title's hours a day at a time
    Cassandra    the volumes, where a question is answered from one bucket and wants some spans of one (serving/volumes.py)
                 of the other spans the marks, then the final packs

A key of Memcached names the place, what is asked there, and of each span the digest of the basis that the reader reckoned. Final packs are
a function of their basis, and so is that a span has none: a key has one right value, and whoever finds it needs neither marks nor packs.
Kept are the cells that the answer has of them, merged over what it leaves out, as Cassandra had them under those very marks: of all of the
spans or not at all. Another basis is another key.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic

from connectors.cassandra_finals import Mark, top_bucket
from connectors.read_through import Found as Got
from connectors.read_through import Store
from serving.cells import Cell, Place, Sums
from serving.columns import Columns
from serving.known import Known
from serving.questions import Plan
from serving.regions import RegionAway
from serving.stores import Stores
from serving.volumes import take_volumes
from topologies import volumes
from topologies.finals import BEST, Bases

SPANS_TOGETHER: Final = volumes.SPANS
"""Of a question that is answered from one bucket; of sketches, of which one may take 16 KiB, and of all others each span stands alone."""
MOST_KEYS: Final = 128
"""A question for more is not read through Memcached."""
MOST_RUNS: Final = 3
"""Spans are told by so many ranges of marks at the most; else by one, with whatever lies between."""


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
    window, bases = plan.stored, known.bases
    alike = window.pack_ms == window.length_ms  # then a span is a window, and what has one has the other
    spans_ms = starts_ms if alike else sorted({window.pack_of(start_ms) for start_ms in starts_ms})
    found = _Rows(stores, known, columns, bases, spans_ms, listed=alone and _is_listed(plan)).read()
    asked = set(starts_ms)
    for held, _ in found:
        # No window is in two of them, nor was it read before.
        sums.cells.update(held.cells if alike else {place: cell for place, cell in held.cells.items() if place[0] in asked})
    there = frozenset[int]().union(*(held.spans_ms for held, _ in found))
    remembered = frozenset[int]().union(*(held.spans_ms for held, was in found if was))
    if alike:
        return Taken(there, remembered)
    return Taken(*(frozenset(start_ms for start_ms in starts_ms if window.pack_of(start_ms) in spans) for spans in (there, remembered)))


class _Rows(Generic[Cell]):
    """The final rows of those of these spans (ascending) that are final, as far as a question asks for them."""

    def __init__(
        self, stores: Stores, known: Known, columns: Columns[Cell], bases: Bases, spans_ms: Sequence[int], *, listed: bool
    ) -> None:
        plan = columns.plan
        self._stores = stores
        self._known = known
        self._columns = columns
        self._bases = bases
        self._bases_of = bases.of_spans(plan.view, plan.stored, spans_ms)
        self._listed = listed
        self._buckets = [top_bucket(plan.grouping)] if listed else plan.buckets
        self._spans = self._blocks()

    def read(self) -> list[Got[Held[Cell]]]:
        """What there is of them."""
        plan = self._columns.plan
        keys = [key for key, block in self._spans.items() if not self._stores.unmarked(plan.view, plan.stored.name, self._digests(block))]
        if len(keys) > MOST_KEYS:
            return [Got(held, remembered=False) for held in self._load(keys).values()]
        ttl_s = self._stores.settings.memcached.finals_ttl_s
        return list(self._stores.through.read(keys, Store(self._load, self._packed, self._unpacked, ttl_s)).values())

    def _blocks(self) -> dict[str, list[int]]:
        """The spans that are read together, by their key. Blocks begin at whole multiples, so that questions that overlap share them."""
        plan, view = self._columns.plan, self._columns.plan.view
        together = SPANS_TOGETHER if len(self._buckets) == 1 and view.distinct is None else 1
        blocks, length_ms = list[list[int]](), plan.stored.pack_ms * together
        spans_ms = list(self._bases_of)
        while spans_ms:
            many = bisect_left(spans_ms, spans_ms[0] - spans_ms[0] % length_ms + length_ms)
            blocks.append(spans_ms[:many])
            del spans_ms[:many]
        what = ("final", plan.grouping, self._listed, sorted(plan.fixed.items()), plan.kept)
        keyed = self._stores.key_of
        return {keyed(view.final_table, plan.stored.name, *what, self._told(block)): block for block in blocks}

    def _told(self, block: Sequence[int]) -> object:
        """Each span with the digest of its basis; of spans in a row that have one basis, once."""
        bases, first = self._bases_of, self._bases_of[block[0]]
        in_a_row = block[-1] - block[0] == (len(block) - 1) * self._columns.plan.stored.pack_ms
        if in_a_row and all(bases[pack_ms] is first for pack_ms in block):
            return block[0], len(block), first.digest
        return [(pack_ms, bases[pack_ms].digest) for pack_ms in block]

    def _load(self, keys: Sequence[str]) -> dict[str, Held[Cell]]:
        """From Cassandra."""
        sums = self._columns.sums()
        asked = sorted(pack_ms for key in keys for pack_ms in self._spans[key])
        whole = frozenset[int]()
        if self._columns.plan.first is not None and not self._listed:
            whole = take_volumes(self._stores, self._known, self._columns, sums, self._bases, asked, self._columns.plan.first)
        if rest := [pack_ms for pack_ms in asked if pack_ms not in whole]:
            whole |= self._take_spans(sums, rest)
        cells: dict[int, dict[Place, Cell]] = {}
        for place, cell in sums.cells.items():
            cells.setdefault(self._columns.plan.stored.pack_of(place[0]), {})[place] = cell
        return {key: self._held(self._spans[key], whole, cells) for key in keys}

    def _take_spans(self, sums: Sums[Cell], asked: Sequence[int]) -> frozenset[int]:
        """Takes in the cells of these spans: the marks, then the packs; returns those of which that is all."""
        plan, finals = self._columns.plan, self._stores.finals
        marks = self._marks(asked)
        there = {pack_ms: marks[pack_ms].upto for pack_ms in asked if pack_ms in marks and self._has(pack_ms, marks[pack_ms])}
        packs = list(finals.packs(plan.view, plan.stored.name, sorted(there), self._buckets))
        renewed = {pack.pack_ms for pack in packs if pack.upto > there[pack.pack_ms]}
        unmarked = set(asked) - marks.keys()
        empty = self._empty(unmarked)
        whole = (there.keys() - renewed) | empty
        self._stores.are_unmarked(plan.view, plan.stored.name, self._digests(set(asked) - there.keys() - empty))
        for pack in packs:
            if pack.pack_ms in whole:
                found = self._columns.decoded(pack.blob) if self._listed else self._columns.decoded_final(pack.blob)
                sums.take(found, range(pack.pack_ms, pack.pack_ms + plan.stored.pack_ms))
        return frozenset(whole)

    def _empty(self, unmarked: Collection[int]) -> set[int]:
        """Those of these spans without final rows in which nobody has a cell: nobody makes final rows of nothing. None while another
        region does not say what it has."""
        try:
            return (
                set(unmarked) - self._stores.spans(self._columns.plan.view, self._columns.plan.stored.name, self._known)
                if unmarked
                else set()
            )
        except RegionAway:
            return set()

    def _marks(self, asked: Sequence[int]) -> dict[int, Mark]:
        """The marks of these spans (ascending), and maybe others'. Volumes leave the spans of a first and a last day, far apart. Of one
        span its neighbours' are read too: who asks for those, of whatever title, finds them there (Stores.marks)."""
        plan = self._columns.plan
        if len(asked) == 1:
            block_ms = plan.stored.pack_ms * SPANS_TOGETHER
            first_ms = asked[0] - asked[0] % block_ms
            runs = [(first_ms, first_ms + block_ms - plan.stored.pack_ms)]
        else:
            runs = runs_of(asked, plan.stored.pack_ms)
        if len(runs) > MOST_RUNS:
            runs = [(asked[0], asked[-1])]
        found: dict[int, Mark] = {}
        for first_ms, last_ms in runs:
            found |= self._stores.marks(plan.view, plan.stored.name, first_ms, last_ms, self._known)
        return found

    def _digests(self, spans_ms: Iterable[int]) -> dict[int, str]:
        return {pack_ms: self._bases_of[pack_ms].digest for pack_ms in spans_ms}

    def _has(self, pack_ms: int, mark: Mark) -> bool:
        """Whether the span's final rows are of the basis that we reckon."""
        return self._bases_of[pack_ms].digest == mark.basis

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


def runs_of(spans_ms: Sequence[int], pack_ms: int) -> list[tuple[int, int]]:
    """The first and the last span of each run of them (ascending) without a gap."""
    runs: list[tuple[int, int]] = []
    for span_ms in spans_ms:
        if runs and span_ms == runs[-1][1] + pack_ms:
            runs[-1] = runs[-1][0], span_ms
        else:
            runs.append((span_ms, span_ms))
    return runs
