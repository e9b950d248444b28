"""One process of a load: makes its shard's records and sends them, live or as fast as it goes, and writes its parts of the ledger."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadgen import tally
from loadgen.audience import Plan, make_plan, make_world
from loadgen.faults import KIND_AND_WAY, parse_faults
from loadgen.ledger import FAULT_SCHEMA, Run, write_part
from loadgen.produce import DONE, FINAL_TICK_MS, READY, Pace, Records, Sender
from loadgen.rows import AGAIN, NEAR, WELL
from loadgen.shard import Chunk, Shard
from topologies.settings import KafkaSettings

LIVE_CHUNK_MS: Final = 200
CHUNK_RECORDS: Final = 50_000
PART_ROWS: Final = 100_000


@dataclass(frozen=True)
class Assignment:
    """What a process is told. A live run's span begins when all processes are ready, not at `run.span_start_ms`."""

    settings: KafkaSettings
    plan: Plan
    run: Run
    regions: int
    partitions: int
    mine: tuple[int, ...]
    process: int
    encoding: str = "json"


def warm_up(encoding: str = "json") -> None:
    """Compiles every kernel, or loads them; so that a process that starts after this one does neither in its sending time."""
    limits = parse_faults("all").limits()
    world = make_world(seed=1, span_ms=2_000, live=True, titles=10, regions=1, vanish=0.0, faults=limits, first_hour=0)
    shard = Shard(make_plan(world, 50), "t", 1, 0, 1, frozenset([0]), encoding)
    tallies = np.zeros((len(shard.lanes), tally.COLUMNS), np.int64)
    for chunk in shard.chunks(1_000):
        out = np.empty((len(chunk.order), tally.COLUMNS), np.int64)
        tally.count(chunk.rows, chunk.order, tallies, out)
    tally.sent_rows(shard.lanes, shard.keys, tallies[tallies[:, tally.ORDINAL] > 0], 1, 0)


class _Book:
    """This process's parts of the ledger: what was handed to Kafka, and no more."""

    def __init__(self, assignment: Assignment, shard: Shard) -> None:
        self._assignment = assignment
        self._shard = shard
        self._tallies = np.zeros((len(shard.lanes), tally.COLUMNS), np.int64)
        self._done: list[NDArray[np.int64]] = []
        self._broken: list[pl.DataFrame] = []
        self._number = 0

    def add(self, chunk: Chunk, sent: int) -> None:
        """The first `sent` records of the chunk were handed to Kafka."""
        order = chunk.order[: chunk.bounds[sent]]
        out = np.empty((len(order), tally.COLUMNS), np.int64)
        count = tally.count(chunk.rows, order, self._tallies, out)
        if count:
            self._done.append(out[:count].copy())
        faults = chunk.rows["fault"][order]
        doubled = (faults >= NEAR) & (faults <= AGAIN)
        # of the two records of a duplicated event the copy is the broken one
        picks = np.flatnonzero((faults != WELL) & (~doubled | (chunk.rows["copy"][order] == 1)))
        self._add_broken(chunk.rows[order[picks]], [chunk.reasons.get(i) for i in picks.tolist()])
        if sent == len(chunk.values):
            self._add_broken(chunk.lost, [None] * len(chunk.lost))
        if sum(map(len, self._done)) + sum(map(len, self._broken)) >= PART_ROWS:
            self._write()

    def _add_broken(self, rows: NDArray[Any], reasons: list[str | None]) -> None:
        """reasons: of the dead letters that mangled ones become; of the others None."""
        if not len(rows):
            return
        whose = np.zeros((len(rows), tally.COLUMNS), np.int64)
        whose[:, tally.LANE_INDEX] = rows["lane"]
        whose[:, tally.ORDINAL] = rows["ordinal"] + 1
        how = [KIND_AND_WAY[fault] for fault in rows["fault"].tolist()]
        columns = {
            "kind": [kind for kind, _ in how],
            "reason": [reason or way for reason, (_, way) in zip(reasons, how, strict=True)],
            "key": [self._shard.keys[lane].decode() for lane in rows["lane"].tolist()],
            "session": tally.sessions_of(self._shard.lanes, whose),
            "seq": rows["seq"],
            "times": np.ones(len(rows), np.int64),
        }
        self._broken.append(pl.DataFrame(columns, schema=FAULT_SCHEMA))

    def close(self) -> None:
        self._done.append(self._tallies[self._tallies[:, tally.ORDINAL] > 0])
        self._write()

    def _write(self) -> None:
        run, number, process = self._assignment.run, self._number, self._assignment.process
        rows = np.concatenate(self._done) if self._done else np.empty((0, tally.COLUMNS), np.int64)
        shard = self._shard
        sent = tally.sent_rows(shard.lanes, shard.keys, rows, self._assignment.regions, shard.base_ms)
        write_part(run.path, "sent", process, number, sent)
        write_part(run.path, "faults", process, number, pl.concat([pl.DataFrame(schema=FAULT_SCHEMA), *self._broken]))
        self._done, self._broken, self._number = [], [], number + 1


def work(assignment: Assignment, counters: Any, start_ms: Any, stop: Any, failure: Any) -> None:
    """The process's main function. `counters`: its part of the shared array; `start_ms` becomes > 0 when all may start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = parent_process()

    def stopped() -> bool:
        return bool(stop.value) or (parent is not None and not parent.is_alive())

    try:
        warm_up(assignment.encoding)
        run = assignment.run
        shard = Shard(
            assignment.plan, run.tag, assignment.regions, run.span_start_ms, assignment.partitions, frozenset(assignment.mine),
            assignment.encoding,
        )  # fmt: skip
        sender = Sender(assignment.settings, run.topic, run.live, counters, batches=assignment.encoding == "arrow")
        counters[READY] = 1
        while start_ms.value == 0 and not stopped():
            time.sleep(0.005)
        if run.live:
            shard.begin_at(int(start_ms.value))
        _send_all(assignment, shard, sender, stopped)
        counters[DONE] = 1
    except Exception as error:
        failure.put(f"{type(error).__name__}: {error}")
        raise


def _send_all(assignment: Assignment, shard: Shard, sender: Sender, stopped: Callable[[], bool]) -> None:
    run = assignment.run
    book = _Book(assignment, shard)
    pace = Pace(sender, stopped)
    for chunk in shard.chunks(_chunk_ms(assignment, shard)):
        sizes = np.diff(chunk.bounds) if assignment.encoding == "arrow" else None
        records = Records(chunk.values, chunk.keys, chunk.partitions, chunk.arrivals_ms.tolist(), sizes)
        count = len(chunk.values)
        sent = pace.send(records, chunk.arrivals_ms) if run.live else sender.send(records, 0, count, stopped)
        book.add(chunk, sent)
        if sent < count or stopped():
            break
    sender.flush()
    if not run.live:
        sender.end_with_ticks(assignment.mine, run.span_end_ms + FINAL_TICK_MS)
    book.close()


def _chunk_ms(assignment: Assignment, shard: Shard) -> int:
    """Live: short, so that making a chunk delays nothing. Backfill: about CHUNK_RECORDS at a time, which bounds the memory."""
    if assignment.run.live:
        return LIVE_CHUNK_MS
    plan = assignment.plan
    return int(max(100, plan.world.span_ms * CHUNK_RECORDS / max(1.0, plan.records * shard.share)))
