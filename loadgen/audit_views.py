"""The views recounted in SQL, of one source at one offset, from tables `rows` and `classes`.

The definitions of the built-in views are written here a second time, from docs/architecture.md and the views' docstrings; only names
come from their declarations. Others are recounted as they are declared (audit_generated).

    prepare    timeline, dims, applied, counted, others    what every recount of a source starts from
    recount    events, over (audit_sessions), recounted    at an offset, part by part

A minute sample needs no walk through time: an applied event rules its session from its own place to the session's next event, so
it is sampled at a whole minute m if clock after it < m ≤ clock after the next, and counts if m < fresh_at + 30 s. As fresh_at is
never above the clock, that holds for one m at the most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import duckdb

from loadgen import audit_bins, audit_generated, audit_quality, audit_sessions, audit_sketches, audit_trending
from loadgen.audit_sql import column_of, position_of, total
from topologies.view import BIN_MARK, LIVE, View

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
  SELECT n, rts, mine, class, reason, sid, CASE WHEN class = 'applied' THEN ts END AS applied_ts,
    coalesce(max(CASE WHEN class <> 'dead' THEN rts END) OVER (ORDER BY n {_SO_FAR}), -1) AS clock,
    coalesce(max(CASE WHEN class = 'applied' THEN ts END) OVER (ORDER BY n {_BEFORE}), -1) AS ts_before
  FROM classes;
CREATE OR REPLACE TABLE dims AS
  SELECT *, row_number() OVER () AS did FROM (SELECT DISTINCT {{columns}} FROM rows WHERE kind = 'event');
CREATE OR REPLACE TABLE applied AS
  WITH events AS (
    SELECT n, t.rts, ts, seq, sid, did, clock, "type", fatal, {_TELLS} AS tells,
      greatest(ts_before, clock - {SKEW_MS})
        - max(ts) OVER (PARTITION BY sid ORDER BY n {_BEFORE}) AS silent_ms
    FROM rows JOIN timeline t USING (n) JOIN dims ON {{same}} WHERE class = 'applied'
  ), lives AS (
    SELECT *, count(*) FILTER (silent_ms > {LATE_MS}) OVER (PARTITION BY sid ORDER BY n {_SO_FAR}) AS life FROM events
  )
  SELECT n, ts, sid, life, "type", fatal, clock,
    coalesce(max(seq * 8 + tells) OVER w % 8, {_PLAYING}) AS state,
    max(seq * 4294967296 + did) OVER w % 4294967296 AS shown_did,
    max(CASE WHEN rts - ts <= {STALE_MS} THEN rts END) OVER w AS fresh_at,
    lead(n) OVER (PARTITION BY sid ORDER BY n) AS next_n,
    lead(clock) OVER (PARTITION BY sid ORDER BY n) AS next_clock
  FROM lives WINDOW w AS (PARTITION BY sid, life ORDER BY n {_SO_FAR});
CREATE OR REPLACE TABLE failures AS
  SELECT n, CASE WHEN first_n < n THEN 'playback_failure' ELSE 'start_failure' END AS outcome
  FROM applied LEFT JOIN (SELECT sid, life, min(n) AS first_n FROM applied WHERE "type" = 'play_start' GROUP BY sid, life) USING (sid, life)
  WHERE "type" = 'error' AND fatal;
CREATE OR REPLACE TABLE counted AS
  SELECT rows.*, clock, sid, life, state, shown_did, outcome FROM rows JOIN applied USING (n) LEFT JOIN failures USING (n);
CREATE OR REPLACE TABLE others AS FROM rows ANTI JOIN applied USING (n);
DROP TABLE rows;
"""
"""applied: an applied event and, as of it, its session's life (from 0), state, place (dims) and freshness. failures: fatal errors. counted:
all of the applied events, with that, for the views' walks; others: the other rows."""


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


def asked_by(parts: Iterable[View]) -> set[str]:
    """The columns of `rows` that these parts are recounted from."""
    fields: set[str] = set()
    for part in parts:
        if part.of == "session":
            fields |= audit_sessions.FIELDS
            continue
        fields.update(dimension.removesuffix(BIN_MARK) for dimension in part.dimensions)
        fields.update(field for measure in part.measures for field in (measure.sum_of, measure.times) if field)
        fields.update(part.distinct.of if part.distinct is not None else ())
    return {column_of(field) for field in fields}


def prepare(database: duckdb.DuckDBPyConnection, parts: Iterable[View]) -> None:
    """Make the tables that every recount of these parts of this source starts from. `rows` is in two of them, and goes."""
    followed = {"title", "region", "device"}.union(*(map(column_of, part.dimensions) for part in parts if LIVE in part.windows))
    texts = {name: f"coalesce(rows.{name}, '')" for name in sorted(followed)}
    columns = ", ".join(f"{text} AS {name}" for name, text in texts.items())
    same = " AND ".join(f"dims.{name} = {text}" for name, text in texts.items())
    database.execute(_PREPARE.format(columns=columns, same=same))
    audit_bins.define(database)


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


def recount(database: duckdb.DuckDBPyConnection, parts: tuple[View, ...], offset: int) -> None:
    """Make table `recounted` ("view", "window", start_ms, grouping, key, "values"): all non-zero cells of these parts at `offset`.

    "view" is the part's name.
    """
    database.execute(
        """CREATE OR REPLACE TABLE recounted
        ("view" VARCHAR, "window" VARCHAR, start_ms BIGINT, grouping INTEGER, key VARCHAR, "values" BIGINT[])"""
    )
    database.execute(f"CREATE OR REPLACE VIEW events AS FROM counted WHERE n < {position_of(offset)}")
    if any(part.of == "session" for part in parts):
        audit_sessions.prepare(database, offset)
    for part in parts:
        if LIVE in part.windows:
            _live(database, part, offset)
        elif is_independent(part):
            _DEFINITIONS[part.name](database, part)
        elif part.distinct is not None:
            audit_sketches.recount(database, part)
        else:
            audit_generated.recount(database, part)


def is_independent(part: View) -> bool:
    """Whether the auditor has a definition of its own of this part: a built-in one as it is, not one that was corrected since."""
    return part.name in (_CONCURRENTS, *_DEFINITIONS) and part.logic_version == 1


def _watch_time(database: duckdb.DuckDBPyConnection, view: View) -> None:
    for window, length_ms in (("hour", 3_600_000), ("day", 86_400_000)):
        database.execute(
            f"""INSERT INTO recounted
            SELECT '{view.name}', '{window}', ts - ts % {length_ms} AS start_ms, {view.groupings.index(("title", "region"))},
              title || chr(31) || region AS key,
              [{total("watched_ms")}, count(*) FILTER ("type" = 'play_start'),
               count(*) FILTER ("type" = 'play_request')] AS "values"
            FROM events GROUP BY start_ms, title, region HAVING list_max("values") > 0"""
        )


def viewers_sql(offset: int) -> str:
    """SQL of who is live at `offset`, a row a sample: "window", start_ms, did of what is watched, n of the event that it goes by."""
    below = position_of(offset)
    return f"""
        WITH ends AS (SELECT coalesce(max(clock), -1) AS now FROM timeline WHERE n < {below}),
        spells AS (
          SELECT n, shown_did, fresh_at, (clock // 60000 + 1) * 60000 AS minute, now,
            coalesce(next_n < {below}, false) AS is_past, CASE WHEN is_past THEN next_clock ELSE now END AS until
          FROM applied, ends WHERE n < {below} AND state IN ({_STARTING}, {_PLAYING}, {_STALLED}) AND fresh_at IS NOT NULL
        )
        SELECT 'minute' AS "window", minute AS start_ms, shown_did AS did, n FROM spells
        WHERE minute <= until AND minute - fresh_at < {FRESH_MS}
        UNION ALL SELECT 'live', 0, shown_did, n FROM spells WHERE NOT is_past AND now - fresh_at < {FRESH_MS}"""


def _live(database: duckdb.DuckDBPyConnection, view: View, offset: int) -> None:
    """Who is live, now and at each whole minute: concurrents, and by other dimensions than its own."""
    database.execute(f'CREATE OR REPLACE TABLE viewers AS SELECT "window", start_ms, did FROM ({viewers_sql(offset)})')
    for number, grouping in enumerate(view.groupings):
        database.execute(
            f"""INSERT INTO recounted
            SELECT '{view.name}', "window", start_ms, {number}, {audit_generated.key_of(grouping)} AS key, [count(*)]
            FROM viewers JOIN dims USING (did) GROUP BY "window", start_ms, key"""
        )
    database.execute("DROP TABLE viewers")


_CONCURRENTS: Final = "concurrents"
_DEFINITIONS: Final[dict[str, Callable[[duckdb.DuckDBPyConnection, View], None]]] = {
    "watch_time": _watch_time,
    "trending": audit_trending.recount,
    "quality": audit_quality.recount,
    "quality.startup": audit_quality.recount_startup,
    "sessions": audit_sessions.recount,
    "sessions.length": audit_sessions.recount_length,
    "audience.viewers": audit_sketches.recount,
}
"""By part. What is not here, and does not go by who is live, is recounted as it is declared."""
