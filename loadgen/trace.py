"""A recorded trace as events in the order of their time: read, mapped, checked, numbered. DuckDB does it, on disk where memory ends.

    trace      the file's rows, numbered        → made      their events, and whether each is valid
    bad        rows with an event that is not   → numbered  the others' events, numbered within their session; the rest is dropped

A file of any size: MEMORY is all that DuckDB takes, and a page of events and SESSIONS_A_PART sessions what Python holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl
import pyarrow as pa

from loadgen.ledger import SENT_SCHEMA
from loadgen.mapping import MAPPED, Mapping, conditions, events_sql, valid_sql
from topologies.errors import UsageError
from topologies.events import TYPES

_READERS: Final = {
    ".csv": "read_csv('{file}', sample_size=-1, store_rejects=true)",
    ".ndjson": "read_ndjson('{file}', ignore_errors=true, sample_size=-1)",
    ".jsonl": "read_ndjson('{file}', ignore_errors=true, sample_size=-1)",
    ".parquet": "read_parquet('{file}')",
}
MEMORY: Final = "1GB"
PAGE_ROWS: Final = 10_000
SESSIONS_A_PART: Final = 100_000


@dataclass(frozen=True)
class Trace:
    """What a trace came to. Times are the recorded ones, epoch ms."""

    rows: int
    unmapped: int
    """Rows that could not be read, made no event, or would have made an invalid one: none of their events is sent."""
    why: str
    """Of the first of those, in words; empty without any."""
    events: int
    first_ms: int
    last_ms: int
    connection: duckdb.DuckDBPyConnection

    def pages(self, tag: str) -> Iterator[list[dict[str, Any]]]:
        """All events in order of ts, as fields (nulls left out) but for `v`; accounts start with the tag."""
        fields = ", ".join(f"out_{name} as {name}" for name in MAPPED if name != "account")
        query = f"select type, seq, {fields}, '{tag}-' || out_account as account from numbered order by out_ts, row, part, i"
        for page in self.connection.cursor().sql(query).to_arrow_reader(PAGE_ROWS):
            yield [{name: value for name, value in row.items() if value is not None} for row in page.to_pylist()]

    def sent(self, tag: str, count: int, ts: str) -> Iterator[pl.DataFrame]:
        """The ledger's rows (loadgen.ledger) of the first `count` events. `ts`: SQL of an event's time as sent."""
        types = ", ".join(f"count(*) filter (type = '{name}') as {name}" for name in TYPES)
        first = "numbered" if count == self.events else f"(select * from numbered order by out_ts, row, part, i limit {count})"
        query = f"""
            select out_session as session, '{tag}-' || out_account as account, first(out_profile) as profile, first(out_title) as title,
                first(out_region) as region, first(out_device) as device, count(*) as events, {types},
                coalesce(sum(out_watched_ms), 0) as watched_ms, coalesce(sum(out_stall_ms), 0) as stall_ms,
                0 as duplicates, 0 as late, 0 as malformed, 0 as out_of_order, min({ts}) as first_ts, max({ts}) as last_ts
            from {first} group by 1, 2"""
        for page in self.connection.cursor().sql(query).to_arrow_reader(SESSIONS_A_PART):
            yield pl.DataFrame(pa.Table.from_batches([page])).select(pl.col(name).cast(kind) for name, kind in SENT_SCHEMA.items())


@contextmanager
def open_trace(file: Path, mapping: Mapping, scratch: Path) -> Iterator[Trace]:
    """The trace, mapped. `scratch`: a directory for what does not fit into memory. UsageError when file or mapping is wrong."""
    if not file.is_file():
        raise UsageError(f"{file} is a directory, not a trace" if file.is_dir() else f"there is no trace file {file}")
    suffix = next((part for part in reversed(file.suffixes) if part not in (".gz", ".zst")), "")
    if suffix not in _READERS:
        raise UsageError(f"{file.name}: a trace is .csv, .ndjson or .parquet (.csv.gz and .ndjson.gz too)")
    connection = duckdb.connect(str(scratch / "trace.duckdb"))
    try:
        yield _read(connection, _READERS[suffix].format(file=str(file).replace("'", "''")), suffix, mapping, scratch)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"mapping {mapping.name} does not fit {file.name}: {reason}") from error
    finally:
        connection.close()
        for left in scratch.glob("trace.duckdb*"):
            left.unlink()


def _read(connection: duckdb.DuckDBPyConnection, reader: str, suffix: str, mapping: Mapping, scratch: Path) -> Trace:
    connection.execute(f"set TimeZone = 'UTC'; set memory_limit = '{MEMORY}'; set temp_directory = '{scratch}'")
    connection.execute(f"create table trace as select row_number() over () as row, * from {reader}")
    connection.execute(f"create table made as select *, ({valid_sql()}) as valid from ({events_sql(mapping, 'trace')})")
    connection.execute("create table bad as select distinct row from made where not coalesce(valid, false)")
    connection.execute(f"create table numbered as {_numbered(mapping)}")
    rejected = 0
    if suffix == ".csv":
        [rejected] = _one(connection, "select count(distinct line) from reject_errors")
    [rows] = _one(connection, "select count(*) from trace")
    [mapped] = _one(connection, "select count(distinct row) from numbered")
    events, first, last = _one(connection, "select count(*), coalesce(min(out_ts), 0), coalesce(max(out_ts), 0) from numbered")
    why = "" if mapped == rows + rejected else _why(connection, rejected)
    connection.execute("drop table trace; drop table made; drop table bad")
    return Trace(rows + rejected, rows + rejected - mapped, why, events, first, last, connection)


def _why(connection: duckdb.DuckDBPyConnection, rejected: int) -> str:
    """Why a row is unmapped: of one that could not be read if there is one, else of one that makes an event that is none, else of one that
    makes no event; of these the first."""
    if rejected:
        line, message = _one(connection, "select line, error_message from reject_errors order by line limit 1")
        return f"line {line} cannot be read: {message.splitlines()[0]}"
    named = ", ".join(f"case when not coalesce({condition}, false) then '{name}' end" for name, condition in conditions().items())
    values = " ".join(f"when '{name}' then out_{name}::varchar" for name in MAPPED)
    found = connection.execute(f"""
        select row, type, field, case field {values} end from (select *, coalesce({named}) as field from made
        where not coalesce(valid, false) order by row, part, i limit 1)""").fetchone()
    if found is None:
        [row] = _one(connection, "select min(row) from trace where row not in (select row from made)")
        return f"row {row} makes no event: no [[event]] is for it"
    row, kind, field, value = found
    return f"row {row} would make a {kind} whose {field} is {'absent' if value is None else repr(value)}"


def _numbered(mapping: Mapping) -> str:
    """Events of the rows that are good, numbered within their session, growing values as increments."""
    order = "over (partition by out_account, out_session order by out_ts, row, part, i)"
    steps = ", ".join(f"greatest(out_{name} - coalesce(lag(out_{name}) {order}, 0), 0) as out_{name}" for name in mapping.growing)
    replaced = f"replace ({steps})" if steps else ""
    return f"select * {replaced}, row_number() {order} - 1 as seq from made where row not in (select row from bad)"


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    found = connection.execute(query).fetchone()
    assert found is not None
    return found
