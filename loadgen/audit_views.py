"""The views recounted in SQL, of one source at one offset, from tables `rows`, `classes` and `sids`.

The definitions are written here a second time, from docs/architecture.md; only names come from the views' declarations.
A minute sample needs no walk through time: an applied event rules its session from its own place to the session's next event, so
it is sampled at a whole minute m if clock after it < m ≤ clock after the next, and counts if m < fresh_at + 30 s. As fresh_at is
never above the clock, that holds for one m at the most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import duckdb

from loadgen.audit_sql import position_of
from topologies.errors import DeclarationError
from topologies.view import View

FRESH_MS: Final = 30_000
STALE_MS: Final = 60_000
SKEW_MS: Final = 60_000
LATE_MS: Final = 900_000

_SO_FAR: Final = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
_BEFORE: Final = "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"

_STARTING, _PLAYING, _STALLED, _PAUSED, _ENDED = range(5)
_TELLS: Final = f"""
CASE WHEN type = 'play_request' THEN {_STARTING}
     WHEN type IN ('play_start', 'resume', 'ad_start', 'ad_end') THEN {_PLAYING}
     WHEN type = 'stall' THEN {_STALLED}
     WHEN type = 'pause' THEN {_PAUSED}
     WHEN type IN ('finish', 'stop') THEN {_ENDED}
     WHEN type = 'error' THEN CASE WHEN fatal THEN {_ENDED} END
     WHEN coalesce(watched_ms, 0) > 0 THEN {_PLAYING}
     WHEN coalesce(stall_ms, 0) > 0 THEN {_STALLED} END
"""

_PREPARE: Final = f"""
CREATE OR REPLACE TABLE timeline AS
  SELECT n, rts, mine, class, c.reason, CASE WHEN class = 'applied' THEN ts END AS applied_ts,
    coalesce(max(CASE WHEN class <> 'dead' THEN rts END) OVER (ORDER BY n {_SO_FAR}), -1) AS clock,
    coalesce(max(CASE WHEN class = 'applied' THEN ts END) OVER (ORDER BY n {_BEFORE}), -1) AS ts_before
  FROM rows JOIN classes c USING (n);
CREATE OR REPLACE TABLE dims AS
  SELECT title, region, device, row_number() OVER () AS did
  FROM (SELECT DISTINCT title, region, device FROM rows JOIN classes USING (n) WHERE class = 'applied');
CREATE OR REPLACE TABLE applied AS
  WITH events AS (
    SELECT n, t.rts, ts, seq, sid, did, clock, "type", coalesce(watched_ms, 0) AS watched_ms, {_TELLS} AS tells,
      greatest(ts_before, clock - {SKEW_MS})
        - max(ts) OVER (PARTITION BY sid ORDER BY n {_BEFORE}) AS silent_ms
    FROM rows JOIN timeline t USING (n) JOIN sids USING (account, session) JOIN dims USING (title, region, device)
    WHERE class = 'applied'
  ), lives AS (
    SELECT *, count(*) FILTER (silent_ms > {LATE_MS}) OVER (PARTITION BY sid ORDER BY n {_SO_FAR}) AS life FROM events
  )
  SELECT n, ts, did, "type", watched_ms, clock,
    coalesce(max(seq * 8 + tells) OVER w % 8, {_PLAYING}) IN ({_STARTING}, {_PLAYING}, {_STALLED}) AS viewing,
    max(seq * 4294967296 + did) OVER w % 4294967296 AS shown_did,
    max(CASE WHEN rts - ts <= {STALE_MS} THEN rts END) OVER w AS fresh_at,
    lead(n) OVER (PARTITION BY sid ORDER BY n) AS next_n,
    lead(clock) OVER (PARTITION BY sid ORDER BY n) AS next_clock
  FROM lives WINDOW w AS (PARTITION BY sid, life ORDER BY n {_SO_FAR});
"""


@dataclass(frozen=True)
class RecountedStatus:
    """A source's own figures, recounted up to `offset`; the names are SourceStatus's."""

    offset: int
    clock_ms: int
    watermark_ms: int
    received: int
    applied: int
    duplicate: int
    late: int
    dead: int


def prepare(database: duckdb.DuckDBPyConnection) -> None:
    """Make the tables that every recount of this source starts from: timeline, dims and applied."""
    database.execute(_PREPARE)


def status_at(database: duckdb.DuckDBPyConnection, offset: int, *, mine: bool = False) -> RecountedStatus:
    """The counts by class of the records below `offset`, of the audited run only if `mine`; clock and watermark are the whole source's."""
    which = "AND mine" if mine else ""
    [row] = database.execute(
        f"""SELECT coalesce(max(clock), -1), coalesce(max(applied_ts), -1), count(*) FILTER (class <> 'tick' {which}),
              {", ".join(f"count(*) FILTER (class = '{name}' {which})" for name in ("applied", "duplicate", "late", "dead"))}
            FROM timeline WHERE n < $offset""",
        {"offset": position_of(offset)},
    ).fetchall()
    return RecountedStatus(offset, row[0], max(row[1], row[0] - SKEW_MS, -1), *row[2:])


def recount(database: duckdb.DuckDBPyConnection, views: tuple[View, ...], offset: int) -> None:
    """Make table `recounted` ("view", "window", start_ms, grouping, key, "values"): all non-zero cells of these views at `offset`.

    Raises DeclarationError for a view that the auditor has no definition of.
    """
    database.execute(
        """CREATE OR REPLACE TABLE recounted
        ("view" VARCHAR, "window" VARCHAR, start_ms BIGINT, grouping INTEGER, key VARCHAR, "values" BIGINT[])"""
    )
    for view in views:
        if view.name == "watch_time":
            _watch_time(database, view, offset)
        elif view.name == "concurrents":
            _concurrents(database, view, offset)
        else:
            raise DeclarationError(f"the auditor has no definition of view {view.name!r}: write it in loadgen/audit_views.py")


def _watch_time(database: duckdb.DuckDBPyConnection, view: View, offset: int) -> None:
    for window, length_ms in (("hour", 3_600_000), ("day", 86_400_000)):
        database.execute(
            f"""INSERT INTO recounted
            SELECT '{view.name}', '{window}', start_ms, {view.groupings.index(("title", "region"))}, title || chr(31) || region,
              [sum(watched_ms)::BIGINT, count(*) FILTER ("type" = 'play_start'), count(*) FILTER ("type" = 'play_request')] AS "values"
            FROM (SELECT *, ts - ts % {length_ms} AS start_ms FROM applied JOIN dims USING (did) WHERE n < $offset)
            GROUP BY start_ms, title, region HAVING list_sum("values") > 0""",
            {"offset": position_of(offset)},
        )


def _concurrents(database: duckdb.DuckDBPyConnection, view: View, offset: int) -> None:
    database.execute(
        f"""CREATE OR REPLACE TABLE viewers AS
        WITH ends AS (SELECT coalesce(max(clock), -1) AS now FROM timeline WHERE n < $offset),
        spells AS (
          SELECT shown_did, fresh_at, (clock // 60000 + 1) * 60000 AS minute, now,
            coalesce(next_n < $offset, false) AS is_past, CASE WHEN is_past THEN next_clock ELSE now END AS until
          FROM applied, ends WHERE n < $offset AND viewing AND fresh_at IS NOT NULL
        )
        SELECT 'minute' AS "window", minute AS start_ms, shown_did AS did FROM spells
        WHERE minute <= until AND minute - fresh_at < {FRESH_MS}
        UNION ALL SELECT 'live', 0, shown_did FROM spells WHERE NOT is_past AND now - fresh_at < {FRESH_MS}""",
        {"offset": position_of(offset)},
    )
    for dimension in ("title", "region", "device", None):
        grouping = view.groupings.index((dimension,) if dimension else ())
        database.execute(
            f"""INSERT INTO recounted SELECT '{view.name}', "window", start_ms, {grouping}, {dimension or "''"} AS key, [count(*)]
            FROM viewers JOIN dims USING (did) GROUP BY "window", start_ms, key"""
        )
    database.execute("DROP TABLE viewers")
