"""What an answer shows of each part of a view: its cells merged, and made columns. One class a kind of part, `columns_of` finds it.

    Integers    the view's own measures, and the rates of them
    Quantiles   a histogram: how many values, and their quantiles, from the bins
    Kept        the least, the greatest or the last value
    Estimates   a distinct count, from the united sketches

Pure.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final, Generic

from serving.cells import Cell, Found, Place, Shown, Sums, Values, added, greatest
from serving.questions import Plan, additive
from topologies.bins import RELATIVE_ERROR, middle_of
from topologies.finals import pack_of
from topologies.pack_search import cells_among, cells_of, sums_of
from topologies.packs import PackedCell, decode_pack
from topologies.sketch_packs import PackedSketch, decode_sketches, encode_sketches
from topologies.sketches import STANDARD_ERROR, Coupons, estimate, union
from topologies.view import MOST, Distinct, Extreme, Histogram, Measure, Rate, View

DIGITS: Final = 4
"""Decimals of a rate."""


class Columns(ABC, Generic[Cell]):
    """The columns of one part. `plan` reads it: the question's plan, of this part."""

    plan: Plan
    names: tuple[str, ...]
    units: Mapping[str, str]
    """Of the columns that have one."""
    fractions: frozenset[str] = frozenset()
    """Names of the columns that can be no whole number."""
    errors: Mapping[str, float] = {}
    """Relative error of what is estimated, by measure."""
    notes: tuple[str, ...] = ()
    """What to say about them."""
    absent: Shown
    """What is shown of a row that has no cell here."""

    def sums(self) -> Sums[Cell]:
        """What takes its cells."""
        return Sums(self.plan, self.merged, self.over)

    @abstractmethod
    def decoded(self, pack: bytes) -> Iterator[Found[Cell]]:
        """The cells of a pack of Cassandra. Raises StoreError if the bytes are no whole pack."""

    def decoded_final(self, pack: bytes) -> Iterator[Found[Cell]]:
        """At least those cells of a final pack that are asked for; raises as `decoded`."""
        return self.decoded(pack)

    def decoded_partial(self, pack: bytes, wanted: Collection[int]) -> Iterator[Found[Cell]]:  # noqa: ARG002  # a kind that reads all
        """At least those cells of a source's pack that are asked for, of these windows (their starts); raises as `decoded`."""
        return self.decoded(pack)

    @abstractmethod
    def packed(self, cells: Mapping[Place, Cell]) -> bytes | None:
        """What `unpacked` reads: a pack of these cells of the plan, by place; None if one does not fit it."""

    def unpacked(self, payload: bytes) -> dict[Place, Cell]:
        """The cells that were packed so. Raises as `decoded`."""
        return self._by_place(self.decoded(payload))

    def _by_place(self, found: Iterable[Found[Cell]]) -> dict[Place, Cell]:
        empty = ("",) if len(self.plan.kept) == 1 else ()  # no value, and one of no characters, are the same bytes
        return {(start_ms, key or empty): cell for start_ms, _, key, cell in found}

    @abstractmethod
    def merged(self, first: Cell, second: Cell) -> Cell:
        """One cell of two of the same window: of two sources, or of two values of a dimension that is left out."""

    def over(self, first: Cell, second: Cell) -> Cell:
        """One cell of two of different windows."""
        return self.merged(first, second)

    @abstractmethod
    def shown(self, cells: Mapping[Place, Cell]) -> dict[Place, Shown]:
        """By row, what it shows. A row of which there is nothing is left out."""


class Numbers(Columns[Values]):
    """Cells of integers, as topologies.packs has them."""

    def decoded(self, pack: bytes) -> Iterator[Found[Values]]:
        return map(_found, decode_pack(pack))

    def decoded_final(self, pack: bytes) -> Iterator[Found[Values]]:
        return iter(cells_of(pack, self.plan.grouping, self.plan.fixed.get(0)))

    def decoded_partial(self, pack: bytes, wanted: Collection[int]) -> Iterator[Found[Values]]:
        return iter(cells_among(pack, self.plan.grouping, self.plan.fixed.get(0), wanted))

    def packed(self, cells: Mapping[Place, Values]) -> bytes | None:
        if any(max(values) > MOST for values in cells.values()):  # a sum of cells
            return None
        in_order = sorted(cells.items(), key=lambda item: (item[0][1], item[0][0]))
        return pack_of([PackedCell(start_ms, 0, key, values) for (start_ms, key), values in in_order])

    def unpacked(self, payload: bytes) -> dict[Place, Values]:
        return self._by_place(cells_of(payload, 0, None))  # a key's cells stand together, as in a final pack

    def merged(self, first: Values, second: Values) -> Values:
        return added(first, second)


class Integers(Numbers):
    """Measures that add up, or of which the greatest is shown; and the rates of them. What decays is shown by its trend alone."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        measures = plan.view.measures
        self._visible = visible(plan.view)
        self._rates = [(rate, _at(measures, rate.of), _at(measures, rate.over)) for rate in plan.view.rates]
        declared: list[Measure | Rate] = [*(measures[at] for at in self._visible), *plan.view.rates]
        self.names = tuple(each.name for each in declared)
        self.units = {each.name: each.unit for each in declared if each.unit}
        self.fractions = frozenset(rate.name for rate in plan.view.rates)
        self.absent = self._shown((0,) * len(measures))
        # of a title, all its regions together: added up before they are cells
        self._added = set(plan.fixed) == {0} and set(plan.kept) <= {0} and len(plan.view.groupings[plan.grouping]) > 1
        self._as_they_are = not self._rates and len(self._visible) == len(measures)

    def decoded_final(self, pack: bytes) -> Iterator[Found[Values]]:
        return iter(sums_of(pack, self.plan.grouping, self.plan.fixed[0])) if self._added else super().decoded_final(pack)

    def over(self, first: Values, second: Values) -> Values:
        return added(first, second) if additive(self.plan.view) else greatest(first, second)

    def shown(self, cells: Mapping[Place, Values]) -> dict[Place, Shown]:
        if self._as_they_are:
            return {place: values for place, values in cells.items() if any(values)}
        return {place: self._shown(values) for place, values in cells.items() if any(values)}

    def _shown(self, values: Values) -> Shown:
        rates = (_rate(rate.scale, sum(values[at] for at in of), sum(values[at] for at in over)) for rate, of, over in self._rates)
        return (*(values[at] for at in self._visible), *rates)


class Quantiles(Numbers):
    """A histogram, read with the bin as one more kept dimension."""

    def __init__(self, plan: Plan, histogram: Histogram) -> None:
        last = len(plan.view.groupings[plan.grouping]) - 1
        self.plan = replace(plan, kept=(*plan.kept, last))
        self._quantiles = [Fraction(str(quantile)) for quantile in histogram.quantiles]
        self.names = histogram.columns
        points = self.names[1:]
        self.fractions = frozenset(points)
        self.units = dict.fromkeys(points, histogram.unit) if histogram.unit else {}
        self.errors = {histogram.name: RELATIVE_ERROR}
        self.absent = (0, *(None for _ in points))

    def shown(self, cells: Mapping[Place, Values]) -> dict[Place, Shown]:
        bins: dict[Place, dict[int, int]] = {}
        for (start_ms, key), (count,) in cells.items():
            bins.setdefault((start_ms, key[:-1]), {})[int(key[-1])] = count
        return {place: (sum(held.values()), *quantiles_of(held, self._quantiles)) for place, held in bins.items()}


class Kept(Numbers):
    """The least, greatest or last value. It stands as value + 1, and 0 is none; before a last one stand its ts and seq, likewise."""

    def __init__(self, plan: Plan, extreme: Extreme) -> None:
        self.plan = plan
        self._least = extreme.keep == "min"
        self.names = (extreme.name,)
        self.units = {extreme.name: extreme.unit} if extreme.unit else {}
        self.absent = (None,)

    def merged(self, first: Values, second: Values) -> Values:
        return min(first, second) if self._least and first[-1] and second[-1] else max(first, second)

    def shown(self, cells: Mapping[Place, Values]) -> dict[Place, Shown]:
        return {place: (values[-1] - 1,) for place, values in cells.items() if values[-1]}


class Estimates(Columns[tuple[Coupons, ...]]):
    """A distinct count. Sketches stand side by side until they are united, once a row."""

    def __init__(self, plan: Plan, distinct: Distinct) -> None:
        self.plan = plan
        self.names = (distinct.name,)
        self.units = {}
        self.errors = {distinct.name: round(STANDARD_ERROR, 4)}
        self.notes = (f"{distinct.name}: estimated by HyperLogLog, standard error {100 * STANDARD_ERROR:.2f} %",)
        self.absent = (0,)

    def decoded(self, pack: bytes) -> Iterator[Found[tuple[Coupons, ...]]]:
        return ((found.start_ms, found.grouping, found.key, (found.coupons,)) for found in decode_sketches(pack))

    def packed(self, cells: Mapping[Place, tuple[Coupons, ...]]) -> bytes | None:
        return encode_sketches([PackedSketch(start_ms, 0, key, union(sketches)) for (start_ms, key), sketches in cells.items()])

    def merged(self, first: tuple[Coupons, ...], second: tuple[Coupons, ...]) -> tuple[Coupons, ...]:
        return first + second

    def shown(self, cells: Mapping[Place, tuple[Coupons, ...]]) -> dict[Place, Shown]:
        return {place: (round(estimate(union(sketches))),) for place, sketches in cells.items()}


def columns_of(plan: Plan) -> tuple[Columns[Any], ...]:
    """The columns of each part of the plan's view, in the order of its parts: the integers come first, if there are any."""
    return tuple(_columns(plan, part) for part in plan.view.parts)


def _columns(plan: Plan, part: View) -> Columns[Any]:
    if not part.is_part:
        return Integers(plan)
    window = part.window(plan.stored.name)
    read = replace(plan, view=part, stored=window, shown=window)
    if part.histogram is not None:
        return Quantiles(read, part.histogram)
    if part.extreme is not None:
        return Kept(read, part.extreme)
    if part.distinct is not None:
        return Estimates(read, part.distinct)
    raise NotImplementedError(f"{part.name} is a kind of part that has no columns")


def joined(columns: Sequence[Columns[Any]], shown: Sequence[Mapping[Place, Shown]]) -> dict[Place, Shown]:
    """The rows that any part has, with what each part shows of them."""
    if len(shown) == 1:
        return dict(shown[0])
    places = dict.fromkeys(place for found in shown for place in found)
    both = list(zip(columns, shown, strict=True))
    return {place: tuple(value for one, found in both for value in found.get(place, one.absent)) for place in places}


def visible(view: View) -> tuple[int, ...]:
    """Which of its measures are shown, from 0: those that do not decay."""
    return tuple(at for at, measure in enumerate(view.measures) if not measure.half_life_s)


def quantiles_of(bins: Mapping[int, int], quantiles: Sequence[Fraction]) -> list[float]:
    """Of n ≥ 1 values counted by bin, for each quantile p the middle of the bin that holds the value of rank ⌈p · n⌉."""
    total = sum(bins.values())
    found = []
    for quantile in quantiles:
        rank, passed = math.ceil(quantile * total), 0
        for number in sorted(bins):
            passed += bins[number]
            if passed >= rank:
                found.append(middle_of(number))
                break
    return found


def _found(cell: PackedCell) -> Found[Values]:
    return cell.start_ms, cell.grouping, cell.key, cell.values


def _at(measures: Sequence[Measure], names: Sequence[str]) -> tuple[int, ...]:
    return tuple([measure.name for measure in measures].index(name) for name in names)


def _rate(scale: float, of: int, over: int) -> float | None:
    return round(scale * of / over, DIGITS) if over else None
