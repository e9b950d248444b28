"""The auditor's two judges of a record: the rules of docs/architecture.md, and SQL never vouching for what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import audit_arrow
from loadgen.audit_log import SCHEMA
from loadgen.audit_sql import ALWAYS, COLUMNS, FIELDS, column_of, load_rows, position_of
from loadgen.audit_strict import HIGHEST, OPTIONAL, REQUIRED, Verdict, judge

EVENT: dict[str, Any] = {
    "v": 1,
    "type": "heartbeat",
    "session": "s-1",
    "seq": 3,
    "ts": 1_760_000_000_000,
    "account": "T-a1",
    "profile": "p1",
    "title": "tt 1",
    "region": "eu-west",
    "device": "tv",
    "runtime_s": 5400,
    "kind": "film",
    "cdn": "c/1",
    "watched_ms": 10_000,
    "stall_ms": 0,
    "error_code": None,
    "fatal": False,
}
VALID = json.dumps(EVENT, separators=(",", ":")).encode()


def with_(**changes: Any) -> bytes:
    return json.dumps({**EVENT, **changes}, separators=(",", ":")).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in EVENT.items() if key != name}, separators=(",", ":")).encode()


TRICKY: list[tuple[bytes | None, str]] = [
    (VALID, "event"),
    (b" \t\r\n" + VALID + b"\n", "event"),
    (b'{"v":1,"type":"tick"}', "tick"),
    (b'{"type":"tick","v":1,"session":7}', "tick"),
    (b'{"v":2,"type":"tick"}', "version"),
    (b'{"v":1,"v":2,"type":"tick"}', "version"),
    (None, "empty"),
    (b"", "empty"),
    (b"x" * 65_537, "too_big"),
    (VALID[:-1] + b" " * (65_536 - len(VALID)) + b"}", "event"),
    (VALID[:-1] + b" " * (65_537 - len(VALID)) + b"}", "too_big"),
    (VALID.replace(b"tt 1", b"\xff"), "encoding"),
    (VALID.replace(b"tt 1", b"\xed\xa0\x80"), "encoding"),
    (VALID.replace(b"tt 1", b"\xc0\x80"), "encoding"),
    (VALID + b"\xff", "encoding"),
    (b"\xef\xbb\xbf" + VALID, "not_json"),
    (VALID + b"x", "not_json"),
    (VALID + VALID, "not_json"),
    (VALID[:-1], "not_json"),
    (VALID[:-1] + b",}", "not_json"),
    (VALID.replace(b'"v":1', b'"v":01'), "not_json"),
    (VALID.replace(b'"v":1', b'"v":NaN'), "not_json"),
    (VALID.replace(b'"seq":3', b'"seq":-Infinity'), "not_json"),
    (VALID.replace(b'"seq":3', b'"seq":+3'), "not_json"),
    (VALID.replace(b"tt 1", b"t\x00"), "not_json"),
    (VALID.replace(b"tt 1", b"\\ud800"), "not_json"),
    (VALID.replace(b"tt 1", b"\\udc00\\ud800"), "not_json"),
    (VALID.replace(b"tt 1", b"\\ud83d\\ude00"), "event"),
    (VALID.replace(b"tt 1", b"\\\\ud800"), "event"),
    (VALID[:-1] + b',"x":["\\ud800"]}', "not_json"),
    (VALID[:-1] + b',"x":"\\ud800","x":1}', "not_json"),
    (b"[" * 65, "not_json"),
    (VALID[:-1] + b',"x":' + b"[" * 63 + b"]" * 63 + b"}", "event"),
    (VALID[:-1] + b',"x":' + b"[" * 64 + b"]" * 64 + b"}", "not_json"),
    (VALID.replace(b"tt 1", b"[" * 64), "not_json"),
    (b"[]", "not_object"),
    (b"null", "not_object"),
    (b"1", "not_object"),
    (b'"x"', "not_object"),
    (b"{}", "version"),
    (with_(v=True), "version"),
    (with_(v=1.0), "version"),
    (with_(v="1"), "version"),
    (with_(v=None), "version"),
    (without("type"), "type"),
    (with_(type=["heartbeat"]), "type"),
    (with_(type="Heartbeat"), "type"),
    (with_(type=1), "type"),
    *((without(name), f"missing:{name}") for name in REQUIRED),
    *((with_(**{name: None}), f"missing:{name}") for name in REQUIRED),
    *((without(name), "event") for name in OPTIONAL if name in EVENT),
    *((with_(**{name: None}), "event") for name in OPTIONAL),
    *((with_(**{name: {}}), f"wrong_type:{name}") for name in (*REQUIRED, *OPTIONAL)),
    *((with_(**{name: highest}), "event") for name, highest in HIGHEST.items()),
    *((with_(**{name: highest + 1}), f"out_of_range:{name}") for name, highest in HIGHEST.items()),
    *((with_(**{name: -1}), f"out_of_range:{name}") for name in HIGHEST),
    (VALID.replace(b'"seq":3', b'"seq":-0'), "event"),
    (VALID.replace(b'"seq":3', b'"seq":3.0'), "wrong_type:seq"),
    (VALID.replace(b'"seq":3', b'"seq":3e0'), "wrong_type:seq"),
    (VALID.replace(b'"seq":3', b'"seq":' + b"9" * 5_000), "out_of_range:seq"),
    (VALID.replace(b'"seq":3', b'"seq":-' + b"9" * 400), "out_of_range:seq"),
    (VALID.replace(b'"seq":3', b'"seq":18446744073709551619'), "out_of_range:seq"),
    (VALID.replace(b'"seq":3', b'"seq":"3"'), "wrong_type:seq"),
    (VALID.replace(b'"seq":3', b'"seq":true'), "wrong_type:seq"),
    (VALID.replace(b'"seq":3', b'"seq":1e999'), "wrong_type:seq"),
    (VALID.replace(b'"seq":3', b'"seq":9,"seq":3'), "event"),
    (VALID.replace(b'"seq":3', b'"seq":3,"seq":null'), "missing:seq"),
    (VALID.replace(b'"seq":3', b'"seq":3,"seq":"x"'), "wrong_type:seq"),
    (VALID.replace(b'"seq":3', b'"s\\u0065q":3'), "event"),
    (VALID.replace(b'"seq":3', b'"seq":3,"s\\u0065q":"x"'), "wrong_type:seq"),
    (with_(title=""), "out_of_range:title"),
    (with_(title="x" * 128), "event"),
    (with_(title="x" * 129), "out_of_range:title"),
    (with_(title="é" * 128), "event"),
    (with_(title="\N{GRINNING FACE}" * 129), "out_of_range:title"),
    (with_(title="a\x00b"), "out_of_range:title"),
    (with_(title="a\x1fb"), "out_of_range:title"),
    (with_(title="a\x7fb"), "out_of_range:title"),
    (VALID.replace(b"tt 1", b"a\x7fb"), "out_of_range:title"),
    (with_(title="a\x80b"), "event"),
    (with_(kind="series"), "out_of_range:kind"),
    (with_(kind=1), "wrong_type:kind"),
    (with_(fatal=0), "wrong_type:fatal"),
    (with_(unknown={"deep": [1.5, None]}), "event"),
    (with_(kind=None, cdn=None, app="null", asn="AS 7"), "event"),
    (with_(seq="x", session=""), "out_of_range:session"),
    (with_(seq="x", ts=None), "wrong_type:seq"),
]


def rows_of(database: duckdb.DuckDBPyConnection, values: list[bytes | None], path: Path) -> tuple[list[dict[str, Any]], int]:
    """What load_rows makes of these records, in order, and how many the strict judge saw."""
    count = len(values)
    columns = {
        "offset": pa.array(range(count), pa.int64()),
        "record_ts": pa.array([7] * count, pa.int64()),
        "key": pa.array([b"T-a1"] * count, pa.binary()),
        "value": pa.array(values, pa.binary()),
    }
    pq.write_table(pa.table(columns), path / "log.parquet")
    asked = load_rows(database, [path / "log.parquet"], b"T-")
    table = database.sql("SELECT * FROM rows ORDER BY n").to_arrow_table()
    assert table["mine"].to_pylist() == [True] * count
    assert table["n"].to_pylist() == [position_of(offset) for offset in range(count)]
    return table.select(list(COLUMNS)).to_pylist(), asked


def row_of(verdict: Verdict) -> dict[str, Any]:
    fields = verdict.fields or {}
    return {**{column_of(name): fields.get(name) for name in FIELDS}, "kind": verdict.kind, "reason": verdict.reason}


@pytest.mark.parametrize(("value", "expected"), TRICKY)
def test_each_rule_of_validity_has_its_reason(value: bytes | None, expected: str) -> None:
    verdict = judge(value)
    assert (verdict.reason or verdict.kind) == expected


def test_sql_and_the_strict_judge_agree_on_tricky_records(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    values = [value for value, _ in TRICKY]
    rows, _ = rows_of(database, values, tmp_path)
    assert rows == [row_of(judge(value)) for value in values]


def test_an_ordinary_event_is_judged_in_sql_alone(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    ordinary: list[bytes | None] = [VALID, b'{"v":1,"type":"tick"}', *(with_(type=name) for name in ("stop", "error", "play_start"))]
    _, asked = rows_of(database, ordinary, tmp_path)
    assert asked == 0


FULL: dict[str, Any] = {
    **EVENT, "country": "de", "os": "x", "app": "a 1", "asn": "AS7", "kind": "live", "position_s": 9, "stalls": 2, "startup_ms": 700,
    "bitrate_kbps": 4_000, "dropped_frames": 3, "error_code": "E1", "fatal": True,
}  # fmt: skip


def test_an_arrow_record_has_the_rows_of_its_events_in_json(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    documents = [EVENT, FULL, dict.fromkeys(FULL) | {name: EVENT[name] for name in ("v", "type", *REQUIRED)}, {**FULL, "title": ""}]
    expected, _ = rows_of(database, [json.dumps(document).encode() for document in documents], tmp_path)
    batch = pa.RecordBatch.from_pylist([{name: document.get(name) for name in FULL} for document in documents])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    [rows] = audit_arrow.expanded(sink.getvalue().to_pybytes())
    place = {"offset": pa.array([5] * 4), "record_ts": pa.array([7] * 4), "key": pa.array([b"T-a1"] * 4, pa.binary())}
    table = pa.table({**place, **dict(zip(rows.column_names, rows.columns, strict=True))}).select(audit_arrow.SCHEMA.names)
    pq.write_table(table.cast(audit_arrow.SCHEMA), tmp_path / "arrow.parquet")
    pq.write_table(SCHEMA.empty_table(), tmp_path / "none.parquet")
    asked = load_rows(database, [tmp_path / "none.parquet"], b"T-", [tmp_path / "arrow.parquet"])
    found = database.sql("SELECT * FROM rows ORDER BY n").to_arrow_table()
    assert asked == 1
    assert found["n"].to_pylist() == [position_of(5) + row for row in range(4)]
    assert found.select(list(COLUMNS)).to_pylist() == expected


def test_only_the_columns_that_are_asked_for_are_made(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    pq.write_table(SCHEMA.empty_table(), tmp_path / "log.parquet")
    load_rows(database, [tmp_path / "log.parquet"], None, asked={"cdn", "title_kind"})
    assert set(database.sql("SELECT * FROM rows").columns) == {"n", "rts", "mine", "cdn", "title_kind", *ALWAYS}


pieces = st.sampled_from(
    [
        *(b'"', b",", b":", b"{", b"}", b"[", b"]", b"\\", b"\\u00", b"0", b"-", b".", b"e1", b" ", b"null", b"true"),
        *(b"\x00", b"\x7f", b"\xc3\xa9", b"\xff", b'"seq":5,', b',"title":"x"', b',"fatal":null', b'"v":1', b'"type":"tick"'),
        *(b"9" * 16, b"x" * 130, b"\\ud800", b"\\udc00"),
    ]
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A valid event with bytes put in, taken out or doubled at a few places."""
    value = VALID
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(value)))
        end = min(len(value), start + draw(st.sampled_from([0, 0, 1, 2, 8])))
        value = value[:start] + draw(st.one_of(pieces, st.just(value[start:end] * 2))) + value[end:]
    return value


@settings(max_examples=60, deadline=None)
@given(values=st.lists(mutations(), min_size=1, max_size=40))
def test_sql_and_the_strict_judge_agree_on_mutations(
    database: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory, values: list[bytes | None]
) -> None:
    rows, _ = rows_of(database, values, tmp_path_factory.getbasetemp())
    assert rows == [row_of(judge(value)) for value in values]


words = st.one_of(st.text(max_size=5), st.sampled_from(["film", "stop", "x" * 128, "x" * 129]))
scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 2**40), st.floats(), words)


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.dictionaries(st.sampled_from(list(EVENT)), scalars, max_size=3), min_size=1, max_size=40))
def test_sql_and_the_strict_judge_agree_on_changed_fields(
    database: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory, changes: list[dict[str, Any]]
) -> None:
    values: list[bytes | None] = [with_(**change) for change in changes]
    rows, _ = rows_of(database, values, tmp_path_factory.getbasetemp())
    assert rows == [row_of(judge(value)) for value in values]
