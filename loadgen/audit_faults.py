"""What was broken on purpose, looked for in the log: of each kind of fault, whether it did to each event what the ledger says.

An event is found by its account, session and number, and counts if its class is that of its kind (loadgen.faults.CLASSES); what was lost
counts if the log has it not. Mangled ones say no more whose they are: they are counted by the reasons for which records are dead; what is
missing or too much of a reason is so of each kind that makes it.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import duckdb
import polars as pl

from loadgen import audit_sql
from loadgen.faults import CLASSES, LOST_STOPS
from loadgen.ledger import Run

MANGLED: Final = ("malformed", "version")
"""Their events cannot be read."""


def load_faults(database: duckdb.DuckDBPyConnection, run: Run) -> bool:
    """Make table `faults` (kind, class, account, session, seq) of the ledger; False if there is none yet. A second call does nothing."""
    if not run.broken.exists():
        return False
    database.execute("CREATE TABLE IF NOT EXISTS fault_classes (kind VARCHAR, class VARCHAR)")
    [(known,)] = database.execute("SELECT count(*) FROM fault_classes").fetchall()
    if not known:
        database.executemany("INSERT INTO fault_classes VALUES (?, ?)", [*CLASSES.items(), (LOST_STOPS, "none")])
        database.execute(
            """CREATE TABLE faults AS SELECT kind, coalesce(class, 'applied') AS class, key AS account, session, seq
            FROM read_parquet($broken) LEFT JOIN fault_classes USING (kind) WHERE kind NOT IN (SELECT unnest($mangled))""",
            {"broken": str(run.broken), "mangled": list(MANGLED)},
        )
    return True


def count_found(database: duckdb.DuckDBPyConnection, run: Run, offset: int, found: Counter[str]) -> None:
    """Add to `found`, by kind, the records of the source in the database that are what their fault makes of them; lost ones that are there
    are taken off."""
    if not load_faults(database, run):
        return
    counted = database.execute(
        """SELECT f.kind, count(*) FILTER (r.class = f.class) - count(*) FILTER (f.class = 'none') FROM faults f JOIN (
          SELECT n, account, session, seq, 'applied' AS class FROM counted WHERE mine
          UNION ALL SELECT n, account, session, seq, class FROM others JOIN timeline t USING (n) WHERE t.mine
        ) r USING (account, session, seq) WHERE n < $offset GROUP BY f.kind""",
        {"offset": audit_sql.position_of(offset)},
    ).fetchall()
    found.update(dict(counted))


def compared(run: Run, found: Counter[str], reasons: Counter[str]) -> dict[str, tuple[int, int]]:
    """By kind: how many the ledger lists, and how many of them were found to be so. Nothing where it has no list of them.

    found: by `count_found`. reasons: the run's dead records by their reasons.
    """
    if not run.broken.exists():
        return {}
    listed = pl.scan_parquet(run.broken).group_by("kind", "reason").agg(pl.col("times").sum()).collect().rows()
    injected: Counter[str] = Counter()
    dead: Counter[str] = Counter()
    for kind, reason, count in listed:
        injected[kind] += count
        dead[reason] += count if CLASSES.get(kind) == "dead" else 0
    counted = found + Counter({LOST_STOPS: injected[LOST_STOPS]})
    for kind, reason, count in listed:
        if kind in MANGLED:
            counted[kind] += max(0, count + reasons[reason] - dead[reason])
    return {kind: (count, counted[kind]) for kind, count in sorted(injected.items())}
