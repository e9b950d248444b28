"""sessions recounted in SQL: how playback sessions went, by title and device, in the hour of their last event (topologies/playbacks.py).

A session is over when the event of the greatest seq that tells a state ended it, or when the watermark is more than 10 minutes past its
last ts. A life that was forgotten was silent for longer than that, so every life is one session. Where it stood is told by its event of
the greatest seq, its runtime by the one of the greatest seq that has one; `complete` needs the union of the content seconds of its events:
(position_s − whole seconds watched, position_s]. A session has seen nothing once those were in more than 4,096 runs apart from one another,
at any record of the log. A run ends at a second from the first event on whose content ends there, until one has content that goes on over
it: so how many runs there were at each record follows from those two of each such second.
"""

from __future__ import annotations

from typing import Final

import duckdb

from loadgen.audit_sql import position_of
from topologies.view import View

FIELDS: Final = frozenset(("title", "device", "watched_ms", "position_s", "runtime_s"))
"""What it is recounted from, besides what every recount needs."""
MOST_RUNS: Final = 4_096

_OVER: Final = f"""
CREATE OR REPLACE TABLE over AS
WITH mark AS (SELECT greatest(max(applied_ts), max(clock) - 60000) AS watermark FROM timeline WHERE n < $offset),
stretches AS (
  SELECT n, ts, sid, life, state, shown_did, "type", seq, runtime_s, position_s AS upto,
    CASE WHEN watched_ms >= 1000 AND position_s IS NOT NULL THEN greatest(0, position_s - watched_ms // 1000) END AS since
  FROM counted WHERE n < $offset
), lives AS (
  SELECT sid, life, min(ts) AS first_ts, max(ts) AS ts, arg_max(state, n) AS state, arg_max(shown_did, n) AS did,
    bool_or("type" = 'play_start') AS started, arg_max(runtime_s, seq) FILTER (runtime_s IS NOT NULL) AS runtime_s,
    coalesce(sum(upto - since), 0) AS seen_at_most
  FROM stretches GROUP BY sid, life
), finished AS (
  SELECT *, state = 4 AS is_ended FROM lives, mark WHERE state = 4 OR watermark - ts > 600000
), pieces AS (
  SELECT sid, life, n, since, upto
  FROM stretches SEMI JOIN (FROM finished WHERE runtime_s > 0 AND seen_at_most * 100 >= 90 * runtime_s) USING (sid, life)
  WHERE since < upto
), ends AS (
  SELECT sid, life, upto AS second, min(n) AS n FROM pieces
  SEMI JOIN (SELECT sid, life FROM pieces GROUP BY sid, life HAVING count(DISTINCT upto) > {MOST_RUNS}) USING (sid, life)
  GROUP BY sid, life, upto
), passed AS (
  SELECT sid, life, second, any_value(ends.n) AS begun, min(pieces.n) AS over FROM ends
  LEFT JOIN pieces USING (sid, life) WHERE since <= second AND second < upto GROUP BY sid, life, second
), changes AS (
  SELECT sid, life, n, 1 AS more FROM ends ANTI JOIN (FROM passed WHERE over <= begun) USING (sid, life, second)
  UNION ALL SELECT sid, life, over, -1 FROM passed WHERE over > begun
), scattered AS (
  SELECT DISTINCT sid, life FROM (
    SELECT sid, life, sum(sum(more)) OVER (PARTITION BY sid, life ORDER BY n) AS runs FROM changes GROUP BY sid, life, n
  ) WHERE runs > {MOST_RUNS}
), reaching AS (
  SELECT sid, life, since, upto,
    max(upto) OVER (PARTITION BY sid, life ORDER BY since, upto ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
  FROM pieces ANTI JOIN scattered USING (sid, life)
), seen AS (
  SELECT sid, life, sum(greatest(0, upto - greatest(since, coalesce(reached, 0)))) AS seen_s FROM reaching GROUP BY sid, life
)
SELECT sid, life, ts, title, device, 1 AS sessions, is_ended::INTEGER AS ended, (NOT is_ended)::INTEGER AS closed,
  coalesce(seen_s * 100 >= 90 * runtime_s, false)::INTEGER AS complete, (NOT started)::INTEGER AS exits_before_start,
  (ts - first_ts) // 1000 AS length_s
FROM finished JOIN dims USING (did) LEFT JOIN seen USING (sid, life)
"""


def prepare(database: duckdb.DuckDBPyConnection, offset: int) -> None:
    """Make table `over`: a row a session that is over at `offset`, with sid, life, last ts, title, device and view.SESSION_FACTS."""
    database.execute(_OVER, {"offset": position_of(offset)})


def recount(database: duckdb.DuckDBPyConnection, view: View) -> None:
    """Sessions, ended, closed, complete, left before the first frame."""
    database.execute(
        f"""INSERT INTO recounted
        SELECT '{view.name}', 'hour', ts - ts % 3600000 AS start_ms, {view.groupings.index(("title", "device"))},
          title || chr(31) || device AS key,
          [count(*), sum(ended)::BIGINT, sum(closed)::BIGINT, sum(complete)::BIGINT, sum(exits_before_start)::BIGINT]
        FROM over GROUP BY start_ms, key"""
    )


def recount_length(database: duckdb.DuckDBPyConnection, view: View) -> None:
    """How many sessions were so long, by bin."""
    database.execute(
        f"""INSERT INTO recounted
        SELECT '{view.name}', 'hour', ts - ts % 3600000 AS start_ms, {view.groupings.index(("title", "device", "length_s~"))},
          title || chr(31) || device || chr(31) || bin_of(length_s) AS key, [count(*)]
        FROM over GROUP BY start_ms, key"""
    )
