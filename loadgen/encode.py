"""Events to JSON bytes: one kernel that copies prepared fragments and writes digits. Measured 0.15-0.3 µs an event.

What a player sends: everything that dimensions ask for with every event, what does not change within a session
(country, asn, os, kind, runtime_s) with its first and last ones, a measure when there is something to report.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen import catalogue
from loadgen.draws import mix
from loadgen.reaching import bytes_of, reach
from loadgen.rows import ERROR, FINISH, HEARTBEAT, PLAY_REQUEST, PLAY_START, RENDITION, STOP
from topologies.compiled import inlined, kernel, lean
from topologies.events import TYPES

ROW_BYTES: Final = 640
"""No event is longer."""


class Fragments(NamedTuple):
    """Pieces of JSON, one after the other: piece i is data[starts[i]:starts[i + 1]]; first[g] is the first of group g."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    first: NDArray[np.int64]
    ladder: NDArray[np.int64]
    base_ms: int


_FIELDS: Final = (
    '","seq":', ',"ts":', ',"account":"{tag}-', '","profile":"p', '","title":"t', ',"runtime_s":', ',"position_s":',
    ',"watched_ms":', ',"stall_ms":', ',"stalls":', ',"startup_ms":', ',"bitrate_kbps":', ',"dropped_frames":', ',"fatal":true}', "}",
)  # fmt: skip
SEQ, TS, ACCOUNT, PROFILE, TITLE, RUNTIME, POSITION, WATCHED, STALL_MS, STALLS, STARTUP, BITRATE, DROPPED, FATAL_END, THE_END = range(15)
TYPE, FIELDS, PLACE, PLACE_MORE, PLATFORM, PLATFORM_MORE, CDN, KIND, ERROR_CODE = range(9)


def make_fragments(tag: str, regions: int, base_ms: int) -> Fragments:
    """The pieces for a run: its tag, its regions, and the epoch ms at which its span begins."""
    places = catalogue.places(regions)
    groups = [
        [f'{{"v":1,"type":"{name}","session":"' for name in TYPES],
        [text.replace("{tag}", tag) for text in _FIELDS],
        [f'","region":"{region}","device":"' for region, *_ in places],
        [f',"country":"{country}","asn":"{asn}"' for _, country, asn, _ in places],
        [f'{device}","app":"{app}","cdn":"' for device, _, app, _ in catalogue.PLATFORMS],
        [f',"os":"{os}"' for _, os, _, _ in catalogue.PLATFORMS],
        [f'{cdn}"' for cdn, _ in catalogue.CDNS],
        [f',"kind":"{kind}"' for kind in catalogue.KINDS],
        [f',"error_code":"{code}"' for code in catalogue.ERRORS],
    ]
    pieces = [piece.encode() for group in groups for piece in group]
    return Fragments(
        np.frombuffer(b"".join(pieces), np.uint8),
        np.cumsum([0, *(len(piece) for piece in pieces)], dtype=np.int64),
        np.cumsum([0, *(len(group) for group in groups)], dtype=np.int64)[:-1],
        ladder=np.array(catalogue.LADDER_KBPS, np.int64),
        base_ms=base_ms,
    )


@kernel
def session_bits(lane: Any, ordinal: int) -> Any:
    """A session's 64 bits, written as 16 hexadecimal digits."""
    return mix(lane.key ^ mix(np.uint64(ordinal) + np.uint64(1)))


@inlined
def _op(ops: Any, n: int, piece: int, value: int, digits: int) -> int:
    """Appends: copy a piece, then write `value` with at least `digits` digits (0: no number)."""
    ops[n, 0] = piece
    ops[n, 1] = value
    ops[n, 2] = digits
    return n + 1


@lean
def _compose(ops: Any, first: Any, lane: Any, row: Any, kbps: int, base_ms: int) -> int:
    """What an event's text is made of. `first`: the first piece of each group. → number of operations."""
    kind = row.type
    field = first[FIELDS]
    n = _op(ops, 0, kind, 0, -1)
    n = _op(ops, n, field + SEQ, row.seq, 1)
    n = _op(ops, n, field + TS, row.ts + base_ms, 1)
    n = _op(ops, n, field + ACCOUNT, lane.account, 7)
    n = _op(ops, n, field + PROFILE, row.profile + 1, 1)
    n = _op(ops, n, field + TITLE, row.title + 1, 5)
    n = _op(ops, n, first[PLACE] + lane.place, 0, 0)
    n = _op(ops, n, first[PLATFORM] + lane.platform, 0, 0)
    n = _op(ops, n, first[CDN] + row.cdn, 0, 0)
    if kind == PLAY_REQUEST or kind == PLAY_START or kind == FINISH or kind == STOP:
        n = _op(ops, n, first[PLACE_MORE] + lane.place, 0, 0)
        n = _op(ops, n, first[PLATFORM_MORE] + lane.platform, 0, 0)
        n = _op(ops, n, first[KIND] + row.kind, 0, 0)
        if row.runtime_s > 0:
            n = _op(ops, n, field + RUNTIME, row.runtime_s, 1)
    n = _op(ops, n, field + POSITION, row.position_s, 1)
    if row.watched > 0 or kind == HEARTBEAT:
        n = _op(ops, n, field + WATCHED, row.watched, 1)
    if row.stalled > 0:
        n = _op(ops, n, field + STALL_MS, row.stalled, 1)
    if row.stalls > 0:
        n = _op(ops, n, field + STALLS, row.stalls, 1)
    if kind == PLAY_START:
        n = _op(ops, n, field + STARTUP, row.startup, 1)
    if kind == HEARTBEAT or kind == PLAY_START or kind == RENDITION:
        n = _op(ops, n, field + BITRATE, kbps, 1)
    if row.dropped > 0:
        n = _op(ops, n, field + DROPPED, row.dropped, 1)
    if kind == ERROR:
        n = _op(ops, n, first[ERROR_CODE] + row.error - 1, 0, 0)
    return _op(ops, n, field + (FATAL_END if row.fatal else THE_END), 0, 0)


def encode(rows: NDArray[Any], lanes: NDArray[Any], pieces: Fragments, out: NDArray[np.uint8], ends: NDArray[np.int64]) -> int:
    """Writes rows one after the other into out u8[≥ ROW_BYTES × n]; ends[i] is where the i-th stops. → bytes written."""
    ops = np.empty((32, 3), np.int64)
    return _encode(rows, lanes, bytes_of(lanes), pieces, ops, out, ends)


@lean
def _encode(rows: Any, lanes: Any, lane_bytes: Any, pieces: Any, ops: Any, out: Any, ends: Any) -> int:
    """One loop writes the bytes. Indices are unsigned, which spares the check for negative ones."""
    data, starts, first, ladder, base_ms = pieces.data, pieces.starts, pieces.first, pieces.ladder, pieces.base_ms
    to = np.uint64(0)
    for i in range(len(rows)):
        reach(i, rows, lane_bytes)
        row = rows[i]
        lane = lanes[row.lane]
        count = _compose(ops, first, lane, row, ladder[row.rung], base_ms)
        for op in range(count):
            start = np.uint64(starts[ops[op, 0]])
            size = np.uint64(starts[ops[op, 0] + 1]) - start
            for j in range(size):
                out[to + j] = data[start + j]
            to += size
            least = ops[op, 2]
            if least > 0:
                value = np.uint64(ops[op, 1])
                digits = 1
                limit = np.uint64(10)
                while value >= limit and digits < 19:
                    digits += 1
                    limit *= np.uint64(10)
                digits = max(digits, least)
                end = to + np.uint64(digits)
                for j in range(1, digits + 1):
                    rest = value // np.uint64(10)
                    out[end - np.uint64(j)] = np.uint64(48) + value - rest * np.uint64(10)
                    value = rest
                to = end
            elif least < 0:
                bits = session_bits(lane, row.ordinal)
                for j in range(16):
                    nibble = (bits >> np.uint64(60 - 4 * j)) & np.uint64(15)
                    out[to + np.uint64(j)] = nibble + (np.uint64(48) if nibble < np.uint64(10) else np.uint64(87))
                to += np.uint64(16)
        ends[i] = to
    return int(to)
