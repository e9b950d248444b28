"""The demo of several regions: each with servers, workers and a door of its own, viewers at home in each, all audited as one.

cluster → workers → drive → catch_up → audit → stop      each timed; a failure keeps the directory with its logs
            drive: a region may be lost under it (marquee/losing.py); meanwhile visitors ask (marquee/regional_visitors.py)
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cluster.regions import RegionalCluster
from cluster.supervisor import SERVE, Workers, start_all
from connectors.kafka import ensure_topics
from loadgen.audit import audit
from loadgen.audit_report import AuditResult
from loadgen.crew import LoadProgress
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load, shape_of
from marquee.catching_up import catch_up
from marquee.driving import driven
from marquee.losing import Losing, Region
from marquee.outcome import Outcome
from marquee.regional_visitors import Visitors
from marquee.screen import Screen
from marquee.signals import interruptible, undisturbed
from marquee.steps import Steps
from topologies.errors import UsageError
from topologies.settings import Settings

NAMES: Final = ("eu-west-1", "us-east-1", "ap-south-1", "sa-east-1")
"""Of so many regions; viewers are at home in the one that is named after their own, or in one of their continent (loadgen.homes)."""
MOST_RATE: Final = 10_000.0
"""Events a second that two cores bear beside the servers, a worker and a door of two regions."""
LEAST_S: Final = 45.0
LOST_S: Final = 120.0
"""One that loses a region lasts so long, so that there is load before, while it is away, and when it is home again."""


@dataclass(frozen=True)
class RegionsOptions:
    """What `marquee demo --regions` was asked for; workers: of each region; rate in events a second; lose: a region, or empty, and then
    nothing is broken (faults): of two copies that a move parts, each would be its log's first."""

    events: int
    regions: int = 2
    workers: int = 1
    rate: float | None = None
    lose: str = ""
    seed: int = 1
    keep: bool = False
    format: str = "json"
    scenario: str = "steady"
    faults: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The regions'."""
        return NAMES[: self.regions]

    def load(self) -> LoadOptions:
        """The generator's options. UsageError when they do not fit together."""
        if not 2 <= self.regions <= len(NAMES):
            raise UsageError(f"--regions must be from 2 to {len(NAMES)}")
        if self.lose and self.lose not in self.names:
            raise UsageError(f"--lose {self.lose}: the regions are {', '.join(self.names)}")
        if self.lose and self.faults:
            raise UsageError("--lose takes no --faults: what a broken event is to be in another region's log, no ledger can know")
        rate = self.rate or min(MOST_RATE, self.events / (LOST_S if self.lose else LEAST_S))
        options = LoadOptions(
            events=self.events, rate=rate, format=self.format, seed=self.seed, scenario=self.scenario, faults=self.faults,
            run=f"demo-{os.getpid()}", everywhere=True,
        )  # fmt: skip
        shape_of(options)
        return options


@dataclass
class RegionsDemo:
    """One demo. steps: seconds of each."""

    settings: Settings
    options: RegionsOptions
    screen: Screen
    steps: Steps = field(default_factory=Steps)
    outcome: Outcome = field(default_factory=Outcome)
    regions: list[Region] = field(default_factory=list)
    visitors: Visitors | None = None
    losing: Losing | None = None

    @property
    def directory(self) -> Path:
        """Where its servers live."""
        return Path(self.settings.local.directory) / "clusters" / f"demo-{os.getpid()}"

    def play(self) -> AuditResult:
        """All of it. Raises MarqueeError when a step fails, KeyboardInterrupt when stopped; everything started is stopped then too."""
        load = self.options.load()
        cluster = RegionalCluster(self.directory, self.settings, self.options.names)
        with interruptible():
            try:
                with self._step("cluster"):
                    cluster.start(self.screen.say)
                with self._step("workers"):
                    self._start(cluster)
                run = self.outcome.run = self._drive(cluster, load)
                with self._step("audit"):
                    result = self.outcome.result = audit(self.settings_of_load(), run.name, self.screen.say)
            finally:
                with undisturbed(), self._step("stop"), ExitStack() as ending:  # the last first, and the rest whatever goes wrong
                    ending.callback(cluster.stop)
                    for group in (group for region in self.regions for group in region.groups):
                        ending.callback(group.stop_all)
                self.outcome.tidy(self.directory, self.screen, keep=self.options.keep)
        return result

    def _step(self, name: str) -> AbstractContextManager[None]:
        return self.steps.timed(name, self.screen.say)

    def _start(self, cluster: RegionalCluster) -> None:
        for name in self.options.names:
            settings, directory = cluster.settings(name), cluster.cluster(name).directory
            ensure_topics(settings)
            named = {role: replace(settings, worker=replace(settings.worker, name=f"{name}-{role}")) for role in ("worker", "api")}
            workers = Workers(named["worker"], self.options.workers, directory)
            doors = Workers(named["api"], 1, directory, command=SERVE, role="api")
            self.regions.append(Region(name, settings, workers, doors))
        start_all([group for region in self.regions for group in region.groups], self.screen.say)
        for region in self.regions:
            self.screen.say(f"the sum of all regions while it lasts, from {region.name}: {region.doors.http(0)}")

    def _drive(self, cluster: RegionalCluster, options: LoadOptions) -> Run:
        cpu_before = self._worker_cpu_s()
        lost = next((region for region in self.regions if region.name == self.options.lose), None)
        with ExitStack() as going:
            self.visitors = going.enter_context(Visitors(self.regions[0].settings))
            self.losing = going.enter_context(Losing(cluster, lost, self.screen.say)) if lost is not None else None

            def on_progress(progress: LoadProgress) -> None:
                if progress.phase == "sending":
                    self._look(progress)
                    self.screen.show(driven(progress), None)

            with self._step("drive"):
                run = run_load(self.settings_of_load(), options, on_progress)
            if run.state == "stopped":
                raise KeyboardInterrupt
            with self._step("catch_up"):
                if self.losing is not None:
                    self.losing.wait_back()
                for region in self.regions:
                    catch_up(region.settings, run.topic, lambda _: self._look())
        self.outcome.cpu_s = round(self._worker_cpu_s() - cpu_before, 2)
        return run

    def _worker_cpu_s(self) -> float:
        return sum(region.workers.all_cpu_seconds() for region in self.regions)

    def settings_of_load(self) -> Settings:
        """Of the generator: of a region that stays."""
        return next(region for region in self.regions if region.name != self.options.lose).settings

    def _look(self, progress: LoadProgress | None = None) -> None:
        """Raises ServerAway when a worker has ended on its own, and whatever the loss of a region did."""
        if self.losing is not None and progress is not None and progress.total:
            self.losing.look(progress.sent / progress.total)
        for region in self.regions:
            region.workers.require_all()

    def document(self) -> dict[str, Any]:
        """The audit's JSON and what the demo adds to it."""
        return {
            **self.outcome.document(),
            "regions": list(self.options.names),
            "asked": self.visitors.document() if self.visitors else None,
            "lost": self.losing.document() if self.losing else None,
            "steps": self.steps,
        }
