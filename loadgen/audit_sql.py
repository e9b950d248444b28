"""The raw log judged in SQL: every record, and every row of an Arrow one, becomes an event with its fields, a tick, or dead with a reason.

SQL vouches only for what is surely valid: one regular expression allows exactly a flat object of known fields, printable ASCII
without a backslash, plain integers and not a second bracket; DuckDB's lenient JSON functions then only fetch. Repeated keys,
ranges and lengths are checked on what they fetched. Any other record goes to loadgen.audit_strict, one by one.
Measured (270-byte events): 4 µs of CPU a record in SQL, 10 µs in the strict judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from loadgen import audit_strict
from loadgen.audit_strict import HIGHEST, OPTIONAL, OPTIONAL_STRINGS, REQUIRED, REQUIRED_STRINGS

FIELDS: Final = ("type", *REQUIRED, *OPTIONAL)


MOST: Final = 9_223_372_036_854_775_807
"""A sum of a cell stops here."""


def total(of: str) -> str:
    """SQL of a sum as a cell has it. It is added in 128 bits: DuckDB 2.0 adds BIGINTs in 64 where it estimates that they fit, and wraps."""
    return f"least(coalesce(sum(({of})::HUGEINT), 0), {MOST})::BIGINT"


def column_of(field: str) -> str:
    """The column of `rows` that has this field; `kind` there is what the record is."""
    return "title_kind" if field == "kind" else field


COLUMNS: Final = {
    "kind": "VARCHAR",
    "reason": "VARCHAR",
    **{column_of(name): "BIGINT" if name in HIGHEST else "BOOLEAN" if name == "fatal" else "VARCHAR" for name in FIELDS},
}
"""Columns of `rows` besides n (where it stands in the log: position_of), rts (record timestamp, ms) and mine (whether its record is the
audited run's)."""
ALWAYS: Final = frozenset(
    ("kind", "reason", "type", "session", "account", "seq", "ts", "title", "region", "device", "watched_ms", "stall_ms", "fatal")
)
"""Those that admission, the ledger and who is live need; the others are only there when they are asked for: 0.1 µs a record each."""

ROWS_A_RECORD: Final = 65_536
"""No record has more rows."""


def position_of(offset: int) -> int:
    """Where a record's first row stands in the log: its `n`. Its rows follow one another, all of them before the next record's."""
    return offset * ROWS_A_RECORD


_FETCHED: Final = ("v", *FIELDS)
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


_FORM: Final = ", ".join(f'"{name}": "{"BIGINT" if name == "v" else COLUMNS[column_of(name)]}"' for name in _FETCHED)
"""What DuckDB's JSON functions are told of the object."""


def _surely_valid() -> str:
    """The condition under which a record that matched SURE is a valid event, and no name stands twice: each member is of a name and a value
    of its own, or there are nulls, and as many different names as members."""
    required = [f'j."{name}" IS NOT NULL' for name in ("v", "type", *REQUIRED)]
    lengths = [f'coalesce(strlen(j."{name}"), 0) <= {audit_strict.MAX_CHARACTERS}' for name in (*REQUIRED_STRINGS, *OPTIONAL_STRINGS)]
    ranges = [f'coalesce(j."{name}", 0) <= {highest}' for name, highest in HIGHEST.items()]
    there = " + ".join(f'(j."{name}" IS NOT NULL)::INTEGER' for name in _FETCHED)
    once = f"CASE WHEN {there} = len(json_keys(t)) THEN true ELSE len(list_distinct(json_keys(t))) = len(json_keys(t)) END"
    return " AND ".join(["j IS NOT NULL", *required, *lengths, *ranges, once])


def _judge(columns: Sequence[str]) -> str:
    values = ", ".join(f'j."{name}" AS "{column_of(name)}"' for name in FIELDS if column_of(name) in columns)
    return f"""
CREATE OR REPLACE TABLE judged AS
WITH texts AS (
  SELECT "offset" * {ROWS_A_RECORD} AS n, record_ts AS rts, coalesce(starts_with(hex(key), $tag), false) AS mine, value,
         CASE WHEN octet_length(value) <= {audit_strict.MAX_BYTES} THEN TRY(decode(value)) END AS t
  FROM read_parquet($files)
), fetched AS (
  SELECT *, CASE WHEN regexp_full_match(t, '{SURE}') THEN from_json(t, '{{{_FORM}}}') END AS j FROM texts
), sure AS (
  SELECT *, CASE WHEN t = '{_TICK}' THEN 'tick' WHEN {_surely_valid()} THEN 'event' END AS kind FROM fetched
)
SELECT n, rts, mine, kind, NULL::VARCHAR AS reason, {values}, CASE WHEN kind IS NULL THEN value END AS odd
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

_PYTHON: Final = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "BOOLEAN": pa.bool_()}


def load_rows(
    database: duckdb.DuckDBPyConnection,
    files: list[Path],
    tag: bytes | None,
    arrow: Sequence[Path] = (),
    asked: Iterable[str] = COLUMNS,
) -> int:
    """Make table `rows` of one source's extracted log: n, rts, mine and of COLUMNS those of ALWAYS and those asked for, a row an event.

    Returns how many the strict judge saw. `files` and `arrow` are loadgen.audit_log's. `tag` starts the keys of the audited run's
    records; None: no run.
    """
    wanted = ALWAYS.union(asked)
    columns = [name for name in COLUMNS if name in wanted]
    listed = [str(path) for path in files]
    key = tag.hex().upper() if tag else "no run"
    database.execute(_judge(columns), {"files": listed, "tag": key})
    names = ", ".join(f'"{name}"' for name in ("n", "rts", "mine", *columns))
    database.execute(f"CREATE OR REPLACE TABLE strict_rows AS SELECT {names} FROM judged LIMIT 0")
    odd = database.cursor().sql("SELECT n, rts, mine, odd FROM judged WHERE kind IS NULL").to_arrow_reader(10_000)
    asked_of = _judge_strictly(database, columns, ((batch, map(audit_strict.judge, batch.column(3).to_pylist())) for batch in odd))
    if arrow:
        asked_of += _load_arrow(database, [str(path) for path in arrow], key, columns)
    database.execute(f"""
        DROP TABLE IF EXISTS rows;
        DELETE FROM judged WHERE kind IS NULL;
        ALTER TABLE judged DROP COLUMN odd;
        INSERT INTO judged ({names}) SELECT {names} FROM strict_rows;
        ALTER TABLE judged RENAME TO rows;
        DROP TABLE strict_rows;
    """)
    return asked_of


def _load_arrow(database: duckdb.DuckDBPyConnection, files: list[str], key: str, columns: Sequence[str]) -> int:
    """Add the rows of Arrow records to `strict_rows`; those of which SQL is not sure are judged one by one."""
    database.execute(_JUDGE_ROWS, {"files": files, "tag": key})
    there = {"kind": "verdict", "title_kind": "kind"}
    taken = ", ".join(f'"{there.get(name, name)}"' for name in ("n", "record_ts", "mine", *columns))
    database.execute(f"INSERT INTO strict_rows SELECT {taken} FROM judged_rows WHERE verdict IS NOT NULL")
    fetched = ", ".join(f'"{name}"' for name in _FETCHED)
    odd = database.cursor().sql(f"SELECT n, record_ts, mine, {fetched} FROM judged_rows WHERE verdict IS NULL").to_arrow_reader(10_000)
    documents = ((batch, batch.select(list(_FETCHED)).to_pylist()) for batch in odd)
    asked_of = _judge_strictly(database, columns, ((batch, map(audit_strict.judge_fields, rows)) for batch, rows in documents))
    database.execute("DROP TABLE judged_rows")
    return asked_of


def _judge_strictly(
    database: duckdb.DuckDBPyConnection, columns: Sequence[str], batches: Iterable[tuple[pa.RecordBatch, Iterable[audit_strict.Verdict]]]
) -> int:
    """Add to `strict_rows` what the strict judge says of these, whose first columns are n, rts and mine. Returns how many they are."""
    schema = pa.schema(
        [("n", pa.int64()), ("rts", pa.int64()), ("mine", pa.bool_()), *((each, _PYTHON[COLUMNS[each]]) for each in columns)]
    )
    asked_of = 0
    for batch, verdicts in batches:
        places = zip(*(batch.column(at).to_pylist() for at in range(3)), strict=True)
        rows = [_row(place, verdict) for place, verdict in zip(places, verdicts, strict=True)]
        database.register("strict_batch", pa.Table.from_pylist(rows, schema=schema))
        database.execute("INSERT INTO strict_rows SELECT * FROM strict_batch")
        database.unregister("strict_batch")
        asked_of += len(rows)
    return asked_of


def _row(place: tuple[int, int, bool], verdict: audit_strict.Verdict) -> dict[str, Any]:
    fields = {column_of(name): value for name, value in (verdict.fields or {}).items()}
    return {**fields, **dict(zip(("n", "rts", "mine"), place, strict=True)), "kind": verdict.kind, "reason": verdict.reason}
