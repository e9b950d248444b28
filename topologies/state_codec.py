"""A partition's state as bytes, for a checkpoint.

Layout: "MQST", u16 schema version, u32 CRC-32 of the rest, then one MessagePack document. An array stands in it as
[dtype, shape, form, bytes]; form is 0 as it is, 1 zstandard, 2 zstandard of its bytes by significance (all lowest ones first).
Schema 1, whose document was compressed as a whole, and schema 2, whose keys were of two words, are still read. A state of any other
version, or of views declared otherwise, is refused with OutdatedState: its owner recounts the log. A state of views that were otherwise
in Redis alone is whole.

    dump_state    on the thread of the fold: copies, and nothing else
    pack_state    on any other, nearly all of it without the interpreter's lock
    load          the state again, and whether Redis was to have other cells than now; load_state is the state alone
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cramjam
import msgspec
import numpy as np
from numpy.typing import NDArray

from topologies.cells import CACHE
from topologies.dictionary import Dictionary
from topologies.errors import CheckpointError, OutdatedState
from topologies.fold import PartitionState
from topologies.session_columns import SessionColumns, into_columns
from topologies.session_rows import SAMPLES, WORDS
from topologies.sources import Source
from topologies.spells import SPELL_WORDS
from topologies.view import Measure, View

MAGIC: Final = b"MQST"
SCHEMA: Final = 3
_HEAD: Final = struct.Struct("<4sHI")
_LEVEL: Final = 1
"""Zstandard's fastest ordinary level: level 3 takes three times as long and saves a twentieth."""
_PLAIN, _COMPRESSED, _BY_BYTE = range(3)
_SMALL: Final = 512
"""An array of fewer bytes is not worth compressing."""
_ROOM_AT_LEAST: Final = 8192
"""Rows: 1 MiB."""


@dataclass(frozen=True)
class Snapshot:
    """A state at one offset, in memory of its own: later changes to the state do not reach it."""

    offset: int
    watermark_ms: int
    document: dict[str, Any]
    rows: NDArray[np.int64]
    """The sessions' rows, those that can be forgotten among them."""
    spells: NDArray[np.int64]
    """Theirs, none where no view is of sessions."""


@dataclass(frozen=True)
class Loaded:
    """recached: Redis was to have other cells, or another leaderboard, than is declared now, so it lacks all cells of this source."""

    state: PartitionState
    recached: bool


class SnapshotRoom:
    """Memory for one snapshot's rows and spells at a time, kept from one to the next.

    Copying into memory that was used before takes 25 ms for 1 M sessions, into fresh memory 25-230 ms: its pages have to be found first.
    """

    def __init__(self) -> None:
        self._rooms = {words: np.zeros((0, words), dtype=np.int64) for words in (WORDS, SPELL_WORDS)}

    def reserve(self, sessions: int, spells: int = 0) -> None:
        """Have room for so many and some more; not on the thread of the fold. Room of four times that is given back."""
        for words, count in ((WORDS, sessions), (SPELL_WORDS, spells)):
            if not count <= len(self._rooms[words]) <= 4 * count + _ROOM_AT_LEAST:
                self._rooms[words] = np.full((count + count // 4 + _ROOM_AT_LEAST, words), -1, dtype=np.int64)

    def copy(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """A copy of them, rows or spells, good until the next is made here."""
        kept = self._rooms[rows.shape[1]]
        if len(rows) > len(kept):
            return rows.copy()
        room = kept[: len(rows)]
        np.copyto(room, rows)
        return room


def dump_state(state: PartitionState, room: SnapshotRoom | None = None) -> Snapshot:
    """Copy the state. Between two batches of the fold, and as quickly as memory is copied; `pack_state` makes bytes of it.

    In a `room` the snapshot is good until the next one is made there.
    """
    table = state.sessions
    samples = int(table.counters[SAMPLES])
    document = {
        "source": [state.source.region, state.source.topic, state.source.topic_id, state.source.partition],
        "offset": state.offset,
        "views": _signature(state.views),
        "cached": _cached(state.views),
        "dictionaries": {name: dictionary.dump() for name, dictionary in state.dictionaries.items()},
        "counters": table.counters.copy(),
        "islands": table.islands().copy(),
        "tumbling": {cells.name: cells.dump() for cells in state.tumbling},
        "live": state.live.dump(samples) if state.live is not None else None,
        "bookmarks": state.bookmarks.dump() if state.bookmarks is not None else None,
    }
    room = room or SnapshotRoom()
    return Snapshot(state.offset, table.watermark_ms(), document, room.copy(table.rows()), room.copy(table.spell_rows()))


def pack_state(snapshot: Snapshot) -> bytes:
    """What is stored. Nearly all of it runs without the interpreter's lock, so that the fold goes on meanwhile."""
    sessions = into_columns(snapshot.rows, snapshot.watermark_ms, snapshot.spells)
    columns = {"base_ms": sessions.base_ms, "widths": sessions.widths, "planes": sessions.planes}
    # identities are random: compressing them would take as long as all the rest and save nothing
    ids = [sessions.ids.dtype.str, list(sessions.ids.shape), _PLAIN, sessions.ids.reshape(-1).view(np.uint8).data]
    packed = msgspec.msgpack.encode({**snapshot.document, "sessions": {**columns, "ids": ids}}, enc_hook=_packed_array)
    return b"".join([_HEAD.pack(MAGIC, SCHEMA, zlib.crc32(packed)), packed])


def load_state(payload: bytes, source: Source, views: Sequence[View], *, bookmarks: bool = False) -> PartitionState:
    """As `load`, the state alone."""
    return load(payload, source, views, bookmarks=bookmarks).state


def load(payload: bytes, source: Source, views: Sequence[View], *, bookmarks: bool = False) -> Loaded:
    """What a checkpoint holds. Raises CheckpointError if it is none of this source, these views and a version that is read."""
    body = memoryview(payload)[_HEAD.size :]
    try:
        magic, schema, checksum = _HEAD.unpack_from(payload)
        if magic != MAGIC:
            raise CheckpointError(f"a checkpoint of {source} starts with {magic!r}, which no version writes; drop it to go on without it")
        if schema not in _READERS:
            raise OutdatedState(f"a checkpoint of {source} has schema {schema}, this version reads {', '.join(map(str, _READERS))}")
        if zlib.crc32(body) != checksum:
            raise CheckpointError(f"a checkpoint of {source} is damaged: its checksum does not fit; drop it to go on without it")
        document = _READERS[schema](body)
    except (struct.error, cramjam.DecompressionError, msgspec.DecodeError) as error:
        raise CheckpointError(f"a checkpoint of {source} cannot be read ({error}); drop it to go on without it") from error
    if document["source"][0] != source.region or document["source"][2:] != [source.topic_id, source.partition]:
        raise CheckpointError(f"a checkpoint of {document['source']} stands where one of {source} should; drop it to go on without it")
    if (document["views"], document.get("bookmarks") is not None) != (_signature(views), bookmarks):
        raise OutdatedState(f"a checkpoint of {source} was made with other views than are declared now")
    loaded = Loaded(_restored(document, source, views, bookmarks), document.get("cached", _cached(views)) != _cached(views))
    if loaded.recached:
        loaded.state.mark_all(CACHE)  # so that the next checkpoint says so too, should Redis not have got them by then
    return loaded


def _first_schema(body: memoryview) -> dict[str, Any]:
    """A document of schema 1 as one of today: it held the rows as they stand in the table, and dictionaries as lists of texts."""
    document: dict[str, Any] = msgspec.msgpack.decode(bytes(cramjam.zstd.decompress(body)))
    columns = into_columns(_plain_array(document["rows"]), -1)  # a watermark that forgets nothing
    return _widened({
        **document,
        "dictionaries": {name: Dictionary(texts).dump() for name, texts in document["dictionaries"].items()},
        "sessions": {"base_ms": columns.base_ms, "widths": columns.widths, "planes": columns.planes, "ids": columns.ids},
        **{name: _plain_array(document[name]) for name in ("counters", "islands")},
        "tumbling": {name: _plain_arrays(cells) for name, cells in document["tumbling"].items()},
        "live": document["live"] and _plain_arrays(document["live"]),
    })  # fmt: skip


def _second_schema(body: memoryview) -> dict[str, Any]:
    return _widened(_third_schema(body))


def _third_schema(body: memoryview) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.msgpack.decode(body)
    return document


def _widened(document: dict[str, Any]) -> dict[str, Any]:
    """A document whose keys had two words as one of today: a third was added for two more dimensions."""
    for cells in (*document["tumbling"].values(), document["live"]):
        if cells is not None:
            words = _array(cells["words"])
            cells["words"] = np.column_stack([words, np.zeros(len(words), dtype=np.int64)])
    return document


_READERS: Final = {1: _first_schema, 2: _second_schema, 3: _third_schema}


def _restored(document: Mapping[str, Any], source: Source, views: Sequence[View], bookmarks: bool) -> PartitionState:
    state = PartitionState(source, views, int(document["offset"]), bookmarks=bookmarks)
    for name, dumped in document["dictionaries"].items():
        state.dictionaries[name] = Dictionary.restored(_arrays(dumped))
    for cells in state.tumbling:
        cells.rebind(state.dictionaries)
        cells.load(_arrays(document["tumbling"][cells.name]))
    if state.live is not None:
        state.live.rebind(state.dictionaries)
        state.live.load(_arrays(document["live"]))
    if state.bookmarks is not None:
        state.bookmarks.rebind(state.dictionaries["title"])
        state.bookmarks.load(_arrays(document["bookmarks"]))
    sessions = _arrays(document["sessions"])
    columns = SessionColumns(int(sessions["base_ms"]), sessions["widths"], sessions["ids"], sessions["planes"])
    state.sessions.load(columns, _array(document["islands"]), _array(document["counters"]))
    return state


def _signature(views: Sequence[View]) -> list[Any]:
    """What a state depends on in its views' declarations."""
    return [
        [
            view.name,
            view.logic_version,
            [list(grouping) for grouping in view.groupings],
            [window.name for window in view.windows],
            [_signed(measure) for measure in view.measures],
            *([list(view.distinct.of)] if view.distinct is not None else []),
            *([view.extreme.keep] if view.extreme is not None else []),
        ]
        for view in views
    ]


def _cached(views: Sequence[View]) -> list[Any]:
    """What in the declarations decides what Redis is to have. Where that was otherwise no flush of changed cells makes it right: Redis is
    written anew from the state, which has all that is not final; what is final is read from Cassandra. A checkpoint that does not say is
    taken to be of what is declared."""
    return [
        [view.name, view.leaderboard, [[window.name, window.retention_s] for window in view.windows if window.cached]] for view in views
    ]


def _signed(measure: Measure) -> list[Any]:
    """As a measure of schema 2 stood there, and what has come since where it is used."""
    more = [measure.times, measure.half_life_s] if measure.times or measure.half_life_s else []
    return [measure.name, measure.sum_of, measure.count_of, *more]


def _packed_array(value: Any) -> list[Any]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} has no place in a checkpoint")
    data = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    form = _PLAIN if data.nbytes < _SMALL else _BY_BYTE if value.itemsize > 1 else _COMPRESSED
    if form == _BY_BYTE:
        data = np.ascontiguousarray(data.reshape(-1, value.itemsize).T).reshape(-1)
    stored = data.tobytes() if form == _PLAIN else memoryview(cramjam.zstd.compress(data.data, level=_LEVEL))
    return [value.dtype.str, list(value.shape), form, stored]


def _array(packed: Any) -> NDArray[Any]:
    """An array of its own memory."""
    if isinstance(packed, np.ndarray):
        return packed
    dtype, shape, form, stored = packed
    data = np.frombuffer(memoryview(stored if form == _PLAIN else cramjam.zstd.decompress(stored)), dtype=np.uint8)
    kind = np.dtype(dtype)
    if form == _BY_BYTE:
        data = data.reshape(kind.itemsize, -1).T
    array: NDArray[Any] = np.array(data, order="C").reshape(-1).view(kind).reshape(shape)
    return array


def _arrays(packed: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _array(value) if isinstance(value, (list, np.ndarray)) else value for key, value in packed.items()}


def _plain_array(packed: Any) -> NDArray[Any]:
    """An array of schema 1: [dtype, shape, bytes]."""
    dtype, shape, stored = packed
    return _array([dtype, shape, _PLAIN, stored])


def _plain_arrays(packed: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain_array(value) if isinstance(value, list) else value for key, value in packed.items()}
