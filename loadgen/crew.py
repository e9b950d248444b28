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

import polars as pl

from connectors.kafka import partition_offsets
from loadgen.faults import CLASSES
from loadgen.ledger import PartitionSpan, Run, merge_parts, read_faults, save_run
from loadgen.process import Assignment, work
from loadgen.produce import COUNTERS, DONE, FAILED, LATE_SENDS, MAX_LATENESS_MS, READY, SENT, WAITING
from topologies.errors import MarqueeError
from topologies.settings import Settings

LEAD_MS: Final = 1_000
"""A live run starts so long after its processes are ready: their first chunk is made meanwhile."""
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
    broken = read_faults(run)
    ends = partition_offsets(settings, run.topic)
    bad = broken.filter(pl.col("kind").is_in([kind for kind, name in CLASSES.items() if name == "dead"]))
    finished = replace(
        run,
        ended_ms=time.time_ns() // 1_000_000,
        partitions=tuple(PartitionSpan(span.partition, span.first, ends[span.partition][1] - 1) for span in run.partitions),
        faults=dict(broken.group_by("kind").agg(pl.col("times").sum()).sort("kind").iter_rows()),
        malformed=dict(bad.group_by("reason").agg(pl.len()).sort("reason").iter_rows()),
    )
    save_run(finished)
    return finished


class Crew:
    """The processes of one run."""

    def __init__(
        self,
        settings: Settings,
        run: Run,
        total: int,
        rate: float,
        assignments: list[Assignment],
        on_progress: Callable[[LoadProgress], None],
        enough: Callable[[], bool],
    ) -> None:
        self._enough = enough
        self._settings = settings
        self._run = run
        self._on_progress = on_progress
        self._count = len(assignments)
        context = multiprocessing.get_context("spawn")
        self._counters = context.RawArray("q", self._count * COUNTERS)
        self._start_ms = context.RawValue("q", 0)
        self._stop = context.RawValue("b", 0)
        self._failure: Any = context.Queue()
        self._processes = [
            context.Process(target=_run_process, args=(item, self._counters, self._start_ms, self._stop, self._failure), daemon=True)
            for item in assignments
        ]
        self._last = LoadProgress("starting", total=total, intended_rate=rate)
        self._began = time.monotonic()
        self._samples: deque[tuple[float, int]] = deque(maxlen=6)
        self._saved = 0.0

    def work(self) -> Run:
        """Runs to the end, to a signal or until it is enough. MarqueeError (with the ledger saying `failed`) when a process fails."""
        with stop_signals(self._ask_to_stop):
            try:
                for process in self._processes:
                    process.start()
                self._wait("starting", lambda: self._all(READY), READY_S)
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
        if self._run.live:
            span = self._run.span_end_ms - self._run.span_start_ms
            self._run = replace(self._run, span_start_ms=start, span_end_ms=start + span)
        self._began = time.monotonic()
        self._samples.clear()
        self._start_ms.value = start

    def _ask_to_stop(self) -> None:
        self._stop.value = 1

    def _all(self, counter: int) -> bool:
        return all(self._counters[index * COUNTERS + counter] for index in range(self._count))

    def _wait(self, phase: str, done: Callable[[], bool], limit_s: float | None) -> None:
        began = time.monotonic()
        while not done():
            self._check()
            if self._stop.value and phase == "starting":
                return
            if limit_s is not None and time.monotonic() - began > limit_s:
                raise MarqueeError(f"the load's processes were not ready in {limit_s:.0f} s; the machine is too busy, try again with fewer")
            self._note(phase)
            if phase == "sending" and self._enough():
                self._ask_to_stop()
            time.sleep(0.25 if phase == "sending" else 0.02)
        self._check()

    def _check(self) -> None:
        for index, process in enumerate(self._processes):
            if process.exitcode not in (None, 0) or (process.exitcode == 0 and not self._counters[index * COUNTERS + DONE]):
                try:
                    reason = self._failure.get(timeout=0.5)
                except queue.Empty:
                    reason = f"exit code {process.exitcode}"
                raise MarqueeError(f"a process of the load ended early ({reason}); its ledger {self._run.path} is incomplete")

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
            elapsed_s=now - self._began,
        )
        self._on_progress(self._last)
        if now - self._saved >= 1:
            self._saved = now
            save_run(run)

    def _counted(self) -> Run:
        def total(counter: int) -> int:
            return sum(self._counters[index * COUNTERS + counter] for index in range(self._count))

        sent, failed = total(SENT), total(FAILED)
        worst = max(self._counters[index * COUNTERS + MAX_LATENESS_MS] for index in range(self._count))
        return replace(
            self._run,
            generated=sent,
            failed=failed,
            acknowledged=max(0, sent - failed - total(WAITING)),
            late_sends=total(LATE_SENDS),
            max_lateness_ms=worst,
        )

    def _finish(self) -> Run:
        self._note("finishing")
        state = "stopped" if self._stop.value and self._last.sent < self._last.total else "finished"
        run = finish_run(self._settings, replace(self._counted(), state=state))
        self._note_done()
        return run

    def _note_done(self) -> None:
        self._last = replace(self._last, phase="done")
        self._on_progress(self._last)


def _run_process(assignment: Assignment, counters: Any, start_ms: Any, stop: Any, failure: Any) -> None:
    first = assignment.process * COUNTERS
    work(assignment, memoryview(counters).cast("B").cast("q")[first : first + COUNTERS], start_ms, stop, failure)
