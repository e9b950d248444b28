"""Every codec's bytes come out one behind another, and a frame that is broken is refused as aiokafka's own decompressors refuse it."""

from __future__ import annotations

import cramjam
import numpy as np
import pytest
from aiokafka.codec import gzip_encode, lz4_decode, snappy_encode, zstd_encode
from hypothesis import given
from hypothesis import strategies as st

from streams.codecs import LZ4, NONE, lz4_room, unpacked
from topologies.compiled import PADDING

KIB = 1024
SNAPPY = 2


def lz4(content: bytes, *, checked: bool = False, linked: bool = False) -> bytes:
    compressor = cramjam.lz4.Compressor(level=0, content_checksum=checked, block_linked=linked)
    compressor.compress(content)
    return bytes(compressor.finish())


def content(nbytes: int, seed: int = 0) -> bytes:
    """Half of it random: some blocks are compressed, some stored as they are."""
    random = np.random.default_rng(seed).integers(0, 256, nbytes, dtype=np.uint8)
    random[: nbytes // 2] &= 3
    return random.tobytes()


@pytest.mark.parametrize("nbytes", [1, 100, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 300 * KIB])
def test_batches_of_all_codecs_come_out_one_behind_another(nbytes: int) -> None:
    wanted = [content(nbytes, seed) for seed in range(8)]
    packed = [
        (LZ4, lz4(wanted[0])),
        (1, gzip_encode(wanted[1])),
        (SNAPPY, snappy_encode(wanted[2])),
        (SNAPPY, snappy_encode(wanted[3], xerial_compatible=False)),
        (LZ4, memoryview(b"ab" + lz4(wanted[4], checked=True, linked=True))[2:]),
        (4, zstd_encode(wanted[5])),
        (0, memoryview(wanted[6])),
        (LZ4, bytes(cramjam.lz4.compress(wanted[7]))),
    ]
    buffer, sizes = unpacked(packed)
    assert sizes == [nbytes] * 8
    assert buffer.tobytes() == b"".join(wanted) + bytes(PADDING)


def test_no_batch_is_padding_alone() -> None:
    buffer, sizes = unpacked([])
    assert (buffer.tobytes(), sizes) == (bytes(PADDING), [])


@given(st.binary(max_size=2000), st.integers(0, 3), st.booleans(), st.booleans())
def test_an_lz4_frame_tells_how_much_it_holds_at_most(piece: bytes, repeated: int, checked: bool, linked: bool) -> None:
    held = piece * 10**repeated
    frame = lz4(held, checked=checked, linked=linked)
    room = lz4_room(frame)
    assert room is not None
    assert len(held) <= room <= 255 * len(frame)
    assert room < len(held) + 64 * KIB


def test_what_is_not_one_plain_frame_is_left_to_the_decompressor() -> None:
    frame = lz4(b"0123456789" * 100)
    assert lz4_room(frame[:-1]) is None
    assert lz4_room(frame + frame) is None
    assert lz4_room(b"\x50\x2a\x4d\x18" + frame) is None
    assert lz4_room(b"") is None
    assert unpacked([(LZ4, frame + frame)])[1] == [len(lz4_decode(frame + frame))]


@given(st.data())
def test_a_broken_frame_is_refused_as_the_decompressor_alone_refuses_it(data: st.DataObject) -> None:
    frame = bytearray(lz4(content(3000)))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(frame[: data.draw(st.integers(0, len(frame)))])
    try:
        wanted = lz4_decode(broken)
    except cramjam.DecompressionError:
        with pytest.raises(cramjam.DecompressionError):
            unpacked([(LZ4, broken)])
    else:
        buffer, sizes = unpacked([(LZ4, broken)])
        assert buffer[: sizes[0]].tobytes() == wanted


@pytest.mark.parametrize("codec", [NONE, LZ4])
def test_what_is_unpacked_is_read_only_as_the_blocks_are_that_kernels_are_compiled_for(codec: int) -> None:
    octets = bytes(cramjam.lz4.compress(b"events")) if codec == LZ4 else b"events"
    buffer, [size] = unpacked([(codec, octets)])
    assert buffer[:size].tobytes() == b"events"
    assert not buffer.flags.writeable
