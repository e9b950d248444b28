"""Events to JSON bytes: one kernel that copies prepared fragments and writes digits. Measured 0.15-0.3 µs an event.

What a player sends: everything that dimensions ask for with every event, what does not change within a session
(country, asn, os, kind, runtime_s) with its first and last ones, a measure when there is something to report.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen import catalogue
from loadgen.compiled import compiled
from loadgen.draws import mix
from loadgen.ledger import EVENT_TYPES
from loadgen.rows import ERROR, FINISH, HEARTBEAT, PLAY_REQUEST, PLAY_START, RENDITION, STOP

ROW_BYTES: Final = 640
"""No event is longer."""


class Fragments(NamedTuple):
    """Pieces of JSON, one after the other: piece i is data[starts[i]:starts[i + 1]]. The other numbers are the first of each group."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    fields: int
    place: int
    place_more: int
    platform: int
    platform_more: int
    cdn: int
    kind: int
    error: int
    ladder: NDArray[np.int64]
    base_ms: int


_FIELDS: Final = (
    '","seq":', ',"ts":', ',"account":"{tag}-', '","profile":"p', '","title":"t', ',"runtime_s":', ',"position_s":',
    ',"watched_ms":', ',"stall_ms":', ',"stalls":', ',"startup_ms":', ',"bitrate_kbps":', ',"dropped_frames":', ',"fatal":true}', "}",
)  # fmt: skip
SEQ, TS, ACCOUNT, PROFILE, TITLE, RUNTIME, POSITION, WATCHED, STALL_MS, STALLS, STARTUP, BITRATE, DROPPED, FATAL_END, THE_END = range(15)


def make_fragments(tag: str, regions: int, base_ms: int) -> Fragments:
    """The pieces for a run: its tag, its regions, and the epoch ms at which its span begins."""
    places = catalogue.places(regions)
    groups = [
        [f'{{"v":1,"type":"{name}","session":"' for name in EVENT_TYPES],
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
    firsts = np.cumsum([len(group) for group in groups]).tolist()
    return Fragments(
        np.frombuffer(b"".join(pieces), np.uint8),
        np.cumsum([0, *(len(piece) for piece in pieces)], dtype=np.int64),
        *firsts[:-1],
        ladder=np.array(catalogue.LADDER_KBPS, np.int64),
        base_ms=base_ms,
    )


@compiled
def _put(out: Any, to: int, pieces: Any, index: int) -> int:
    for i in range(pieces.starts[index], pieces.starts[index + 1]):
        out[to] = pieces.data[i]
        to += 1
    return to


@compiled
def _digits(out: Any, to: int, value: int, least: int) -> int:
    """A non-negative integer in decimal, at least `least` digits."""
    count = 1
    rest = value // 10
    while rest > 0:
        count += 1
        rest //= 10
    count = max(count, least)
    for i in range(count):
        out[to + count - 1 - i] = 48 + value % 10
        value //= 10
    return to + count


@compiled
def _hex(out: Any, to: int, bits: Any, count: int) -> int:
    for i in range(count):
        nibble = (bits >> np.uint64(4 * (count - 1 - i))) & np.uint64(15)
        out[to + i] = nibble + (np.uint64(48) if nibble < np.uint64(10) else np.uint64(87))
    return to + count


@compiled
def session_bits(lane: Any, ordinal: int) -> Any:
    """A session's 64 bits, written as 16 hexadecimal digits."""
    return mix(lane.key ^ mix(np.uint64(ordinal) + np.uint64(1)))


@compiled
def _field(out: Any, to: int, pieces: Any, name: int, value: int) -> int:
    return _digits(out, _put(out, to, pieces, pieces.fields + name), value, 1)


@compiled
def _write(out: Any, to: int, pieces: Any, lane: Any, row: Any) -> int:
    kind = row.type
    to = _put(out, to, pieces, kind)
    to = _hex(out, to, session_bits(lane, row.ordinal), 16)
    to = _field(out, to, pieces, SEQ, row.seq)
    to = _field(out, to, pieces, TS, row.ts + pieces.base_ms)
    to = _digits(out, _put(out, to, pieces, pieces.fields + ACCOUNT), lane.account, 7)
    to = _field(out, to, pieces, PROFILE, row.profile + 1)
    to = _digits(out, _put(out, to, pieces, pieces.fields + TITLE), row.title + 1, 5)
    to = _put(out, to, pieces, pieces.place + lane.place)
    to = _put(out, to, pieces, pieces.platform + lane.platform)
    to = _put(out, to, pieces, pieces.cdn + row.cdn)
    if kind == PLAY_REQUEST or kind == PLAY_START or kind == FINISH or kind == STOP:
        to = _put(out, to, pieces, pieces.place_more + lane.place)
        to = _put(out, to, pieces, pieces.platform_more + lane.platform)
        to = _put(out, to, pieces, pieces.kind + row.kind)
        if row.runtime_s > 0:
            to = _field(out, to, pieces, RUNTIME, row.runtime_s)
    to = _field(out, to, pieces, POSITION, row.position_s)
    if row.watched > 0 or kind == HEARTBEAT:
        to = _field(out, to, pieces, WATCHED, row.watched)
    if row.stalled > 0:
        to = _field(out, to, pieces, STALL_MS, row.stalled)
    if row.stalls > 0:
        to = _field(out, to, pieces, STALLS, row.stalls)
    if kind == PLAY_START:
        to = _field(out, to, pieces, STARTUP, row.startup)
    if kind == HEARTBEAT or kind == PLAY_START or kind == RENDITION:
        to = _field(out, to, pieces, BITRATE, pieces.ladder[row.rung])
    if row.dropped > 0:
        to = _field(out, to, pieces, DROPPED, row.dropped)
    if kind == ERROR:
        to = _put(out, to, pieces, pieces.error + row.error - 1)
        if row.fatal:
            return _put(out, to, pieces, pieces.fields + FATAL_END)
    return _put(out, to, pieces, pieces.fields + THE_END)


@compiled
def encode(rows: Any, order: Any, lanes: Any, pieces: Any, out: Any, ends: Any) -> int:
    """Writes rows[order] one after the other into out u8[≥ ROW_BYTES × n]; ends[i] is where the i-th stops. → bytes written."""
    to = 0
    for i in range(len(order)):
        row = rows[order[i]]
        to = _write(out, to, pieces, lanes[row.lane], row)
        ends[i] = to
    return to
