"""Final rows: what all sources together held in a pack span that no event can change any more. Pure.

A span is final when the watermark of every source that goes on has passed its end + 15 min, and one has at all; nothing is awaited of one
that is over: ended, its topic being no more, or finished, its log having ended as a backfill's does. A view that came later has no final
span while one source's log is being counted for it. A span's final packs are the sources' packs, merged: one a bucket, and one more a
grouping of a view with a leaderboard, which has the best cells. They are a function of their basis: the sources, and of one that was over
before its watermark got there, the offset at which it stands. A source that comes later, or goes on after all, makes another basis, so
whoever reads compares bases, and nobody has to say that a final row is one no longer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topologies.packs import PackColumns, PackedCell, decode_columns, encode_columns, join, split
from topologies.sketch_packs import PackedSketch, decode_sketches, encode_sketches
from topologies.sketches import Coupons, union
from topologies.sources import ALL_COUNTED, LATENESS_MS, Counted, SourceStatus
from topologies.view import MOST, View, Window

BEST: Final = 100
"""So many cells of a window and grouping stand in a top list; for more, all are read."""
PASSED: Final = -1
_OFFSETS: Final = 2**44
"""More than a partition has records. An offset counts for less than having passed, and half a million sources that have fit 63 bits."""
_NONE: Final = np.iinfo(np.int64).max
_LOW_WORD: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class Basis:
    """What final rows are made of: every source that is known, by its text, ascending, with PASSED, or with the offset at which one stood
    that was over before its watermark had passed the span."""

    sources: tuple[tuple[str, int], ...]

    @cached_property
    def version(self) -> int:
        """Greater the more is known: sources are never forgotten, their offsets grow, and a watermark that has passed stays so. Equal where
        the final rows are made of the same, so that who writes them again changes nothing, whatever else has gone on meanwhile."""
        return sum(_OFFSETS if offset == PASSED else offset + 1 for _, offset in self.sources)

    @cached_property
    def digest(self) -> str:
        """Equal where the final rows are made of the same."""
        return hashlib.sha256(self.told(dict(self.sources)).encode()).hexdigest()[:32]

    def told(self, among: Collection[str]) -> str:
        """Those of its sources that are among these, as text."""
        return " ".join(text if offset == PASSED else f"{text}@{offset}" for text, offset in self.sources if text in among)


class Bases:
    """The basis of each span, as far as the sources' statuses in Cassandra tell. everyone: that of what every source has passed, one object
    for all; so a span before one that has it has it too."""

    def __init__(self, statuses: Mapping[str, SourceStatus], over: Collection[str], counted: Counted = ALL_COUNTED) -> None:
        """statuses: of every source by its text. over: those of which nothing is awaited; what they counted stays. counted: which views
        have all that those say."""
        self._counted = counted
        known = sorted(statuses.items())
        self._known = [(text, status.watermark_ms, status.offset, text in over) for text, status in known]
        self._least_ms = min((watermark_ms for _, watermark_ms, _, _ in self._known), default=-1)
        self.everyone = Basis(tuple((text, PASSED) for text, *_ in self._known))
        self._whole: dict[str, bool] = {}
        self._made: dict[tuple[tuple[str, int], ...], Basis] = {}

    def of(self, view: View, window: Window, pack_ms: int) -> Basis | None:
        """The basis of a part's final rows of that span; None while it is not final."""
        if not self._is_whole(view):
            return None
        passed_ms = pack_ms + window.pack_ms + LATENESS_MS
        if window.length_ms and self._known and self._least_ms >= passed_ms:
            return self.everyone
        sources: list[tuple[str, int]] = []
        for text, watermark_ms, offset, over in self._known:
            if watermark_ms < passed_ms and not over:
                return None
            sources.append((text, PASSED if watermark_ms >= passed_ms else offset))
        if not window.length_ms or not any(offset == PASSED for _, offset in sources):
            return None
        return self._made.setdefault(tuple(sources), Basis(tuple(sources)))

    def of_spans(self, view: View, window: Window, spans_ms: Iterable[int]) -> dict[int, Basis]:
        """The bases of those of these spans that are final, in their order. What every source has passed has one basis, which is not
        reckoned for each: of a month of hours that is nearly all."""
        if not self._is_whole(view):
            return {}
        known = window.length_ms and self._known
        passed_all_ms = self._least_ms - window.pack_ms - LATENESS_MS if known else -1
        bases = ((pack_ms, self.everyone if pack_ms <= passed_all_ms else self.of(view, window, pack_ms)) for pack_ms in spans_ms)
        return {pack_ms: basis for pack_ms, basis in bases if basis is not None}

    def _is_whole(self, view: View) -> bool:
        whole = self._whole.get(view.name)
        if whole is None:
            whole = self._whole[view.name] = self._counted.whole(view.table)
        return whole


# -- packs of several sources into one -----------------------------------------------------------------------------------


def merge(view: View, packs: Sequence[bytes]) -> bytes:
    """The pack of what these packs of a part, one a source, hold together: its cells by grouping, key and start (sketches as
    topologies.sketch_packs orders them), so that the order of the packs does not matter. Raises StoreError for one that cannot be read."""
    if view.distinct is not None:
        return _united(packs)
    merged = merged_columns(view, packs)
    return encode_columns(merged) if merged is not None else b""


def merged_of(view: View, basis: Basis, packs: Iterable[tuple[str, int, bytes]]) -> bytes | None:
    """The final pack of this basis out of packs of a bucket, each with its source and the offset up to which it is; None if a source that
    was over has gone on beyond where the basis has it. Raises as `merge`."""
    stands = dict(basis.sources)
    held = [(stands[source], upto, pack) for source, upto, pack in packs if source in stands]
    if any(upto > stood != PASSED for stood, upto, _ in held):
        return None
    return merge(view, [pack for *_, pack in held])


def merged_columns(view: View, packs: Sequence[bytes]) -> PackColumns | None:
    """The same of a part that has no sketches, as columns; None of packs without a cell."""
    held = [columns for pack in packs if pack and len((columns := decode_columns(pack)).index)]
    return _merged(view, held) if held else None


def _united(packs: Sequence[bytes]) -> bytes:
    held: dict[tuple[int, int, tuple[str, ...]], list[Coupons]] = {}
    for pack in packs:
        for sketch in decode_sketches(pack):
            held.setdefault((sketch.start_ms, sketch.grouping, sketch.key), []).append(sketch.coupons)
    return encode_sketches([PackedSketch(*place, union(coupons)) for place, coupons in held.items()]) if held else b""


def _merged(view: View, packs: Sequence[PackColumns]) -> PackColumns:
    """One cell of all that share grouping, key and start; none whose measures are all 0."""
    keys = sorted({key for pack in packs for key in _keys(pack)})
    places = {key: place for place, key in enumerate(keys)}
    index = np.concatenate([np.array([places[key] for key in _keys(pack)], dtype=np.int64)[pack.index] for pack in packs])
    starts = np.concatenate([pack.starts for pack in packs])
    values = np.concatenate([pack.values for pack in packs])
    order = np.lexsort((starts, index))
    index, starts, values = index[order], starts[order], values[order]
    firsts = _firsts(index, starts)
    index, starts, values = index[firsts], starts[firsts], _reduced(view, values, firsts)
    held = values.any(axis=1)
    used, index = np.unique(index[held], return_inverse=True)
    chosen = [keys[place] for place in used.tolist()]
    return PackColumns([key for _, key in chosen], np.array([grouping for grouping, _ in chosen]), index, starts[held], values[held])


def _keys(pack: PackColumns) -> list[tuple[int, bytes]]:
    return list(zip(pack.groupings.tolist(), pack.keys, strict=True))


def _reduced(view: View, values: NDArray[np.int64], firsts: NDArray[np.intp]) -> NDArray[np.int64]:
    """Each run of rows that begins at one of `firsts` as one row, by the kind of the part (topologies.measuring: a kept value stands
    as value + 1, 0 being none)."""
    kept: NDArray[np.int64]
    if view.extreme is None:
        kept = _summed(values, firsts)
    elif view.extreme.keep == "max":
        kept = np.maximum.reduceat(values, firsts)
    elif view.extreme.keep == "min":
        kept = np.minimum.reduceat(np.where(values == 0, _NONE, values), firsts)
        kept[kept == _NONE] = 0
    else:
        runs = np.repeat(np.arange(len(firsts)), np.diff(np.append(firsts, len(values))))
        order = np.lexsort((*values.T[::-1], runs))
        kept = values[order][np.append(firsts[1:], len(values)) - 1]
    return kept


def _summed(values: NDArray[np.int64], firsts: NDArray[np.intp]) -> NDArray[np.int64]:
    """The sum of each run, MOST at the most. Its halves of 32 bits are added by themselves: no sum of those wraps."""
    low = np.add.reduceat(values & _LOW_WORD, firsts)
    high = np.add.reduceat(values >> 32, firsts) + (low >> 32)
    return np.where(high > MOST >> 32, MOST, high << 32 | low & _LOW_WORD)


def _firsts(major: NDArray[np.int64], minor: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where a run of equal pairs begins."""
    return np.flatnonzero(np.append(True, (major[1:] != major[:-1]) | (minor[1:] != minor[:-1])))


# -- top lists -----------------------------------------------------------------------------------------------------------


def top_packs(view: View, packs: Sequence[bytes]) -> dict[int, bytes]:
    """Of a view with a leaderboard, given all final packs of a span: by grouping the pack of each window's best cells, in the order of
    their rank, which falls with the ranked measure; of equal ones the lesser key comes first."""
    if view.ranked is None:
        return {}
    found: dict[int, dict[int, list[PackedCell]]] = {}
    for pack in packs:
        for cell in _best_of(decode_columns(pack), view.ranked) if pack else ():
            found.setdefault(cell.grouping, {}).setdefault(cell.start_ms, []).append(cell)
    return {grouping: _listed(windows, view.ranked) for grouping, windows in found.items()}


def _best_of(columns: PackColumns, ranked: int) -> list[PackedCell]:
    """The best of each window and grouping in one final pack, whose keys stand in their order."""
    groupings = columns.groupings[columns.index].astype(np.int64)
    order = np.lexsort((columns.index, -columns.values[:, ranked], columns.starts, groupings))
    groupings, starts = groupings[order], columns.starts[order]
    firsts = _firsts(groupings, starts)
    places = np.arange(len(order)) - np.repeat(firsts, np.diff(np.append(firsts, len(order))))
    return _cells(columns, order[places < BEST])


def _cells(columns: PackColumns, chosen: NDArray[np.intp]) -> list[PackedCell]:
    keys, starts, values = columns.index[chosen].tolist(), columns.starts[chosen].tolist(), columns.values[chosen].tolist()
    return [
        PackedCell(start, int(columns.groupings[key]), split(columns.keys[key]), tuple(measures))
        for key, start, measures in zip(keys, starts, values, strict=True)
    ]


def _listed(windows: Mapping[int, list[PackedCell]], ranked: int) -> bytes:
    cells = [cell for _, held in sorted(windows.items()) for cell in sorted(held, key=lambda cell: (-cell.values[ranked], cell.key))[:BEST]]
    return pack_of(cells)


def pack_of(cells: Sequence[PackedCell]) -> bytes:
    """The pack of these cells, of one grouping or of several, in their order."""
    places: dict[tuple[int, bytes], int] = {}
    index = [places.setdefault((cell.grouping, join(cell.key)), len(places)) for cell in cells]
    return encode_columns(
        PackColumns(
            [key for _, key in places],
            np.array([grouping for grouping, _ in places], dtype=np.int64),
            np.array(index, dtype=np.int64),
            np.array([cell.start_ms for cell in cells], dtype=np.int64),
            np.array([cell.values for cell in cells], dtype=np.int64),
        )
    )
