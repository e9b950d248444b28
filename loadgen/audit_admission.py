"""Admission recounted: the class of every record of one source (docs/architecture.md, "Admission, exactly").

SQL sets aside the sessions that can only be applied (calm: seq grows by 1 to 10,000 and no event is late even by the highest watermark
possible), and says of each record of the others what the calm ones before have moved clock and watermark to; those others are read one by
one (loadgen.audit_sequence).
"""

from __future__ import annotations

from typing import Final

import duckdb

from loadgen import audit_sequence
from loadgen.audit_sequence import LATE_MS, SEQ_JUMP, SKEW_MS

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
  SELECT n, rts, ts, seq, sid, coalesce(calm_ts, -1) AS calm_ts, coalesce(calm_clock, -1) AS calm_clock
  FROM candidates JOIN calm USING (n) WHERE is_restless;
"""

_CLASSES: Final = f"""
CREATE OR REPLACE TABLE classes AS
  SELECT n, rts, mine, NULL::BIGINT AS ts, NULL::BIGINT AS sid, 'dead' AS class, reason FROM rows WHERE kind = 'dead'
  UNION ALL SELECT n, rts, mine, NULL, NULL, 'tick', NULL FROM rows WHERE kind = 'tick'
  UNION ALL SELECT n, rts, mine, ts, NULL, 'dead', 'ahead' FROM rows WHERE kind = 'event' AND ts > rts + {SKEW_MS}
  UNION ALL SELECT n, rts, mine, ts, sid, 'applied', NULL FROM candidates WHERE sid NOT IN (FROM restless)
  UNION ALL SELECT n, rts, mine, ts, sid, class, CASE WHEN class = 'dead' THEN 'seq_jump' END FROM decided JOIN candidates USING (n);
"""


def classify(database: duckdb.DuckDBPyConnection) -> int:
    """Make table `classes` (n, rts, mine, ts, sid, class applied|duplicate|late|dead|tick, reason of the dead) from `rows` of one source.

    sid: a number for each (account, session), of events that are not dead by themselves. Returns how many were read one by one.
    """
    database.execute(_CANDIDATES)
    read = audit_sequence.decide(database)
    database.execute(_CLASSES)
    for table in ("sids", "movers", "restless", "undecided", "candidates", "decided"):
        database.execute(f"DROP TABLE IF EXISTS {table}")
    return read
