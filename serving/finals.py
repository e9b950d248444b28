"""Final rows as an answer reads them: those that are made of every source that is known, and no others."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.cassandra_finals import FinalRows, top_bucket
from serving.cells import Sums
from topologies.finals import BEST, Bases, cells_of
from topologies.packs import BUCKETS, bucket_of, decode_pack


def add_finals(finals: FinalRows, bases: Bases, sums: Sums, starts_ms: Sequence[int], *, alone: bool) -> set[int]:
    """Adds the cells of those windows that have final rows; returns their starts. alone: nothing else can be in the answer, so its first
    cells may come from a top list. Raises ServerAway or StoreError."""
    plan = sums.plan
    view, window = plan.view, plan.stored
    wanted: dict[int, set[int]] = {}
    for start_ms in starts_ms:
        wanted.setdefault(window.pack_of(start_ms), set()).add(start_ms)
    marks = finals.marks(view, window.name, min(wanted), max(wanted))
    there = {
        pack_ms: mark.upto
        for pack_ms, mark in marks.items()
        if pack_ms in wanted and (basis := bases.of(window, pack_ms)) is not None and basis.digest == mark.basis
    }
    best = alone and plan.top is not None and plan.top <= BEST and view.leaderboard is not None and _is_whole(sums)
    first = plan.fixed.get(0)
    if best:
        buckets = [top_bucket(plan.grouping)]
    elif first is not None or not view.groupings[plan.grouping]:
        buckets = [bucket_of((first,) if first is not None else ())]
    else:
        buckets = list(range(BUCKETS))
    packs = list(finals.packs(view, window.name, sorted(there), buckets))
    renewed = {pack.pack_ms for pack in packs if pack.upto > there[pack.pack_ms]}
    for pack in packs:
        if pack.pack_ms not in renewed:
            cells = decode_pack(pack.blob) if best else cells_of(pack.blob, plan.grouping, first)
            sums.add_pack(cells, wanted[pack.pack_ms])
    return {start_ms for pack_ms in there.keys() - renewed for start_ms in wanted[pack_ms]}


def _is_whole(sums: Sums) -> bool:
    """Whether each cell of the grouping is a row of the answer."""
    plan = sums.plan
    return not plan.fixed and len(plan.kept) == len(plan.view.groupings[plan.grouping])
