"""Worker processes: started, pinned, watched, stopped in good order or killed."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cluster.forkserver import fork_server
from cluster.local import quietly
from cluster.process import Ended, Guarded, wait_until
from topologies.errors import ServerAway
from topologies.settings import Settings

DRAIN_S: Final = 30.0
"""A worker that is asked to stop may take so long to store what it has; then it is killed."""
READY_S: Final = 300.0
"""A worker that has kernels to compile, beside others that do so too, may take so long to be ready. One that ends is noticed at once."""
WORKER_NICENESS: Final = 5
"""On a machine of one's own: who computes yields to who answers, and not as far as what is written for later (decision 0068)."""
DOOR_NICENESS: Final = -10
"""Who answers comes before all that computes and loads it, where one may say so (decision 0079)."""
MARQUEE: Final = (sys.executable, "-m", "marquee")
WORKER: Final = (*MARQUEE, "worker")
SERVE: Final = (*MARQUEE, "serve")
FORKED: Final = (WORKER, SERVE)
"""What comes out of a fork server that has loaded it."""


def _niceness_of(command: Sequence[str]) -> int:
    if command[: len(SERVE)] == SERVE:
        return DOOR_NICENESS
    return WORKER_NICENESS if command[-1] == WORKER[-1] else 0


def at_any_port(settings: Settings) -> Settings:
    """The settings with any free port for each API."""
    return dataclasses.replace(settings, api=dataclasses.replace(settings.api, http_port=0))


@dataclass
class Worker:
    """One worker process. It writes `ready_file` (JSON) once it has its partitions."""

    name: str
    process: Guarded
    ready_file: Path
    log: Path
    meant_down: bool = field(default=False)
    asked_s: float | None = None
    """When it was asked to stop, by the monotonic clock."""


class Workers:
    """`count` worker processes that die with this one. A worker is named by its index, which stays its own when others end.

    They see the settings through the environment. Output goes to `directory`/logs/NAME.log, readiness to `directory`/worker-NAME.ready.
    """

    def __init__(
        self,
        settings: Settings,
        count: int,
        directory: Path,
        *,
        cores: Sequence[int] | None = None,
        command: Sequence[str] = WORKER,
        role: str = "worker",
    ) -> None:
        """Starts nothing yet. `cores`: the worker with index i is pinned to cores[i % len(cores)]. command, role: what they run and are
        named after, where that is not `marquee worker`."""
        self.directory = directory.resolve()
        self._server_log = self.directory / "logs" / "forkserver.log"
        self._settings = settings
        self._count = count
        self._cores = cores
        self.forked = tuple(command) in FORKED
        """By a fork server, which the first of this process waits for."""
        self._command = tuple(command[len(MARQUEE) :]) if self.forked else tuple(command)
        self._role = role
        self._niceness = _niceness_of(command)
        self._workers: list[Worker] = []
        self._earlier_cpu_s = 0.0

    def start(self) -> None:
        """Starts the workers that are missing to `count`; returns when they run (see `wait_ready`), for the first of this process once its
        fork server (cluster/forkserver.py) is prepared."""
        while len(self._workers) < self._count:
            self.add()

    def add(self) -> int:
        """Starts one more worker; its index."""
        index = len(self._workers)
        self._workers.append(self._started(index))
        return index

    def _started(self, index: int) -> Worker:
        name = f"{self._settings.worker.name or self._role}-{index}"
        logs = self.directory / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        ready_file = self.directory / f"worker-{name}.ready"
        ready_file.unlink(missing_ok=True)
        settings = dataclasses.replace(self._settings, worker=dataclasses.replace(self._settings.worker, name=name))
        process = Guarded(
            [*self._command, "--ready-file", str(ready_file)],
            logs / f"{name}.log",
            environment=settings.environment(),
            cores=None if self._cores is None else [self._cores[index % len(self._cores)]],
            niceness=self._niceness,
            server=fork_server(self._server_log) if self.forked else None,
        )
        return Worker(name, process, ready_file, logs / f"{name}.log")

    def __len__(self) -> int:
        """How many were ever started."""
        return len(self._workers)

    def __getitem__(self, index: int) -> Worker:
        return self._workers[index]

    def alive(self) -> list[int]:
        """The indexes of those that run."""
        return [index for index, worker in enumerate(self._workers) if worker.process.alive()]

    def meant(self) -> list[int]:
        """The indexes of those that are meant to run: they start, run, or have ended on their own."""
        return [index for index, worker in enumerate(self._workers) if not worker.meant_down]

    def scale(self, count: int) -> None:
        """From now on so many are meant to run: the last ones are asked to stop, or the first that have stopped are started again under
        their names, and then new ones. Returns at once; `reap` sees to those that do not drain in time."""
        meant = self.meant()
        for index in reversed(meant[count:]):
            self.ask_to_stop(index)
        for _ in range(count - len(meant)):
            self.another()

    def prepare(self) -> Callable[[], bool]:
        """Begins what the next one is forked from, if it is; tells from then on whether it can be started without waiting for that."""
        return fork_server(self._server_log).prepared if self.forked else lambda: True

    def another(self) -> int:
        """Starts one more: the first that has stopped, under its name, or a new one; its index."""
        for index, worker in enumerate(self._workers):
            if worker.meant_down and not worker.process.alive():
                self.restart(index)
                return index
        return self.add()

    def reap(self, drain_s: float = DRAIN_S) -> list[int]:
        """SIGKILL for those that were asked to stop longer ago; their indexes."""
        now_s = time.monotonic()
        late = [
            index
            for index, worker in enumerate(self._workers)
            if worker.asked_s is not None and now_s - worker.asked_s > drain_s and worker.process.alive()
        ]
        for index in late:
            self.kill(index)
        return late

    def watch(self) -> list[int]:
        """The indexes of those that ended without being told to, until they are restarted."""
        return [index for index, worker in enumerate(self._workers) if not worker.meant_down and not worker.process.alive()]

    def require_all(self) -> None:
        """Raises ServerAway when one has ended without being told to."""
        if ended := self.watch():
            worker = self._workers[ended[0]]
            raise ServerAway(f"{worker.name} ended on its own; {worker.log} says why")

    def ready(self, index: int) -> dict[str, Any] | None:
        """What the worker wrote when it had its partitions, or None before that."""
        try:
            found: dict[str, Any] = json.loads(self._workers[index].ready_file.read_bytes())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return found

    def http(self, index: int) -> str:
        """Where it answers over HTTP, `http://host:port`. It has been ready."""
        address: str = (self.ready(index) or {})["http"]
        return address

    def up(self, index: int) -> bool:
        """Whether it runs and has had its partitions since it was started."""
        return self._workers[index].process.alive() and self.ready(index) is not None

    def wait_ready(self, timeout_s: float = READY_S, progress: Callable[[str], None] = quietly) -> None:
        """Returns when every living worker has its partitions. Raises ServerAway when one ends before, or the time is over."""
        said: set[int] = set()

        def all_ready() -> bool:
            if dead := self.watch():
                raise ServerAway(f"{self._workers[dead[0]].name} ended before it was ready; {self._workers[dead[0]].log} says why.")
            waiting = [index for index in self.alive() if self.ready(index) is None]
            for index in set(self.alive()) - set(waiting) - said:
                said.add(index)
                progress(f"{self._workers[index].name}: ready")
            return not waiting

        if not wait_until(all_ready, timeout_s):
            names = ", ".join(self._workers[index].name for index in self.alive() if self.ready(index) is None)
            raise ServerAway(f"{names} not ready after {timeout_s:.0f} s; see {self.directory / 'logs'}.")

    def kill(self, index: int) -> Ended:
        """SIGKILL: what a crash looks like."""
        self._workers[index].meant_down = True
        return self._workers[index].process.kill()

    def stop(self, index: int, drain_s: float = DRAIN_S) -> Ended:
        """SIGTERM, then waits until it has drained; SIGKILL after `drain_s` seconds. Twice gives the same answer."""
        self._workers[index].meant_down = True
        return self._workers[index].process.stop(drain_s)

    def ask_to_stop(self, index: int) -> bool:
        """SIGTERM, without waiting. False when it was gone already; twice gives the same answer."""
        worker = self._workers[index]
        worker.meant_down = True
        worker.asked_s = worker.asked_s or time.monotonic()
        return worker.process.ask_to_stop()

    def restart(self, index: int) -> None:
        """Starts a worker that ended again, under its own name and index. When it runs, nothing happens."""
        process = self._workers[index].process
        if not process.alive():
            ended = process.stop(0)  # what is left of it here goes too
            self._workers[index] = self._started(index)
            self._earlier_cpu_s += ended.cpu_s

    def pause(self, index: int) -> bool:
        """SIGSTOP: a worker that hangs, and wakes later as a zombie of its group. False when it is gone."""
        return self._workers[index].process.id.signal(signal.SIGSTOP)

    def resume(self, index: int) -> None:
        self._workers[index].process.id.signal(signal.SIGCONT)

    def stop_all(self, drain_s: float = DRAIN_S) -> list[Ended]:
        """Stops all, side by side; how each ended."""
        ask_all_to_stop([self])
        return [self.stop(index, drain_s) for index in range(len(self._workers))]

    def cpu_seconds(self, index: int) -> float:
        """CPU of all threads of the worker's life, seconds; its whole life's when it has ended."""
        return self._workers[index].process.cpu_seconds()

    def all_cpu_seconds(self) -> float:
        """CPU of all workers, those that were started again with their earlier lives, seconds."""
        return self._earlier_cpu_s + sum(self.cpu_seconds(index) for index in range(len(self._workers)))

    def rss_mb(self, index: int) -> float:
        """Resident memory now, MiB; 0 when it has ended."""
        return self._workers[index].process.id.rss_mb()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop_all()


def ask_all_to_stop(groups: Sequence[Workers]) -> None:
    """SIGTERM to all of these, without waiting."""
    for group in groups:
        for index in range(len(group)):
            group.ask_to_stop(index)


def start_all(groups: Sequence[Workers], progress: Callable[[str], None] = quietly) -> None:
    """Starts these side by side; returns when all are ready. Raises as `Workers.wait_ready`, with what runs left to its owner."""
    for group in sorted(
        groups, key=lambda group: group.forked
    ):  # those that wait for a fork server last, so that it prepares beside the others
        group.start()
    for group in groups:
        group.wait_ready(progress=progress)
