"""Cells of many keys, as the tables have them, into what a flush carries: batches for Redis, packs for Cassandra.

The layout of a pack is that of topologies.packs; this writes all packs of a span at once.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import Word, inlined, lean, signed
from topologies.flushes import CellBatch, Pack
from topologies.keys import KeyTable
from topologies.packs import BUCKETS, HEAD, INTEGERS, MAGIC
from topologies.view import View, Window


class Sizes(NamedTuple):
    """What stands in each bucket's pack, as the kernels count it.

    number i32[keys]: a key's place among its pack's distinct ones, −1 where it has no cell. cells, distinct, text (bytes) i64[buckets].
    low, high i64[buckets, measures]: least and greatest value, 0 among them.
    """

    number: NDArray[np.int32]
    cells: NDArray[np.int64]
    distinct: NDArray[np.int64]
    text: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]


@lean
def _held(wanted: np.ndarray, buckets: np.ndarray, values: np.ndarray, found: np.ndarray) -> Word:
    """The keys of wanted buckets that have a value; how many there are."""
    count = 0
    for key in range(buckets.shape[0]):
        if wanted[buckets[key]]:
            for measure in range(values.shape[1]):
                if values[key, measure] != 0:
                    found[count] = key
                    count += 1
                    break
    return count


@lean
def _count(held: np.ndarray, values: np.ndarray, buckets: np.ndarray, bounds: np.ndarray, sizes: Sizes) -> None:
    for cell in range(held.shape[0]):
        bucket = buckets[held[cell]]
        sizes.number[held[cell]] = 0
        sizes.cells[bucket] += 1
        for measure in range(values.shape[1]):
            sizes.low[bucket, measure] = min(sizes.low[bucket, measure], values[cell, measure])
            sizes.high[bucket, measure] = max(sizes.high[bucket, measure], values[cell, measure])
    for key in range(sizes.number.shape[0]):
        if sizes.number[key] == 0:
            bucket = buckets[key]
            sizes.number[key] = sizes.distinct[bucket]
            sizes.distinct[bucket] += 1
            sizes.text[bucket] += bounds[key + 1] - bounds[key]


@inlined
def _put(blobs: np.ndarray, at: Word, value: Word, width: Word) -> None:
    for byte in range(width):
        blobs[at + byte] = (value >> signed(8 * byte)) & signed(0xFF)


@lean
def _write_keys(words: np.ndarray, pool: np.ndarray, bounds: np.ndarray, buckets: np.ndarray, number: np.ndarray, head: np.ndarray,
                text: np.ndarray, blobs: np.ndarray) -> None:  # fmt: skip
    """head, text i64[buckets]: where each pack's keys begin, moved on."""
    for key in range(number.shape[0]):
        if number[key] >= 0:
            bucket = buckets[key]
            length = bounds[key + 1] - bounds[key]
            blobs[head[bucket]] = words[key, 0] & signed(0xFF)
            _put(blobs, head[bucket] + 1, length, 2)
            for at in range(length):
                blobs[text[bucket] + at] = pool[bounds[key] + at]
            head[bucket] += 3
            text[bucket] += length


@lean
def _write_cells(held: np.ndarray, starts: np.ndarray, values: np.ndarray, buckets: np.ndarray, number: np.ndarray,
                 widths: np.ndarray, columns: np.ndarray, blobs: np.ndarray) -> None:  # fmt: skip
    """widths i64[buckets, 2 + measures]: of a key, of a start and of each measure. columns, alike: where each begins, moved on."""
    for cell in range(held.shape[0]):
        bucket = buckets[held[cell]]
        _put(blobs, columns[bucket, 0], signed(number[held[cell]]), 4)
        _put(blobs, columns[bucket, 1], starts[cell], 8)
        for measure in range(values.shape[1]):
            _put(blobs, columns[bucket, 2 + measure], values[cell, measure], widths[bucket, 2 + measure])
        for column in range(widths.shape[1]):
            columns[bucket, column] += widths[bucket, column]


def batches_of(
    view: View, window: Window, start: int, keys: NDArray[np.intp], table: KeyTable, values: NDArray[np.int64]
) -> list[CellBatch]:
    """The cells of `keys`, one batch a grouping. values [all keys, measures]."""
    batches: list[CellBatch] = []
    groupings = table.groupings()[keys]
    for grouping in range(len(view.groupings)):
        chosen = keys[groupings == grouping]
        if len(chosen):
            batches.append(CellBatch(view, window, start, grouping, table.chosen(chosen), values[chosen]))
    return batches


def packs_of_frame(
    view: View, window: Window, start: int, keys: NDArray[np.intp], table: KeyTable, values: NDArray[np.int64]
) -> list[Pack]:
    """The packs that the cells of `keys` at `start` belong to, each with all of its cells. values [all keys, measures]."""
    buckets = table.buckets()
    wanted = np.zeros(BUCKETS, dtype=np.bool_)
    wanted[buckets[keys]] = True
    held = np.empty(len(buckets), dtype=np.intp)
    held = held[: _held(wanted, buckets, values, held)]
    starts = np.full(len(held), start, dtype=np.int64)
    return packs_of(view, window, window.pack_of(start), table, held, starts, values[held], wanted)


def packs_of(
    view: View,
    window: Window,
    pack_ms: int,
    table: KeyTable,
    held: NDArray[np.intp],
    starts: NDArray[np.int64],
    values: NDArray[np.int64],
    wanted: NDArray[np.bool_],
) -> list[Pack]:
    """The packs of the wanted buckets; `held` are the keys of all their cells, `starts` and `values` those cells."""
    buckets, texts, measures = table.buckets(), table.chosen(held), values.shape[1]
    cells, distinct, text = np.zeros((3, BUCKETS), dtype=np.int64)
    low, high = np.zeros((2, BUCKETS, measures), dtype=np.int64)
    sizes = Sizes(np.full(len(buckets), -1, dtype=np.int32), cells, distinct, text, low, high)
    _count(held, values, buckets, texts.bounds, sizes)
    widths = np.empty((BUCKETS, 2 + measures), dtype=np.int64)
    widths[:, :2] = 4, 8
    widths[:, 2:] = _WIDTHS[np.searchsorted(_REACHES, np.maximum(high, ~low), side="right")]
    sections = np.column_stack([np.full(BUCKETS, HEAD.size + measures), 3 * distinct, text, widths * cells[:, np.newaxis]])
    sections[~wanted] = 0
    ends = np.cumsum(sections).reshape(sections.shape)
    blobs, begins = np.empty(int(ends[-1, -1]), dtype=np.uint8), ends - sections
    chosen = np.flatnonzero(wanted)
    for bucket in chosen.tolist():
        HEAD.pack_into(blobs.data, begins[bucket, 0], MAGIC, measures, cells[bucket], distinct[bucket])
        blobs[begins[bucket, 0] + HEAD.size : ends[bucket, 0]] = widths[bucket, 2:]
    bounds = np.column_stack([begins[chosen, 0], ends[chosen, -1]]).tolist()
    _write_keys(table.words, texts.pool, texts.bounds, buckets, sizes.number, begins[:, 1].copy(), begins[:, 2].copy(), blobs)
    _write_cells(held, starts, values, buckets, sizes.number, widths, begins[:, 3:].copy(), blobs)
    return [
        Pack(view, window, pack_ms, bucket, blobs[begin:end].tobytes())
        for bucket, (begin, end) in zip(chosen.tolist(), bounds, strict=True)
    ]


_WIDTHS: Final = np.array([*INTEGERS], dtype=np.int64)
_REACHES: Final = 1 << (8 * _WIDTHS[:-1] - 1)
"""A value v needs more than so many bytes if max(v, ~v) reaches this."""
