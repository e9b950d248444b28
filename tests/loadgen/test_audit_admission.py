"""The SQL recount of admission against the sentence-by-sentence reading, over interleavings made to be nasty."""

from __future__ import annotations

from collections import Counter

import duckdb
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import audit_admission, audit_sequence
from loadgen.audit_sql import COLUMNS

T0 = 1_760_000_000_000
Record = tuple[int, int | None, int, int]  # rts, ts (None: tick), session number, seq
MINUTE = 60_000


def load(database: duckdb.DuckDBPyConnection, records: list[Record]) -> None:
    """Table `rows` of these records, as loadgen.audit_sql would make it; offsets have gaps, as a transactional log's."""
    kinds = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "BOOLEAN": pa.bool_()}
    columns: dict[str, list[object]] = {name: [None] * len(records) for name in COLUMNS}
    columns["kind"] = ["tick" if ts is None else "event" for _, ts, _, _ in records]
    columns["session"] = [f"s{sid}" for _, _, sid, _ in records]
    columns["account"] = [f"a{sid % 2}" for _, _, sid, _ in records]
    columns["seq"] = [seq for _, _, _, seq in records]
    columns["ts"] = [ts for _, ts, _, _ in records]
    table = pa.table(
        {
            "n": pa.array([at * 2 for at in range(len(records))], pa.int64()),
            "rts": pa.array([rts for rts, _, _, _ in records], pa.int64()),
            "mine": pa.array([False] * len(records)),
            **{name: pa.array(columns[name], kinds[kind]) for name, kind in COLUMNS.items()},
        }
    )
    database.register("given_rows", table)
    database.execute("CREATE OR REPLACE TABLE rows AS SELECT * FROM given_rows")
    database.unregister("given_rows")


def by_sql(database: duckdb.DuckDBPyConnection, records: list[Record]) -> list[str]:
    load(database, records)
    audit_admission.classify(database)
    return [row[0] for row in database.execute("SELECT class FROM classes ORDER BY n").fetchall()]


def by_reading(records: list[Record]) -> list[str]:
    return list(audit_sequence.classes((rts, ts, sid, None if ts is None else seq) for rts, ts, sid, seq in records))


skews = st.sampled_from([0, 1, -1, 59_999, 60_000, 60_001, -20_000, -60_000, -890_000, -900_000, -900_001, -960_000, -961_000, -1_900_000])
steps = st.sampled_from([0, 0, 0, 1, 1_000, 30_000, 60_000, 899_000, 960_000, 961_000, 1_000_000, -5_000, -100_000])
seqs = st.one_of(st.integers(0, 5), st.sampled_from([0, 63, 64, 65, 128, 9_999, 10_000, 10_001, 10_064, 20_001, 20_002, 2**31 - 1]))


@st.composite
def nasty_logs(draw: st.DrawFn) -> list[Record]:
    rts = T0
    records: list[Record] = []
    for _ in range(draw(st.integers(0, 30))):
        rts = max(0, rts + draw(steps))
        is_tick = draw(st.integers(0, 9)) == 0
        records.append((rts, None if is_tick else rts + draw(skews), draw(st.integers(0, 3)), draw(seqs)))
    return records


@settings(max_examples=150, deadline=None)
@given(records=nasty_logs())
def test_the_sql_recount_of_admission_equals_the_sequential_reading(database: duckdb.DuckDBPyConnection, records: list[Record]) -> None:
    assert by_sql(database, records) == by_reading(records)


def test_the_sentences_of_admission_one_by_one(database: duckdb.DuckDBPyConnection) -> None:
    records: list[Record] = [
        (T0, T0, 0, 100),  # applied: opens session 0
        (T0, T0, 0, 100),  # duplicate
        (T0, T0, 0, 37),  # applied: 63 below the highest
        (T0, T0, 0, 36),  # late: 64 below the highest
        (T0, T0, 0, 10_101),  # dead: seq_jump
        (T0, T0, 0, 10_100),  # applied: 10,000 above
        (T0, T0 + 60_001, 1, 0),  # dead: ahead
        (T0, T0 + 60_000, 1, 0),  # applied: moves the watermark to T0 + 60 s
        (T0, T0 - 840_001, 2, 0),  # late: 900,001 behind it
        (T0, T0 - 840_000, 2, 0),  # applied
        (T0 + 961_000, None, 0, 0),  # tick: moves the watermark to T0 + 901 s
        (T0 + 961_000, T0 + 961_000, 0, 100),  # applied: session 0 was forgotten, seq 100 starts it again
        (T0 + 961_000, T0 + 961_000, 0, 100),  # duplicate in the new life
    ]
    expected = [
        *("applied", "duplicate", "applied", "late", "dead", "applied", "dead"),
        *("applied", "late", "applied", "tick", "applied", "duplicate"),
    ]
    assert by_reading(records) == expected
    assert by_sql(database, records) == expected
    reasons = database.execute("SELECT reason FROM classes WHERE class = 'dead' ORDER BY n").fetchall()
    assert reasons == [("seq_jump",), ("ahead",)]


def test_of_a_long_log_only_sessions_with_faults_are_read_one_by_one(database: duckdb.DuckDBPyConnection) -> None:
    records: list[Record] = []
    for step in range(3_000):
        sid, seq, now = step % 50, step // 50, T0 + step * 1_000
        records.append((now, now - step % 7 * 1_000, sid, seq))
        if step % 20 == 0:
            records.append((now, now - step % 7 * 1_000, sid, seq))
        if step % 33 == 0:
            records.append((now, now - 1_000_000, sid + 1_000, 0))
    records += [(T0 + 3_000_000 + step, T0 + 3_000_000 + step, 50 + step % 50, step // 50) for step in range(3_000)]
    assert by_sql(database, records) == by_reading(records)
    load(database, records)
    assert 0 < audit_admission.classify(database) < len(records) - 3_000 + 1
    assert Counter(by_reading(records))["duplicate"] > 100
