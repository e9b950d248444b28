"""Rows of Arrow records are judged as the JSON objects of the same values: row by row, column by column, whatever the bytes."""

from __future__ import annotations

import json
import random
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.arrows import DIMENSIONS, FULL, GOOD, SCHEMA, batch_of, block_of, rows_of, same_as_audited, stream
from tests.topologies.logs import BY_THREE, COUNTED, SOURCE, T0, Record, apply, examples, random_steps, walked
from tests.topologies.logs import EVENT as SMALL
from topologies.blocks import ARROW_TYPE
from topologies.columns import EVENT
from topologies.concurrents import CONCURRENTS
from topologies.events import FIELDS
from topologies.fold import PartitionState, Refused
from topologies.letters import LetterValues
from topologies.playbacks import SESSIONS
from topologies.view import parts_of
from topologies.watch_time import WATCH_TIME

VIEWS = parts_of((CONCURRENTS, WATCH_TIME, BY_THREE, COUNTED, SESSIONS))


def same_as_json(value: bytes, events: list[dict[str, Any]]) -> None:
    """The Arrow record gives what these events give as JSON, text for text and number for number."""
    arrow, arrow_texts = rows_of([value], DIMENSIONS)
    plain, plain_texts = rows_of([json.dumps(event).encode() for event in events], DIMENSIONS)
    assert arrow.kinds.tolist() == plain.kinds.tolist()
    assert arrow.reasons == plain.reasons
    good = np.flatnonzero(plain.kinds == EVENT)
    assert arrow.integers[:, good].tolist() == plain.integers[:, good].tolist()
    assert arrow.ids[good].tolist() == plain.ids[good].tolist()
    assert arrow.tells[good].tolist() == plain.tells[good].tolist()
    for place, dimension in enumerate(DIMENSIONS[:-1]):
        texts = [
            [known[dimension].text(number) for number in rows.dims[good, place].tolist()]
            for rows, known in ((arrow, arrow_texts), (plain, plain_texts))
        ]
        assert texts[0] == texts[1]
    assert arrow.dims[good, -1].tolist() == plain.dims[good, -1].tolist()


def test_a_record_of_events_is_as_many_json_events() -> None:
    events = [FULL, SMALL, {**SMALL, "type": "play_start", "title": "Über 片"}, {"v": 1, "type": "tick"}, {**FULL, "seq": 2**31}]
    same_as_json(stream(batch_of(events)), events)


def test_dictionaries_of_any_index_are_texts() -> None:
    events = [{**FULL, "title": f"t{row % 7}", "type": "stall"} for row in range(50)] + [SMALL]
    for index in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()):
        made = batch_of(events)
        for name in ("type", "title", "session", "account", "region", "cdn", "kind"):
            at = made.schema.get_field_index(name)
            made = made.set_column(at, name, made.column(at).dictionary_encode().cast(pa.dictionary(index, pa.utf8())))
        same_as_json(stream(made), events)


# -- columns of other types ----------------------------------------------------------------------------------------------

WRONG = (
    pa.array([1.0]), pa.array(["x"], pa.string_view()), pa.array([b"x"], pa.binary()), pa.array([[1]]), pa.array([{"a": 1}]),
    pa.array([1], pa.timestamp("ms")), pa.array([None], pa.float32()), pa.array([5], pa.int64()).dictionary_encode(),
    pa.array(["x"]), pa.array([7]), pa.array([True]), pa.nulls(1), pa.array([2**64 - 1], pa.uint64()), pa.array([-1], pa.int8()),
)  # fmt: skip


def meaning(array: Any) -> Any:
    """The JSON value that one of WRONG is judged as."""
    value = array[0].as_py()
    kind = array.type
    plain = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind)
    return value if plain or value is None else [1]


def with_bits(kind: Any, number: int) -> Any:
    """One value of that type with an integer's bits."""
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(number.to_bytes(kind.bit_width // 8, "little"))])


@pytest.mark.parametrize("field", ["v", "type", "title", "asn", "seq", "startup_ms", "fatal"])
def test_a_value_that_python_has_not_is_of_a_wrong_type_and_no_end_of_a_worker(field: str) -> None:
    foreign = [
        with_bits(pa.timestamp("ns"), 1), with_bits(pa.timestamp("s"), 2**60), with_bits(pa.date32(), 2**31 - 1),
        with_bits(pa.duration("s"), 2**62), pa.array([0], pa.timestamp("s", tz="Mars/Rim")), pa.nulls(1, pa.list_(pa.null(), 3_000_000)),
    ]  # fmt: skip
    foreign.append(pa.FixedSizeListArray.from_arrays(pa.nulls(50_000_000), 50_000_000))
    for array in foreign:
        made = batch_of([FULL])
        value = stream(made.set_column(made.schema.get_field_index(field), field, array))
        same_as_json(value, [{**FULL, field: [1] if array.is_valid()[0].as_py() else None}])
        same_as_audited(value)
        rows, _ = rows_of([value])
        for reason in rows.reasons.values():
            alone, _, _ = LetterValues(block_of([value])).of(Refused(0, 0, reason))
            assert alone is not None
            assert rows_of([alone])[0].reasons == {0: reason}


@pytest.mark.parametrize("field", [field.name for field in FIELDS])
def test_a_column_of_another_type_is_judged_by_its_values(field: str) -> None:
    for array in WRONG:
        made = batch_of([FULL])
        made = made.set_column(made.schema.get_field_index(field), field, array)
        same_as_json(stream(made), [{**FULL, field: meaning(array)}])


def test_absent_repeated_and_unknown_columns() -> None:
    made = batch_of([FULL]).drop_columns(["cdn"])
    same_as_json(stream(made), [{name: value for name, value in FULL.items() if name != "cdn"}])
    same_as_json(stream(batch_of([FULL]).drop_columns(["title"])), [{**FULL, "title": None}])
    twice = batch_of([FULL]).append_column("seq", pa.array([77], pa.uint8())).append_column("x", pa.array([[{"y": 1}]]))
    same_as_json(stream(twice), [{**FULL, "seq": 77}])


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()])
def test_every_width_of_integer_holds_the_same_numbers(kind: Any) -> None:
    events = [{**FULL, "stalls": number, "watched_ms": None if number % 3 else number} for number in range(100)]
    made = batch_of(events)
    for name in ("stalls", "watched_ms", "v"):
        at = made.schema.get_field_index(name)
        made = made.set_column(at, name, made.column(at).cast(kind))
    same_as_json(stream(made), events)


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_several_batches_with_replaced_and_grown_dictionaries(codec: str | None) -> None:
    events = [[{**FULL, "title": f"t{batch * step + row}"} for row in range(40)] for batch, step in ((0, 1), (1, 7), (2, 40))]
    schema = SCHEMA.set(SCHEMA.get_field_index("title"), pa.field("title", pa.dictionary(pa.int16(), pa.utf8())))
    batches = [batch_of(part, schema) for part in events]
    for deltas in (True, False):
        value = stream(*batches, emit_dictionary_deltas=deltas, compression=codec)
        same_as_json(value, [event for part in events for event in part])


def test_large_and_absent_entries_of_dictionaries() -> None:
    indices = pa.array([0, 1, None, 2, 1], pa.int8())
    column = pa.DictionaryArray.from_arrays(indices, pa.array(["tv", None, "x" * 129], pa.large_utf8()))
    titles = ["tv", None, None, "x" * 129, None]
    made = batch_of([FULL] * 5)
    for name in ("title", "cdn"):
        made = made.set_column(made.schema.get_field_index(name), name, column)
    same_as_json(stream(made), [{**FULL, "title": title, "cdn": title} for title in titles])


# -- the log -----------------------------------------------------------------------------------------------------------------


def log_of(seed: int) -> list[tuple[int, list[dict[str, Any]], bool]]:
    """Records of a walk: their timestamp, their events, whether they are Arrow."""
    draw = random.Random(seed)
    events = [
        json.loads(record.value or b"{}") for record in walked(random_steps(seed, 120)) if (record.value or b"").startswith(b'{"v":1')
    ]
    found, at, rts = [], 0, T0
    while at < len(events):
        count = draw.choice((1, 1, 2, 7, 30))
        part = events[at : at + count]
        rts += draw.choice((0, 1_000, 20_000, 61_000))
        for event in part:
            if "ts" in event:
                event["ts"] = rts + draw.choice((0, -5_000, -70_000, 61_000, -1_000_000) if draw.random() < 0.2 else (0,))
        arrow = count > 1 or draw.random() < 0.5
        found.append((rts, part, arrow))
        at += count
    return found


@given(st.integers(0, 2**32), st.integers(1, 5))
@examples(30)
def test_rows_of_arrow_records_are_folded_as_json_records_of_their_time(seed: int, blocks: int) -> None:
    log = log_of(seed)
    state, plain = PartitionState(SOURCE, VIEWS), PartitionState(SOURCE, VIEWS)
    refused: list[tuple[int, int, str]] = []
    cuts = sorted({0, len(log), *(len(log) * cut // blocks for cut in range(blocks))})
    for low, high in pairwise(cuts):
        values = [stream(batch_of(part)) if arrow else json.dumps(part[0]).encode() for _, part, arrow in log[low:high]]
        block = replace(block_of(values, first=low), timestamps=np.array([rts for rts, _, _ in log[low:high]]))
        refused += [(low + letter.record, letter.row, letter.reason) for letter in state.apply(block)]
    single = [(record, row, rts, event) for record, (rts, part, _) in enumerate(log) for row, event in enumerate(part)]
    letters = apply(plain, [Record(rts, json.dumps(event).encode()) for _, _, rts, event in single])
    assert refused == [(*single[letter.record][:2], letter.reason) for letter in letters]
    assert replace(state.status(), offset=0) == replace(plain.status(), offset=0)
    assert {**state.canonical(), "status": 0} == {**plain.canonical(), "status": 0}


# -- hostile bytes -----------------------------------------------------------------------------------------------------------

CODED = batch_of([{**FULL, "seq": seq, "title": f"t{seq % 5}"} for seq in range(20)])
for _name in ("title", "type", "region"):
    _at = CODED.schema.get_field_index(_name)
    CODED = CODED.set_column(_at, _name, CODED.column(_at).dictionary_encode())
HOSTS = (stream(CODED), stream(CODED, compression="lz4"), stream(CODED.slice(0, 5), CODED.slice(5)), GOOD)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A stream with words changed, bytes put in, taken out or cut off."""
    value = bytearray(draw(st.sampled_from(HOSTS)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(value) - 1))
        how = draw(st.integers(0, 9))
        if how < 5:
            value[at] = draw(st.integers(0, 255))
        elif how < 7:
            value[at : at + 4] = draw(st.integers(0, 2**32 - 1)).to_bytes(4, "little")
        elif how == 7:
            value[at : at + 8] = draw(st.sampled_from([0, 1, 8, 2**31, 2**63 - 1, 2**64 - 1, len(value)])).to_bytes(8, "little")
        elif how == 8:
            del value[at : at + draw(st.integers(1, 64))]
        else:
            del value[at:]
        if not value:
            break
    return bytes(value)


@given(mutated())
@examples(600)
def test_whatever_the_bytes_the_columns_say_what_the_rows_say(value: bytes) -> None:
    """No crash, and the fast judge against the strict one on the same rows; the auditor's reader, written apart, agrees too."""
    same_as_audited(value)


# -- letters -----------------------------------------------------------------------------------------------------------------


def test_a_letter_has_its_row_alone_and_is_judged_as_it_was() -> None:
    bad = [{**FULL, "seq": -1}, {**FULL, "title": "x" * 5_000}, {**FULL, "region": None}, {**FULL, "type": "rewind"}]
    made = batch_of([FULL, *bad]).set_column(16, "asn", pa.array([None] * 4 + [[1]]))
    value = stream(made)
    rows, _ = rows_of([b"{}", value])
    letters = LetterValues(block_of([b"{}", value]))
    assert letters.of(Refused(0, 0, "version")) == (b"{}", False, "")
    for row, reason in rows.reasons.items():
        record, at = rows.place(row)
        if record == 0:
            continue
        alone, cut, content_type = letters.of(Refused(record, at, reason))
        assert content_type == ARROW_TYPE
        assert cut == (at == 2)
        assert alone is not None
        assert len(alone) < 8_000
        again, _ = rows_of([alone])
        assert again.reasons == {0: reason}


def test_a_letter_costs_no_more_in_a_record_of_many_texts() -> None:
    """In bytes that are made for it, by Arrow or by Python: these are the same on every machine."""

    def cost_bytes(texts: int) -> int:
        made = batch_of([{**FULL, "seq": seq} for seq in range(200)])
        column = pa.DictionaryArray.from_arrays(pa.array(range(200), pa.int32()), pa.array([f"text {number}" for number in range(texts)]))
        for name in ("title", "session", "account", "region"):
            made = made.set_column(made.schema.get_field_index(name), name, column)
        letters = LetterValues(block_of([stream(made)]))
        letters.of(Refused(0, 0, "late"))
        before = pa.default_memory_pool().total_bytes_allocated()
        tracemalloc.start()
        for row in range(50):
            letters.of(Refused(0, row, "late"))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return int(pa.default_memory_pool().total_bytes_allocated() - before + most)

    assert cost_bytes(100_000) < 2 * cost_bytes(200)


def test_a_letter_of_a_record_that_cannot_be_read_has_its_bytes() -> None:
    letters = LetterValues(block_of([GOOD[:-12]]))
    assert letters.of(Refused(0, 0, "not_arrow")) == (GOOD[:-12], False, ARROW_TYPE)
