"""Bringing events and their lanes into the cache before a kernel comes to them.

Events are written in another order than they were made in, so each of them, and its lane, is somewhere else in megabytes of memory.
Measured on 88,000 lanes: an Arrow event takes 0.45 µs, 0.13 when it is reached for, 0.12 where all follow each other.
Of 770,000 lanes one in a hundred has something due at a time: to make an event takes 0.4 µs, 0.15 when its lane is reached for.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.rows import EVENT, LANE
from topologies.compiled import inlined, prefetch, signed

_ROWS_AHEAD: Final = 24
_LANES_AHEAD: Final = 12
_ROW: Final = EVENT.itemsize
_LANE: Final = LANE.itemsize
_LINE: Final = 64


def bytes_of(records: NDArray[Any]) -> NDArray[np.uint8]:
    """The memory of a structured array, u1."""
    return records.view(np.uint8)


@inlined
def reach(i: Any, order: Any, rows: Any, row_bytes: Any, lane_bytes: Any) -> None:
    """While rows[order[i]] is being written: begin to bring what is written some turns later."""
    if i + _ROWS_AHEAD < len(order):
        place = order[i + _ROWS_AHEAD] * signed(_ROW)
        prefetch(row_bytes, place)
        prefetch(row_bytes, place + signed(_ROW - 1))
    if i + _LANES_AHEAD < len(order):
        _reach_lane(signed(rows[order[i + _LANES_AHEAD]].lane), lane_bytes)


@inlined
def reach_pick(i: Any, picks: Any, lane_bytes: Any) -> None:
    """While the lane picks[i] goes on: begin to bring the one that does some turns later."""
    if i + _LANES_AHEAD < len(picks):
        _reach_lane(picks[i + _LANES_AHEAD], lane_bytes)


@inlined
def _reach_lane(lane: Any, lane_bytes: Any) -> None:
    place = lane * signed(_LANE)
    prefetch(lane_bytes, place)
    prefetch(lane_bytes, place + signed(_LINE))
    prefetch(lane_bytes, place + signed(2 * _LINE))
    prefetch(lane_bytes, place + signed(_LANE - 1))
