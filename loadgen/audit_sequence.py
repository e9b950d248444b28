"""Admission recounted one record after the other, in plain Python: the sentence-by-sentence reading of docs/architecture.md.

Measured: 2.2 µs of CPU a record; so SQL sets aside what needs no reading (loadgen.audit_admission).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import duckdb
import pyarrow as pa

SKEW_MS: Final = 60_000
LATE_MS: Final = 900_000
SEQ_JUMP: Final = 10_000
SEQ_WINDOW: Final = 64
_RECORDS_A_BATCH: Final = 100_000


@dataclass
class _Session:
    highest: int = -1
    greatest_ts: int = -1
    seen: set[int] = field(default_factory=set)


class Reading:
    """A source that is read: its clock, the greatest ts applied, and the sessions that are remembered."""

    def __init__(self) -> None:
        self.clock = -1
        self.max_ts = -1
        self._sessions: dict[int | None, _Session] = {}

    def see(self, clock: int, max_ts: int) -> None:
        """Records before that are not read here have moved the clock and the greatest ts to these at least."""
        self.clock = max(self.clock, clock)
        self.max_ts = max(self.max_ts, max_ts)

    def take(self, rts: int, ts: int, sid: int | None, seq: int) -> str:
        """The class of the next event: its record's timestamp and its ts (ms), session and seq."""
        clock_now = max(self.clock, rts)
        watermark = max(self.max_ts, clock_now - SKEW_MS)
        if ts > rts + SKEW_MS:
            return "dead"
        session = self._sessions.get(sid)
        if session is not None and watermark - session.greatest_ts > LATE_MS:
            del self._sessions[sid]
            session = None
        if session is not None and seq > session.highest + SEQ_JUMP:
            return "dead"
        self.clock = clock_now
        if watermark - ts > LATE_MS:
            return "late"
        if session is not None and seq in session.seen:
            return "duplicate"
        if session is not None and seq <= session.highest - SEQ_WINDOW:
            return "late"
        self.max_ts = max(self.max_ts, ts)
        if session is None:
            session = self._sessions[sid] = _Session()
        session.highest = max(session.highest, seq)
        session.greatest_ts = max(session.greatest_ts, ts)
        session.seen.add(seq)
        return "applied"

    def forget(self) -> None:
        """Forget the sessions that any event of theirs would begin anew: so memory has the live ones only."""
        watermark = max(self.max_ts, self.clock - SKEW_MS)
        self._sessions = {sid: each for sid, each in self._sessions.items() if watermark - each.greatest_ts <= LATE_MS}


def classes(records: Iterable[tuple[int, int | None, int | None, int | None]]) -> Iterator[str]:
    """The class of each record, in log order. A record: record timestamp (ms), ts (ms), session, seq; ts None: a tick."""
    reading = Reading()
    for rts, ts, sid, seq in records:
        if ts is None or seq is None:
            reading.see(rts, -1)
            yield "tick"
        else:
            yield reading.take(rts, ts, sid, seq)


def decide(database: duckdb.DuckDBPyConnection) -> int:
    """Make table `decided` (n, class) of table `undecided`, whose calm_clock and calm_ts say what the other records before have come to.
    Returns how many they are."""
    reading, count = Reading(), 0
    database.execute("CREATE OR REPLACE TABLE decided (n BIGINT, class VARCHAR)")
    query = "SELECT n, rts, ts, sid, seq, calm_clock, calm_ts FROM undecided ORDER BY n"
    for batch in database.cursor().sql(query).to_arrow_reader(_RECORDS_A_BATCH):
        found = []
        for rts, ts, sid, seq, clock, max_ts in zip(*(column.to_pylist() for column in batch.columns[1:]), strict=True):
            reading.see(clock, max_ts)
            found.append(reading.take(rts, ts, sid, seq))
        reading.forget()
        database.register("read", pa.table({"n": batch.column(0), "class": pa.array(found, pa.string())}))
        database.execute("INSERT INTO decided SELECT * FROM read")
        database.unregister("read")
        count += len(found)
    return count
