"""Logs for tests of the recount: from records to the auditor's tables, and its cells."""

from __future__ import annotations

from typing import Any, Final

import duckdb
import pyarrow as pa

from loadgen import audit_admission, audit_views
from loadgen.audit_sql import COLUMNS, position_of
from tests.loadgen.audit_walk import Cell, Record
from topologies.concurrents import CONCURRENTS
from topologies.playbacks import SESSIONS
from topologies.quality import QUALITY
from topologies.trending import TRENDING
from topologies.view import View, parts_of
from topologies.watch_time import WATCH_TIME

WALKED: Final = (CONCURRENTS, WATCH_TIME, TRENDING, QUALITY, SESSIONS)
"""The views that the walk has cells of (audit_walk)."""
PARTS: Final = parts_of(WALKED)


def load(database: duckdb.DuckDBPyConnection, records: list[Record], parts: tuple[View, ...] = PARTS) -> None:
    """Make the tables of these records, which have the offsets 0, 1, 2 …, as one source's."""
    kinds = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "BOOLEAN": pa.bool_()}

    def column(name: str) -> list[Any]:
        if name == "kind":
            return ["tick" if record.ts is None else "event" for record in records]
        if name in ("session", "account"):
            return [f"{name}{record.sid}" for record in records]
        return [getattr(record, "kind" if name == "title_kind" else name, None) for record in records]

    table = pa.table(
        {
            "n": pa.array([position_of(offset) for offset in range(len(records))], pa.int64()),
            "rts": pa.array([record.rts for record in records], pa.int64()),
            "mine": pa.array([record.sid == 0 for record in records]),
            **{name: pa.array(column(name), kinds[kind]) for name, kind in COLUMNS.items()},
        }
    )
    database.register("given_rows", table)
    database.execute("CREATE OR REPLACE TABLE rows AS SELECT * FROM given_rows")
    database.unregister("given_rows")
    audit_admission.classify(database)
    audit_views.prepare(database, parts)


def recounted(database: duckdb.DuckDBPyConnection, offset: int, parts: tuple[View, ...] = PARTS) -> dict[Cell, list[int]]:
    """The cells of these parts at `offset`."""
    audit_views.recount(database, parts, offset)
    rows = database.execute("SELECT * FROM recounted").fetchall()
    found = {tuple(row[:5]): row[5] for row in rows}
    assert len(found) == len(rows)
    return found
