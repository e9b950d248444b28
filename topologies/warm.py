"""Compiles every kernel once, so that no worker waits for it: `python -m topologies.warm`."""

import json

import numpy as np
import pyarrow as pa

from topologies.cells import CACHE, DURABLE
from topologies.compiled import PADDING
from topologies.events import TICK_VALUE
from topologies.fold import PartitionState, RecordBlock
from topologies.sources import Source
from topologies.state_codec import dump_state, load_state, pack_state
from topologies.views import every_part

_EVENT = (
    '{"v":1,"type":"play_start","session":"s%d","seq":%d,"ts":%d,"account":"a","profile":"p","title":"t%d","region":"r","device":"d",'
    '"watched_ms":1,"position_s":1}'
)


def warm() -> None:
    """Fold a few hundred events into a state that is thrown away; every table grows once on the way."""
    state = PartitionState(Source("", "", "", 0), every_part(), bookmarks=True)
    for minute in range(3):
        values = [(_EVENT % (at % 1500, minute, minute * 60_000 + at, at % 300)).encode() for at in range(2998)] + [TICK_VALUE, b"?"]
        sizes = np.array([len(value) for value in values], dtype=np.int64)
        ends = np.cumsum(sizes)
        times = np.arange(minute * 60_000, minute * 60_000 + 3000, dtype=np.int64)
        first = minute * 3000
        buffer = np.frombuffer(b"".join(values) + bytes(PADDING), dtype=np.uint8)
        state.apply(RecordBlock(buffer, ends - sizes, ends, ends, ends, np.arange(first, first + 3000), times, first, first + 3000))
    _warm_arrow(state)
    state.take_cached()
    state.take_packs()
    _warm_bookmarks(state)
    load_state(pack_state(dump_state(state)), state.source, state.views, bookmarks=True)


def _warm_bookmarks(state: PartitionState) -> None:
    """As a flush of each store takes them, which then fails."""
    assert state.bookmarks is not None
    state.mark_all(CACHE)
    for store in (CACHE, DURABLE):
        state.bookmarks.put_back(state.bookmarks.take(store)[1], store)
    state.close_final()


def _warm_arrow(state: PartitionState) -> None:
    """An Arrow record, with its texts in dictionaries and without."""
    row = json.loads(_EVENT % (0, 9, 180_000, 0))
    batch = pa.RecordBatch.from_pylist([row])
    for name in ("title", "device"):
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, name, batch.column(at).dictionary_encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    value = sink.getvalue().to_pybytes()
    buffer = np.frombuffer(value + bytes(PADDING), dtype=np.uint8)
    ends = np.array([len(value)], dtype=np.int64)
    first, last = state.offset, state.offset + 1
    state.apply(RecordBlock(buffer, ends - len(value), ends, ends, ends, np.array([first]), np.array([180_000]), first, last))


if __name__ == "__main__":
    warm()
