"""trending recounted in SQL: plays of each title by minute and day, and the same decayed (topologies/trending.py).

A play weighs 65536 · 2^(minutes since the UTC day began ÷ 360), rounded: twice as much six hours later.
"""

from __future__ import annotations

import duckdb

from loadgen.audit_sql import total
from topologies.view import View


def recount(database: duckdb.DuckDBPyConnection, view: View) -> None:
    """Plays, and their weights."""
    for window, length_ms in (("minute", 60_000), ("day", 86_400_000)):
        for grouping, key in ((("title",), "title"), (("region", "title"), "region || chr(31) || title")):
            database.execute(
                f"""INSERT INTO recounted
                SELECT '{view.name}', '{window}', ts - ts % {length_ms} AS start_ms, {view.groupings.index(grouping)}, {key} AS key,
                  [count(*), {total("round(65536 * pow(2, (ts % 86400000) // 60000 / 360))::BIGINT")}]
                FROM events WHERE "type" = 'play_start' GROUP BY start_ms, key"""
            )
