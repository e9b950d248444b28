"""The audited run's records: counted by class while the sources are recounted, then compared with its ledger.

What a load sent is made again from its seed (loadgen.truth), as far as its records have been recounted: so it is compared while it runs,
and while the workers are behind, up to there. A replay's ledger can only be compared when all its records have been recounted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb

from loadgen import audit_faults, audit_sql
from loadgen.audit_report import CLASSES, Difference, Origin
from loadgen.faults import CLASSES as FAULT_CLASSES
from loadgen.ledger import Run
from loadgen.moves import read_moves, stays_of
from loadgen.truth import can_be_made_again, tell
from topologies.sources import Source

STORE: Final = "ledger"
_SESSIONS: Final = """CREATE TABLE IF NOT EXISTS run_sessions
(account VARCHAR, session VARCHAR, events BIGINT, watched_ms HUGEINT, part INTEGER, first_n BIGINT, last_n BIGINT)"""

_REGIONS: Final = "CREATE TABLE IF NOT EXISTS run_events (region VARCHAR, event UBIGINT)"
"""What was counted where: 64 bits of account, session and number, of which two are equal by chance once in 2^64 ÷ events² audits."""


@dataclass
class RunTally:
    """What the recount found of a run (of the whole log, if `run` is None).

    classes: records by class, within the audited offsets; in_log: records found in the log, further ones too; unclassed: records that
    the recount gave no class. faults: by kind, the broken ones that are what their fault makes of them. reached: of
    each source the offset below which classes are counted, and below which the log was read.
    """

    run: Run | None
    regions: int = 1
    classes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    in_log: int = 0
    unclassed: int = 0
    reached: dict[Source, tuple[int, int]] = field(default_factory=dict)
    records: dict[int, int] = field(default_factory=dict)
    """Of each partition of the run's topic: how many of the run's records are within the audited offsets."""
    crossed: int = 0
    """Events that more than one region's log has, and counts; each beyond the first. Told by `tell_crossed`."""

    @property
    def tag(self) -> bytes | None:
        """What the keys of the run's records start with."""
        return None if self.run is None else f"{self.run.tag}-".encode()

    def count(self, database: duckdb.DuckDBPyConnection, source: Source, offset: int, read_to: int) -> None:
        """Count the run's records of the source whose tables (loadgen.audit_views.prepare) stand in the database."""
        mine = "true" if self.run is None else "mine"
        found = database.execute(
            f"SELECT class, reason, count(*) FILTER (n < $offset), count(*) FROM timeline WHERE class <> 'tick' AND {mine} GROUP BY ALL",
            {"offset": audit_sql.position_of(offset)},
        ).fetchall()
        for name, reason, counted, there in found:
            self.classes[name] += counted
            self.in_log += there
            if reason is not None and counted:
                self.reasons[reason] += counted
        [(unclassed,)] = database.execute(f"SELECT count(*) FROM others ANTI JOIN classes USING (n) WHERE {mine}").fetchall()
        self.unclassed += unclassed
        self.reached[source] = (offset, read_to)
        if self.regions > 1:
            database.execute(_REGIONS)
            events = f"SELECT $region, hash(account, session, seq) FROM counted WHERE {mine} AND n < $offset"
            database.execute(f"INSERT INTO run_events {events}", {"region": source.region, "offset": audit_sql.position_of(offset)})
        if self.run is not None and (place := self.place(source)) is not None:
            whole = f"mine AND class <> 'tick' AND n % {audit_sql.ROWS_A_RECORD} = 0"  # a record counts with its first row
            before = {"offset": audit_sql.position_of(offset)}
            [(records,)] = database.execute(f"SELECT count(*) FROM timeline WHERE {whole} AND n < $offset", before).fetchall()
            self.records[place] = records
            audit_faults.count_found(database, self.run, offset, self.faults)
            database.execute(_SESSIONS)
            database.execute(
                """INSERT INTO run_sessions SELECT account, session, count(*), coalesce(sum(watched_ms), 0), $part, min(n), max(n)
                FROM counted WHERE mine AND n < $offset GROUP BY account, session""",
                {"offset": audit_sql.position_of(offset), "part": place},
            )

    def place(self, source: Source) -> int | None:
        """Which of the run's partitions the source is; None for none."""
        return None if self.run is None else self.run.place_of(source.region, source.topic_id, source.partition)

    def covers(self, *, classes: bool) -> bool:
        """Whether the classes of all the run's records (else: the log of all of them) are within what was recounted."""
        if self.run is None or self.run.state in ("running", "failed"):  # a failed run does not know where its records end
            return False
        reached = {place: ends for source, ends in self.reached.items() if (place := self.place(source)) is not None}
        return all(span.last < reached.get(span.partition, (0, 0))[0 if classes else 1] for span in self.run.partitions)

    def tell_crossed(self, database: duckdb.DuckDBPyConnection) -> None:
        """Once all sources are counted."""
        if self.regions > 1:
            database.execute(_REGIONS)
            within = "SELECT event, count(DISTINCT region) - 1 AS more FROM run_events GROUP BY event HAVING more > 0"
            [(self.crossed,)] = database.execute(f"SELECT coalesce(sum(more), 0)::BIGINT FROM ({within})").fetchall()

    @property
    def unaccounted(self) -> int:
        """Acknowledged by Kafka but not in the log (once all of it has been read), plus records without a class."""
        lost = self.run.acknowledged + self.crossed - self.in_log if self.run is not None and self.covers(classes=False) else 0
        return max(0, lost) + self.unclassed


def compare(database: duckdb.DuckDBPyConnection, tally: RunTally, scratch: Path) -> tuple[str, list[Difference]]:
    """Whether the run's classes are what its ledger says: `equal`, `equal so far` (up to what was recounted), `different`, or why it was
    not compared; and what differs. What a load sent is told in tables in `scratch`."""
    run = tally.run
    if run is None:
        return "no run named", []
    if run.state == "failed":
        return "not compared: the run failed, so its ledger is not all of what was sent", []
    if can_be_made_again(run) and not run.sent.exists():
        return _made_again(database, tally, run, scratch)
    if not tally.covers(classes=True):
        return "not compared: the run, or the workers, are not through with it", []
    if run.failed:
        return f"not compared: Kafka did not confirm {run.failed} records, which may be in the log or not", []
    if any(not span.last < span.first for span in run.partitions) and not (run.sent.exists() and run.broken.exists()):
        return "not compared: the run's tables of what was sent are not there", []
    found = _counts(run, tally) + _faults(run, tally) + _sessions(database, run, tally.reached)
    return ("different" if found else "equal"), found


def _made_again(database: duckdb.DuckDBPyConnection, tally: RunTally, run: Run, scratch: Path) -> tuple[str, list[Difference]]:
    if run.logs and len(read_moves(run)):
        return _moved(database, tally, run, scratch)
    told = tell(run, tally.records, scratch)
    if not tally.covers(classes=True):
        found = _counts(told, tally) + _sessions(database, told, tally.reached)
        return ("different" if found else "equal so far"), found
    # what a run that went through says of itself is held against the log too
    said = run if run.state == "finished" and len(run.stretches) == 1 else told
    found = _counts(said, tally) + _faults(run, tally) + _sessions(database, told, tally.reached)
    return ("different" if found else "equal"), found


def _moved(database: duckdb.DuckDBPyConnection, tally: RunTally, run: Run, scratch: Path) -> tuple[str, list[Difference]]:
    """Of a run some of whose records went elsewhere while a region was lost: where they are is only told by whole logs."""
    if run.state != "finished" or not tally.covers(classes=True):
        return "not compared: records went to another region, which is told when the run and the workers are through", []
    of_log = {(log.region, at): at_log * run.log_partitions + at for at_log, log in enumerate(run.logs) for at in range(run.log_partitions)}
    stays = stays_of(run, {log: tally.records.get(place, 0) for log, place in of_log.items()})
    told = tell(run, tally.records, scratch, stays)
    found = _counts(told, tally) + _sessions(database, told, tally.reached)
    if (crossed := told.generated - run.generated) != tally.crossed:
        found.append(_difference("crossed", (crossed,), (tally.crossed,)))
    return ("different" if found else "equal"), found


def _counts(run: Run, tally: RunTally) -> list[Difference]:
    expected = dict.fromkeys(("duplicate", "late", "dead"), 0)
    for kind, name in FAULT_CLASSES.items():
        expected[name] += run.faults.get(kind, 0)
    expected["applied"] = run.generated - sum(expected.values())
    pairs = [(name, expected[name], tally.classes[name]) for name in CLASSES]
    pairs.append(("received", run.generated, sum(tally.classes[name] for name in CLASSES)))
    pairs.extend((f"dead: {name}", run.malformed.get(name, 0), tally.reasons[name]) for name in run.malformed.keys() | tally.reasons.keys())
    return [_difference(name, (wanted,), (counted,)) for name, wanted, counted in pairs if wanted != counted]


def _faults(run: Run, tally: RunTally) -> list[Difference]:
    """Kinds of faults that did not do to every event what they should."""
    pairs = audit_faults.compared(run, tally.faults, tally.reasons).items()
    return [_difference(f"fault: {kind}", (injected,), (found,)) for kind, (injected, found) in pairs if injected != found]


def _sessions(database: duckdb.DuckDBPyConnection, run: Run, reached: Iterable[Source]) -> list[Difference]:
    """Sessions whose applied events or watched time are not what was sent."""
    if not run.sent.exists():
        return []
    database.execute(_SESSIONS)
    found = database.execute(
        """SELECT account, session, s.events, s.watched_ms::BIGINT, r.events, r.watched_ms::BIGINT, stretches
        FROM (SELECT * FROM read_parquet($sent) WHERE events > 0) s FULL JOIN
             (SELECT account, session, sum(events)::BIGINT AS events, sum(watched_ms) AS watched_ms,
                list([part, events, first_n, last_n] ORDER BY part) AS stretches FROM run_sessions GROUP BY ALL) r
             USING (account, session)
        WHERE (s.events, s.watched_ms) IS DISTINCT FROM (r.events, r.watched_ms::BIGINT) LIMIT 100""",
        {"sent": str(run.sent)},
    ).fetchall()
    places = {source: run.place_of(source.region, source.topic_id, source.partition) for source in reached}
    sources = {place: source for source, place in places.items() if place is not None}
    return [
        _difference(
            f"{account}/{session}",
            None if sent is None else (sent, sent_ms),
            None if counted is None else (counted, counted_ms),
            tuple(_stretch(sources[part], *stretch) for part, *stretch in stretches or ()),
        )
        for account, session, sent, sent_ms, counted, counted_ms, stretches in found
    ]


def _stretch(source: Source, events: int, first_n: int, last_n: int) -> Origin:
    """Where a session's applied events stand: between these offsets, among others."""
    first, last = (n // audit_sql.ROWS_A_RECORD for n in (first_n, last_n))
    return Origin(str(source), source.topic, source.partition, "between", events, ((first, last),), ())


def _difference(key: str, expected: tuple[int, ...] | None, served: tuple[int, ...] | None, origins: tuple[Origin, ...] = ()) -> Difference:
    return Difference("ledger", "", 0, 0, key, "", STORE, expected, served, origins)
