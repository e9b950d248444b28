"""Live cells of one view in one partition: the counts now, by key, and the minute samples taken of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topologies.cells import CACHE, DURABLE, Taken
from topologies.dictionary import Dictionary
from topologies.flushes import CellBatch, Pack
from topologies.keys import KeyTable, plan
from topologies.live_counts import LiveArrays
from topologies.packing import batches_of, packs_of, packs_of_frame
from topologies.packs import BUCKETS
from topologies.sources import LATENESS_MS
from topologies.view import LIVE, MINUTE, View

_LIVE, _MINUTE = 0, 1


class LiveCells:
    """`arrays()` are handed to the admission kernel, which counts in them. The view's dimensions are the first of `dimensions`."""

    def __init__(self, view: View, dimensions: tuple[str, ...], dictionaries: Mapping[str, Dictionary]) -> None:
        self.view = view
        self.name = view.name
        self.keys = KeyTable(view, dictionaries)
        self._dictionaries = dictionaries
        self._followed = len({dimension for grouping in view.groupings for dimension in grouping})
        self._plan = plan(view, dimensions)
        self.live = np.zeros(len(self.keys.words), dtype=np.int64)
        self.dirty = np.zeros(len(self.keys.words), dtype=np.uint8)
        self.sample_keys = np.zeros(1024, dtype=np.int32)
        self.sample_starts = np.zeros(1024, dtype=np.int64)
        self.sample_values = np.zeros(1024, dtype=np.int64)
        self.stored = 0
        """Samples below this number have been taken for the durable store."""
        self.dropped_at_once = 4096
        """At least so many samples are dropped together, since dropping moves the others."""

    def rebind(self, dictionaries: Mapping[str, Dictionary]) -> None:
        """Take the dictionaries of a restored state."""
        self._dictionaries = dictionaries

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.live.nbytes + self.sample_keys.nbytes + self.sample_starts.nbytes + self.sample_values.nbytes

    def arrays(self) -> LiveArrays:
        return LiveArrays(
            self._followed, self._plan, self.keys.index, self.keys.words, self.keys.count, self.live, self.dirty,
            self.sample_keys, self.sample_starts, self.sample_values,
        )  # fmt: skip

    def grow_keys(self) -> None:
        self.keys.grow()
        more = len(self.keys.words) - len(self.live)
        self.live = np.concatenate([self.live, np.zeros(more, dtype=np.int64)])
        self.dirty = np.concatenate([self.dirty, np.zeros(more, dtype=np.uint8)])

    def grow_samples(self, held: int) -> None:
        """Make room for another sample of every key behind the `held` ones."""
        more = max(held + len(self.keys) + 1024, len(self.sample_keys) * 5 // 4) - len(self.sample_keys)
        self.sample_keys = np.concatenate([self.sample_keys, np.zeros(more, dtype=np.int32)])
        self.sample_starts = np.concatenate([self.sample_starts, np.zeros(more, dtype=np.int64)])
        self.sample_values = np.concatenate([self.sample_values, np.zeros(more, dtype=np.int64)])

    def take_cached(self) -> tuple[list[CellBatch], Taken]:
        """The live counts that the cache lacks; a count of zero says that the cell is gone."""
        keys = np.flatnonzero(self.dirty[: len(self.keys)] & CACHE)
        self.dirty[keys] &= ~np.uint8(CACHE)
        return batches_of(self.view, LIVE, 0, keys, self.keys, self.live.reshape(-1, 1)), Taken(((_LIVE, 0, keys),))

    def take_packs(self, samples: int) -> tuple[list[Pack], Taken]:
        """Every live pack with a changed count, and every pack of minutes that gained samples; `samples` is how many there are."""
        keys = np.flatnonzero(self.dirty[: len(self.keys)] & DURABLE)
        self.dirty[keys] &= ~np.uint8(DURABLE)
        taken: list[tuple[int, int, NDArray[np.intp]]] = [(_LIVE, 0, keys), (_MINUTE, self.stored, np.zeros(0, dtype=np.intp))]
        packs: list[Pack] = []
        if len(keys):
            packs += packs_of_frame(self.view, LIVE, 0, keys, self.keys, self.live.reshape(-1, 1))
        packs += self._sample_packs(samples)
        self.stored = samples
        return packs, Taken(tuple(taken))

    def _sample_packs(self, samples: int) -> list[Pack]:
        packs: list[Pack] = []
        buckets, stored = self.keys.buckets(), self.stored
        while stored < samples:
            span = MINUTE.pack_of(int(self.sample_starts[stored]))
            first, end = np.searchsorted(self.sample_starts[:samples], [span, span + MINUTE.pack_ms]).tolist()
            wanted = np.zeros(BUCKETS, dtype=np.bool_)
            wanted[buckets[self.sample_keys[stored:end]]] = True
            held = self.sample_keys[first:end].astype(np.intp)
            starts, values = self.sample_starts[first:end], self.sample_values[first:end]
            if not wanted.all():
                inside = wanted[buckets[held]]
                held, starts, values = held[inside], starts[inside], values[inside]
            packs += packs_of(self.view, MINUTE, span, self.keys, held, starts, values.reshape(-1, 1), wanted)
            stored = end
        return packs

    def put_back(self, taken: Taken, store: int) -> None:
        """Mark as lacking what a flush took and could not write."""
        for window, first, keys in taken.cells:
            if window == _LIVE:
                self.dirty[keys] |= np.uint8(store)
            else:
                self.stored = min(self.stored, first)

    def mark_all(self, store: int) -> None:
        self.dirty[: len(self.keys)][self.live[: len(self.keys)] != 0] |= np.uint8(store)
        if store == DURABLE:
            self.stored = 0

    def close_final(self, watermark_ms: int, samples: int) -> int:
        """Drop the samples of packs that are final and wholly stored; returns how many samples remain.

        A pack is written whole, so one with a sample that is yet to be stored is kept whole.
        """
        starts = self.sample_starts[:samples]
        final = int(np.searchsorted(starts, MINUTE.pack_of(watermark_ms - LATENESS_MS)))
        if self.stored < samples:
            final = min(final, int(np.searchsorted(starts, MINUTE.pack_of(int(starts[self.stored])))))
        if final < max(self.dropped_at_once, samples // 4):
            return samples
        for name in ("sample_keys", "sample_starts", "sample_values"):
            column = getattr(self, name)
            column[: samples - final] = column[final:samples].copy()
        self.stored -= final
        return samples - final

    def dump(self, samples: int) -> dict[str, Any]:
        """For a checkpoint."""
        count = len(self.keys)
        return {
            "words": self.keys.words[:count].copy(),
            "live": self.live[:count].copy(),
            "dirty": self.dirty[:count].copy(),
            "sample_keys": self.sample_keys[:samples].copy(),
            "sample_starts": self.sample_starts[:samples].copy(),
            "sample_values": self.sample_values[:samples].copy(),
            "stored": self.stored,
        }

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take what `dump` gave."""
        self.keys = KeyTable(self.view, self._dictionaries, dumped["words"])
        count, capacity = len(self.keys), len(self.keys.words)
        self.live = np.zeros(capacity, dtype=np.int64)
        self.dirty = np.zeros(capacity, dtype=np.uint8)
        self.live[:count] = dumped["live"]
        self.dirty[:count] = dumped["dirty"]
        for name in ("sample_keys", "sample_starts", "sample_values"):
            setattr(self, name, dumped[name].copy())
        self.stored = int(dumped["stored"])

    def canonical(self, samples: int) -> dict[tuple[str, int, bytes, int], tuple[int, ...]]:
        """Every cell that is not zero: (window, start, key, grouping) → measures. For comparing states."""
        groupings, texts = self.keys.groupings().tolist(), list(self.keys.texts())
        cells: dict[tuple[str, int, bytes, int], tuple[int, ...]] = {
            (LIVE.name, 0, texts[key], groupings[key]): (int(self.live[key]),) for key in np.flatnonzero(self.live[: len(texts)]).tolist()
        }
        columns = (self.sample_keys[:samples].tolist(), self.sample_starts[:samples].tolist(), self.sample_values[:samples].tolist())
        for key, start, value in zip(*columns, strict=True):
            cells[MINUTE.name, start, texts[key], groupings[key]] = (value,)
        return cells
