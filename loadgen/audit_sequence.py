"""Admission recounted one record after the other, in plain Python: the sentence-by-sentence reading of docs/architecture.md.

The reference that the SQL is tested against, and the way out for a log that SQL does not settle in a few rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa


@dataclass
class _Session:
    highest: int = -1
    greatest_ts: int = -1
    seen: set[int] = field(default_factory=set)


def classes(records: Iterable[tuple[int, int | None, int | None, int | None]]) -> Iterator[str]:
    """The class of each record, in log order. A record: record timestamp (ms), ts (ms), session, seq; ts None: a tick."""
    clock, max_ts = -1, -1
    sessions: dict[int | None, _Session] = {}
    for rts, ts, sid, seq in records:
        if ts is None or seq is None:
            clock = max(clock, rts)
            yield "tick"
            continue
        clock_now = max(clock, rts)
        watermark = max(max_ts, clock_now - 60_000)
        if ts > rts + 60_000:
            yield "dead"
            continue
        session = sessions.get(sid)
        if session is not None and watermark - session.greatest_ts > 900_000:
            del sessions[sid]
            session = None
        if session is not None and seq > session.highest + 10_000:
            yield "dead"
            continue
        clock = clock_now
        if watermark - ts > 900_000:
            yield "late"
        elif session is not None and seq in session.seen:
            yield "duplicate"
        elif session is not None and seq <= session.highest - 64:
            yield "late"
        else:
            max_ts = max(max_ts, ts)
            session = sessions.setdefault(sid, _Session())
            session.highest = max(session.highest, seq)
            session.greatest_ts = max(session.greatest_ts, ts)
            session.seen.add(seq)
            yield "applied"


def decide(database: duckdb.DuckDBPyConnection) -> None:
    """Put the classes of table `undecided` right, from tables `candidates` and `movers` (see loadgen.audit_admission)."""
    query = "SELECT n, m.rts, m.ts, m.sid, seq FROM movers m LEFT JOIN candidates c USING (n) ORDER BY n"
    records = database.execute(query).fetchall()
    numbers = [record[0] for record in records]
    decided = pa.table({"n": pa.array(numbers, pa.int64()), "class": list(classes(record[1:] for record in records))})
    database.register("decided", decided)
    database.execute("CREATE OR REPLACE TABLE undecided AS SELECT u.* REPLACE (d.class AS class) FROM undecided u JOIN decided d USING (n)")
    database.unregister("decided")
