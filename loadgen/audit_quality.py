"""quality recounted in SQL: how good the picture was, by CDN, region, device and application, minute by minute (topologies/quality.py)."""

from __future__ import annotations

from typing import Final

import duckdb

from loadgen.audit_sql import total
from topologies.view import View

_PLACE: Final = "coalesce(cdn, '') || chr(31) || region || chr(31) || device || chr(31) || coalesce(app, '')"


def recount(database: duckdb.DuckDBPyConnection, view: View) -> None:
    """Attempts, plays, failures before and after the first frame, time played and stalled, stalls, bits (which stop at 2^63 − 1)."""
    database.execute(
        f"""INSERT INTO recounted
        SELECT '{view.name}', 'minute', ts - ts % 60000 AS start_ms, {view.groupings.index(("cdn", "region", "device", "app"))},
          {_PLACE} AS key,
          [count(*) FILTER ("type" = 'play_request'), count(*) FILTER ("type" = 'play_start'),
           count(*) FILTER (outcome = 'start_failure'), count(*) FILTER (outcome = 'playback_failure'),
           {total("watched_ms")}, {total("stall_ms")}, {total("stalls")}, {total("bitrate_kbps * watched_ms")}] AS "values"
        FROM events GROUP BY start_ms, cdn, region, device, app HAVING list_max("values") > 0"""
    )


def recount_startup(database: duckdb.DuckDBPyConnection, view: View) -> None:
    """How many first frames came after so long, by bin; those that do not say how long are in none."""
    grouping = view.groupings.index(("cdn", "region", "device", "app", "startup_ms~"))
    database.execute(
        f"""INSERT INTO recounted
        SELECT '{view.name}', 'minute', ts - ts % 60000 AS start_ms, {grouping},
          {_PLACE} || chr(31) || bin AS key, [count(*)]
        FROM (SELECT *, bin_of(startup_ms) AS bin FROM events WHERE "type" = 'play_start' AND startup_ms IS NOT NULL)
        GROUP BY start_ms, cdn, region, device, app, bin"""
    )
