"""Of each kind of fault the audit counts those that did what they should."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import duckdb
import polars as pl

from loadgen import audit_faults, audit_sql
from loadgen.ledger import FAULT_SCHEMA, Run
from tests.loadgen.test_ledger import run_named
from topologies.settings import LocalSettings, Settings

LISTED = [
    ("duplicates", "near", "t-1", "a", 3, 1),
    ("late", "days", "t-1", "a", 4, 1),
    ("skew", "", "t-1", "a", 5, 1),
    ("lost-stops", "", "t-1", "a", 6, 1),
    ("malformed", "not_json", "t-1", "a", 7, 1),
    ("malformed", "version", "t-1", "a", 8, 1),
    ("version", "version", "t-1", "a", 9, 1),
]
CLASSES = {3: ("applied", "duplicate"), 4: ("late",), 5: ("applied",)}


def run_in(path: Path) -> Run:
    return run_named(Settings(local=LocalSettings(directory=str(path))), "broken")


def found(path: Path, classes: dict[int, tuple[str, ...]], reasons: dict[str, int], offset: int = 100) -> dict[str, tuple[int, int]]:
    """What is told of LISTED when the log has of each number records of these classes, one an offset."""
    run = run_in(path)
    run.path.mkdir(parents=True)
    pl.DataFrame(LISTED, schema=FAULT_SCHEMA, orient="row").write_parquet(run.broken)
    counted: Counter[str] = Counter()
    records = [(seq, name) for seq, names in classes.items() for name in names]
    with duckdb.connect() as database:
        for table in ("counted", "others"):
            database.execute(f"CREATE TABLE {table} (n BIGINT, mine BOOLEAN, account VARCHAR, session VARCHAR, seq BIGINT)")
        database.execute("CREATE TABLE timeline (n BIGINT, class VARCHAR, mine BOOLEAN)")
        for place, (seq, name) in enumerate(records):
            n = audit_sql.position_of(place)
            table = "counted" if name == "applied" else "others"
            database.execute(f"INSERT INTO {table} VALUES ($n, true, 't-1', 'a', $seq)", {"n": n, "seq": seq})
            database.execute("INSERT INTO timeline VALUES ($n, $name, true)", {"n": n, "name": name})
        audit_faults.count_found(database, run, offset, counted)
    return audit_faults.compared(run, counted, Counter(reasons))


def test_each_fault_that_did_what_it_should_is_found(tmp_path: Path) -> None:
    kinds = ("duplicates", "late", "skew", "lost-stops", "version")
    assert found(tmp_path, CLASSES, {"not_json": 1, "version": 2}) == dict.fromkeys(kinds, (1, 1)) | {"malformed": (2, 2)}


def test_one_that_did_not_is_missed(tmp_path: Path) -> None:
    wrong = CLASSES | {3: ("applied", "applied"), 4: ("applied",), 6: ("applied",)}
    told = found(tmp_path, wrong, {"not_json": 0, "version": 2})
    assert {kind for kind, (injected, seen) in told.items() if injected != seen} == {"duplicates", "late", "lost-stops", "malformed"}


def test_of_a_reason_that_two_kinds_make_one_too_many_is_told_of_both(tmp_path: Path) -> None:
    told = found(tmp_path, CLASSES, {"not_json": 1, "version": 3})
    assert (told["malformed"], told["version"]) == ((2, 3), (1, 2))


def test_only_what_is_within_the_audited_offsets_is_found(tmp_path: Path) -> None:
    assert found(tmp_path, CLASSES, {}, offset=2)["late"] == (1, 0)


def test_without_a_list_nothing_is_told(tmp_path: Path) -> None:
    assert audit_faults.compared(run_in(tmp_path), Counter(), Counter()) == {}
