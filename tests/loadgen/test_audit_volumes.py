"""The auditor makes volumes from the sources' cells once more, reads them as readers do, and tells which are not so."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import cast

import duckdb
import pytest

from connectors.cassandra_finals import FinalPack, FinalRows, Mark
from loadgen import audit_volumes
from loadgen.audit_finals import VOLUME, FinalCell, SourcesAudited
from loadgen.audit_report import Difference, ViewTally
from tests.loadgen.test_audit_finals import FIRST, PARTS, SECOND, H, database
from topologies import volumes
from topologies.finals import pack_of
from topologies.packs import PackedCell
from topologies.sources import LATENESS_MS, SourceStatus
from topologies.view import HOUR
from topologies.volumes import Contents

__all__ = ("database",)
STATUSES = {str(source): SourceStatus(source, 9, 0, 24 * H + LATENESS_MS, 0, 0, 0, 0, 0) for source in (FIRST, SECOND)}
AUDITED = SourcesAudited(STATUSES, {}, {}, ("viewing-events",))
SUMS = PARTS[0]
A, B, LATER = "a", "b", 3 * H
PARTIALS = [(FIRST, H, A, (5, 1)), (SECOND, H, A, (2, 0)), (SECOND, LATER, A, (9, 1)), (FIRST, H, B, (1, 1))]
CELLS = [PackedCell(H, 0, (A,), (7, 1)), PackedCell(LATER, 0, (A,), (9, 1)), PackedCell(H, 0, (B,), (1, 1))]
HOLDS = (volumes.bucket_of(A), volumes.bucket_of(B))


class Rows:
    """Final rows that hold these packs of one volume."""

    def __init__(self, packs: Sequence[FinalPack]) -> None:
        self._packs = packs

    def packs(self, _view: object, window: str, spans_ms: Sequence[int], buckets: Sequence[int]) -> Iterator[FinalPack]:
        assert (window, spans_ms) == (volumes.name_of(HOUR), [0])
        return (pack for pack in self._packs if pack.bucket in buckets)


def stored(cells: Sequence[PackedCell]) -> list[FinalPack]:
    """The packs of these cells, each in its bucket."""
    buckets = {volumes.bucket_of(cell.key[0]) for cell in cells}
    return [FinalPack(0, bucket, 3, pack_of([cell for cell in cells if volumes.bucket_of(cell.key[0]) == bucket])) for bucket in buckets]


def read(packs: Sequence[FinalPack], marks: dict[int, Mark] | None = None) -> list[FinalCell]:
    marks = marks if marks is not None else {0: Mark(3, "", Contents.of([""], HOLDS).text)}
    return list(audit_volumes.read(cast(FinalRows, Rows(packs)), SUMS, HOUR, marks))


def compared(database: duckdb.DuckDBPyConnection, cells: Sequence[FinalCell], digest: str = "") -> tuple[ViewTally, list[Difference]]:
    """Of a volume that is of every source, or of what `digest` says."""
    told = [("cassandra", str(source), "seen", "hour", start_ms, 0, key, list(values)) for source, start_ms, key, values in PARTIALS]
    told += [(*cell[:7], list(cell[7])) for cell in cells]
    database.executemany("INSERT INTO served VALUES (?, ?, ?, ?, ?, ?, ?, ?)", told)
    basis = volumes.basis_of(AUDITED.bases, SUMS, HOUR, 0)
    assert basis is not None
    tallies = {"seen": ViewTally()}
    found = {(SUMS.name, "hour", 0): digest or basis.digest}
    return tallies["seen"], audit_volumes.compare(database, PARTS, found, AUDITED, tallies)


def test_a_right_volume_is_counted_and_nothing_is_wrong(database: duckdb.DuckDBPyConnection) -> None:
    tally, wrong = compared(database, read(stored(CELLS)))
    assert (tally.by_store, wrong) == ({VOLUME: 3}, [])


@pytest.mark.parametrize("at", range(3))
def test_each_wrong_cell_of_a_volume_is_found(database: duckdb.DuckDBPyConnection, at: int) -> None:
    cells = [dataclasses.replace(cell, values=(8, 8)) if number == at else cell for number, cell in enumerate(CELLS)]
    tally, wrong = compared(database, read(stored(cells)))
    told = [(one.store, one.start_ms, one.key, one.expected, one.served) for one in wrong]
    assert (tally.wrong, told) == (1, [(VOLUME, CELLS[at].start_ms, *CELLS[at].key, CELLS[at].values, (8, 8))])


def test_a_cell_in_another_bucket_or_in_one_that_the_mark_does_not_tell_of_is_missing(database: duckdb.DuckDBPyConnection) -> None:
    moved = [FinalPack(0, HOLDS[1], 3, pack_of(CELLS))]
    _, wrong = compared(database, read(moved))
    assert [(one.key, one.start_ms, one.served) for one in wrong] == [(A, H, None), (A, LATER, None)]
    assert [cell[6] for cell in read(stored(CELLS), {0: Mark(3, "", Contents.of([""], HOLDS[1:]).text)})] == [B]


def test_a_volume_that_lacks_a_source_or_is_just_made_anew_is_not_compared(database: duckdb.DuckDBPyConnection) -> None:
    tally, wrong = compared(database, [], digest="of the first alone")
    assert (tally.cells, wrong) == (0, [])
    marks = {0: Mark(2, "", Contents.of([""], HOLDS).text)}
    read(stored(CELLS), marks)
    assert marks == {}
