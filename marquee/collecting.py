"""The collector alone, as a process of its own: what its benchmark and its tests run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cluster.ports import LOOPBACK
from cluster.process import Ended, Guarded, wait_until
from cluster.supervisor import SERVE
from topologies.errors import ServerAway
from topologies.settings import Settings

READY_S: Final = 120.0
"""The scanner may have to be compiled first."""
STOP_S: Final = 40.0


class CollectorProcess:
    """A collector on loopback, which dies with its owner. Killed, it can be started again on the same port."""

    def __init__(self, settings: Settings, directory: Path, cores: Sequence[int] | None = None) -> None:
        self._settings = settings
        self._directory = directory
        self._cores = cores
        self._ready = directory / "collector.ready"
        self.port = 0
        self.process: Guarded | None = None

    def start(self) -> None:
        """Returns when it takes requests. Raises ServerAway when it ends first, or does not within READY_S."""
        self._ready.unlink(missing_ok=True)
        log = self._directory / "collector.log"
        api = replace(self._settings.api, http_host=LOOPBACK, http_port=self.port)
        environment = replace(self._settings, api=api).environment()
        command = [*SERVE, "--only", "collector", "--ready-file", str(self._ready)]
        process = self.process = Guarded(command, log, environment=environment, cores=self._cores)
        if not wait_until(lambda: self._ready.exists() or not process.alive(), READY_S) or not self._ready.exists():
            process.kill()
            raise ServerAway(f"the collector does not take requests; {log} says why")
        self.port = int(json.loads(self._ready.read_bytes())["http"].rpartition(":")[2])

    @property
    def url(self) -> str:
        """Where events go."""
        return f"http://{LOOPBACK}:{self.port}/v1/events"

    def kill(self) -> Ended:
        """SIGKILL."""
        assert self.process is not None
        return self.process.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self.process is not None
        self.process.stop(STOP_S)
