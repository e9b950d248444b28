"""Record batches' bytes, decompressed one behind another into one buffer.

An LZ4 frame's blocks say how much they hold at most, so its bytes are decompressed where they stay. What the other codecs hold
nobody knows before: aiokafka's functions decompress it into bytes, which are copied. A frame that is broken raises what they raise.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

import cramjam
import numpy as np
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from numpy.typing import NDArray

from topologies.compiled import PADDING

Octets: TypeAlias = bytes | memoryview
NONE: Final = 0
LZ4: Final = 3
_CODECS: Final = {1: gzip_decode, 2: snappy_decode, LZ4: lz4_decode, 4: zstd_decode}

# An LZ4 frame: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
_LZ4_MAGIC: Final = 0x184D2204
_LZ4_VERSION, _LZ4_VERSION_BITS = 0x40, 0xC0
_LZ4_DICTIONARY, _LZ4_CONTENT_CHECK, _LZ4_CONTENT_SIZE, _LZ4_BLOCK_CHECK = 0x01, 0x04, 0x08, 0x10
_LZ4_BLOCK_BYTES: Final = {4: 64 * 1024, 5: 256 * 1024, 6: 1024 * 1024, 7: 4 * 1024 * 1024}
_LZ4_HEADER, _LZ4_WORD, _LZ4_SIZE = 7, 4, 8
_LZ4_BLOCK_SIZE: Final = 0x7FFF_FFFF
"""A block's length word without the bit that says that it is stored as it was."""
_LZ4_MOST: Final = 255
"""A byte of a block stands for at most so many."""
_word = struct.Struct("<I").unpack_from


def unpacked(packed: Sequence[tuple[int, Octets]]) -> tuple[NDArray[np.uint8], list[int]]:
    """(codec, bytes) of batches → all of them decompressed, with compiled.PADDING zeros behind the last, and the length of each.

    The codec is the number that a batch's attributes have for it; KeyError for one that Kafka does not know. Raises what the
    decompressors raise (cramjam.DecompressionError, OSError, EOFError, zlib.error) for bytes that are not what the codec writes.
    """
    contents = [_room_or_bytes(codec, octets) for codec, octets in packed]
    most = sum(content if isinstance(content, int) else len(content) for content in contents)
    buffer = np.empty(most + PADDING, dtype=np.uint8)  # what stays unwritten is never given memory
    sizes, at = [], 0
    for (_, octets), content in zip(packed, contents, strict=True):
        if isinstance(content, int):
            size = cramjam.lz4.decompress_into(octets, buffer[at : at + content].data)
        else:
            size = len(content)
            buffer[at : at + size] = np.frombuffer(content, dtype=np.uint8)
        sizes.append(size)
        at += size
    buffer[at : at + PADDING] = 0
    buffer.setflags(write=False)  # kernels are compiled for buffers that are read only, as those of bytes are
    return buffer[: at + PADDING], sizes


def _room_or_bytes(codec: int, octets: Octets) -> int | Octets:
    """The room that a batch needs to be decompressed in place, or what it holds where that is not known before."""
    room = lz4_room(octets) if codec == LZ4 else None
    if room is not None:
        return room
    content: Octets = octets if codec == NONE else _CODECS[codec](octets)
    return content


def lz4_room(frame: Octets) -> int | None:
    """How many bytes an LZ4 frame holds at most, by the headers of its blocks; None if it is not one whole frame without a dictionary.

    Close from above for what librdkafka and the Java client write: full blocks of 64 KiB, and one that is not full.
    """
    if len(frame) < _LZ4_HEADER + _LZ4_WORD or _word(frame, 0)[0] != _LZ4_MAGIC:
        return None
    flags, limit = frame[4], _LZ4_BLOCK_BYTES.get(frame[5] >> 4)
    if limit is None or flags & _LZ4_VERSION_BITS != _LZ4_VERSION or flags & _LZ4_DICTIONARY:
        return None
    at = _LZ4_HEADER + (_LZ4_SIZE if flags & _LZ4_CONTENT_SIZE else 0)
    behind = _LZ4_WORD if flags & _LZ4_BLOCK_CHECK else 0
    room = 0
    while at + _LZ4_WORD <= len(frame):
        size = _word(frame, at)[0] & _LZ4_BLOCK_SIZE
        at += _LZ4_WORD
        if size == 0:
            return room if at + (_LZ4_WORD if flags & _LZ4_CONTENT_CHECK else 0) == len(frame) else None
        room += min(limit, size * _LZ4_MOST)
        at += size + behind
    return None
