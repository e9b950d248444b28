"""Cells' keys as Redis takes them: msgpack arrays of strings. As text, because the msgpack of Redis knows no bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from topologies.compiled import Word, lean, signed
from topologies.texts import Texts


@lean
def _encode(pool: np.ndarray, bounds: np.ndarray, numbers: np.ndarray, strings: np.ndarray, ends: np.ndarray) -> None:
    """msgpack's fixstr, str 8, str 16 or str 32 of each text, one behind the other; `ends` where each ends."""
    end = signed(0)
    for text in range(numbers.shape[0]):
        begin = bounds[numbers[text]]
        length = bounds[numbers[text] + 1] - begin
        sized: Word = 0 if length < 32 else 1 if length < 1 << 8 else 2 if length < 1 << 16 else 4
        if sized == 0:
            strings[end] = signed(0xA0) | length
        else:
            strings[end] = 0xD9 if sized == 1 else 0xDA if sized == 2 else 0xDB
        end += 1
        for byte in range(sized):
            strings[end] = (length >> signed(8 * (sized - 1 - byte))) & signed(0xFF)
            end += 1
        for at in range(length):
            strings[end + at] = pool[begin + at]
        end += length
        ends[text] = end


def arrays_of(texts: Texts, most: int) -> Iterator[bytes]:
    """The texts, UTF-8, in arrays of at most `most` (which is at most 65,535)."""
    lengths = texts.bounds[texts.numbers + 1] - texts.bounds[texts.numbers]
    strings = np.empty(int(lengths.sum()) + 5 * len(texts), dtype=np.uint8)
    ends = np.zeros(len(texts) + 1, dtype=np.int64)
    _encode(texts.pool, texts.bounds, texts.numbers, strings, ends[1:])
    counts = [min(most, len(texts) - first) for first in range(0, len(texts), most)]
    cuts = [*ends[:-1:most].tolist(), int(ends[-1])]
    for count, begin, end in zip(counts, cuts, cuts[1:], strict=False):
        head = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
        yield head + strings[begin:end].tobytes()


def warm() -> None:
    """Compiles the kernel, so that no worker waits for it at its first flush."""
    list(arrays_of(Texts.of([b"t"]), 1))
