"""Cells of a distinct count: a sketch a key and window start, all of them in one pool.

Folded, flushed, closed and restored as other cells are; a store gets a pack of sketches (topologies.sketch_packs), and the cache nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.cells import DONE, NEED_KEYS
from topologies.columns import HASH
from topologies.dictionary import Dictionary
from topologies.flushes import Pack
from topologies.keys import copy_texts
from topologies.sketch_packs import assemble, coupons_of
from topologies.sketch_pool import BEGIN, COUNT, DENSE, DENSE_WORDS, NEED_WORDS, SIZE, SIZES, BlockArrays, fold_hashes
from topologies.sketches import REGISTERS, Coupons
from topologies.sparse_cells import NEED_CELLS, SparseCells
from topologies.view import View, Window

_RECENT: Final = 1 << 16
"""What is known to be in its sketch already, so much of it: 2 MiB a partition."""


class SketchCells(SparseCells):
    """Cells of a part that is a distinct count, in all its windows, the shortest first. Their `values` tell where the sketches stand."""

    def __init__(
        self, view: View, windows: tuple[Window, ...], dimensions: tuple[str, ...], dictionaries: Mapping[str, Dictionary]
    ) -> None:
        assert view.distinct is not None
        windows = tuple(sorted(windows, key=lambda window: window.length_ms))
        super().__init__(view, windows, dimensions, dictionaries)
        self._values = np.zeros((len(self._keys), 3), dtype=np.int64)
        self._column = HASH[view.distinct.of]
        self._spare = len(view.groupings) * len(windows) * DENSE_WORDS
        """Words that the next event may take."""
        self._set_blocks(np.zeros(0, dtype=np.uint32), np.zeros(SIZES, dtype=np.int64))

    def _set_blocks(self, words: NDArray[np.uint32], free: NDArray[np.int64]) -> None:
        """Have these words as blocks, and room for more."""
        self._words = np.concatenate([words, np.zeros(len(words) // 2 + 2 * self._spare, dtype=np.uint32)])
        self._used = np.array([len(words)], dtype=np.int64)
        self._free = free
        self._recent = np.zeros((_RECENT, 4), dtype=np.int64)

    @property
    def nbytes(self) -> int:
        return super().nbytes + self._words.nbytes + self._recent.nbytes

    def fold(
        self,
        weights: NDArray[np.int8],
        integers: NDArray[np.int64],
        outcomes: NDArray[np.int8],  # noqa: ARG002  # as other cells have it
        dims: NDArray[np.int32],
    ) -> None:
        """Add n events, as TumblingCells does: of each its hash, which stands among `integers` (columns.HASH). No weight is negative."""
        done, lack = 0, NEED_CELLS
        while lack != DONE:
            blocks = BlockArrays(self._column, self._words, self._used, self._free, self._recent)
            done, lack = fold_hashes(done, weights, integers, dims, self._measures, self._arrays(), blocks)
            if lack == NEED_KEYS:
                self.keys.grow()
            elif lack == NEED_CELLS:
                self._shape(2 * len(self._keys))
            elif lack == NEED_WORDS:
                self._words = np.concatenate([self._words, np.zeros(len(self._words) + self._spare, dtype=np.uint32)])

    # -- flushes ------------------------------------------------------------------------------------------------

    def _packs_of(self, span: int, cells: NDArray[np.intp], wanted: NDArray[np.bool_]) -> list[Pack]:
        place, pack_ms = self._window_of(span)
        buckets = self.keys.buckets()[self._keys[cells]]
        return [
            Pack(self.view, self._windows[place], pack_ms, bucket, self._packed(cells[buckets == bucket], place))
            for bucket in np.flatnonzero(wanted).tolist()
        ]

    def _packed(self, cells: NDArray[np.intp], place: int) -> bytes:
        keys, numbers = np.unique(self._keys[cells], return_inverse=True)
        texts = self.keys.chosen(keys.astype(np.intp))
        begins = texts.bounds[texts.numbers]
        lengths = texts.bounds[texts.numbers + 1] - begins
        where = self._values[cells]
        counts = np.where(where[:, SIZE] == DENSE, 0, where[:, COUNT])
        return assemble(
            self.keys.groupings()[keys], lengths, _gathered(texts.pool, begins, lengths).tobytes(), numbers, self._marks[cells] - place,
            counts, self._bytes_of(where).tobytes(),
        )  # fmt: skip

    def _bytes_of(self, where: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The sketches that stand there, end to end, without the rest of their blocks."""
        sizes = np.where(where[:, SIZE] == DENSE, REGISTERS, 4 * where[:, COUNT])
        return _gathered(self._words.view(np.uint8), 4 * where[:, BEGIN], sizes)

    def _keep_cells(self, kept: NDArray[np.bool_]) -> None:
        super()._keep_cells(kept)
        where = self._values[: len(self)]
        sizes = np.int64(1) << where[:, SIZE]
        words = _gathered(self._words.view(np.uint8), 4 * where[:, BEGIN], 4 * sizes).view(np.uint32)
        where[:, BEGIN] = np.cumsum(sizes) - sizes
        self._set_blocks(words, np.zeros(SIZES, dtype=np.int64))

    # -- checkpoints --------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """For a checkpoint: as other cells, and the blocks as they stand."""
        return {**super().dump(), "blocks": self._words[: int(self._used[0])].copy(), "free": self._free.copy()}

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take what `dump` gave."""
        super().load(dumped)
        self._set_blocks(dumped["blocks"], dumped["free"])

    def sketch(self, cell: int) -> Coupons:
        """The coupons of a cell's sketch."""
        stored = self._bytes_of(self._values[cell : cell + 1])
        return coupons_of(stored) if self._values[cell, SIZE] == DENSE else stored.view(np.uint32)

    def _content(self, cell: int) -> tuple[int, ...]:
        return tuple(self.sketch(cell).tolist())


def _gathered(source: NDArray[np.uint8], begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """These stretches of the source, end to end."""
    ends = np.cumsum(lengths)
    found = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    copy_texts(source, begins, lengths, found, ends - lengths)
    return found
