"""Packs: how cells are stored in Cassandra, many in one value.

A pack holds all cells of a source that share view, window, pack span and bucket. Layout (little endian):

    "MQP1"  u8 measures  u32 cells  u32 distinct keys
    u8  width of each measure (1, 2, 4 or 8 bytes)                   × measures
    u8  grouping of each distinct key, u16 its length in bytes       × keys
    the keys' bytes (dimension values joined by U+001F, UTF-8)
    u32 key of each cell · i64 window start of each cell · the measures, column by column, each in its width, signed
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from topologies.errors import StoreError
from topologies.view import KEY_SEPARATOR

BUCKETS: Final = 16
"""A statement costs the client 120-180 µs whatever a pack's size, so few large packs: 64 buckets took a tenth of a drain's CPU more."""
MAGIC: Final = b"MQP1"
HEAD: Final = struct.Struct("<4sBII")
KEY_HEAD: Final = np.dtype([("grouping", "u1"), ("length", "<u2")])
INTEGERS: Final[dict[int, np.dtype[Any]]] = {width: np.dtype(f"<i{width}") for width in (1, 2, 4, 8)}


@dataclass(frozen=True)
class PackedCell:
    """One cell as stored: window start (epoch ms; 0 for live), index of its grouping, dimension values, measures."""

    start_ms: int
    grouping: int
    key: tuple[str, ...]
    values: tuple[int, ...]


class PackedKeys(Sequence[bytes]):
    """Keys as they stand in a pack, each sliced out when it is asked for. bounds i64[keys + 1]: where they begin, and end."""

    def __init__(self, pack: bytes, bounds: NDArray[np.int64]) -> None:
        self._pack = pack
        self.bounds = bounds

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(at, slice):
            return list(self)[at]
        return self._pack[self.bounds[at] : self.bounds[at + 1]]

    def __iter__(self) -> Iterator[bytes]:
        return (self._pack[begin:end] for begin, end in pairwise(self.bounds.tolist()))


@dataclass(frozen=True)
class PackColumns:
    """The cells of a pack as columns: k distinct keys (joined, UTF-8) and their groupings u8[k]; of each of n cells the key's place u32[n],
    its start i64[n] and its measures i64[n, measures]."""

    keys: Sequence[bytes]
    groupings: NDArray[np.integer[Any]]
    index: NDArray[np.integer[Any]]
    starts: NDArray[np.int64]
    values: NDArray[np.int64]


def bucket_of(key: tuple[str, ...]) -> int:
    """The bucket of a cell: by its first dimension value, so that a title's cells stay together."""
    return zlib.crc32(key[0].encode()) % BUCKETS if key else zlib.crc32(b"") % BUCKETS


def decode_pack(pack: bytes) -> list[PackedCell]:
    """The cells of a pack. Raises StoreError if the bytes are no whole pack."""
    if not pack:
        return []
    with reading(pack):
        return _decode(pack)


def decode_columns(pack: bytes) -> PackColumns:
    """The cells of a pack that is not empty, as columns. Raises StoreError if the bytes are no whole pack."""
    with reading(pack):
        return _columns(pack)


@contextmanager
def reading(pack: bytes) -> Iterator[None]:
    """Turns what goes wrong in a pack's bytes into StoreError."""
    try:
        yield
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise StoreError(f"a stored pack of {len(pack)} bytes cannot be read ({error}); it was not written by this version") from error


def encode_columns(columns: PackColumns) -> bytes:
    """The pack of these cells, in their order; of no cells, an empty one. Equal columns give equal bytes."""
    if not len(columns.index):
        return b""
    measures = [columns.values[:, measure] for measure in range(columns.values.shape[1])]
    widths = [_width(int(column.min()), int(column.max())) for column in measures]
    head = np.empty(len(columns.keys), dtype=KEY_HEAD)
    head["grouping"] = columns.groupings
    head["length"] = [len(key) for key in columns.keys]
    sections = [
        HEAD.pack(MAGIC, len(measures), len(columns.index), len(columns.keys)), bytes(widths), head.tobytes(), *columns.keys,
        columns.index.astype("<u4").tobytes(), columns.starts.astype("<i8").tobytes(),
    ]  # fmt: skip
    sections += [column.astype(INTEGERS[width]).tobytes() for column, width in zip(measures, widths, strict=True)]
    return b"".join(sections)


def _width(low: int, high: int) -> int:
    """Bytes of the narrowest signed integer that holds both."""
    reach = max(high, ~low)
    return next(width for width in INTEGERS if reach < 1 << (8 * width - 1))


def _decode(pack: bytes) -> list[PackedCell]:
    columns = _columns(pack)
    keys = [split(key) for key in columns.keys]
    groupings = columns.groupings.tolist()
    values = [column.tolist() for column in columns.values.T]
    return [
        PackedCell(start, groupings[key], keys[key], measures)
        for key, start, measures in zip(columns.index.tolist(), columns.starts.tolist(), zip(*values, strict=True), strict=True)
    ]


def split(key: bytes) -> tuple[str, ...]:
    """A key's dimension values; raises ValueError for bytes that are no text."""
    return tuple(key.decode().split(KEY_SEPARATOR)) if key else ()


def join(key: tuple[str, ...]) -> bytes:
    """The dimension values as a pack has them."""
    return KEY_SEPARATOR.join(key).encode()


def _columns(pack: bytes) -> PackColumns:
    magic, measures, count, distinct = HEAD.unpack_from(pack)
    if magic != MAGIC:
        raise ValueError(f"it starts with {magic!r}")
    at = HEAD.size
    widths = pack[at : at + measures]
    at += measures
    head = np.frombuffer(pack, dtype=KEY_HEAD, count=distinct, offset=at)
    at += head.nbytes
    keys = PackedKeys(pack, np.cumsum(np.append(at, head["length"])))
    at = int(keys.bounds[-1])
    index = np.frombuffer(pack, dtype="<u4", count=count, offset=at)
    at += index.nbytes
    starts = np.frombuffer(pack, dtype="<i8", count=count, offset=at)
    at += starts.nbytes
    values = np.empty((count, measures), dtype=np.int64)
    for measure, width in enumerate(widths):
        column = np.frombuffer(pack, dtype=INTEGERS[width], count=count, offset=at)
        at += column.nbytes
        values[:, measure] = column
    if at != len(pack):
        raise ValueError(f"it should have {at} bytes")
    if count and int(index.max()) >= distinct:
        raise ValueError(f"a cell is of key {int(index.max())} of {distinct}")
    return PackColumns(keys, head["grouping"], index, starts, values)
