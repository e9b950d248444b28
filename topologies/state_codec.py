"""A partition's state as bytes, for a checkpoint.

Layout: "MQST", u16 schema version, u32 CRC-32 of the rest, then zstandard of one MessagePack document; arrays stand in it as
[dtype, shape, bytes].
A state of another schema version, or of views declared otherwise, is refused with OutdatedState: its owner recounts the log.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cramjam
import msgspec
import numpy as np

from topologies.dictionary import Dictionary
from topologies.errors import CheckpointError, OutdatedState
from topologies.fold import PartitionState
from topologies.session_rows import SAMPLES
from topologies.sources import Source
from topologies.view import View

MAGIC: Final = b"MQST"
SCHEMA: Final = 1
_HEAD: Final = struct.Struct("<4sHI")
_LEVEL: Final = 1
"""Zstandard's fastest ordinary level: 1 M sessions compress about 3 times at 0.4 GB/s."""


def dump_state(state: PartitionState) -> bytes:
    """The state as a document of its own memory: later changes to the state do not reach it. Compress with `pack_state`."""
    table = state.sessions
    samples = int(table.counters[SAMPLES])
    document = {
        "source": [state.source.region, state.source.topic, state.source.topic_id, state.source.partition],
        "offset": state.offset,
        "views": _signature(state.views),
        "dictionaries": {name: dictionary.texts() for name, dictionary in state.dictionaries.items()},
        "counters": table.counters,
        "rows": table.rows(),
        "islands": table.islands(),
        "tumbling": {cells.view.name: cells.dump() for cells in state.tumbling},
        "live": state.live.dump(samples) if state.live is not None else None,
    }
    return msgspec.msgpack.encode(document, enc_hook=_array)


def pack_state(document: bytes) -> bytes:
    """What is stored; compresses without holding the interpreter's lock."""
    packed = bytes(cramjam.zstd.compress(document, level=_LEVEL))
    return _HEAD.pack(MAGIC, SCHEMA, zlib.crc32(packed)) + packed


def load_state(payload: bytes, source: Source, views: Sequence[View]) -> PartitionState:
    """The state that a checkpoint holds. Raises CheckpointError if it is none of this source, these views and this version."""
    try:
        magic, schema, checksum = _HEAD.unpack_from(payload)
        if magic != MAGIC:
            raise CheckpointError(f"a checkpoint of {source} starts with {magic!r}, which no version writes; drop it to go on without it")
        if schema != SCHEMA:
            raise OutdatedState(f"a checkpoint of {source} has schema {schema}, this version reads {SCHEMA}")
        if zlib.crc32(payload[_HEAD.size :]) != checksum:
            raise CheckpointError(f"a checkpoint of {source} is damaged: its checksum does not fit; drop it to go on without it")
        document = msgspec.msgpack.decode(bytes(cramjam.zstd.decompress(payload[_HEAD.size :])))
    except (struct.error, cramjam.DecompressionError, msgspec.DecodeError) as error:
        raise CheckpointError(f"a checkpoint of {source} cannot be read ({error}); drop it to go on without it") from error
    if document["source"][0] != source.region or document["source"][2:] != [source.topic_id, source.partition]:
        raise CheckpointError(f"a checkpoint of {document['source']} stands where one of {source} should; drop it to go on without it")
    if document["views"] != _signature(views):
        raise OutdatedState(f"a checkpoint of {source} was made with other views than are declared now")
    return _restored(document, source, views)


def _restored(document: Mapping[str, Any], source: Source, views: Sequence[View]) -> PartitionState:
    state = PartitionState(source, views, int(document["offset"]))
    for name, texts in document["dictionaries"].items():
        state.dictionaries[name] = Dictionary(texts)
    for cells in state.tumbling:
        cells.rebind(state.dictionaries)
        cells.load({key: _plain(value) for key, value in document["tumbling"][cells.view.name].items()})
    if state.live is not None:
        state.live.rebind(state.dictionaries)
        state.live.load({key: _plain(value) for key, value in document["live"].items()})
    state.sessions.load(_plain(document["rows"]), _plain(document["islands"]), _plain(document["counters"]))
    return state


def _signature(views: Sequence[View]) -> list[Any]:
    """What a state depends on in its views' declarations."""
    return [
        [
            view.name,
            view.logic_version,
            [list(grouping) for grouping in view.groupings],
            [window.name for window in view.windows],
            [[measure.name, measure.sum_of, measure.count_of] for measure in view.measures],
        ]
        for view in views
    ]


def _array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [value.dtype.str, list(value.shape), value.tobytes()]
    raise TypeError(f"{type(value).__name__} has no place in a checkpoint")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        dtype, shape, data = value
        return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape).copy()
    return value
