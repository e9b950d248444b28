"""Arrow records as wholes: what cannot be read is one dead row, what can is bounded, whatever the bytes claim."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.topologies.arrows import DIMENSIONS, FULL, GOOD, batch_of, block_of, patched, rows_of, same_as_audited, stream
from topologies import arrow_stream
from topologies.arrow_plan import plan_of
from topologies.arrow_stream import MAX_ARROW_BYTES, MAX_BATCHES, MAX_BODY_BYTES, MAX_ROWS
from topologies.blocks import ARROW_TYPE
from topologies.columns import EVENT, MALFORMED
from topologies.events import check_event
from topologies.fold import Refused
from topologies.letters import LetterValues


def wide(rows: int) -> bytes:
    return stream(pa.record_batch([pa.nulls(rows)], names=["v"]))


WHOLE: list[tuple[str, bytes | None]] = [
    ("empty", None),
    ("empty", b""),
    ("empty", stream(batch_of([]))),
    ("too_big", wide(MAX_ROWS + 1)),
    ("too_big", b"\xff" * (MAX_ARROW_BYTES + 1)),
    ("too_big", stream(*[batch_of([FULL])] * (MAX_BATCHES + 1))),
    ("too_big", stream(pa.record_batch([pa.array([0] * (MAX_BODY_BYTES // 8 + 1))], names=["seq"]), compression="zstd")),
    ("not_arrow", GOOD[:-12]),
    ("not_arrow", GOOD[4:]),
    ("not_arrow", json.dumps(FULL).encode()),
    ("not_arrow", b"\xff" * 64),
    ("not_arrow", b"ARROW1\0\0" + GOOD),
]


@pytest.mark.parametrize(("reason", "value"), WHOLE, ids=[f"{at}-{reason}" for at, (reason, _) in enumerate(WHOLE)])
def test_a_record_that_cannot_be_read_is_one_dead_row(reason: str, value: bytes | None) -> None:
    rows, _ = rows_of([GOOD, value, GOOD], arrow=[1, 1, 1])
    assert rows.kinds.tolist() == [EVENT] * 3 + [MALFORMED] + [EVENT] * 3
    assert rows.reasons == {3: reason}
    assert [rows.place(row) for row in range(7)] == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 2)]


LENGTH, COMPRESSION = 0, 3
"""Slots of a RecordBatch in Arrow's Message.fbs."""


def test_a_batch_of_less_than_no_rows_is_no_arrow() -> None:
    five = pa.record_batch([pa.nulls(5)], names=["v"])
    assert set(rows_of([stream(five.select([]))])[0].reasons.values()) == {"version"}
    for two in ([five] * 2, [five.select([])] * 2):
        for number in (-1, -5, -(2**40), -(2**63)):
            value = patched(stream(*two), LENGTH, number)
            assert rows_of([value])[0].reasons == {0: "not_arrow"}
            same_as_audited(value)


def test_a_compression_that_only_old_metadata_declares_is_no_arrow() -> None:
    made = pa.record_batch([pa.array(np.zeros(60_000, np.int64))], names=["seq"])
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd", metadata_version=pa.ipc.MetadataVersion.V4)
    with pa.ipc.new_stream(sink, made.schema, options=options) as writer:
        writer.write_batch(made, custom_metadata={"ARROW:experimental_compression": "zstd"})
    value = patched(sink.getvalue().to_pybytes(), COMPRESSION, None)
    assert pa.ipc.open_stream(value).read_next_batch().num_rows == len(made)
    assert rows_of([value])[0].reasons == {0: "not_arrow"}
    same_as_audited(value)


def test_what_unknown_columns_hold_does_not_matter_even_where_no_other_is() -> None:
    broken = pa.Array.from_buffers(pa.utf8(), 1, [None, pa.py_buffer(bytes(4) + b"\1\0\0\0"), pa.py_buffer(b"\xff")])
    for made in (pa.record_batch([broken], names=["x"]), pa.record_batch([broken, pa.nulls(1)], names=["x", "v"])):
        value = stream(made)
        assert rows_of([value])[0].reasons == {0: "version"}
        same_as_audited(value)


def test_the_plan_of_a_long_schema_is_not_kept() -> None:
    for name in ("short", "n" * 70_000):
        assert rows_of([stream(pa.record_batch([pa.nulls(1)], names=[name]))])[0].reasons == {0: "version"}
    assert arrow_stream._plans
    assert max(map(len, arrow_stream._plans)) < 70_000


def test_an_error_that_nobody_foresaw_is_one_dead_letter(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    strange = stream(batch_of([FULL, {**FULL, "title": "strange", "seq": -1}, FULL]))
    bad = stream(batch_of([{**FULL, "seq": -1}, FULL]))

    def check(document: Any) -> Any:
        if document["title"] == "strange":
            raise ArithmeticError
        return check_event(document)

    monkeypatch.setattr("topologies.rows.check_event", check)
    monkeypatch.setattr(arrow_stream, "_told", set())
    values = [bad, strange, json.dumps(FULL).encode(), strange, bad]
    rows, _ = rows_of(values, DIMENSIONS)
    assert rows.kinds.tolist() == [MALFORMED, EVENT, MALFORMED, EVENT, MALFORMED, MALFORMED, EVENT]
    assert rows.reasons == {0: "out_of_range:seq", 2: "not_arrow", 4: "not_arrow", 5: "out_of_range:seq"}
    assert [rows.place(row) for row in range(7)] == [(0, 0), (0, 1), (1, 0), (2, 0), (3, 0), (4, 0), (4, 1)]
    assert [len(values) for values in (rows.timestamps, rows.integers.T, rows.ids, rows.tells, rows.dims)] == [7] * 5
    assert LetterValues(block_of(values)).of(Refused(1, 0, "not_arrow")) == (strange, False, ARROW_TYPE)
    assert caplog.text.count("not foreseen") == 1


def test_no_memory_says_nothing_of_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(_schema: Any) -> Any:
        raise pa.ArrowMemoryError

    monkeypatch.setattr(arrow_stream, "_plans", {})
    monkeypatch.setattr(arrow_stream, "plan_of", no_memory)
    with pytest.raises(MemoryError):
        rows_of([GOOD])


@pytest.mark.parametrize("coded", [False, True])
def test_a_text_at_the_end_of_a_page_is_moved_so_that_no_kernel_reads_past_it(coded: bool) -> None:
    pages = np.zeros(3 * 4096, np.uint8)
    end = 4096 * 2 - pages.ctypes.data % 4096
    nothing = np.zeros(32, np.uint8)
    for behind in range(12):
        pages[end - behind - 5 : end - behind] = bytearray(b"title")
        text = pa.foreign_buffer(pages.ctypes.data + end - behind - 5, 5, base=pages)
        array = pa.Array.from_buffers(pa.utf8(), 1, [None, pa.py_buffer(np.array([0, 5], np.int32)), text])
        column = pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), array) if coded else array
        made = pa.record_batch([column, pa.array([7])], names=["title", "seq"])
        plan = plan_of(made.schema)
        found = arrow_stream._checked(made, nothing, plan)
        assert found.batch.to_pylist() == [{"title": "title", "seq": 7}]
        assert (found.batch is made) == (behind >= 7)
        # a text in the block's own buffer has PADDING
        assert arrow_stream._checked(made, pages, plan).batch is made


def test_as_many_rows_as_may_be() -> None:
    rows, _ = rows_of([wide(MAX_ROWS)])
    assert len(rows.kinds) == MAX_ROWS
    assert set(rows.reasons.values()) == {"version"}
