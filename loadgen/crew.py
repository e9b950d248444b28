"""The parent of a load's processes: starts them together, watches them, keeps run.json, stops them cleanly."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from connectors.kafka import partition_offsets
from loadgen.ledger import Run, counts_of, merge_parts, records_of, save_run
from loadgen.measuring import Outside, greatest_rss_mb, measured
from loadgen.process import NEVER_MS, Assignment, work
from loadgen.produce import COUNTERS, DONE, FAILED, FIRST_MS, LATE_SENDS, MAX_LATENESS_MS, READY, SENT, WAITING
from topologies.errors import MarqueeError, ServerAway
from topologies.regions import in_region
from topologies.settings import Settings

LEAD_MS: Final = 1_000
"""A live run starts so long after its processes are ready: their first chunk is made meanwhile."""
BACK_S: Final = 120.0
BACK_LOOK_S: Final = 0.5
READY_S: Final = 300.0
"""A process that ends before is noticed at once."""


@dataclass(frozen=True)
class LoadProgress:
    """How far a load or a replay is. Rates in events a second; `rate` over the last second or so, `intended_rate` 0: as fast as it goes."""

    phase: str
    """planning | starting | sending | finishing | done"""
    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    total: int = 0
    rate: float = 0.0
    intended_rate: float = 0.0
    late_sends: int = 0
    max_lateness_ms: int = 0
    rss_mb: float = 0.0
    """The greatest resident memory of a process so far, MiB; 0 before the first has sent its first chunk, and of a replay."""
    elapsed_s: float = 0.0


@contextmanager
def stop_signals(on_stop: Callable[[], None]) -> Iterator[None]:
    """Within, SIGINT and SIGTERM call `on_stop`. Outside the main thread signals are somebody else's business."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: on_stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def finish_run(settings: Settings, run: Run) -> Run:
    """Merges the run's parts, notes where its records end in the log, and writes run.json for the last time."""
    merge_parts(run.path)
    ends = ends_of(settings, run)
    records = records_of(run)
    faults, malformed = counts_of(pl.scan_parquet(run.broken))
    finished = replace(
        run,
        ended_ms=time.time_ns() // 1_000_000,
        partitions=tuple(replace(span, last=ends[span.partition] - 1, records=records.get(span.partition, 0)) for span in run.partitions),
        faults=faults,
        malformed=malformed,
    )
    save_run(finished)
    return finished


def ends_of(settings: Settings, run: Run) -> dict[int, int]:
    """The next offset of each of the run's partitions. Raises as partition_offsets does; of several regions, one that is lost is waited for
    BACK_S, for the run is not over before its log can be told."""
    logs, until_s = [in_region(settings, log.region) for log in run.logs] or [settings], time.monotonic() + BACK_S
    found: list[dict[int, tuple[int, int]]] = []
    while not found:
        try:
            found = [partition_offsets(log, run.topic) for log in logs]
        except ServerAway:
            if not run.logs or time.monotonic() > until_s:
                raise
            time.sleep(BACK_LOOK_S)
    return {at * run.log_partitions + partition: end for at, one in enumerate(found) for partition, (_, end) in one.items()}


@dataclass(frozen=True)
class Job:
    """What a crew is to do. total: events of the run, of its earlier stretches too; rate: events a second, 0: as fast as it goes.

    broker_cpu_s: CPU that the broker has used so far, seconds, if that can be known. planned_cpu_s: what planning took.
    """

    settings: Settings
    run: Run
    total: int
    rate: float
    assignments: list[Assignment]
    on_progress: Callable[[LoadProgress], None]
    enough: Callable[[], bool]
    broker_cpu_s: Callable[[], float] | None = None
    planned_cpu_s: float = 0.0


class Crew:
    """The processes of one run's stretch."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._run = job.run
        self._count = len(job.assignments)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["loadgen.prepared"])
        self._counters = context.RawArray("q", self._count * COUNTERS)
        self._start_ms = context.RawValue("q", 0)
        self._stop = context.RawValue("b", 0)
        self._failure: Any = context.Queue()
        self._processes = [
            context.Process(target=_run_process, args=(item, self._counters, self._start_ms, self._stop, self._failure), daemon=True)
            for item in job.assignments
        ]
        self._last = LoadProgress("starting", total=job.total, intended_rate=job.rate)
        self._began = time.monotonic()
        self._cpu_before_s = time.thread_time()
        self._broker_before_s = 0.0
        self._samples: deque[tuple[float, int]] = deque(maxlen=6)
        self._saved = 0.0

    def work(self) -> Run:
        """Runs to the end, to a signal or until it is enough. MarqueeError (with the ledger saying `failed`) when a process fails."""
        with stop_signals(self._ask_to_stop):
            try:
                for process in self._processes:
                    process.start()
                # who goes on with a run first makes again what was sent, however long that takes
                self._wait("starting", lambda: self._all(READY), READY_S if len(self._run.stretches) == 1 else None)
                self._start_together()
                self._wait("sending", lambda: not any(process.is_alive() for process in self._processes), None)
                return self._finish()
            except BaseException as error:
                self._ask_to_stop()
                for process in self._processes:
                    process.join(10)
                    if process.is_alive():
                        process.kill()
                save_run(replace(self._counted(), state="failed", error=str(error), ended_ms=time.time_ns() // 1_000_000))
                raise

    def _start_together(self) -> None:
        start = time.time_ns() // 1_000_000 + LEAD_MS
        run = self._run
        if run.live:
            # what is due first is due when they start
            first = [row[FIRST_MS] for row in self._rows() if row[FIRST_MS] != NEVER_MS] if len(run.stretches) > 1 else []
            base = start - int(min(first, default=0))
            span = self._job.assignments[0].plan.world.span_ms
            stretches = (*run.stretches[:-1], replace(run.stretches[-1], base_ms=base))
            self._run = replace(run, span_start_ms=stretches[0].base_ms, span_end_ms=base + span, stretches=stretches)
            start = base
        save_run(self._counted())
        self._began = time.monotonic()
        self._broker_before_s = self._job.broker_cpu_s() if self._job.broker_cpu_s else 0.0
        self._samples.clear()
        self._start_ms.value = start

    def _ask_to_stop(self) -> None:
        self._stop.value = 1

    def _rows(self) -> NDArray[np.int64]:
        return np.frombuffer(self._counters, np.int64).reshape(self._count, COUNTERS)

    def _all(self, counter: int) -> bool:
        return bool(self._rows()[:, counter].all())

    def _wait(self, phase: str, done: Callable[[], bool], limit_s: float | None) -> None:
        began = time.monotonic()
        while not done():
            self._check()
            if self._stop.value and phase == "starting":
                return
            if limit_s is not None and time.monotonic() - began > limit_s:
                raise MarqueeError(f"the load's processes were not ready in {limit_s:.0f} s; the machine is too busy, try again with fewer")
            self._note(phase)
            if phase == "sending" and self._job.enough():
                self._ask_to_stop()
            time.sleep(0.25 if phase == "sending" else 0.02)
        self._check()

    def _check(self) -> None:
        for index, process in enumerate(self._processes):
            if process.exitcode not in (None, 0) or (process.exitcode == 0 and not self._rows()[index, DONE]):
                try:
                    reason = self._failure.get(timeout=0.5)
                except queue.Empty:
                    reason = f"exit code {process.exitcode}"
                again = f"`marquee load --resume {self._run.name}` goes on with it"
                raise MarqueeError(f"a process of the load ended early ({reason}); {again}")

    def _note(self, phase: str) -> None:
        run = self._counted()
        now = time.monotonic()
        self._samples.append((now, run.generated))
        (then, before), (_, sent) = self._samples[0], self._samples[-1]
        rate = (sent - before) / (now - then) if now > then else 0.0
        self._last = replace(
            self._last,
            phase=phase,
            sent=run.generated,
            acknowledged=run.acknowledged,
            failed=run.failed,
            rate=rate,
            late_sends=run.late_sends,
            max_lateness_ms=run.max_lateness_ms,
            rss_mb=greatest_rss_mb(self._rows()),
            elapsed_s=now - self._began,
        )
        self._job.on_progress(self._last)
        if now - self._saved >= 1:
            self._saved = now
            save_run(run)

    def _counted(self) -> Run:
        """The run with what its earlier stretches and this one have counted so far."""
        before, rows = self._job.run, self._rows()
        sent, failed, waiting = (int(rows[:, counter].sum()) for counter in (SENT, FAILED, WAITING))
        return replace(
            self._run,
            generated=before.generated + sent,
            failed=failed,
            acknowledged=before.acknowledged + max(0, sent - failed - waiting),
            late_sends=before.late_sends + int(rows[:, LATE_SENDS].sum()),
            max_lateness_ms=max(before.max_lateness_ms, int(rows[:, MAX_LATENESS_MS].max())),
        )

    def _finish(self) -> Run:
        seconds = time.monotonic() - self._began
        self._note("finishing")
        state = "stopped" if self._stop.value and self._last.sent < self._last.total else "finished"
        broker_s = None if self._job.broker_cpu_s is None else self._job.broker_cpu_s() - self._broker_before_s
        parent_s = self._job.planned_cpu_s + time.thread_time() - self._cpu_before_s
        figures = measured(self._rows(), Outside(parent_s, broker_s, seconds))
        run = finish_run(self._job.settings, replace(self._counted(), state=state, measured=figures))
        self._last = replace(self._last, phase="done")
        self._job.on_progress(self._last)
        return run


def _run_process(assignment: Assignment, counters: Any, start_ms: Any, stop: Any, failure: Any) -> None:
    first = assignment.process * COUNTERS
    work(assignment, memoryview(counters).cast("B").cast("q")[first : first + COUNTERS], start_ms, stop, failure)
