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
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from topologies.errors import StoreError
from topologies.view import KEY_SEPARATOR

BUCKETS: Final = 16
"""A statement costs the client 120-180 µs whatever a pack's size, so few large packs: 64 buckets took a tenth of a drain's CPU more."""
MAGIC: Final = b"MQP1"
HEAD: Final = struct.Struct("<4sBII")
INTEGERS: Final[dict[int, np.dtype[Any]]] = {width: np.dtype(f"<i{width}") for width in (1, 2, 4, 8)}


@dataclass(frozen=True)
class PackedCell:
    """One cell as stored: window start (epoch ms; 0 for live), index of its grouping, dimension values, measures."""

    start_ms: int
    grouping: int
    key: tuple[str, ...]
    values: tuple[int, ...]


def bucket_of(key: tuple[str, ...]) -> int:
    """The bucket of a cell: by its first dimension value, so that a title's cells stay together."""
    return zlib.crc32(key[0].encode()) % BUCKETS if key else zlib.crc32(b"") % BUCKETS


def decode_pack(pack: bytes) -> list[PackedCell]:
    """The cells of a pack. Raises StoreError if the bytes are no whole pack."""
    if not pack:
        return []
    try:
        return _decode(pack)
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise StoreError(f"a stored pack of {len(pack)} bytes cannot be read ({error}); it was not written by this version") from error


def _decode(pack: bytes) -> list[PackedCell]:
    magic, measures, count, distinct = HEAD.unpack_from(pack)
    if magic != MAGIC:
        raise ValueError(f"it starts with {magic!r}")
    at = HEAD.size
    widths = pack[at : at + measures]
    at += measures
    head = np.frombuffer(pack, dtype=np.dtype([("grouping", "u1"), ("length", "<u2")]), count=distinct, offset=at)
    at += head.nbytes
    keys: list[tuple[str, ...]] = []
    for length in head["length"].tolist():
        text = pack[at : at + length].decode()
        keys.append(tuple(text.split(KEY_SEPARATOR)) if text else ())
        at += length
    index = np.frombuffer(pack, dtype="<u4", count=count, offset=at)
    at += index.nbytes
    starts = np.frombuffer(pack, dtype="<i8", count=count, offset=at)
    at += starts.nbytes
    columns = []
    for width in widths:
        column = np.frombuffer(pack, dtype=INTEGERS[width], count=count, offset=at)
        at += column.nbytes
        columns.append(column.tolist())
    if at != len(pack):
        raise ValueError(f"it should have {at} bytes")
    groupings = head["grouping"].tolist()
    return [
        PackedCell(start, groupings[key], keys[key], values)
        for key, start, values in zip(index.tolist(), starts.tolist(), zip(*columns, strict=True), strict=True)
    ]
