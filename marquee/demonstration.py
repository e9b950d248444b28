"""The demo: a cluster of its own, workers, events driven live, everything applied, audited, stopped.

cluster → workers → drive → catch_up → audit → stop      each timed; a failure keeps the directory with its logs
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from cluster.local import SERVICES, LocalCluster
from cluster.scaling.actuator import Supervised
from cluster.scaling.autoscaler import Autoscaler, Change, autoscaling
from cluster.scaling.fleet import BOUND_S
from cluster.supervisor import SERVE, Workers, at_any_port, start_all
from connectors.kafka import ensure_topics
from loadgen.audit import audit
from loadgen.audit_report import AuditResult
from loadgen.crew import LoadProgress
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load, shape_of
from marquee.catching_up import catch_up
from marquee.driving import driven
from marquee.moment import Driven
from marquee.outcome import Outcome
from marquee.recording import Recorder
from marquee.report import recorded, report
from marquee.report_page import write_report
from marquee.screen import Screen
from marquee.signals import interruptible, undisturbed
from marquee.steps import Steps
from topologies.settings import ScalingSettings, Settings

MOST_RATE: Final = 30_000.0
"""Events a second that two cores bear beside the servers and two workers."""
LEAST_S: Final = 32.0
"""A viewer is live for 30 s after the last event. So a drive of more than 30 s has a whole minute with viewers in it, and concurrents
something to be audited, however long the workers take for the rest."""


SCALED_S: Final = 420.0
"""One that is scaled lasts so long, so that workers start, bear what comes, and are too many again."""


def natural_rate(events: int, scaled: bool = False) -> float:
    """The rate of a demo that was not told one, events a second."""
    return min(MOST_RATE, events / (SCALED_S if scaled else LEAST_S))


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
    autoscale: tuple[int, int] | None = None
    """From how many workers to how many; `workers` of them all the time when None."""

    @property
    def first_workers(self) -> int:
        """How many there are when the drive begins."""
        return self.workers if self.autoscale is None else self.autoscale[0]

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
    """One demo. steps: seconds of each. workers: how many ran and how many were meant to, by seconds since the drive began."""

    settings: Settings
    options: DemoOptions
    screen: Screen
    steps: Steps = field(default_factory=Steps)
    workers: list[tuple[float, int, int]] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)
    recorder: Recorder | None = None
    changes: list[tuple[float, Change]] = field(default_factory=list)
    """What an autoscaler changed, by seconds since the drive began."""
    _scaler: Autoscaler | None = None

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
        services = SERVICES if self.options.autoscale is None else (*SERVICES, "zookeeper")
        cluster = LocalCluster(self.directory, self.settings, services=services, preferred=dict.fromkeys(services, 0), short_lived=True)
        groups: list[Workers] = []
        with interruptible():
            try:
                with self._step("cluster"):
                    cluster.start(self.screen.say)
                with self._step("workers"):
                    ensure_topics(cluster.settings)
                    workers = Workers(cluster.settings, self.options.first_workers, self.directory)
                    groups += (workers, Workers(at_any_port(cluster.settings), 1, self.directory, command=SERVE, role="api"))
                    start_all(groups, self.screen.say)
                    self.screen.say(f"the same over HTTP while it lasts: {groups[1].http(0)}")
                run = self.outcome.run = self._drive(cluster.settings, workers, load)
                with self._step("audit"):
                    result = self.outcome.result = audit(cluster.settings, run.name, self.screen.say)
            finally:
                with undisturbed(), self._step("stop"), ExitStack() as ending:  # the last first, and the rest whatever goes wrong
                    ending.callback(cluster.stop)
                    for group in groups:
                        ending.callback(group.stop_all)
                self._report()
                self.outcome.tidy(self.directory, self.screen, keep=self.options.keep)
        return result

    def _step(self, name: str) -> AbstractContextManager[None]:
        return self.steps.timed(name, self.screen.say)

    def _drive(self, settings: Settings, workers: Workers, options: LoadOptions) -> Run:
        assert options.run is not None
        self.recorder = recorder = Recorder(settings, options.run)
        begun, cpu_before = time.monotonic(), workers.all_cpu_seconds()
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

        with recorder, self._scaled(settings, workers):
            with self._step("drive"):
                run = run_load(settings, options, on_progress)
            if run.state == "stopped":
                raise KeyboardInterrupt
            with self._step("catch_up"):
                catch_up(settings, run.topic, lambda what: look(replace(last, waiting_for=what)))
        self.outcome.cpu_s = round(workers.all_cpu_seconds() - cpu_before, 2)
        return run

    @contextmanager
    def _scaled(self, settings: Settings, workers: Workers) -> Iterator[None]:
        """Within it, `_look` has an autoscaler, if one is asked for."""
        if self.options.autoscale is None:
            yield
            return
        with autoscaling(self.scaled_settings(settings), self.options.autoscale, Supervised(workers)) as self._scaler:
            yield
        self._scaler = None

    def scaled_settings(self, settings: Settings) -> Settings:
        """The settings with what a demo's minutes need in place of what days need, where nobody has set them otherwise: half of the most
        workers are taken to bear the mean rate, so that the load's shape asks for fewer and for more of them."""
        assert self.options.autoscale is not None
        usual, given = ScalingSettings(), settings.scaling
        quick = ScalingSettings(
            capacity_per_s=round(2 * self.options.rate / self.options.autoscale[1], 1), start_s=usual.start_s, hold_s=30.0, cool_s=20.0
        )
        chosen = {
            one.name: getattr(quick if getattr(given, one.name) == getattr(usual, one.name) else given, one.name) for one in fields(usual)
        }
        return replace(settings, scaling=ScalingSettings(**chosen))

    def _look(self, workers: Workers, begun: float) -> None:
        """Notes how many workers run, those that start or drain among them. Raises ServerAway when a worker has ended on its own."""
        workers.require_all()
        if self._scaler is not None and (change := self._scaler.step()) is not None:
            self.changes.append((round(time.monotonic() - begun, 1), change))
            self.screen.say(f"{change.before} → {change.wanted} workers: {change.why}")
        workers.reap()
        counts = len(workers.alive()), len(workers.meant())
        if not self.workers or self.workers[-1][1:] != counts:
            self.workers.append((round(time.monotonic() - begun, 1), *counts))

    def _report(self) -> None:
        """Writes the report of what was driven, whatever the audit says."""
        if self.outcome.run is not None and self.recorder is not None:
            write_report(self.report_file, report(recorded(self.outcome.run, self.recorder, self.outcome.result)))
            self.screen.say(f"report: {self.report_file}")

    def document(self) -> dict[str, Any]:
        """The audit's JSON and what the demo adds to it."""
        return {
            **self.outcome.document(),
            "workers": [{"t_s": t_s, "n": running, "wanted": wanted} for t_s, running, wanted in self.workers],
            **({"scaling": self._scaling()} if self.options.autoscale else {}),
            "steps": self.steps,
            "report": str(self.report_file),
        }

    def _scaling(self) -> dict[str, Any]:
        """What the autoscaler did, and how far behind what was shown stood meanwhile: at the most, and when all was sent."""
        assert self.recorder is not None
        assert self.options.autoscale is not None
        behind_s = [moment.behind_ms / 1000 for moment in self.recorder.moments if moment.behind_ms is not None]
        return {
            "from": self.options.autoscale[0],
            "to": self.options.autoscale[1],
            "capacity_per_s": self.scaled_settings(self.settings).scaling.capacity_per_s,
            "changes": [{"t_s": t_s, "before": one.before, "wanted": one.wanted, "why": one.why} for t_s, one in self.changes],
            "lag_s": {"most": max(behind_s, default=None), "last": behind_s[-1] if behind_s else None, "bound": BOUND_S},
        }
