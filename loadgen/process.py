"""One process of a load: makes its shard's records and sends them, live or as fast as it goes, and writes its parts of the ledger."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import parent_process
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.allocator import keep_freed_memory
from loadgen.audience import Plan, make_plan, make_world
from loadgen.book import Book, faults_of
from loadgen.faults import parse_faults
from loadgen.holding import sending
from loadgen.ledger import Run
from loadgen.order import Numbers
from loadgen.produce import CPU_MS, DONE, FINAL_TICK_MS, FIRST_MS, READY, RSS_KB, SENDING_MS, STARTUP_CPU_MS, Pace, Records, Sender
from loadgen.regional import RegionalSender
from loadgen.shard import Due, Shard
from topologies.errors import MarqueeError
from topologies.settings import KafkaSettings

NEVER_MS = np.iinfo(np.int64).max
"""FIRST_MS of a process that has nothing left to send."""


@dataclass(frozen=True)
class Assignment:
    """What a process is told. A live run's span begins when all processes are ready, not at its stretch's `base_ms`."""

    settings: KafkaSettings
    plan: Plan
    run: Run
    regions: int
    partitions: int
    mine: tuple[int, ...]
    process: int
    encoding: str = "json"
    brokers: dict[str, KafkaSettings] = field(default_factory=dict)
    """Of each region whose log the run writes to; none of a run of one log."""


def warm_up(encoding: str = "json") -> None:
    """Compiles every kernel, or loads them; so that a process that starts after this one does neither in its sending time."""
    limits = parse_faults("all").limits()
    world = make_world(seed=1, span_ms=2_000, live=True, titles=10, regions=1, vanish=0.0, faults=limits, first_hour=0)
    shard = Shard(make_plan(world, 50), "t", 1, 0, 1, frozenset([0]), encoding)
    numbers = Numbers(1)
    for chunk in shard.chunks(1_000):
        numbers.of(chunk.partitions)
        faults_of(chunk, shard, len(chunk.values))


def work(assignment: Assignment, counters: Any, start_ms: Any, stop: Any, failure: Any) -> None:
    """The process's main function. `counters`: its part of the shared array; `start_ms` becomes > 0 when all may start: the epoch ms at
    which a live run's span begins."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    keep_freed_memory()  # where it cannot, a chunk's arrays cost more (decision 0066)
    parent = parent_process()

    def stopped() -> bool:
        return bool(stop.value) or (parent is not None and not parent.is_alive())

    try:
        with sending(assignment.run.path):
            _Work(assignment, counters, stopped).carry_out(start_ms)
        counters[DONE] = 1
    except MarqueeError as error:  # its owner says it
        failure.put(str(error))
        raise SystemExit(1) from None
    except Exception as error:
        failure.put(f"{type(error).__name__}: {error}")
        raise


class _Work:
    """The process's share of a stretch."""

    def __init__(self, assignment: Assignment, counters: Any, stopped: Callable[[], bool]) -> None:
        warm_up(assignment.encoding)
        self._assignment = assignment
        self._run = run = assignment.run
        self._counters = counters
        self._stopped = stopped
        self._cut_short = False
        self._shard = Shard(
            assignment.plan, run.tag, assignment.regions, run.stretches[-1].base_ms, assignment.partitions, frozenset(assignment.mine),
            assignment.encoding, [log.region for log in run.logs],
        )  # fmt: skip
        self._sender = self._opened()
        self._counters[STARTUP_CPU_MS] = _cpu_ms()

    def _opened(self) -> Sender | RegionalSender:
        given, batches = self._assignment, self._assignment.encoding == "arrow"
        if given.brokers:
            return RegionalSender(given.brokers, self._run, given.mine, given.process, self._counters, batches=batches)
        return Sender(given.settings, self._run.topic, self._run.live, self._counters, batches=batches)

    def carry_out(self, start_ms: Any) -> None:
        """Makes what is due first, waits for the others, and sends all, or until it is stopped."""
        unsent = self._unsent()
        first = next(unsent, None)
        arrivals = np.concatenate([first[0].arrivals_ms, first[0].lost["arrival"]]) if first else np.empty(0, np.int64)
        self._counters[FIRST_MS] = int(arrivals.min(initial=NEVER_MS))
        self._counters[READY] = 1
        while start_ms.value == 0 and not self._stopped():
            time.sleep(0.005)
        if self._run.live:
            self._shard.begin_at(int(start_ms.value))
        began = time.monotonic()
        book = Book(self._run, self._shard, self._assignment.process)
        pace = Pace(self._sender, self._stopped)
        whole = first is None or (not self._stopped() and self._send(book, pace, *first))
        del first  # a chunk takes megabytes
        self._note(began)
        while whole and (due := next(unsent, None)) is not None:
            whole = self._send(book, pace, *due)
            self._note(began)
        self._sender.flush()
        if whole and not self._cut_short and isinstance(self._sender, Sender) and not self._run.live:
            self._sender.end_with_ticks(self._assignment.mine, self._run.span_end_ms + FINAL_TICK_MS)
        book.close()
        self._note(began)

    def _unsent(self) -> Iterator[tuple[Due, NDArray[np.int64]]]:
        """What no earlier stretch has sent, with the records' numbers in their partitions."""
        numbers = Numbers(self._assignment.partitions)
        first, fresh = np.array(self._run.stretches[-1].first, np.int64), len(self._run.stretches) == 1
        for due in self._shard.due(self._run.chunk_ms):
            number = numbers.of(due.partitions)
            wanted = number >= first[due.partitions]
            # what is lost counts with the records before it: none of them may be missing, and one at least has to be new
            lost = (numbers.behind(due.lost_partitions) > first[due.lost_partitions]) | fresh
            if wanted.any() or lost.any():
                yield due.only(wanted, lost), number[wanted]
            elif self._stopped():
                self._cut_short = True
                return

    def _send(self, book: Book, pace: Pace, due: Due, numbers: NDArray[np.int64]) -> bool:
        """Whether all of it was handed over, and there is to be more."""
        chunk = self._shard.written(due)
        sizes = np.diff(chunk.bounds) if self._assignment.encoding == "arrow" else None
        records = Records(chunk.values, chunk.keys, chunk.partitions.tolist(), chunk.arrivals_ms.tolist(), sizes)
        count = len(chunk.values)
        live = self._run.live
        sent = pace.send(records, chunk.arrivals_ms) if live else self._sender.send(records, 0, count, self._stopped)
        book.add(chunk, numbers, sent)
        return sent == count and not self._stopped()

    def _note(self, began: float) -> None:
        self._counters[SENDING_MS] = round(1000 * (time.monotonic() - began))
        self._counters[CPU_MS] = _cpu_ms() - self._counters[STARTUP_CPU_MS]
        self._counters[RSS_KB] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _cpu_ms() -> int:
    return round(1000 * time.process_time())
