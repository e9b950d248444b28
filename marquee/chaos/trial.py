"""A chaos run: servers and workers of its own, load, faults by plan, everything healed and applied, audited, stopped.

    cluster → workers → drive (with the lanes) → catch_up → audit → stop

What is not exact is kept: servers' data, logs, plan and ledger, with the command that repeats it.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cluster.local import ALL_SERVICES, SERVICES, LocalCluster
from cluster.supervisor import Workers
from connectors.kafka import ensure_topics
from loadgen.audit import audit
from loadgen.audit_report import AuditResult
from loadgen.crew import LoadProgress
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load, shape_of
from marquee.catching_up import catch_up
from marquee.chaos.front import Front
from marquee.chaos.ground import Exit, Ground
from marquee.chaos.kinds import SESSION_TIMEOUT_S
from marquee.chaos.lanes import Lanes
from marquee.chaos.outsider import Outsider
from marquee.chaos.plan import OVERTIME_S, TAIL_S, Plan, Planned
from marquee.chaos.standstill import Standstill
from marquee.chaos.visitors import Visitors
from marquee.driving import driven
from marquee.screen import Screen
from marquee.signals import interruptible, undisturbed
from marquee.steps import Steps
from marquee.watching import Watcher
from topologies.errors import MarqueeError
from topologies.settings import Settings

HEAPS_MB: Final = {"kafka": 384, "cassandra": 640}
"""Small, so that two runs fit side by side on a small machine."""
FORMATS: Final = ("json", "arrow")
"""Of the load, by whether the seed is even or odd; strays are JSON always."""
FAULTS: Final = "duplicates,late,malformed,out-of-order"
STUCK_S: Final = 120.0
"""When all is healed and nothing has been applied for so long, with records left, the run has failed."""
LOOK_EVERY_S: Final = 0.25
READY_S: Final = 300.0
"""Three workers that start at once on a machine that does much else."""


@dataclass(frozen=True)
class ChaosOptions:
    """rate: events a second of the load, beside the strays. again: the command that repeats the run."""

    plan: Plan
    rate: float
    again: str
    keep: bool = False

    def load(self, run: str) -> LoadOptions:
        """The generator's options, for the longest that it may go on. UsageError when they do not fit together."""
        options = LoadOptions(
            duration_s=self.plan.load_s + OVERTIME_S,
            rate=self.rate,
            seed=self.plan.seed,
            faults=FAULTS,
            run=run,
            processes=1,
            titles=2_000,
            format=FORMATS[self.plan.seed % 2],
        )
        shape_of(options)
        return options


@dataclass
class Trial:
    """One chaos run. faults: those that hit something, by kind. missed: those that did not. guests: how many times one that joined in a
    storm got partitions. stuck: why not everything was applied though all was healed; empty when it was."""

    settings: Settings
    options: ChaosOptions
    screen: Screen
    faults: dict[str, int] = field(default_factory=dict)
    missed: tuple[Planned, ...] = ()
    guests: int = 0
    exits: list[Exit] = field(default_factory=list)
    steps: Steps = field(default_factory=Steps)
    strays: int = 0
    standstill_s: float = 0.0
    stuck: str = ""
    run: Run | None = None
    result: AuditResult | None = None
    visitors: Visitors | None = None
    """Those who asked and told at the doors, where there are any."""
    counted: int = 0
    """How many of the events that the doors accepted are in the views."""

    @property
    def served(self) -> bool:
        """Whether the doors did what they are for: every question answered, every accepted event counted once, none ended on its own."""
        seen = self.visitors
        return seen is None or not (seen.failed or seen.front.ended or seen.accepted != self.counted)

    @property
    def name(self) -> str:
        """The run's and the directory's."""
        return f"chaos-{self.options.plan.seed}-{os.getpid()}"

    @property
    def directory(self) -> Path:
        """Where its servers live."""
        return Path(self.settings.local.directory) / "clusters" / self.name

    @property
    def passed(self) -> bool:
        """Exact to the end of the log and equal to the ledger, with every fault of the plan struck, nothing stuck on the way and no worker
        that ended without excuse."""
        return self.result is not None and self.result.proven and not self.stuck and not self.unexpected and not self.missed and self.served

    @property
    def unexpected(self) -> list[Exit]:
        """Workers that ended, or drained, other than they may."""
        return [exit_ for exit_ in self.exits if not exit_.excused]

    @property
    def shortfall(self) -> str:
        """A sentence about the faults that hit nothing; empty when all did."""
        planned, missed = len(self.options.plan.faults), [f"{fault.kind} of {fault.lane}" for fault in self.missed]
        return f"only {planned - len(missed)} of {planned} faults hit something under load; not: {', '.join(missed)}" if missed else ""

    def hold(self) -> AuditResult:
        """All of it. Raises MarqueeError when a step fails, KeyboardInterrupt when stopped; everything started is stopped then too."""
        kafka = replace(self.settings.kafka, session_timeout_s=SESSION_TIMEOUT_S)
        zookeeper = replace(self.settings.zookeeper, session_timeout_s=SESSION_TIMEOUT_S)
        services = ALL_SERVICES if self.options.plan.has_doors else SERVICES
        cluster = LocalCluster(
            self.directory,
            replace(self.settings, kafka=kafka, zookeeper=zookeeper),
            services=services,
            preferred=dict.fromkeys(services, 0),
            heap_mb=HEAPS_MB,
            short_lived=True,
        )
        with interruptible():
            try:
                with self._step("cluster"):
                    cluster.start(self.screen.say)
                return self.strike(cluster, cluster.settings)
            finally:
                with undisturbed(), self._step("stop"):
                    cluster.stop()
                self._tidy()

    def strike(self, cluster: LocalCluster, settings: Settings) -> AuditResult:
        """All of it on a cluster that runs, with these settings. The cluster is left as it was, but for what was written."""
        (self.directory / "plan.json").write_text(json.dumps(self.options.plan.document(), indent=1) + "\n")
        ensure_topics(settings)
        workers = Workers(settings, self.options.plan.workers, self.directory)
        try:
            with self._step("workers"):
                workers.start()
                workers.wait_ready(READY_S, self.screen.say)
            with ExitStack() as opened:
                front = opened.enter_context(self._fronted(cluster, settings)) if self.options.plan.has_doors else None
                self._storm(Ground(settings, cluster, workers, Outsider(settings.kafka, settings.kafka.topics[0]), front))
            with self._step("audit"):
                self.result = audit(settings, self.name, self.screen.say)
        finally:
            with undisturbed():
                workers.stop_all()
        return self.result

    @contextmanager
    def _fronted(self, cluster: LocalCluster, settings: Settings) -> Iterator[Front]:
        """Within, doors and autoscalers run; at its end it is counted whether all that they accepted is in the views."""
        with Front(settings, cluster, self.directory) as front:
            self.visitors = Visitors(front, self.options.plan.seed)
            yield front
            self.counted = self.visitors.counted()
            front.leads()

    def _step(self, name: str) -> AbstractContextManager[None]:
        return self.steps.timed(name, self.screen.say)

    def _storm(self, ground: Ground) -> None:
        """The load with its faults, until all is applied or nothing moves any more."""
        lanes = Lanes(self.options.plan, ground, self.screen.say)
        standstill = Standstill(Watcher(ground.settings))
        with self._looked_after(ground):
            try:
                with self._step("drive"), self.visitors.there() if self.visitors else nullcontext():
                    self.run = self._drive(ground, lanes, standstill)
                with self._step("catch_up"):
                    self._catch_up(ground, standstill)
            finally:
                with undisturbed():
                    lanes.give_up()
                self.faults, self.missed = lanes.struck, lanes.missed
                self.guests, self.strays = ground.guests_joined, ground.outsider.sent
                self.standstill_s = standstill.end(complete="catch_up" in self.steps and not self.stuck)

    def _drive(self, ground: Ground, lanes: Lanes, standstill: Standstill) -> Run:
        """The load, until every fault has been struck and healed under it."""
        options, begun, ended = self.options.load(self.name), False, False

        def enough() -> bool:
            nonlocal ended
            ended = ended or (lanes.healed_for_s() >= TAIL_S and ground.elapsed_s() >= self.options.plan.load_s)
            return ended

        def on_progress(progress: LoadProgress) -> None:
            nonlocal begun
            if progress.phase == "sending":
                if not begun:
                    begun = True
                    lanes.begin()
                standstill.look()
                least = round(self.options.rate * self.options.plan.load_s)  # the generator's own total is the most that may come
                self.screen.show(replace(driven(progress), wanted=max(progress.sent, least)))
                if lanes.failed():
                    lanes.finish()  # which raises
                if progress.elapsed_s >= (options.duration_s or 0.0):
                    lanes.end()  # there is no load any more: what is struck now would prove nothing
            elif progress.phase == "finishing":  # the generator asks Kafka where its run ends: not before Kafka is healed
                lanes.finish()

        run = run_load(ground.settings, options, on_progress, enough)
        if run.state == "stopped" and not ended:
            raise KeyboardInterrupt
        ground.outsider.close()
        ground.require_servers()
        return run

    def _catch_up(self, ground: Ground, standstill: Standstill) -> None:
        assert self.run is not None
        last = driven(LoadProgress("done", sent=self.run.generated, acknowledged=self.run.acknowledged, total=self.run.generated))

        def on_wait(what: str) -> None:
            standstill.look()
            self.screen.show(replace(last, waiting_for=what))

        try:
            catch_up(ground.settings, self.run.topic, on_wait, STUCK_S)
        except MarqueeError as error:
            self.stuck = str(error)
            self.screen.say(f"stuck: {error}")

    @contextmanager
    def _looked_after(self, ground: Ground) -> Iterator[None]:
        """Within, workers that end on their own are noted and started again."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_EVERY_S):
                if ground.opened_front is not None:
                    ground.front.look_after()
                for exit_ in ground.look_after_workers():
                    excuse = " (a server that it needs was struck)" if exit_.excused else ""
                    self.screen.say(
                        f"{exit_.at_s:7.1f} s  {exit_.worker} ended on its own, status {exit_.status}{excuse}: {exit_.last_words}"
                    )

        with ThreadPoolExecutor(1, thread_name_prefix="chaos-workers") as pool:
            looking = pool.submit(look)
            try:
                yield
            finally:
                over.set()
                wait([looking])
                self.exits = list(ground.exits)
            looking.result()  # nobody looked after the workers if it failed

    def _tidy(self) -> None:
        """Removes what a run that passed leaves; keeps and says it otherwise."""
        runs = Path(self.settings.local.directory) / "runs" / self.name
        if self.options.keep or not self.passed:
            kept = [f"{path}{told}" for path, told in ((self.directory, " (logs, plan.json)"), (runs, "")) if path.exists()]
            self.screen.say(f"kept: {', '.join(kept)}" if kept else "nothing was begun, so nothing is kept")
            if not self.passed:
                self.screen.say(f"again: {self.options.again}")
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(runs, ignore_errors=True)

    def _doors(self, seen: Visitors) -> dict[str, Any]:
        """What those at the doors met with. epochs: in how many somebody was seen to lead."""
        return {
            "answered": seen.answered, "failed": seen.failed, "past_haproxy": seen.past, "accepted": seen.accepted, "counted": self.counted,
            "ended": seen.front.ended, "epochs": len(seen.front.led),
        }  # fmt: skip

    def document(self) -> dict[str, Any]:
        """The audit's JSON, and what was struck."""
        assert self.result is not None
        assert self.run is not None
        return {
            **self.result.document(),
            "seed": self.options.plan.seed,
            "faults": self.faults,
            "faults_struck": sum(self.faults.values()),
            "missed": [asdict(fault) for fault in self.missed],
            "guests_joined": self.guests,
            "events": self.run.generated,
            "strays": self.strays,
            "chaos_seconds": round(self.steps["drive"] + self.steps["catch_up"], 2),
            "unexpected_exits": len(self.unexpected),
            "gave_up": len(self.exits) - len(self.unexpected),
            "exits": [asdict(exit_) for exit_ in self.exits],
            "longest_standstill_s": round(self.standstill_s, 1),
            "stuck": self.stuck or None,
            **({} if self.visitors is None else {"doors": self._doors(self.visitors)}),
            "passed": self.passed,
            "steps": self.steps,
            "again": self.options.again,
            "kept": str(self.directory) if self.directory.exists() else None,
        }
