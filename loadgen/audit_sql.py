"""The raw log judged in SQL: every record, and every row of an Arrow one, becomes an event with its fields, a tick, or dead with a reason.

SQL vouches only for what is surely valid: one regular expression allows exactly a flat object of known fields, printable ASCII
without a backslash, plain integers and not a second bracket; DuckDB's lenient JSON functions then only fetch. Repeated keys,
ranges and lengths are checked on what they fetched. Any other record goes to loadgen.audit_strict, one by one.
Measured (270-byte events): 5 µs of CPU a record in SQL, 10 µs in the strict judge.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from loadgen import audit_strict
from loadgen.audit_strict import HIGHEST, OPTIONAL, OPTIONAL_STRINGS, REQUIRED, REQUIRED_STRINGS

COLUMNS: Final = {
    "kind": "VARCHAR",
    "reason": "VARCHAR",
    "type": "VARCHAR",
    "session": "VARCHAR",
    "account": "VARCHAR",
    "profile": "VARCHAR",
    "seq": "BIGINT",
    "ts": "BIGINT",
    "title": "VARCHAR",
    "region": "VARCHAR",
    "device": "VARCHAR",
    "position_s": "BIGINT",
    "runtime_s": "BIGINT",
    "watched_ms": "BIGINT",
    "stall_ms": "BIGINT",
    "fatal": "BOOLEAN",
}
"""Columns of `rows` besides n (where it stands in the log: position_of), rts (record timestamp, ms) and mine (whether its record is the
audited run's)."""

ROWS_A_RECORD: Final = 65_536
"""No record has more rows."""


def position_of(offset: int) -> int:
    """Where a record's first row stands in the log: its `n`. Its rows follow one another, all of them before the next record's."""
    return offset * ROWS_A_RECORD


_FETCHED: Final = ("v", "type", *REQUIRED, *OPTIONAL)
_WORD: Final = r'"[ !#-Z\]-z|}~]+"'
_NUMBER: Final = r"(?:0|[1-9][0-9]{0,14})"


def _one_field() -> str:
    """One member of the object, as a regular expression. Its order does not matter; what does not match is not lost, only slow."""
    numbers, words = "|".join(HIGHEST), "|".join((*REQUIRED_STRINGS, *OPTIONAL_STRINGS))
    forms = (
        '"v":1',
        f'"type":"(?:{"|".join(audit_strict.TYPES)})"',
        f'"(?:{numbers})":{_NUMBER}',
        f'"(?:{words})":{_WORD}',
        f'"kind":"(?:{"|".join(audit_strict.KINDS)})"',
        '"fatal":(?:true|false)',
        f'"(?:{"|".join(OPTIONAL)})":null',
    )
    return f"(?:{'|'.join(forms)})"


SURE: Final = rf"\{{{_one_field()}(?:,{_one_field()})*\}}"
_TICK: Final = '{"v":1,"type":"tick"}'


def _token(name: str) -> str:
    return f"j[{_FETCHED.index(name) + 1}]::VARCHAR"


def _string(name: str) -> str:
    return f"substr({_token(name)}, 2, length({_token(name)}) - 2)"


def _integer(name: str) -> str:
    return f"nullif({_token(name)}, 'null')::BIGINT"


def _surely_valid() -> str:
    """The condition under which a record that matched SURE is a valid event."""
    required = [f"{_token(name)} IS NOT NULL" for name in ("v", "type", *REQUIRED)]
    quoted = audit_strict.MAX_CHARACTERS + 2
    lengths = [f"coalesce(length({_token(name)}), 0) <= {quoted}" for name in (*REQUIRED_STRINGS, *OPTIONAL_STRINGS)]
    ranges = [f"coalesce({_integer(name)}, 0) <= {highest}" for name, highest in HIGHEST.items()]
    return " AND ".join(["j IS NOT NULL", "list_count(j) = len(json_keys(t))", *required, *lengths, *ranges])


_JUDGE: Final = f"""
CREATE OR REPLACE TABLE judged AS
WITH texts AS (
  SELECT "offset" * {ROWS_A_RECORD} AS n, record_ts AS rts, coalesce(starts_with(hex(key), $tag), false) AS mine, value,
         CASE WHEN octet_length(value) <= {audit_strict.MAX_BYTES} THEN TRY(decode(value)) END AS t
  FROM read_parquet($files)
), fetched AS (
  SELECT *, CASE WHEN regexp_full_match(t, '{SURE}') THEN json_extract(t, {[f"$.{name}" for name in _FETCHED]}) END AS j
  FROM texts
), sure AS (
  SELECT *, CASE WHEN t = '{_TICK}' THEN 'tick' WHEN {_surely_valid()} THEN 'event' END AS kind FROM fetched
)
SELECT n, rts, mine, kind, NULL::VARCHAR AS reason,
  {_string("type")} AS "type", {_string("session")} AS "session", {_string("account")} AS account,
  {_string("profile")} AS profile, {_integer("position_s")} AS position_s, {_integer("runtime_s")} AS runtime_s,
  {_integer("seq")} AS seq, {_integer("ts")} AS ts,
  {_string("title")} AS title, {_string("region")} AS region, {_string("device")} AS device,
  {_integer("watched_ms")} AS watched_ms, {_integer("stall_ms")} AS stall_ms, (nullif({_token("fatal")}, 'null') = 'true') AS fatal,
  CASE WHEN kind IS NULL THEN value END AS odd
FROM sure
"""


def _text_is_good(name: str) -> str:
    return f"length({name}) BETWEEN 1 AND {audit_strict.MAX_CHARACTERS} AND NOT regexp_matches({name}, '[\\x00-\\x1f\\x7f]')"


def _row_is_good() -> str:
    """The condition under which an Arrow record's row is a valid event."""
    texts = [f"({_text_is_good(name)})" for name in REQUIRED_STRINGS]
    texts += [f"({name} IS NULL OR ({_text_is_good(name)}))" for name in OPTIONAL_STRINGS]
    numbers = [f"{name} BETWEEN 0 AND {highest}" for name, highest in HIGHEST.items() if name in REQUIRED]
    numbers += [f"coalesce({name}, 0) BETWEEN 0 AND {highest}" for name, highest in HIGHEST.items() if name not in REQUIRED]
    kinds = ", ".join(f"'{kind}'" for kind in audit_strict.KINDS)
    return " AND ".join([*numbers, f"coalesce(kind, 'film') IN ({kinds})", *texts])


_JUDGE_ROWS: Final = f"""
CREATE OR REPLACE TABLE judged_rows AS
SELECT * REPLACE (coalesce(verdict, CASE WHEN v = 1 AND "type" = 'tick' THEN 'tick'
    WHEN v = 1 AND "type" IN ({", ".join(f"'{name}'" for name in audit_strict.TYPES)}) AND {_row_is_good()} THEN 'event' END) AS verdict),
  "offset" * {ROWS_A_RECORD} + "row" AS n, coalesce(starts_with(hex("key"), $tag), false) AS mine
FROM read_parquet($files)
"""

_STRICT_SCHEMA: Final = pa.schema(
    [("n", pa.int64()), ("rts", pa.int64()), ("mine", pa.bool_())]
    + [(name, {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "BOOLEAN": pa.bool_()}[kind]) for name, kind in COLUMNS.items()]
)


def load_rows(database: duckdb.DuckDBPyConnection, files: list[Path], tag: bytes | None, arrow: list[Path] | None = None) -> int:
    """Make table `rows` of one source's extracted log: n, rts, mine and COLUMNS, a row an event. Returns how many the strict judge saw.

    `files` and `arrow` are loadgen.audit_log's. `tag` starts the keys of the audited run's records; None: no run.
    """
    listed = [str(path) for path in files]
    key = tag.hex().upper() if tag else "no run"
    database.execute(_JUDGE, {"files": listed, "tag": key})
    names = ", ".join(f'"{name}"' for name in ("n", "rts", "mine", *COLUMNS))
    database.execute(f"CREATE OR REPLACE TABLE strict_rows AS SELECT {names} FROM judged LIMIT 0")
    asked = 0
    for batch in database.cursor().sql("SELECT n, rts, mine, odd FROM judged WHERE kind IS NULL").to_arrow_reader(10_000):
        strict = _strict(batch)
        database.register("strict_batch", strict)
        database.execute(f"INSERT INTO strict_rows SELECT {names} FROM strict_batch")
        database.unregister("strict_batch")
        asked += strict.num_rows
    if arrow:
        asked += _load_arrow(database, [str(path) for path in arrow], key, names)
    database.execute(f"""
        DROP TABLE IF EXISTS rows;
        DELETE FROM judged WHERE kind IS NULL;
        ALTER TABLE judged DROP COLUMN odd;
        INSERT INTO judged ({names}) SELECT {names} FROM strict_rows;
        ALTER TABLE judged RENAME TO rows;
        DROP TABLE strict_rows;
    """)
    return asked


def _load_arrow(database: duckdb.DuckDBPyConnection, files: list[str], key: str, names: str) -> int:
    """Add the rows of Arrow records to `strict_rows`; those of which SQL is not sure are judged one by one."""
    database.execute(_JUDGE_ROWS, {"files": files, "tag": key})
    taken = names.replace('"rts"', "record_ts").replace('"kind"', "verdict")
    database.execute(f"INSERT INTO strict_rows SELECT {taken} FROM judged_rows WHERE verdict IS NOT NULL")
    fetched = ", ".join(f'"{name}"' for name in _FETCHED)
    asked = 0
    odd = database.cursor().sql(f"SELECT n, record_ts, mine, {fetched} FROM judged_rows WHERE verdict IS NULL")
    for batch in odd.to_arrow_reader(10_000):
        places = zip(*(batch.column(at).to_pylist() for at in range(3)), strict=True)
        verdicts = (audit_strict.judge_fields(fields) for fields in batch.select(list(_FETCHED)).to_pylist())
        strict = _table_of(zip(places, verdicts, strict=True))
        database.register("strict_batch", strict)
        database.execute(f"INSERT INTO strict_rows SELECT {names} FROM strict_batch")
        database.unregister("strict_batch")
        asked += strict.num_rows
    database.execute("DROP TABLE judged_rows")
    return asked


def _strict(batch: pa.RecordBatch) -> pa.Table:
    values = batch.column(3).to_pylist()
    places = zip(*(batch.column(at).to_pylist() for at in range(3)), strict=True)
    return _table_of(zip(places, map(audit_strict.judge, values), strict=True))


def _table_of(judged_rows: Iterable[tuple[tuple[int, int, bool], audit_strict.Verdict]]) -> pa.Table:
    rows = []
    for (n, rts, mine), verdict in judged_rows:
        fields = verdict.fields or {}
        judged = {"n": n, "rts": rts, "mine": mine, "kind": verdict.kind, "reason": verdict.reason}
        rows.append({name: fields.get(name) for name in COLUMNS} | judged)
    return pa.Table.from_pylist(rows, schema=_STRICT_SCHEMA)
