"""Final cells as columns of Parquet: which a part of a view has, and what stands in them. Pure.

    window_start   timestamp, ms, UTC: when the window starts
    grouped_by     text: the dimensions that the row is by, joined by commas; empty: the total over all
    a dimension    text; null in a row that is not by it
    a measure      integer of 64 bits, as cells have it: what decays is 2^16 a count (docs/architecture.md)

A part beside a view's integers has, behind window_start, grouped_by and dimensions:

    a histogram    bin integer, middle: the value that stands for the bin, and {name}_count: how many values are in it
    an extreme     its value; of a last one ts (timestamp, ms, UTC) and seq of its event before it
    a distinct     the estimate (integer, standard error 0.81 %), and sketch: the coupons that it is reckoned from
                   (topologies/sketches.py), u32, little endian, ascending; sketches unite, estimates do not add up
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from topologies.bins import middle_of
from topologies.packs import PackColumns, decode_columns, split
from topologies.sketch_packs import decode_sketches
from topologies.sketches import estimate
from topologies.view import BIN_MARK, View

INSTANT: Final = pa.timestamp("ms", tz="UTC")


def dimensions_of(part: View) -> tuple[str, ...]:
    """The dimensions of a part that are columns; the bin of a histogram is none of them."""
    return tuple(dimension for dimension in part.dimensions if not dimension.endswith(BIN_MARK))


def schema_of(part: View) -> pa.Schema:
    """The columns of a part."""
    fields = [pa.field("window_start", INSTANT, nullable=False), pa.field("grouped_by", pa.string(), nullable=False)]
    fields += [pa.field(dimension, pa.string()) for dimension in dimensions_of(part)]
    fields += [pa.field(name, kind, nullable=False) for name, kind in _measured(part)]
    return pa.schema(fields, metadata={"marquee.view": part.name, "marquee.logic": str(part.logic_version)})


def table_of(part: View, packs: Sequence[bytes]) -> pa.Table:
    """The cells of these packs, none of which is empty, in their order. Raises StoreError for one that cannot be read."""
    read = _sketches if part.distinct is not None else _cells
    return pa.concat_tables([schema_of(part).empty_table(), *(read(part, pack) for pack in packs)])


def _measured(part: View) -> list[tuple[str, pa.DataType]]:
    """The columns behind the dimensions."""
    name = part.name.rpartition(".")[2]
    if part.histogram is not None:
        return [("bin", pa.int32()), ("middle", pa.float64()), (f"{name}_count", pa.int64())]
    if part.distinct is not None:
        return [(name, pa.int64()), ("sketch", pa.binary())]
    if part.extreme is not None and part.extreme.keep == "last":
        return [("ts", INSTANT), ("seq", pa.int64()), (name, pa.int64())]
    return [(measure.name, pa.int64()) for measure in part.measures]


def _cells(part: View, pack: bytes) -> pa.Table:
    columns = decode_columns(pack)
    keys = [split(key) for key in columns.keys]
    arrays = _places(part, columns.starts, columns.groupings.tolist(), keys, columns.index)
    arrays += _numbers(part, columns, [key[-1] for key in keys] if part.histogram is not None else [])
    return pa.table(arrays, schema=schema_of(part))


def _numbers(part: View, columns: PackColumns, bins: Sequence[str]) -> list[pa.Array]:
    values = columns.values
    if part.histogram is not None:
        numbers = np.array([int(number) for number in bins], dtype=np.int32)
        middles = np.array([middle_of(int(number)) for number in bins], dtype=np.float64)
        return [pa.array(numbers[columns.index]), pa.array(middles[columns.index]), pa.array(values[:, 0])]
    if part.extreme is not None:
        values = values - 1  # a kept value stands as value + 1
    kinds = [kind for _, kind in _measured(part)]
    return [pa.array(column).cast(kind) for column, kind in zip(values.T, kinds, strict=True)]


def _sketches(part: View, pack: bytes) -> pa.Table:
    found = decode_sketches(pack)
    starts = np.array([sketch.start_ms for sketch in found], dtype=np.int64)
    arrays = _places(part, starts, [each.grouping for each in found], [each.key for each in found], np.arange(len(found)))
    arrays.append(pa.array([round(estimate(each.coupons)) for each in found], pa.int64()))
    arrays.append(pa.array([each.coupons.astype("<u4").tobytes() for each in found], pa.binary()))
    return pa.table(arrays, schema=schema_of(part))


def _places(
    part: View, starts: NDArray[np.int64], groupings: Sequence[int], keys: Sequence[tuple[str, ...]], index: NDArray[np.integer[Any]]
) -> list[pa.Array]:
    """The columns up to the dimensions. groupings, keys: of each distinct key; index: the key of each row, as starts."""
    declared = [tuple(name for name in grouping if not name.endswith(BIN_MARK)) for grouping in part.groupings]
    by = [declared[grouping] for grouping in groupings]
    chosen = pa.array(index)
    found = [pa.array(starts).cast(INSTANT), pa.array([",".join(names) for names in by], pa.string()).take(chosen)]
    for dimension in dimensions_of(part):
        texts = [key[names.index(dimension)] if dimension in names else None for key, names in zip(_whole(keys), by, strict=True)]
        found.append(pa.array(texts, pa.string()).take(chosen))
    return found


def _whole(keys: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """One value of no characters, and no value, are the same bytes."""
    return [key or ("",) for key in keys]
