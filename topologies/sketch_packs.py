"""Packs of sketches: how distinct counts are stored in Cassandra, many in one value.

A pack holds all sketches of a source (a final one: of all sources together) that share view part, window, pack span and bucket. Layout
(little endian):

    "MQS1"  u8 precision (14)  u32 sketches  u32 distinct keys
    u8  grouping of each distinct key, u16 its length in bytes       × keys
    the keys' bytes (dimension values joined by U+001F, UTF-8)
    u32 key of each sketch · i64 window start of each sketch · u16 coupons of each sketch, 0: dense
    the sketches: its coupons (u32), or when it is dense each register's rank, 0 for none (u8 × 16,384)

A sketch of more than SPARSE_MOST coupons is dense, and no other: equal sketches are equal bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.errors import StoreError
from topologies.packs import PackedCell, decode_pack
from topologies.sketches import HIGHEST_RANK, PRECISION, RANK_BITS, REGISTERS, Coupons
from topologies.view import KEY_SEPARATOR

MAGIC: Final = b"MQS1"
SPARSE_MOST: Final = REGISTERS // 4 // 4
"""Coupons, of four bytes each, that take a quarter of the dense form's bytes."""
_HEAD: Final = struct.Struct("<4sBII")
_KEY_HEAD: Final = np.dtype([("grouping", "u1"), ("length", "<u2")])


@dataclass(frozen=True, eq=False)
class PackedSketch:
    """One sketch as stored: window start (epoch ms), index of its grouping, dimension values, coupons."""

    start_ms: int
    grouping: int
    key: tuple[str, ...]
    coupons: Coupons


def assemble(
    groupings: NDArray[Any],
    lengths: NDArray[Any],
    texts: bytes,
    keys: NDArray[Any],
    starts: NDArray[Any],
    counts: NDArray[Any],
    body: bytes,
) -> bytes:
    """A pack from its columns: of the distinct keys the groupings and lengths, and their texts end to end; of the sketches the key, the
    start and the count of coupons (0: dense), and all of them end to end."""
    head = np.empty(len(groupings), dtype=_KEY_HEAD)
    head["grouping"], head["length"] = groupings, lengths
    columns = [keys.astype("<u4"), starts.astype("<i8"), counts.astype("<u2")]
    return b"".join(
        [_HEAD.pack(MAGIC, PRECISION, len(keys), len(head)), head.tobytes(), texts, *(column.tobytes() for column in columns), body]
    )


def encode_sketches(sketches: Sequence[PackedSketch]) -> bytes:
    """The pack of these, of which no two have the same place: the same bytes in whatever order they come."""
    keys = sorted({(sketch.grouping, sketch.key) for sketch in sketches})
    number = {key: at for at, key in enumerate(keys)}
    texts = [KEY_SEPARATOR.join(key).encode() for _, key in keys]
    ordered = sorted(sketches, key=lambda sketch: (sketch.start_ms, sketch.grouping, sketch.key))
    return assemble(
        np.array([grouping for grouping, _ in keys]),
        np.array([len(text) for text in texts]),
        b"".join(texts),
        np.array([number[sketch.grouping, sketch.key] for sketch in ordered]),
        np.array([sketch.start_ms for sketch in ordered]),
        np.array([len(sketch.coupons) if len(sketch.coupons) <= SPARSE_MOST else 0 for sketch in ordered]),
        b"".join(_stored(sketch.coupons) for sketch in ordered),
    )


def _stored(coupons: Coupons) -> bytes:
    if len(coupons) <= SPARSE_MOST:
        return coupons.astype("<u4").tobytes()
    registers = np.zeros(REGISTERS, dtype=np.uint8)
    registers[coupons >> RANK_BITS] = coupons & ((1 << RANK_BITS) - 1)
    return registers.tobytes()


def coupons_of(registers: NDArray[np.uint8]) -> Coupons:
    """The coupons of a dense sketch, u8[REGISTERS]."""
    held = np.flatnonzero(registers)
    coupons: Coupons = (held.astype(np.uint32) << np.uint32(RANK_BITS)) | registers[held]
    return coupons


def decode_sketches(pack: bytes) -> list[PackedSketch]:
    """The sketches of a pack. Raises StoreError if the bytes are no whole pack of them."""
    if not pack:
        return []
    try:
        return _decode(pack)
    except (struct.error, ValueError, IndexError) as error:
        raise StoreError(f"stored sketches of {len(pack)} bytes cannot be read ({error}); they were not written by this version") from error


def decode_cells(pack: bytes) -> list[PackedCell]:
    """The cells of a pack of either kind; a sketch's values are its coupons. Raises StoreError if the bytes are no whole pack."""
    if not pack.startswith(MAGIC):
        return decode_pack(pack)
    return [PackedCell(found.start_ms, found.grouping, found.key, tuple(found.coupons.tolist())) for found in decode_sketches(pack)]


def _decode(pack: bytes) -> list[PackedSketch]:
    magic, precision, count, distinct = _HEAD.unpack_from(pack)
    if magic != MAGIC or precision != PRECISION:
        raise ValueError(f"they start with {magic!r} and have precision {precision}")
    at = _HEAD.size
    head = np.frombuffer(pack, dtype=_KEY_HEAD, count=distinct, offset=at)
    at += head.nbytes
    keys: list[tuple[str, ...]] = []
    for length in head["length"].tolist():
        text = pack[at : at + length].decode()
        keys.append(tuple(text.split(KEY_SEPARATOR)) if text else ())
        at += length
    columns = []
    for kind in ("<u4", "<i8", "<u2"):
        column = np.frombuffer(pack, dtype=kind, count=count, offset=at)
        columns.append(column.tolist())
        at += column.nbytes
    groupings = head["grouping"].tolist()
    found: list[PackedSketch] = []
    for key, start_ms, coupons in zip(*columns, strict=True):
        stored = np.frombuffer(pack, dtype="<u4" if coupons else "u1", count=coupons or REGISTERS, offset=at)
        at += stored.nbytes
        sketch = PackedSketch(start_ms, groupings[key], keys[key], stored if coupons else coupons_of(stored))
        if (len(sketch.coupons) > SPARSE_MOST) != (coupons == 0):
            raise ValueError(f"one of {len(sketch.coupons)} coupons is not in its form")
        found.append(sketch)
    if at != len(pack):
        raise ValueError(f"they should have {at} bytes")
    _check([sketch.coupons for sketch in found])
    return found


def _check(sketches: list[Coupons]) -> None:
    """Raise ValueError unless each sketch's coupons have a rank and ascend, one a register; none is empty."""
    if not sketches:
        return
    every = np.concatenate(sketches)
    ranks, registers = every & ((1 << RANK_BITS) - 1), every >> RANK_BITS
    if ranks.min() < 1 or ranks.max() > HIGHEST_RANK or registers.max() >= REGISTERS:
        raise ValueError("a coupon is none")
    descending = registers[1:] <= registers[:-1]
    descending[np.cumsum([len(sketch) for sketch in sketches[:-1]], dtype=np.intp) - 1] = False
    if descending.any():
        raise ValueError("coupons are out of order")
