"""A region is lost under load and comes back.

hangs       its Kafka answers nobody, until those who send have gone elsewhere; then what was on the way arrives after all: it crosses
is dead     SIGKILL to its servers, workers and door, all at once
is back     started again on what was left
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from cluster.regions import RegionalCluster
from cluster.supervisor import Workers
from loadgen.way import LOST_S
from topologies.settings import Settings

LOST_AT: Final = 0.2
BACK_AT: Final = 0.45
"""Shares of the load that have been sent when the region is lost, and when it is started again."""
HANGS_S: Final = LOST_S + 2.0
ARRIVES_S: Final = 1.0


@dataclass
class Region:
    """One region's processes."""

    name: str
    settings: Settings
    workers: Workers
    doors: Workers

    @property
    def groups(self) -> tuple[Workers, Workers]:
        """All of them."""
        return self.workers, self.doors


class Losing:
    """One loss of one region, told how far the load is by `look`. The strokes are made on a thread: a start takes many seconds."""

    def __init__(self, cluster: RegionalCluster, region: Region, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._region = region
        self._say = say
        self._begun_s = time.monotonic()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="losing")
        self._strokes: list[Future[None]] = []
        self._over = threading.Event()
        self.lost_s: float | None = None
        self.dead_s: float | None = None
        self.started_s: float | None = None
        self.back_s: float | None = None
        """When it hung, was dead, was started again, and had all its partitions and answered again; seconds since the drive began."""

    def look(self, share: float) -> None:
        """So much of the load has been sent. Raises what a stroke raised."""
        for stroke in self._strokes:
            if stroke.done():
                stroke.result()
        if not self._strokes and share >= LOST_AT:
            self._strokes.append(self._pool.submit(self._lose))
        elif len(self._strokes) == 1 and share >= BACK_AT:
            self._strokes.append(self._pool.submit(self._bring_back))

    def wait_back(self) -> None:
        """Returns when the region is back. Raises what a stroke raised."""
        self.look(1.0)
        self.look(1.0)
        for stroke in self._strokes:
            stroke.result()

    def _lose(self) -> None:
        self.lost_s = self._now_s()
        self._say(f"{self._region.name} is lost: its Kafka hangs")
        servers = self._cluster.cluster(self._region.name)
        servers.pause("kafka")
        self._over.wait(HANGS_S)
        servers.resume("kafka")
        self._over.wait(ARRIVES_S)
        self.dead_s = self._now_s()
        self._say(f"{self._region.name} is dead: SIGKILL to its Kafka, Cassandra, Redis, Memcached, workers and door")
        for group in self._region.groups:
            for index in group.alive():
                group.kill(index)
        self._cluster.lose(self._region.name)

    def _bring_back(self) -> None:
        self.started_s = self._now_s()
        self._cluster.revive(self._region.name, self._say)
        for group in self._region.groups:
            for index in range(len(group)):
                group.restart(index)
        for group in self._region.groups:
            group.wait_ready()
        self.back_s = self._now_s()
        self._say(f"{self._region.name} is back, {self.back_s - self.started_s:.1f} s after it was started")

    def _now_s(self) -> float:
        return round(time.monotonic() - self._begun_s, 1)

    def document(self) -> dict[str, Any]:
        """It as JSON has it."""
        times = {"lost_s": self.lost_s, "dead_s": self.dead_s, "started_s": self.started_s, "back_s": self.back_s}
        return {"region": self._region.name, **times}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._pool.shutdown()
