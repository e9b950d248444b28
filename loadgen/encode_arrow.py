"""Events to Arrow: one kernel fills the columns of a batch, Arrow writes them as an IPC stream.

What repeats is a dictionary of the batch's own (only the titles that it has), numbers and indices are as narrow as they can be, and
nothing is compressed: Kafka's producer does that with the whole record. Measures that are nothing are 0, not null.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadgen import catalogue
from loadgen.encode import session_bits
from loadgen.keys import prefix_of, write_account
from loadgen.reaching import bytes_of, reach
from loadgen.rows import ERROR, FINISH, HEARTBEAT, PLAY_REQUEST, PLAY_START, RENDITION, STOP
from topologies.compiled import kernel, lean
from topologies.events import TYPES

PROFILES: Final = 8
_SESSION_BYTES: Final = 16
_FRAME_BYTES: Final = 65_536
"""More than a stream has beside its values: schema, headers, padding."""
_MOST_SHORT: Final = 2**16 - 1
_HEXADECIMAL: Final = np.frombuffer(bytes(range(256)).hex().encode(), np.uint16)
"""The two characters of each byte."""
_NARROW: Final = ("type", "profile", "place", "platform", "cdn", "kind", "error", "stalls", "dropped_frames")
_WIDE: Final = ("seq", "position_s", "watched_ms", "stall_ms", "startup_ms")
_MIDDLE: Final = ("runtime_s", "bitrate_kbps", "title")
_TYPE, _PROFILE, _PLACE, _PLATFORM, _CDN, _KIND, _ERROR, _STALLS, _DROPPED = range(len(_NARROW))
_SEQ, _POSITION, _WATCHED, _STALL, _STARTUP = range(len(_WIDE))
_RUNTIME, _BITRATE, _TITLE = range(len(_MIDDLE))
_NULLABLE: Final = ("error", "runtime_s", "startup_ms", "bitrate_kbps", "fatal")
_NO_ERROR, _NO_RUNTIME, _NO_STARTUP, _NO_BITRATE, _IS_FATAL = range(len(_NULLABLE))


class _Columns(NamedTuple):
    """Room for a batch of n rows.

    narrow u8[9, n], middle u16[3, n], wide i32[5, n], ts i64[n]. sessions u2[8 n], two characters each. accounts u8,
    account_ends i32[n + 1]. bits u8[5, n/8]: the first four say that there is a value. titles i32[n]: those that the batch has.
    slots i32[titles]: −1.
    """

    narrow: NDArray[np.uint8]
    middle: NDArray[np.uint16]
    wide: NDArray[np.int32]
    ts: NDArray[np.int64]
    sessions: NDArray[np.uint16]
    accounts: NDArray[np.uint8]
    account_ends: NDArray[np.int32]
    bits: NDArray[np.uint8]
    titles: NDArray[np.int32]
    slots: NDArray[np.int32]


@lean
def _fill(rows: Any, lanes: Any, lane_bytes: Any, tag: Any, ladder: Any, base_ms: int, to: Any) -> int:
    """The columns of rows; → how many titles there are. lane_bytes: the memory of the lanes."""
    narrow, middle, wide, titles, bits, sessions = to.narrow, to.middle, to.wide, 0, to.bits, to.sessions
    account_ends, accounts = to.account_ends, to.accounts
    account_ends[0] = 0
    for i in range(len(rows)):
        reach(i, rows, lane_bytes)
        row = rows[i]
        lane = lanes[row.lane]
        kind = row.type
        narrow[_TYPE, i] = kind
        narrow[_PROFILE, i] = row.profile
        narrow[_PLACE, i] = lane.place
        narrow[_PLATFORM, i] = lane.platform
        narrow[_CDN, i] = row.cdn
        narrow[_KIND, i] = row.kind
        narrow[_STALLS, i] = row.stalls
        wide[_SEQ, i] = row.seq
        wide[_POSITION, i] = row.position_s
        wide[_WATCHED, i] = row.watched
        wide[_STALL, i] = row.stalled
        narrow[_DROPPED, i] = row.dropped
        to.ts[i] = row.ts + base_ms
        slot = to.slots[row.title]
        if slot < 0:
            slot = titles
            to.slots[row.title] = slot
            to.titles[slot] = row.title
            titles += 1
        middle[_TITLE, i] = slot
        byte, bit = i >> 3, np.uint8(1 << (i & 7))
        told = (kind == PLAY_REQUEST or kind == PLAY_START or kind == FINISH or kind == STOP) and row.runtime_s > 0
        middle[_RUNTIME, i] = row.runtime_s if told else 0
        bits[_NO_RUNTIME, byte] |= bit if told else np.uint8(0)
        wide[_STARTUP, i] = row.startup if kind == PLAY_START else 0
        bits[_NO_STARTUP, byte] |= bit if kind == PLAY_START else np.uint8(0)
        told = kind == HEARTBEAT or kind == PLAY_START or kind == RENDITION
        middle[_BITRATE, i] = ladder[row.rung] if told else 0
        bits[_NO_BITRATE, byte] |= bit if told else np.uint8(0)
        narrow[_ERROR, i] = row.error - 1 if kind == ERROR else 0
        bits[_NO_ERROR, byte] |= bit if kind == ERROR else np.uint8(0)
        bits[_IS_FATAL, byte] |= bit if row.fatal else np.uint8(0)
        digits = session_bits(lane, row.ordinal)
        for j in range(8):
            sessions[8 * i + j] = _HEXADECIMAL[(digits >> np.uint64(56 - 8 * j)) & np.uint64(255)]
        account_ends[i + 1] = write_account(tag, lane.account, accounts, account_ends[i])
    for slot in range(titles):
        to.slots[to.titles[slot]] = -1
    return titles


@kernel
def _write_titles(titles: Any, out: Any, ends: Any) -> int:
    """`t00001` for title 0 and so on, one after the other; → bytes."""
    at = 0
    ends[0] = 0
    for i in range(len(titles)):
        out[at] = 116
        digits = 5
        number = titles[i] + 1
        while number >= 10**digits:
            digits += 1
        for j in range(digits):
            out[at + digits - j] = 48 + number % 10
            number //= 10
        at += 1 + digits
        ends[i + 1] = at
    return at


class ArrowEncoder:
    """Encodes events of a run: its tag, its regions, how many titles there are, the epoch ms at which its span begins."""

    def __init__(self, tag: str, regions: int, titles: int, base_ms: int) -> None:
        self._tag = prefix_of(tag)
        self._ladder = np.array(catalogue.LADDER_KBPS, np.int32)
        self._base_ms = base_ms
        self._slots = np.full(titles, -1, np.int32)
        self._versions = np.empty(0, np.uint8)
        self._session_ends = np.zeros(1, np.int32)
        places, platforms = catalogue.places(regions), catalogue.PLATFORMS
        texts = {
            "type": TYPES,
            "profile": [f"p{number + 1}" for number in range(PROFILES)],
            "region": [place[0] for place in places],
            "country": [place[1] for place in places],
            "asn": [place[2] for place in places],
            "device": [platform[0] for platform in platforms],
            "os": [platform[1] for platform in platforms],
            "app": [platform[2] for platform in platforms],
            "cdn": [cdn for cdn, _ in catalogue.CDNS],
            "kind": catalogue.KINDS,
            "error_code": catalogue.ERRORS,
        }
        self._fixed = {name: _Texts(list(found)) for name, found in texts.items()}

    def batch(self, rows: NDArray[Any], lanes: NDArray[Any]) -> Any:
        """The rows as a record batch."""
        count = len(rows)
        room = _Columns(
            narrow=np.empty((len(_NARROW), count), np.uint8),
            middle=np.empty((len(_MIDDLE), count), np.uint16),
            wide=np.empty((len(_WIDE), count), np.int32),
            ts=np.empty(count, np.int64),
            sessions=np.empty(_SESSION_BYTES // 2 * count, np.uint16),
            accounts=np.empty((len(self._tag) + 19) * count, np.uint8),
            account_ends=np.empty(count + 1, np.int32),
            bits=np.zeros((len(_NULLABLE), (count + 7) // 8), np.uint8),
            titles=np.empty(count, np.int32),
            slots=self._slots,
        )
        titles = room.titles[: _fill(rows, lanes, bytes_of(lanes), self._tag, self._ladder, self._base_ms, room)]
        arrays = self._arrays(count, room, titles)
        return pa.record_batch(list(arrays.values()), names=list(arrays))

    def _arrays(self, count: int, room: _Columns, titles: NDArray[np.int32]) -> dict[str, Any]:
        narrow, middle, wide = room.narrow, room.middle, room.wide
        most = wide.max(axis=1, initial=0).tolist()
        if len(self._versions) < count:
            self._versions = np.ones(count, np.uint8)
            self._session_ends = np.arange(0, _SESSION_BYTES * (count + 1), _SESSION_BYTES, dtype=np.int32)

        def coded(name: str, codes: NDArray[np.uint8]) -> Any:
            return self._fixed[name].coded(codes)

        def number(at: int, valid: int | None = None) -> Any:
            kind, values = (pa.uint16(), wide[at].astype(np.uint16)) if most[at] <= _MOST_SHORT else (pa.int32(), wide[at])
            return _array(kind, count, values, None if valid is None else room.bits[valid])

        return {
            "v": _array(pa.uint8(), count, self._versions[:count]),
            "type": coded("type", narrow[_TYPE]),
            "session": _texts(count, self._session_ends[: count + 1], room.sessions.view(np.uint8)),
            "seq": number(_SEQ),
            "ts": _array(pa.int64(), count, room.ts),
            "account": _texts(count, room.account_ends, room.accounts[: room.account_ends[-1]]),
            "profile": coded("profile", narrow[_PROFILE]),
            "title": _coded_titles(middle[_TITLE], titles),
            "region": coded("region", narrow[_PLACE]),
            "device": coded("device", narrow[_PLATFORM]),
            "runtime_s": _array(pa.uint16(), count, middle[_RUNTIME], room.bits[_NO_RUNTIME]),
            "kind": coded("kind", narrow[_KIND]),
            "country": coded("country", narrow[_PLACE]),
            "os": coded("os", narrow[_PLATFORM]),
            "app": coded("app", narrow[_PLATFORM]),
            "cdn": coded("cdn", narrow[_CDN]),
            "asn": coded("asn", narrow[_PLACE]),
            "position_s": number(_POSITION),
            "watched_ms": number(_WATCHED),
            "stall_ms": number(_STALL),
            "stalls": _array(pa.uint8(), count, narrow[_STALLS]),
            "startup_ms": number(_STARTUP, _NO_STARTUP),
            "bitrate_kbps": _array(pa.uint16(), count, middle[_BITRATE], room.bits[_NO_BITRATE]),
            "dropped_frames": _array(pa.uint8(), count, narrow[_DROPPED]),
            "error_code": self._fixed["error_code"].coded(narrow[_ERROR], room.bits[_NO_ERROR]),
            "fatal": pa.Array.from_buffers(pa.bool_(), count, [None, pa.py_buffer(room.bits[_IS_FATAL])]),
        }


class _Texts:
    """A fixed dictionary: codes of texts that stand in it twice (a region's places) are one code."""

    def __init__(self, texts: list[str]) -> None:
        distinct = list(dict.fromkeys(texts))
        self._dictionary = pa.array(distinct, pa.utf8())
        self._table = bytes(distinct.index(text) for text in texts).ljust(256, b"\0")
        self._plain = len(distinct) == len(texts)

    def coded(self, codes: NDArray[np.uint8], valid: NDArray[np.uint8] | None = None) -> Any:
        indices = _array(pa.uint8(), len(codes), codes if self._plain else codes.tobytes().translate(self._table), valid)
        return pa.DictionaryArray.from_arrays(indices, self._dictionary, safe=False)


def _array(kind: Any, count: int, values: NDArray[Any] | bytes, valid: NDArray[np.uint8] | None = None) -> Any:
    return pa.Array.from_buffers(kind, count, [None if valid is None else pa.py_buffer(valid), pa.py_buffer(values)])


def _texts(count: int, ends: NDArray[np.int32], data: NDArray[np.uint8]) -> Any:
    return pa.Array.from_buffers(pa.utf8(), count, [None, pa.py_buffer(ends), pa.py_buffer(data)])


def _coded_titles(codes: NDArray[np.uint16], titles: NDArray[np.int32]) -> Any:
    out, ends = np.empty(12 * len(titles), np.uint8), np.empty(len(titles) + 1, np.int32)
    size = _write_titles(titles, out, ends)
    dictionary = _texts(len(titles), ends, out[:size])
    return pa.DictionaryArray.from_arrays(_array(pa.uint16(), len(codes), codes), dictionary, safe=False)


def stream_of(batch: Any) -> bytes:
    """A record batch as an IPC stream."""
    # Room for all of it at once: a sink that grows is copied each time it does. Twice, for what columns share is written for each of them.
    room = np.empty(2 * batch.get_total_buffer_size() + _FRAME_BYTES, np.uint8)
    sink = pa.FixedSizeBufferWriter(pa.py_buffer(room))
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return room[: sink.tell()].tobytes()
