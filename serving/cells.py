"""Cells become the rows of an answer: summed over sources, filtered, projected, peaks taken, ranked. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from serving.questions import Plan, additive
from topologies.packs import PackedCell

Key = tuple[str, ...]
Values = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One line of an answer: start of its window (epoch ms; 0 for live or for a whole span), dimension values, measures."""

    start_ms: int
    key: Key
    values: Values


@dataclass
class Sums:
    """The sum of cells by (stored window start, kept dimension values)."""

    plan: Plan
    cells: dict[tuple[int, Key], Values] = field(default_factory=dict)

    def add(self, start_ms: int, key: Key, values: Values) -> None:
        """Adds one cell of the plan's grouping, if it is asked for."""
        plan = self.plan
        for position, value in plan.fixed.items():
            if key[position] != value:
                return
        place = (start_ms, tuple(key[position] for position in plan.kept))
        before = self.cells.get(place)
        self.cells[place] = values if before is None else tuple(map(int.__add__, before, values))

    def add_pack(self, cells: Iterable[PackedCell], wanted: set[int]) -> None:
        """Adds the cells of one source's pack that belong to the plan's grouping and to a wanted window start."""
        for cell in cells:
            if cell.grouping == self.plan.grouping and cell.start_ms in wanted:
                self.add(cell.start_ms, cell.key, cell.values)

    def add_totals(self, start_ms: int, totals: Mapping[Key, Values]) -> None:
        """Adds cells that are already summed over sources."""
        for key, values in totals.items():
            self.add(start_ms, key, values)


def rows(sums: Sums) -> list[Row]:
    """The answer's rows. In time, then by the ranked measure descending, then by key; with `top` the best so many
    over the whole span: sums are added over its windows, others show their greatest."""
    plan = sums.plan
    found = {place: values for place, values in sums.cells.items() if any(values)}
    if plan.shown is not plan.stored:
        found = _greatest(found, plan.shown.start_of)
    if plan.top is not None:
        found = _added(found) if additive(plan.view) else _greatest(found, lambda _: 0)
    ranked = plan.ranked
    ordered = sorted(found.items(), key=lambda item: (item[0][0], -item[1][ranked], item[0][1]))
    return [Row(start_ms, key, values) for (start_ms, key), values in ordered][: plan.top]


def _greatest(cells: Mapping[tuple[int, Key], Values], start_of: Callable[[int], int]) -> dict[tuple[int, Key], Values]:
    peaks: dict[tuple[int, Key], Values] = {}
    for (start_ms, key), values in cells.items():
        place = (start_of(start_ms), key)
        before = peaks.get(place)
        peaks[place] = values if before is None else tuple(map(max, before, values))
    return peaks


def _added(cells: Mapping[tuple[int, Key], Values]) -> dict[tuple[int, Key], Values]:
    added: dict[tuple[int, Key], Values] = {}
    for (_, key), values in cells.items():
        before = added.get((0, key))
        added[0, key] = values if before is None else tuple(map(int.__add__, before, values))
    return added
