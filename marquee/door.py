"""One process of the doors on loopback, by itself: what their benchmarks and the collector's tests run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from cluster.ports import LOOPBACK, pick
from cluster.supervisor import SERVE, Workers
from topologies.settings import Settings


class Door:
    """An API or a collector, which dies with its owner. Killed, it can be started again on the same port."""

    def __init__(self, settings: Settings, directory: Path, only: Literal["api", "collector"], cores: Sequence[int] | None = None) -> None:
        """Starts nothing yet. cores: it is pinned to the first."""
        self.port = pick()
        own = replace(settings, api=replace(settings.api, http_host=LOOPBACK, http_port=self.port))
        self._process = Workers(own, 1, directory, cores=cores, command=(*SERVE, "--only", only), role=only)

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Returns when it answers. Raises ServerAway when it ends first, or does not in time."""
        if len(self._process):
            self._process.restart(0)
        self._process.start()
        self._process.wait_ready()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill(0)

    def cpu_s(self) -> float:
        """CPU of its life, all threads, seconds."""
        return self._process.cpu_seconds(0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.stop_all()
