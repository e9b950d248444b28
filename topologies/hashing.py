"""Hashes of events' texts, for distinct counts: a column of the rows' integers each, where a view asks for it."""

from __future__ import annotations

import numpy as np

from topologies.arrow_columns import column_of, text_at
from topologies.arrow_plan import COLUMN
from topologies.columns import EVENT
from topologies.compiled import Word, lean, signed, unsigned
from topologies.murmur import append_separator, append_text, murmur


@lean
def hash_spans(buffer: np.ndarray, kinds: np.ndarray, spans: np.ndarray, places: np.ndarray, words: np.ndarray, hashes: np.ndarray) -> None:
    """Of each event the hash of its texts.

    kinds u8[n], spans i64[n, texts, 2]: Columns'. places i64[1 or 2]: which texts. words u64[murmur.WORDS]: the kernel's own room.
    hashes i64[n]: filled in; of what is no event it means nothing.
    """
    for row in range(kinds.shape[0]):
        if kinds[row] == EVENT:
            words[0] = unsigned(0)
            length = append_text(words, signed(0), buffer, spans[row, places[0], 0], spans[row, places[0], 1])
            if places.shape[0] > 1:
                length = append_separator(words, length)
                length = append_text(words, length, buffer, spans[row, places[1], 0], spans[row, places[1], 1])
            hashes[row] = murmur(words, length)


@lean
def hash_columns(
    buffer: np.ndarray, base: Word, batch: Word, plan: np.ndarray, kinds: np.ndarray, words: np.ndarray, hashes: np.ndarray
) -> None:
    """As `hash_spans`, of the rows of the batch whose ArrowArray stands at address `batch`.

    buffer, base: the block's buffer and its address. plan i64[1 or 2, 3]: the texts' rows of Plan.table, which are columns of texts.
    """
    first = column_of(batch, plan[0, COLUMN], plan[0])
    second = column_of(batch, plan[plan.shape[0] - 1, COLUMN], plan[plan.shape[0] - 1])
    for row in range(kinds.shape[0]):
        if kinds[row] == EVENT:
            words[0] = unsigned(0)
            start, size = text_at(first, row, base)
            length = append_text(words, signed(0), buffer, start, size)
            if plan.shape[0] > 1:
                length = append_separator(words, length)
                start, size = text_at(second, row, base)
                length = append_text(words, length, buffer, start, size)
            hashes[row] = murmur(words, length)
