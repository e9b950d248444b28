"""Cells become the rows of an answer: merged over sources, filtered, projected, brought together over windows, ranked. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from operator import add
from typing import Generic, TypeVar

from serving.questions import Plan

Key = tuple[str, ...]
Values = tuple[int, ...]
Shown = tuple[int | float | None, ...]
"""What an answer shows of a cell; None where there is nothing to tell."""
Place = tuple[int, Key]
"""Start of the stored window (epoch ms) and kept dimension values."""
Cell = TypeVar("Cell")
Found = tuple[int, int, Key, Cell]
"""A cell as it is stored: start of its window (epoch ms), its grouping, all its dimension values, what it holds."""
Merge = Callable[[Cell, Cell], Cell]


@dataclass(frozen=True)
class Row:
    """One line of an answer: start of its window (epoch ms; 0 for live or for a whole span), dimension values, what it shows of each."""

    start_ms: int
    key: Key
    values: Shown


def added(first: Values, second: Values) -> Values:
    """Two cells of integers as one."""
    return tuple(map(add, first, second))


def greatest(first: Values, second: Values) -> Values:
    """The greater of each measure."""
    return tuple(map(max, first, second))


@dataclass
class Sums(Generic[Cell]):
    """The cells of one part by place. `merged` makes one of two cells of the same window, `over` of two in different ones."""

    plan: Plan
    merged: Merge[Cell]
    over: Merge[Cell]
    cells: dict[Place, Cell] = field(default_factory=dict)

    def add(self, start_ms: int, key: Key, cell: Cell) -> None:
        """Takes in one cell of the plan's grouping, if it is asked for."""
        plan = self.plan
        for position, value in plan.fixed.items():
            if key[position] != value:
                return
        place = (start_ms, tuple(key[position] for position in plan.kept))
        before = self.cells.get(place)
        self.cells[place] = cell if before is None else self.merged(before, cell)

    def take(self, found: Iterable[Found[Cell]], wanted: Collection[int]) -> None:
        """Takes in those of one source's cells that belong to the plan's grouping and to a wanted window start."""
        grouping, fixed, kept, cells, merged = self.plan.grouping, tuple(self.plan.fixed.items()), self.plan.kept, self.cells, self.merged
        for start_ms, one, key, cell in found:
            if one != grouping or start_ms not in wanted:
                continue
            for position, value in fixed:
                if key[position] != value:
                    break
            else:
                place = (start_ms, tuple([key[position] for position in kept]))
                before = cells.get(place)
                cells[place] = cell if before is None else merged(before, cell)

    def settled(self) -> dict[Place, Cell]:
        """The cells by the windows that the answer shows; with `top` by key alone, at 0."""
        plan = self.plan
        if plan.top is not None:
            return self._moved(lambda _: 0)
        return self._moved(plan.shown.start_of) if plan.shown is not plan.stored else self.cells

    def _moved(self, start_of: Callable[[int], int]) -> dict[Place, Cell]:
        moved: dict[Place, Cell] = {}
        for (start_ms, key), cell in self.cells.items():
            place = (start_of(start_ms), key)
            before = moved.get(place)
            moved[place] = cell if before is None else self.over(before, cell)
        return moved


def ordered(shown: Mapping[Place, Shown], ranked: int, top: int | None) -> list[Row]:
    """The answer's rows: in time, then by the ranked column descending (None last), then by key; with `top` the first so many."""

    def rank(item: tuple[Place, Shown]) -> tuple[int, float, Key]:
        value = item[1][ranked]
        return item[0][0], float("inf") if value is None else -value, item[0][1]

    if top is None and len({start_ms for start_ms, _ in shown}) == len(shown):  # a row of each window: a series
        return [Row(*place, shown[place]) for place in sorted(shown)]
    return [Row(start_ms, key, values) for (start_ms, key), values in sorted(shown.items(), key=rank)][:top]
