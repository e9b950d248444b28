"""The contract of a server of the local cluster: start, ready, alive, stop."""

from __future__ import annotations

import abc
import signal
from pathlib import Path
from typing import ClassVar

from cluster.process import Ended, Guarded, ProcessId
from topologies.errors import ServerAway
from topologies.settings import Settings


class Server(abc.ABC):
    """One server in a directory of its own, on loopback ports of its own.

    A subclass says how it is prepared and asked whether it is ready. All methods are called by one thread, the owner's.
    Stopping keeps its data and its ports, so that it can be started again.
    """

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    """The first is the one that clients use; it is chosen as the settings prefer, if free."""
    stop_grace_s: ClassVar[float] = 15.0
    default_heap_mb: ClassVar[int] = 0
    """Greatest Java heap, MiB, unless told otherwise."""
    niceness: ClassVar[int] = 0
    """How far it yields to the others of this machine."""

    def __init__(
        self, directory: Path, settings: Settings, ports: dict[str, int], heap_mb: int | None = None, short_lived: bool = False
    ) -> None:
        self.directory = directory / self.name
        self.log = directory / "logs" / f"{self.name}.log"
        self.settings = settings
        self.ports = ports
        self.heap_mb = heap_mb or self.default_heap_mb
        self.short_lived = short_lived
        self.options: tuple[str, ...] = ()
        """More of Java's, where it runs in Java."""
        self.process: Guarded | None = None

    @staticmethod
    @abc.abstractmethod
    def preferred_port(settings: Settings) -> int:
        """The client port that the settings name."""

    @abc.abstractmethod
    def address(self, settings: Settings) -> Settings:
        """These settings with this server's address filled in."""

    @abc.abstractmethod
    def prepare(self) -> list[str]:
        """Writes the configuration; gives the command to run. Called before each start. Raises SetupError where something is missing."""

    @abc.abstractmethod
    def ready(self) -> bool:
        """Whether it answers a client's request now. Does not raise, takes 2 s at the most."""

    def start(self) -> None:
        """Starts the process and returns at once; `ready` tells when it answers. When it runs already, nothing happens."""
        if self.alive():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.process = Guarded(self.prepare(), self.log, cwd=self.directory, niceness=self.niceness)

    def alive(self) -> bool:
        return self.process is not None and self.process.alive()

    def id(self) -> ProcessId:
        """The server's process. Raises ServerAway when it was never started."""
        if self.process is None:
            raise ServerAway(f"{self.name} was not started.")
        return self.process.id

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting: servers that are stopped together are asked together."""
        if self.process:
            self.process.ask_to_stop()

    def stop(self) -> Ended | None:
        """Stops it, by SIGKILL if it does not end in `stop_grace_s`. None when it was never started; twice gives the same answer."""
        return self.process.stop(self.stop_grace_s) if self.process else None

    def kill(self) -> None:
        """SIGKILL: what a crash looks like."""
        if self.process:
            self.process.kill()

    def pause(self) -> bool:
        """SIGSTOP: what a server that hangs looks like. False when it is gone."""
        return self.id().signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.id().signal(signal.SIGCONT)

    def folder(self, name: str) -> Path:
        """A folder below the server's own, made if absent."""
        folder = self.directory / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
