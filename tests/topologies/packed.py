"""A pack written cell by cell, in plain Python: what topologies.packing, which writes many at once, is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from topologies.packs import HEAD, INTEGERS, MAGIC, PackedCell
from topologies.view import KEY_SEPARATOR


def encode_pack(cells: Sequence[PackedCell]) -> bytes:
    """The pack of these cells; the same cells in any order of insertion by key and start give equal content, not equal bytes."""
    keys: dict[tuple[int, tuple[str, ...]], int] = {}
    index = [keys.setdefault((cell.grouping, cell.key), len(keys)) for cell in cells]
    values = np.array([cell.values for cell in cells], dtype=np.int64)
    measures = values.shape[1] if cells else 0
    return _assemble(
        [KEY_SEPARATOR.join(key).encode() for _, key in keys],
        np.array([grouping for grouping, _ in keys], dtype=np.uint8),
        np.array(index, dtype=np.uint32),
        np.array([cell.start_ms for cell in cells], dtype=np.int64),
        values.reshape(len(cells), measures),
    )


def _assemble(
    keys: Sequence[bytes],
    groupings: np.ndarray,
    index: np.ndarray,
    starts_ms: np.ndarray,
    values: np.ndarray,
) -> bytes:
    """A pack from columns: distinct keys [k], their groupings u8[k]; cells: key index u32[n], start i64[n], measures i64[n, m]."""
    columns: list[bytes] = []
    widths: list[int] = []
    for measure in range(values.shape[1]):
        column = values[:, measure]
        width = _width(int(column.min()), int(column.max())) if len(column) else 1
        widths.append(width)
        columns.append(column.astype(INTEGERS[width]).tobytes())
    head = np.empty(len(keys), dtype=np.dtype([("grouping", "u1"), ("length", "<u2")]))
    head["grouping"] = groupings
    head["length"] = [len(key) for key in keys]
    return b"".join(
        [
            HEAD.pack(MAGIC, values.shape[1], len(index), len(keys)),
            bytes(widths),
            head.tobytes(),
            *keys,
            index.astype("<u4").tobytes(),
            starts_ms.astype("<i8").tobytes(),
            *columns,
        ]
    )


def _width(low: int, high: int) -> int:
    """Bytes of the narrowest signed integer that holds both."""
    reach = max(high, -low - 1)
    return next(width for width in INTEGERS if reach < 1 << (8 * width - 1))
