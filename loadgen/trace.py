"""A recorded trace as events in the order of their time: read, mapped, checked, numbered. DuckDB does it, on disk where memory ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl

from loadgen.ledger import SENT_SCHEMA
from loadgen.mapping import MAPPED, Mapping, events_sql, valid_sql
from topologies.errors import UsageError
from topologies.events import TYPES

_READERS: Final = {
    ".csv": "read_csv('{file}', sample_size=-1, store_rejects=true)",
    ".ndjson": "read_ndjson('{file}', ignore_errors=true, sample_size=-1)",
    ".jsonl": "read_ndjson('{file}', ignore_errors=true, sample_size=-1)",
    ".parquet": "read_parquet('{file}')",
}
PAGE_ROWS: Final = 10_000


@dataclass(frozen=True)
class Trace:
    """What a trace came to. Times are the recorded ones, epoch ms."""

    rows: int
    unmapped: int
    """Rows that could not be read, made no event, or would have made an invalid one: none of their events is sent."""
    events: int
    first_ms: int
    last_ms: int
    connection: duckdb.DuckDBPyConnection

    def pages(self, tag: str) -> Iterator[list[dict[str, Any]]]:
        """All events in order of ts, as fields (nulls left out) but for `v`; accounts start with the tag."""
        fields = ", ".join(f"out_{name} as {name}" for name in MAPPED if name != "account")
        found = self.connection.execute(
            f"select type, seq, {fields}, '{tag}-' || out_account as account from numbered order by out_ts, row, part, i"
        )
        names = [column[0] for column in found.description]
        while page := found.fetchmany(PAGE_ROWS):
            yield [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in page]

    def sent(self, tag: str, count: int, ts: str) -> pl.DataFrame:
        """The ledger's rows (loadgen.ledger) of the first `count` events. `ts`: SQL of an event's time as sent."""
        types = ", ".join(f"count(*) filter (type = '{name}') as {name}" for name in TYPES)
        query = f"""
            select out_session as session, '{tag}-' || out_account as account, first(out_profile) as profile, first(out_title) as title,
                first(out_region) as region, first(out_device) as device, count(*) as events, {types},
                coalesce(sum(out_watched_ms), 0) as watched_ms, coalesce(sum(out_stall_ms), 0) as stall_ms,
                0 as duplicates, 0 as late, 0 as malformed, 0 as out_of_order, min({ts}) as first_ts, max({ts}) as last_ts
            from (select * from numbered order by out_ts, row, part, i limit {count}) group by 1, 2"""
        found = self.connection.execute(query)
        names = [column[0] for column in found.description]
        return pl.DataFrame(found.fetchall(), schema={name: SENT_SCHEMA[name] for name in names}, orient="row").select(*SENT_SCHEMA)


@contextmanager
def open_trace(file: Path, mapping: Mapping, scratch: Path) -> Iterator[Trace]:
    """The trace, mapped. `scratch`: a directory for what does not fit into memory. UsageError when file or mapping is wrong."""
    if not file.is_file():
        raise UsageError(f"there is no trace file {file}")
    suffix = next((part for part in reversed(file.suffixes) if part not in (".gz", ".zst")), "")
    if suffix not in _READERS:
        raise UsageError(f"{file.name}: a trace is .csv, .ndjson or .parquet (.csv.gz and .ndjson.gz too)")
    connection = duckdb.connect(str(scratch / "trace.duckdb"))
    try:
        yield _read(connection, _READERS[suffix].format(file=str(file).replace("'", "''")), suffix, mapping)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"mapping {mapping.name} does not fit {file.name}: {reason}") from error
    finally:
        connection.close()
        for left in scratch.glob("trace.duckdb*"):
            left.unlink()


def _read(connection: duckdb.DuckDBPyConnection, reader: str, suffix: str, mapping: Mapping) -> Trace:
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(f"create table trace as select * from {reader}")
    connection.execute(f"create table made as select *, ({valid_sql()}) as valid from ({events_sql(mapping, 'trace')})")
    connection.execute("create table bad as select distinct row from made where not coalesce(valid, false)")
    connection.execute(f"create table numbered as {_numbered(mapping)}")
    rejected = 0
    if suffix == ".csv":
        rejected = _one(connection, "select count(distinct line) from reject_errors")[0]
    rows = _one(connection, "select count(*) from trace")[0]
    mapped = _one(connection, "select count(distinct row) from numbered")[0]
    events, first, last = _one(connection, "select count(*), coalesce(min(out_ts), 0), coalesce(max(out_ts), 0) from numbered")
    return Trace(rows + rejected, rows + rejected - mapped, events, first, last, connection)


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
