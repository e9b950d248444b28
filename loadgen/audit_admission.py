"""Admission recounted in SQL: the class of every record of one source (docs/architecture.md, "Admission, exactly").

An event's class is a function of the classes of the records before it, so by induction any assignment of classes that reproduces
itself is the true one. First the sessions that can only be applied are set aside (calm: seq grows by 1 to 10,000 and no event
is late even by the highest watermark possible); the others are computed from the last round's classes until nothing changes.
A log that takes more than MAX_ROUNDS is recounted in sequence (loadgen.audit_sequence).
"""

from __future__ import annotations

from typing import Final

import duckdb

from loadgen import audit_sequence

MAX_ROUNDS: Final = 24
SKEW_MS: Final = 60_000
LATE_MS: Final = 900_000
SEQ_JUMP: Final = 10_000
SEQ_WINDOW: Final = 64

_BEFORE: Final = "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
_SO_FAR: Final = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"

_CANDIDATES: Final = f"""
CREATE OR REPLACE TABLE sids AS
  SELECT account, session, row_number() OVER () AS sid FROM (SELECT DISTINCT account, session FROM rows WHERE kind = 'event');
CREATE OR REPLACE TABLE candidates AS
  SELECT n, rts, mine, ts, seq, sid FROM rows JOIN sids USING (account, session) WHERE kind = 'event' AND ts <= rts + {SKEW_MS};
CREATE OR REPLACE TABLE movers AS
  SELECT n, rts, ts, sid FROM candidates UNION ALL SELECT n, rts, NULL, NULL FROM rows WHERE kind = 'tick';
CREATE OR REPLACE TABLE restless AS
  WITH highest AS (
    SELECT n, greatest(coalesce(max(ts) OVER w, -1), max(rts) OVER w - {SKEW_MS}) AS watermark
    FROM movers WINDOW w AS (ORDER BY n {_SO_FAR})
  ), steps AS (
    SELECT sid, watermark - ts AS behind, seq - lag(seq) OVER (PARTITION BY sid ORDER BY n) AS step FROM candidates JOIN highest USING (n)
  )
  SELECT sid FROM steps GROUP BY sid
  HAVING max(behind) > {LATE_MS} OR coalesce(min(step), 1) < 1 OR coalesce(max(step), 1) > {SEQ_JUMP};
CREATE OR REPLACE TABLE undecided AS
  WITH calm AS (
    SELECT n, sid IN (FROM restless) AS is_restless,
      max(CASE WHEN sid NOT IN (FROM restless) THEN ts END) OVER w AS calm_ts,
      max(CASE WHEN sid IS NULL OR sid NOT IN (FROM restless) THEN rts END) OVER w AS calm_clock
    FROM movers WINDOW w AS (ORDER BY n {_SO_FAR})
  )
  SELECT n, rts, ts, seq, sid, coalesce(calm_ts, -1) AS calm_ts, coalesce(calm_clock, -1) AS calm_clock, 'applied' AS class
  FROM candidates JOIN calm USING (n) WHERE is_restless;
"""

_ROUND: Final = f"""
CREATE OR REPLACE TABLE next_round AS
WITH marks AS (
  SELECT *, greatest(calm_ts, coalesce(max(ts) FILTER (class = 'applied') OVER w, -1)) AS max_ts,
    greatest(calm_clock, rts, coalesce(max(rts) FILTER (class <> 'dead') OVER w, -1)) AS clock
  FROM undecided WINDOW w AS (ORDER BY n {_BEFORE})
), remembered AS (
  SELECT *, greatest(max_ts, clock - {SKEW_MS}) AS watermark,
    max(ts) FILTER (class = 'applied') OVER (PARTITION BY sid ORDER BY n {_BEFORE}) AS session_ts
  FROM marks
), knowing AS (
  SELECT *, coalesce(watermark - session_ts <= {LATE_MS}, false) AS known FROM remembered
), lives AS (
  SELECT *, count(*) FILTER (class = 'applied' AND NOT known) OVER (PARTITION BY sid ORDER BY n {_SO_FAR}) AS life FROM knowing
), seen AS (
  SELECT *, max(seq) FILTER (class = 'applied') OVER (PARTITION BY sid, life ORDER BY n {_BEFORE}) AS highest,
    count(*) FILTER (class = 'applied') OVER (PARTITION BY sid, life, seq ORDER BY n {_BEFORE}) AS times
  FROM lives
)
SELECT n, rts, ts, seq, sid, calm_ts, calm_clock, class AS before,
  CASE WHEN known AND seq > highest + {SEQ_JUMP} THEN 'dead'
       WHEN watermark - ts > {LATE_MS} THEN 'late'
       WHEN known AND times > 0 THEN 'duplicate'
       WHEN known AND seq <= highest - {SEQ_WINDOW} THEN 'late'
       ELSE 'applied' END AS class
FROM seen
"""

_NEXT: Final = """
CREATE OR REPLACE TABLE undecided AS SELECT n, rts, ts, seq, sid, calm_ts, calm_clock, class FROM next_round;
"""

_CLASSES: Final = f"""
CREATE OR REPLACE TABLE classes AS
  SELECT n, rts, mine, NULL::BIGINT AS ts, NULL::BIGINT AS sid, 'dead' AS class, reason FROM rows WHERE kind = 'dead'
  UNION ALL SELECT n, rts, mine, NULL, NULL, 'tick', NULL FROM rows WHERE kind = 'tick'
  UNION ALL SELECT n, rts, mine, ts, NULL, 'dead', 'ahead' FROM rows WHERE kind = 'event' AND ts > rts + {SKEW_MS}
  UNION ALL SELECT n, rts, mine, ts, sid, 'applied', NULL FROM candidates WHERE sid NOT IN (FROM restless)
  UNION ALL SELECT n, u.rts, mine, u.ts, u.sid, class, CASE WHEN class = 'dead' THEN 'seq_jump' END
    FROM undecided u JOIN candidates USING (n);
"""


def classify(database: duckdb.DuckDBPyConnection, max_rounds: int = MAX_ROUNDS) -> int:
    """Make table `classes` (n, rts, mine, ts, sid, class applied|duplicate|late|dead|tick, reason of the dead) from `rows` of one source.

    sid: a number for each (account, session), of events that are not dead by themselves; `sids` has them.

    Returns the rounds it took; 0 if it had to be done in sequence.
    """
    database.execute(_CANDIDATES)
    rounds = _settle(database, max_rounds)
    if rounds == 0:
        audit_sequence.decide(database)
    database.execute(_CLASSES)
    for table in ("movers", "restless", "undecided", "candidates", "next_round"):
        database.execute(f"DROP TABLE IF EXISTS {table}")
    return rounds


def _settle(database: duckdb.DuckDBPyConnection, max_rounds: int) -> int:
    for done in range(1, max_rounds + 1):
        database.execute(_ROUND)
        [(changed,)] = database.execute("SELECT count(*) FROM next_round WHERE class <> before").fetchall()
        database.execute(_NEXT)
        if changed == 0:
            return done
    return 0
