"""The demo: a cluster of its own, workers, events driven live, everything applied, audited, stopped.

cluster → workers → drive → catch_up → audit → stop      each timed; a failure keeps the directory with its logs
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cluster.local import SERVICES, LocalCluster
from cluster.supervisor import SERVE, Workers, start_all
from connectors.kafka import ensure_topics
from loadgen.audit import audit
from loadgen.audit_report import AuditResult
from loadgen.crew import LoadProgress
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load, shape_of
from marquee.catching_up import catch_up
from marquee.driving import driven
from marquee.moment import Driven
from marquee.recording import Recorder
from marquee.report import recorded, report
from marquee.report_page import write_report
from marquee.screen import Screen
from marquee.signals import interruptible, undisturbed
from marquee.steps import Steps
from topologies.errors import ServerAway
from topologies.settings import Settings

MOST_RATE: Final = 30_000.0
"""Events a second that two cores bear beside the servers and two workers."""
LEAST_S: Final = 32.0
"""A viewer is live for 30 s after the last event. So a drive of more than 30 s has a whole minute with viewers in it, and concurrents
something to be audited, however long the workers take for the rest."""


def natural_rate(events: int) -> float:
    """The rate of a demo that was not told one, events a second."""
    return min(MOST_RATE, events / LEAST_S)


@dataclass(frozen=True)
class DemoOptions:
    """What `marquee demo` was asked for; rate in events a second."""

    events: int
    workers: int
    rate: float
    faults: str = ""
    seed: int = 1
    keep: bool = False
    format: str = "json"
    scenario: str = "steady"
    report: Path | None = None
    """Where its report goes; var/demo.html, the last demo's, when None."""

    def load(self) -> LoadOptions:
        """The generator's options. UsageError when they do not fit together."""
        options = LoadOptions(
            events=self.events, rate=self.rate, format=self.format, seed=self.seed, faults=self.faults, scenario=self.scenario,
            run=f"demo-{os.getpid()}",
        )  # fmt: skip
        shape_of(options)
        return options


@dataclass
class Demo:
    """One demo. steps: seconds of each. workers: how many ran, by seconds since the drive began. cpu_s: theirs, drive and catch-up."""

    settings: Settings
    options: DemoOptions
    screen: Screen
    steps: Steps = field(default_factory=Steps)
    workers: list[tuple[float, int]] = field(default_factory=list)
    cpu_s: float = 0.0
    run: Run | None = None
    recorder: Recorder | None = None
    result: AuditResult | None = None

    @property
    def report_file(self) -> Path:
        """Where its report goes."""
        return self.options.report or Path(self.settings.local.directory) / "demo.html"

    @property
    def directory(self) -> Path:
        """Where its servers live."""
        return Path(self.settings.local.directory) / "clusters" / f"demo-{os.getpid()}"

    def play(self) -> AuditResult:
        """All of it. Raises MarqueeError when a step fails, KeyboardInterrupt when stopped; everything started is stopped then too."""
        load = self.options.load()
        cluster = LocalCluster(self.directory, self.settings, preferred=dict.fromkeys(SERVICES, 0), short_lived=True)
        groups: list[Workers] = []
        with interruptible():
            try:
                with self._step("cluster"):
                    cluster.start(self.screen.say)
                with self._step("workers"):
                    ensure_topics(cluster.settings)
                    workers = Workers(cluster.settings, self.options.workers, self.directory)
                    anywhere = replace(cluster.settings, api=replace(cluster.settings.api, http_port=0))
                    groups += (workers, Workers(anywhere, 1, self.directory, command=SERVE, role="api"))
                    start_all(groups, self.screen.say)
                    self.screen.say(f"the same over HTTP while it lasts: {groups[1].http(0)}")
                self.run = self._drive(cluster.settings, workers, load)
                with self._step("audit"):
                    self.result = audit(cluster.settings, self.run.name, self.screen.say)
            finally:
                with undisturbed(), self._step("stop"):
                    for group in reversed(groups):
                        group.stop_all()
                    cluster.stop()
                self._report()
                self._tidy()
        return self.result

    def _step(self, name: str) -> AbstractContextManager[None]:
        return self.steps.timed(name, self.screen.say)

    def _drive(self, settings: Settings, workers: Workers, options: LoadOptions) -> Run:
        assert options.run is not None
        self.recorder = recorder = Recorder(settings, options.run)
        begun, cpu_before = time.monotonic(), _cpu_s(workers)
        last = Driven(0, 0, 0, 0.0, 0.0)

        def look(now: Driven) -> None:
            recorder.driven(now)
            self._look(workers, begun)
            self.screen.show(now, recorder.latest)

        def on_progress(progress: LoadProgress) -> None:
            nonlocal last
            last = driven(progress)
            if progress.phase == "sending":
                look(last)

        with recorder:
            with self._step("drive"):
                run = run_load(settings, options, on_progress)
            if run.state == "stopped":
                raise KeyboardInterrupt
            with self._step("catch_up"):
                catch_up(settings, run.topic, lambda what: look(replace(last, waiting_for=what)))
        self.cpu_s = round(_cpu_s(workers) - cpu_before, 2)
        return run

    def _look(self, workers: Workers, begun: float) -> None:
        """Notes how many workers run. Raises ServerAway when a worker has ended on its own."""
        if ended := workers.watch():
            worker = workers[ended[0]]
            raise ServerAway(f"{worker.name} ended on its own; {worker.log} says why")
        count = len(workers.alive())
        if not self.workers or self.workers[-1][1] != count:
            self.workers.append((round(time.monotonic() - begun, 1), count))

    def _report(self) -> None:
        """Writes the report of what was driven, whatever the audit says."""
        if self.run is not None and self.recorder is not None:
            write_report(self.report_file, report(recorded(self.run, self.recorder, self.result)))
            self.screen.say(f"report: {self.report_file}")

    def _tidy(self) -> None:
        """Removes what a demo that went well leaves; keeps and says it otherwise."""
        if self.options.keep or self.result is None or not self.result.proven:
            self.screen.say(f"kept: {self.directory}" + (f", {self.run.path}" if self.run else ""))
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.run is not None:
            shutil.rmtree(self.run.path, ignore_errors=True)

    def document(self) -> dict[str, Any]:
        """The audit's JSON and what the demo adds to it."""
        assert self.result is not None
        assert self.run is not None
        return {
            **self.result.document(),
            "events_per_core_second": round(self.run.generated / self.cpu_s) if self.cpu_s else None,
            "worker_cpu_s": self.cpu_s,
            "intended_rate": self.options.rate,
            "late_sends": self.run.late_sends,
            "max_lateness_ms": self.run.max_lateness_ms,
            "workers": [{"t_s": t_s, "n": count} for t_s, count in self.workers],
            "steps": self.steps,
            "report": str(self.report_file),
        }


def _cpu_s(workers: Workers) -> float:
    return sum(workers.cpu_seconds(index) for index in range(len(workers)))
