"""The collector alone, as a process of its own: what its benchmark and its tests run.

`python -m marquee.collecting PORT READY_FILE`, its settings from the environment; port 0 is any free one. READY_FILE has the port, once
requests are taken.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import uvicorn
import uvloop
from litestar import Litestar

from cluster.ports import LOOPBACK
from cluster.process import Ended, Guarded, wait_until
from marquee.config import resolve
from serving.collector.collector import Collector, open_collector
from serving.collector.routes import handlers
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
        command = [sys.executable, "-m", "marquee.collecting", str(self.port), str(self._ready)]
        environment = self._settings.environment() | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        process = self.process = Guarded(command, log, environment=environment, cores=self._cores)
        if not wait_until(lambda: self._ready.exists() or not process.alive(), READY_S) or not self._ready.exists():
            process.kill()
            raise ServerAway(f"the collector does not take requests; {log} says why")
        self.port = int(self._ready.read_text())

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


def app(collector: Collector) -> Litestar:
    """The collector's routes and nothing else."""
    return Litestar(handlers(collector), openapi_config=None)


class _Server(uvicorn.Server):
    """Says in a file where it listens, once it does."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, ready: Path) -> None:
        super().__init__(config)
        self._listener = listener
        self._file = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        written = self._file.with_suffix(f".{os.getpid()}")
        written.write_text(str(self._listener.getsockname()[1]))
        written.replace(self._file)


async def _serve(port: int, ready: Path) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        async with open_collector(resolve().settings) as collector:
            config = uvicorn.Config(app(collector), log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=60)
            await _Server(config, listener, ready).serve([listener])


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
