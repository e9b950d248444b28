"""What a process writes down of what it hands to Kafka: when, and what was broken on purpose. What was sent follows from the seed."""

from __future__ import annotations

import time
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadgen import tally
from loadgen.faults import KIND_AND_WAY
from loadgen.ledger import FAULT_SCHEMA, SEND_SCHEMA, Run, write_part
from loadgen.produce import LATE_SEND_MS
from loadgen.rows import AGAIN, NEAR, WELL
from loadgen.shard import Chunk, Shard

PART_S: Final = 15.0
"""A part of the ledger is written so often, or when it has PART_ROWS."""
PART_ROWS: Final = 100_000


def faults_of(chunk: Chunk, shard: Shard, sent: int) -> pl.DataFrame:
    """A row for each broken event of the chunk's first `sent` records, and for each lost one if those are all; columns FAULT_SCHEMA."""
    handed_over = chunk.rows[: chunk.bounds[sent]]
    faults = handed_over["fault"]
    doubled = (faults >= NEAR) & (faults <= AGAIN)
    # of the two records of a duplicated event the copy is the broken one
    picks = np.flatnonzero((faults != WELL) & (~doubled | (handed_over["copy"] == 1)))
    rows, reasons = handed_over[picks], [chunk.reasons.get(i) for i in picks.tolist()]
    if sent == len(chunk.values) and len(chunk.lost):
        rows, reasons = np.concatenate([rows, chunk.lost]), reasons + [None] * len(chunk.lost)
    whose = np.zeros((len(rows), tally.COLUMNS), np.int64)
    whose[:, tally.LANE_INDEX] = rows["lane"]
    whose[:, tally.ORDINAL] = rows["ordinal"] + 1
    how = [KIND_AND_WAY[fault] for fault in rows["fault"].tolist()]
    columns = {
        "kind": [kind for kind, _ in how],
        "reason": [reason or way for reason, (_, way) in zip(reasons, how, strict=True)],
        "key": [key.decode() for key in shard.keys(rows["lane"])],
        "session": tally.sessions_of(shard.lanes, whose),
        "seq": rows["seq"],
        "times": np.ones(len(rows), np.int64),
    }
    return pl.DataFrame(columns, schema=FAULT_SCHEMA)


class Book:
    """One process's parts of the ledger, from number 0: those of an earlier stretch have been merged."""

    def __init__(self, run: Run, shard: Shard, process: int) -> None:
        self._run = run
        self._shard = shard
        self._process = process
        self._sends: list[NDArray[np.int64]] = []
        self._broken: list[pl.DataFrame] = []
        self._number = 0
        self._written = time.monotonic()

    def add(self, chunk: Chunk, numbers: NDArray[np.int64], sent: int) -> None:
        """The first `sent` records of the chunk, which have these numbers in their partitions, were handed to Kafka."""
        if sent:
            self._sends.append(self._sent(chunk, numbers, sent, time.time_ns() // 1_000_000))
        broken = faults_of(chunk, self._shard, sent)
        if len(broken):
            self._broken.append(broken)
        rows = sum(map(len, self._sends)) + sum(map(len, self._broken))
        if rows >= PART_ROWS or time.monotonic() - self._written > PART_S:
            self._write()

    def _sent(self, chunk: Chunk, numbers: NDArray[np.int64], sent: int, now_ms: int) -> NDArray[np.int64]:
        """A row of `sends` for each partition, i8[n, columns]."""
        sizes = np.diff(chunk.bounds)[:sent]
        late = np.where(now_ms - chunk.arrivals_ms[:sent] > LATE_SEND_MS, sizes, 0) if self._run.live else np.zeros(sent, np.int64)
        stretch = len(self._run.stretches) - 1
        found = []
        for partition in np.unique(chunk.partitions[:sent]).tolist():
            mine = np.flatnonzero(chunk.partitions[:sent] == partition)
            due = chunk.arrivals_ms[mine]
            counts = (numbers[mine[0]], len(mine), sizes[mine].sum())
            found.append([stretch, self._process, partition, *counts, due[0], due[-1], now_ms, late[mine].sum()])
        return np.array(found, np.int64)

    def close(self) -> None:
        """Writes what is left."""
        self._write()

    def _write(self) -> None:
        rows = np.concatenate(self._sends) if self._sends else np.empty((0, len(SEND_SCHEMA)), np.int64)
        sends = pl.DataFrame({name: rows[:, at] for at, name in enumerate(SEND_SCHEMA)}, schema=SEND_SCHEMA)
        write_part(self._run.path, "sends", self._process, self._number, sends)
        if self._broken:
            write_part(self._run.path, "faults", self._process, self._number, pl.concat(self._broken))
        self._sends, self._broken, self._number, self._written = [], [], self._number + 1, time.monotonic()
