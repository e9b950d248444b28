"""What was broken on purpose, looked for in the log: of each kind of fault, whether it did to each event what the ledger says.

An event is found by its account, session and number, and counts if its class is that of its kind (loadgen.faults.CLASSES); what was lost
counts if the log has it not. Mangled ones say no more whose they are: they are held to the reasons of their dead letters alone.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import duckdb

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
        """SELECT f.kind, count(*) FILTER (t.class = f.class) - count(*) FILTER (f.class = 'none')
        FROM faults f JOIN rows USING (account, session, seq) JOIN timeline t USING (n) WHERE t.mine AND n < $offset GROUP BY f.kind""",
        {"offset": audit_sql.position_of(offset)},
    ).fetchall()
    found.update(dict(counted))


def compared(run: Run, found: Counter[str]) -> dict[str, tuple[int, int]]:
    """By kind: how many were injected, and how many of them were found to be so. Nothing where the ledger has no list of them."""
    if not run.broken.exists():
        return {}
    kinds = [kind for kind in sorted(run.faults) if kind not in MANGLED]
    return {kind: (run.faults[kind], found[kind] + (run.faults[kind] if kind == LOST_STOPS else 0)) for kind in kinds}
