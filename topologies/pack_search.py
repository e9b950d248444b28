"""The cells that one asks for in a pack, and no others: a month of a title's hours is a handful of cells in each of 720 packs, and its past
hour a handful among the thousands of each source.

A final pack's cells stand in the order of grouping, key and start (topologies.finals.merge), so they are found by halving; a source's stand
as they came, so its keys are searched for the text. The other keys are not even sliced out, nor their measures widened. Of a final pack of
90 cells this takes a third of the time of decoding its columns. Of a volume (topologies/volumes.py) a title's cells in all its regions are
added up as columns: 144 of them in a fifth of the time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.packs import HEAD, INTEGERS, KEY_HEAD, MAGIC, reading, split
from topologies.view import KEY_SEPARATOR, MOST

_SEPARATOR: Final = KEY_SEPARATOR.encode()
_BEHIND_SEPARATOR: Final = bytes([ord(KEY_SEPARATOR) + 1])


Cell = tuple[int, int, tuple[str, ...], tuple[int, ...]]
"""What a PackedCell has, in its order: of thousands, a tuple each is made in a fifth of the time."""


class _Pack(NamedTuple):
    """A pack's bytes, and where what stands in them: groupings u8[keys], bounds of the keys i64[keys + 1]."""

    raw: bytes
    cells: int
    widths: bytes
    groupings: NDArray[Any]
    bounds: NDArray[np.int64]

    def column(self, kind: str | np.dtype[Any], behind: int, first: int, many: int) -> NDArray[Any]:
        """Of a column that has so many bytes a cell of others before it, so many from the first."""
        at = self.bounds.item(-1) + behind * self.cells
        dtype = np.dtype(kind)
        return np.frombuffer(self.raw, dtype=dtype, count=many, offset=at + first * dtype.itemsize)

    def key(self, place: int) -> tuple[str, ...]:
        return split(self.raw[self.bounds.item(place) : self.bounds.item(place + 1)])


def cells_of(pack: bytes, grouping: int, first: str | None) -> list[Cell]:
    """The cells of a grouping in a final pack; those of one first dimension value if it is given. Raises StoreError for a pack that cannot
    be read."""
    if not pack:
        return []
    with reading(pack):
        return _in_order(_opened(pack), grouping, first)


def sums_of(pack: bytes, grouping: int, first: str) -> list[Cell]:
    """Of a final pack, what the cells of a grouping by more than one dimension that have this first value are together, in each window:
    with that value alone as their key, and their measures added up. Raises as `cells_of`."""
    if not pack:
        return []
    with reading(pack):
        opened = _opened(pack)
        text = first.encode()
        begin, end = _of_grouping(opened, grouping)
        begin = _place(opened.raw, opened.bounds, text + _SEPARATOR, begin, end)
        end = _place(opened.raw, opened.bounds, text + _BEHIND_SEPARATOR, begin, end)
        return _added(opened, grouping, first, begin, end) if begin < end else []


def cells_among(pack: bytes, grouping: int, first: str | None, wanted: Collection[int]) -> list[Cell]:
    """The cells of a grouping and of the wanted windows (their starts) in any pack; those of one first dimension value if it is given and
    not empty. Raises as `cells_of`."""
    if not pack:
        return []
    with reading(pack):
        opened = _opened(pack)
        if first:
            named = [place for place in _named(opened, first) if opened.groupings.item(place) == grouping]
            places = np.array(named, dtype=np.intp)
        else:
            places = np.flatnonzero(opened.groupings == grouping)
        return _at(opened, grouping, places, wanted)


def _opened(pack: bytes) -> _Pack:
    magic, measures, count, distinct = HEAD.unpack_from(pack)
    if magic != MAGIC:
        raise ValueError(f"it starts with {magic!r}")
    at = HEAD.size + measures
    widths = pack[HEAD.size : at]
    head = np.frombuffer(pack, dtype=KEY_HEAD, count=distinct, offset=at)
    bounds = np.empty(distinct + 1, dtype=np.int64)
    bounds[0] = at + head.nbytes
    bounds[1:] = head["length"]
    bounds = bounds.cumsum()
    size = bounds.item(distinct) + count * (4 + 8 + sum(widths))
    if size != len(pack):
        raise ValueError(f"it should have {size} bytes")
    return _Pack(pack, count, widths, head["grouping"], bounds)


# -- in a final pack -----------------------------------------------------------------------------------------------------


def _in_order(pack: _Pack, grouping: int, first: str | None) -> list[Cell]:
    begin, end = _of_grouping(pack, grouping)
    if first is not None:
        text = first.encode()
        begin = _place(pack.raw, pack.bounds, text, begin, end)
        end = _place(pack.raw, pack.bounds, text + _BEHIND_SEPARATOR, begin, end)
    if begin == end:
        return []
    cells = _between(pack, grouping, begin, end)
    return cells if first is None else [cell for cell in cells if cell[2][0] == first]


def _of_grouping(pack: _Pack, grouping: int) -> tuple[int, int]:
    """From where to where its keys stand."""
    begin, end = 0, len(pack.groupings)
    if end and not pack.groupings.item(0) == pack.groupings.item(-1) == grouping:
        begin, end = pack.groupings.searchsorted((grouping, grouping + 1)).tolist()
    return begin, end


def _place(pack: bytes, bounds: NDArray[np.int64], text: bytes, low: int, high: int) -> int:
    """Which is the first of the keys from `low` to `high` that is not less than the text."""
    bound = bounds.item
    while low < high:
        middle = (low + high) // 2
        if pack[bound(middle) : bound(middle + 1)] < text:
            low = middle + 1
        else:
            high = middle
    return low


def _between(pack: _Pack, grouping: int, begin: int, end: int) -> list[Cell]:
    """The cells of the keys from `begin` to `end`, which is greater."""
    ends = pack.bounds[begin : end + 1].tolist()
    keys = [split(pack.raw[low:high]) for low, high in pairwise(ends)]
    low, high = begin, end
    if pack.cells != len(pack.groupings):  # else each key has one cell, for none has none
        index = pack.column("<u4", 0, 0, pack.cells)
        low, high = index.searchsorted((begin, end)).tolist()
        keys = [keys[place - begin] for place in index[low:high].tolist()]
    starts = pack.column("<i8", 4, low, high - low).tolist()
    columns = [column.tolist() for column in _measures(pack, low, high - low)]
    return [(start_ms, grouping, key, values) for key, start_ms, values in zip(keys, starts, zip(*columns, strict=True), strict=True)]


def _added(pack: _Pack, grouping: int, first: str, begin: int, end: int) -> list[Cell]:
    """The cells of the keys from `begin` to `end`, which is greater, one of all that share a start."""
    low, high = begin, end
    if pack.cells != len(pack.groupings):
        low, high = pack.column("<u4", 0, 0, pack.cells).searchsorted((begin, end)).tolist()
    starts = pack.column("<i8", 4, low, high - low)
    order = starts.argsort(kind="stable")
    starts = starts[order]
    firsts = np.flatnonzero(np.append(True, starts[1:] != starts[:-1]))
    columns = [_sums(column[order], firsts) for column in _measures(pack, low, high - low)]
    key = (first,)
    return [(start_ms, grouping, key, values) for start_ms, values in zip(starts[firsts].tolist(), zip(*columns, strict=True), strict=True)]


def _sums(column: NDArray[Any], firsts: NDArray[np.intp]) -> list[int]:
    """The sum of each run, whatever its size."""
    least, greatest = int(column.min()), int(column.max())
    fits = max(greatest, -least) <= MOST // len(column)
    found: list[int] = np.add.reduceat(column.astype(np.int64 if fits else object), firsts).tolist()
    return found


def _measures(pack: _Pack, first: int, many: int) -> Iterator[NDArray[Any]]:
    """Of so many cells from the first, each measure."""
    behind = 4 + 8
    for width in pack.widths:
        yield pack.column(INTEGERS[width], behind, first, many)
        behind += width


# -- in any pack ---------------------------------------------------------------------------------------------------------


def _named(pack: _Pack, first: str) -> Iterator[int]:
    """The keys whose first dimension value is that one, ascending; of other groupings too."""
    text, raw, bounds = first.encode(), pack.raw, pack.bounds
    at, end = bounds.item(0), bounds.item(-1)
    while (at := raw.find(text, at, end)) >= 0:
        place = int(bounds.searchsorted(at, side="right")) - 1
        behind = at + len(text)
        if bounds.item(place) == at and (behind == bounds.item(place + 1) or raw.startswith(_SEPARATOR, behind, bounds.item(place + 1))):
            yield place
        at += 1


def _at(pack: _Pack, grouping: int, places: NDArray[np.intp], wanted: Collection[int]) -> list[Cell]:
    """The cells of the wanted windows that have one of these keys."""
    if not len(places):
        return []
    picked = np.zeros(len(pack.groupings), dtype=np.bool_)
    picked[places] = True
    index = pack.column("<u4", 0, 0, pack.cells)
    rows = np.flatnonzero(picked[index])
    starts = pack.column("<i8", 4, 0, pack.cells)[rows]
    inside = np.isin(starts, list(wanted))
    rows, starts = rows[inside], starts[inside]
    keys = {place: pack.key(place) for place in set(index[rows].tolist())}
    columns = [column[rows].tolist() for column in _measures(pack, 0, pack.cells)]
    return [
        (start_ms, grouping, keys[place], values)
        for place, start_ms, values in zip(index[rows].tolist(), starts.tolist(), zip(*columns, strict=True), strict=True)
    ]
