"""What a load has sent, told by making its events again from the seed: exactly the records that the log has, from the first on.

A partition's records are in the log in the order in which they are made, without a gap (loadgen.produce). So how many of them there are
says which: the truth of a run that goes on, was stopped or was killed is as exact as that of one that is finished.
One partition after the other, so that memory is bounded by what one partition's viewers need. Measured: 0.6 µs a JSON event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadgen import tally
from loadgen.audience import Plan
from loadgen.book import faults_of
from loadgen.ledger import FAULT_SCHEMA, SENT_SCHEMA, Run, Stretch, counts_of, read_sent, whole_sessions, write_table
from loadgen.load import options_of, plan_again
from loadgen.moves import Stay
from loadgen.order import Numbers
from loadgen.rows import MOVED
from loadgen.shard import Chunk, Shard
from topologies.errors import MarqueeError

SENT: Final = "sent.parquet"
FAULTS: Final = "faults.parquet"


def can_be_made_again(run: Run) -> bool:
    """Whether what was sent follows from the ledger: of loads, not of replays, nor of those that an earlier version wrote."""
    return run.kind == "load" and bool(run.stretches) and run.chunk_ms > 0


def tell(run: Run, records: Mapping[int, int], directory: Path, stays: Mapping[int, Sequence[Stay]] | None = None) -> Run:
    """The run as if it had ended when each partition had so many of its records: `generated`, `faults`, `malformed` and the tables
    sent.parquet and faults.parquet in `directory`, which is the answer's `path`. stays: of each partition where its records are, of a run
    whose records went elsewhere while a region was lost; what is in two stays counts twice.

    MarqueeError when the log has more records of the run than its seed makes.
    """
    plan = plan_again(run, lambda _: None).plan
    teller = _Teller(run, directory)
    for span in run.partitions:
        partition = span.partition
        parts = [(stay.first, stay.upto) for stay in stays[partition] if stay.upto is not None] if stays is not None else None
        teller.tell(plan, partition, records.get(partition, 0), parts)
    teller.close()
    faults, malformed = counts_of(pl.scan_parquet(directory / FAULTS))
    return replace(run, path=directory, generated=teller.events, faults=faults, malformed=malformed)


def sessions_of(run: Run) -> pl.DataFrame:
    """What a load that has ended sent, a row a session; columns SENT_SCHEMA. Raises as `tell`."""
    with TemporaryDirectory(prefix="marquee-truth-") as scratch:
        return read_sent(tell(run, {span.partition: span.records for span in run.partitions}, Path(scratch)))


@dataclass
class _Teller:
    """Writes the two tables, partition by partition."""

    run: Run
    directory: Path
    events: int = 0
    sessions_move: bool = False
    """Whether some sessions stand in two partitions."""

    def __post_init__(self) -> None:
        self._writers = {
            name: pq.ParquetWriter(self.directory / f"{name}.new", pl.DataFrame(schema=schema).to_arrow().schema)
            for name, schema in ((SENT, SENT_SCHEMA), (FAULTS, FAULT_SCHEMA))
        }

    def tell(self, plan: Plan, partition: int, records: int, parts: Sequence[tuple[int, int]] | None = None) -> None:
        """The partition's first records; or its records from each first to below each end of `parts`, all of one stretch."""
        rows: list[pl.DataFrame] = []
        told, regions = 0, options_of(self.run).regions
        begun = [(stretch, stretch.first[partition], end) for stretch, end in _ends(self.run.stretches, partition, records)]
        if parts is not None:
            begun, records = [(self.run.stretches[0], *part) for part in parts], sum(end - first for first, end in parts)
        for stretch, first, end in begun:
            shard = self._shard(plan, stretch, partition)
            tallies = np.zeros((len(shard.lanes), tally.COLUMNS), np.int64)
            done: list[NDArray[np.int64]] = []
            for chunk in self._chunks(shard, first, end):
                told += len(chunk.values)
                self.events += len(chunk.rows)
                self._write(FAULTS, faults_of(chunk, shard, len(chunk.values)))
                out = np.empty((len(chunk.rows), tally.COLUMNS), np.int64)
                done.append(out[: tally.count(chunk.rows, tallies, out)].copy())
            sessions = np.concatenate([*done, tallies[tallies[:, tally.ORDINAL] > 0]])
            rows.append(tally.sent_rows(shard.lanes, shard.keys(sessions[:, tally.LANE_INDEX]), sessions, regions, shard.base_ms))
        self.sessions_move |= bool(plan.world.faults[1, MOVED] > 0)
        if told < records:
            raise MarqueeError(f"partition {partition} has {records:,} records of {self.run.name}, but its seed makes {told:,}")
        if rows:
            self._write(SENT, whole_sessions(pl.concat(rows).lazy()).select(*SENT_SCHEMA).collect())

    def _shard(self, plan: Plan, stretch: Stretch, partition: int) -> Shard:
        run, options = self.run, options_of(self.run)
        mine = frozenset({partition})
        logs = [log.region for log in run.logs]
        return Shard(plan, run.tag, options.regions, stretch.base_ms, len(run.partitions), mine, options.format, logs)

    def _chunks(self, shard: Shard, first: int, end: int) -> Iterator[Chunk]:
        """The shard's records from the number `first` to below `end`."""
        numbers = Numbers(len(self.run.partitions))
        for due in shard.due(self.run.chunk_ms):
            number = numbers.of(due.partitions)
            wanted = (number >= first) & (number < end)
            behind = numbers.behind(due.lost_partitions)
            lost = ((behind > first) | (first == 0)) & (behind <= end)  # as a process counts it
            if wanted.any() or lost.any():
                yield shard.written(due.only(wanted, lost))
            if len(number) and number[-1] >= end:
                return

    def _write(self, table: str, rows: pl.DataFrame) -> None:
        if len(rows):
            writer = self._writers[table]
            writer.write_table(rows.to_arrow().cast(writer.schema))

    def close(self) -> None:
        for name, writer in self._writers.items():
            writer.close()
            (self.directory / f"{name}.new").replace(self.directory / name)
        if self.sessions_move:
            write_table(self.directory, "sent", whole_sessions(pl.scan_parquet(self.directory / SENT)))


def _ends(stretches: tuple[Stretch, ...], partition: int, records: int) -> Iterator[tuple[Stretch, int]]:
    """The stretches that sent records of a partition, and below which number each ended."""
    following = [later.first[partition] for later in stretches[1:]]
    for stretch, next_first in zip(stretches, [*following, records], strict=True):
        end = min(next_first, records)
        if stretch.first[partition] < end:
            yield stretch, end
