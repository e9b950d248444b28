"""Whose records went where while a region was lost, as a run's ledger has it: `moves.parquet`, a row for each place that moved.

    place      partition p of the log of the run's region r: r · P + p (loadgen.homes)
    region     whose log its records go to from now on
    first      the number of the first of them; what is below was acknowledged elsewhere
    clean      whether all that was sent elsewhere had been acknowledged. If not, some of what is sent again may be in both logs: crossed
    at_ms      when

So a place's records are in *stays*, one behind the other. Where a clean move ends a stay, it has what is below the next one's first; else
the log alone knows how much more of it arrived, and the audit's recount tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from loadgen.ledger import Run
from topologies.errors import MarqueeError

TABLE: Final = "moves"
MOVE_SCHEMA: Final[dict[str, pl.DataType]] = {
    "place": pl.Int32(), "region": pl.String(), "first": pl.Int64(), "clean": pl.Boolean(), "at_ms": pl.Int64(),
}  # fmt: skip


@dataclass(frozen=True)
class Stay:
    """Records of a place from the number `first` to below `upto`, in one region's log; upto None: as many as are there."""

    place: int
    region: str
    first: int
    upto: int | None


def read_moves(run: Run) -> pl.DataFrame:
    """moves.parquet, by place and in their order; while the run goes on, what its processes have written so far. Columns: MOVE_SCHEMA."""
    paths = [path for path in (run.path / f"{TABLE}.parquet", *sorted(run.parts.glob(f"{TABLE}-*.parquet"))) if path.exists()]
    found = pl.read_parquet(paths) if paths else pl.DataFrame(schema=MOVE_SCHEMA)
    return found.sort("place", "at_ms", "first")


def stays_of(run: Run, counted: Mapping[tuple[str, int], int]) -> dict[int, tuple[Stay, ...]]:
    """The stays of each place of a finished run, all with their ends. counted: by region and partition, how many of the run's records its
    log has.

    MarqueeError when a log has several stays whose ends only it could tell: its count tells their sum.
    """
    moved = {place: list(rows) for place, rows in _by_place(read_moves(run)).items()}
    stays = {span.partition: _stays(run, span.partition, span.records, moved.get(span.partition, [])) for span in run.partitions}
    logs: dict[tuple[str, int], list[Stay]] = {}
    for stay in (stay for found in stays.values() for stay in found):
        logs.setdefault((stay.region, stay.place % run.log_partitions), []).append(stay)
    ends: dict[Stay, int] = {}
    for log, found in logs.items():
        unknown = [stay for stay in found if stay.upto is None]
        if len(unknown) > 1:
            lost = f"partition {log[1]} of {log[0]} was lost {len(unknown)} times in this run"
            raise MarqueeError(f"{lost}: how much crossed each time cannot be told")
        rest = counted.get(log, 0) - sum(stay.upto - stay.first for stay in found if stay.upto is not None)
        ends |= {stay: stay.first + max(0, rest) for stay in unknown}
    return {
        place: tuple(stay if stay.upto is not None else Stay(stay.place, stay.region, stay.first, ends[stay]) for stay in found)
        for place, found in stays.items()
    }


def _by_place(moves: pl.DataFrame) -> dict[int, list[tuple[str, int, bool]]]:
    found: dict[int, list[tuple[str, int, bool]]] = {}
    for place, region, first, clean, _ in moves.iter_rows():
        found.setdefault(place, []).append((region, first, clean))
    return found


def _stays(run: Run, place: int, records: int, moved: list[tuple[str, int, bool]]) -> tuple[Stay, ...]:
    begun = [(run.logs[place // run.log_partitions].region, 0, True), *moved]
    ends = [first if clean else None for _, first, clean in moved]
    return tuple(
        Stay(place, region, first, end) for (region, first, _), end in zip(begun, [*ends, records], strict=True)
    )  # fmt: skip
