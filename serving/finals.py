"""Final rows as an answer reads them: those that are made of every source that is known, and no others."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.cassandra_finals import top_bucket
from serving.cells import Cell, Sums
from serving.columns import Columns
from serving.questions import Plan
from serving.stores import Known, Stores
from topologies.finals import BEST, Bases
from topologies.packs import BUCKETS, bucket_of


def take_final(
    stores: Stores, known: Known, columns: Columns[Cell], sums: Sums[Cell], starts_ms: Sequence[int], *, alone: bool
) -> frozenset[int]:
    """Takes in the cells of those windows that have final rows; returns their starts. alone: no other window can be in the answer, so its
    first rows may come from a top list. Raises ServerAway or StoreError."""
    plan = columns.plan
    wanted: dict[int, set[int]] = {}
    for start_ms in starts_ms:
        wanted.setdefault(plan.stored.pack_of(start_ms), set()).add(start_ms)
    bases = Bases(known.stored, known.over, known.counted)
    digests = {pack_ms: basis.digest for pack_ms in wanted if (basis := bases.of(plan.view, plan.stored, pack_ms)) is not None}
    if not digests:
        return frozenset()
    marks = stores.finals.marks(plan.view, plan.stored.name, min(digests), max(digests))
    there = {pack_ms: mark.upto for pack_ms, mark in marks.items() if digests.get(pack_ms) == mark.basis}
    listed = alone and _is_listed(plan)
    buckets = [top_bucket(plan.grouping)] if listed else _buckets(plan)
    packs = list(stores.finals.packs(plan.view, plan.stored.name, sorted(there), buckets))
    renewed = {pack.pack_ms for pack in packs if pack.upto > there[pack.pack_ms]}
    for pack in packs:
        if pack.pack_ms not in renewed:
            cells = columns.decoded(pack.blob) if listed else columns.decoded_final(pack.blob)
            sums.take(cells, wanted[pack.pack_ms])
    empty = _empty(stores, plan, digests.keys() - marks.keys())
    return frozenset(start_ms for pack_ms in (there.keys() - renewed) | empty for start_ms in wanted[pack_ms])


def _empty(stores: Stores, plan: Plan, spans_ms: set[int]) -> set[int]:
    """Those of these final spans in which nothing ever was: nobody makes final rows of nothing."""
    return spans_ms - stores.spans(plan.view, plan.stored.name) if spans_ms else spans_ms


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
