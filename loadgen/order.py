"""In which order events are sent, whoever makes them: by arrival, then by who sends them, then by number; a copy after its original."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import inlined, kernel, lean

_WORD_BITS: Final = 64
_PLACE_BITS: Final = 16
"""Of a partition's number: no topic has more of them."""


@lean
def _rank(rows: Any, picks: Any, lanes: Any, homes: Any, least: int, time_bits: int, rest_bits: int, ranks: Any) -> None:
    """ranks u8[n] of rows[picks]: partition (if homes are given), arrival, and as much of the lane's key as there is room for."""
    for i in range(len(picks)):
        row = rows[picks[i]]
        rank = np.uint64(row.arrival - least)
        if len(homes):
            rank |= np.uint64(homes[row.moved, row.lane]) << np.uint64(time_bits)
        ranks[i] = (rank << np.uint64(rest_bits)) | (lanes[row.lane].key >> np.uint64(_WORD_BITS - rest_bits))


@inlined
def _before(a: Any, b: Any, lanes: Any) -> bool:
    """Of two events that arrive at one time."""
    if a.lane != b.lane:
        return bool(lanes[a.lane].key < lanes[b.lane].key)
    if a.ordinal != b.ordinal:
        return bool(a.ordinal < b.ordinal)
    if a.seq != b.seq:
        return bool(a.seq < b.seq)
    return bool(a.copy < b.copy)


@lean
def _settle(order: Any, ranks: Any, rows: Any, lanes: Any) -> None:
    """Sorts those of equal rank, which are few: a lane sends one event at a time, but for copies and what was held back. ranks: sorted."""
    for i in range(1, len(order)):
        moved = order[i]
        j = i
        while j > 0 and ranks[j - 1] == ranks[i] and _before(rows[moved], rows[order[j - 1]], lanes):
            order[j] = order[j - 1]
            j -= 1
        order[j] = moved


def sending_order(rows: NDArray[Any], picks: NDArray[np.int64], lanes: NDArray[Any], homes: NDArray[np.int32] | None) -> NDArray[np.int64]:
    """Of the events rows[picks] the indices in `rows`, in their order; partition by partition if the lanes' homes i4[2, lanes] are given:
    of what comes under their own keys, and under the others.

    A sort of one word an event, and then the few that are equal: 0.08 µs an event, where sorting by five columns took 0.3.
    """
    if not len(picks):
        return picks
    arrivals = rows["arrival"][picks]
    least = int(arrivals.min())
    time_bits = max(1, (int(arrivals.max()) - least).bit_length())
    place_bits = 0 if homes is None else _PLACE_BITS
    ranks = np.empty(len(picks), np.uint64)
    whose = np.empty((0, 0), np.int32) if homes is None else homes
    _rank(rows, picks, lanes, whose, least, time_bits, _WORD_BITS - time_bits - place_bits, ranks)
    places = np.argsort(ranks)
    order = picks[places]
    _settle(order, ranks[places], rows, lanes)
    return order


@kernel
def _number(partitions: Any, sent: Any, numbers: Any) -> None:
    for i in range(len(partitions)):
        numbers[i] = sent[partitions[i]]
        sent[partitions[i]] += 1


class Numbers:
    """Numbers the records of each partition in the order in which they are made, from 0."""

    def __init__(self, partitions: int) -> None:
        self._made = np.zeros(partitions, np.int64)

    def of(self, partitions: NDArray[np.int32]) -> NDArray[np.int64]:
        """The numbers of the next records, which go to these partitions."""
        numbers = np.empty(len(partitions), np.int64)
        _number(partitions, self._made, numbers)
        return numbers

    def behind(self, partitions: NDArray[np.int32]) -> NDArray[np.int64]:
        """How many records have been made of these partitions so far."""
        return self._made[partitions]
