"""HAProxy of the local cluster: one door in front of all API and collector nodes. Who they are is told it by cluster/balancing.py."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Final

from cluster.ports import LOOPBACK
from cluster.server import Server
from connectors.sockets import short_path
from topologies.errors import ServerAway, SetupError
from topologies.settings import Settings

DEFAULT_PORT: Final = 8000
SLOTS: Final = 64
"""Members that a backend can have."""
BACKENDS: Final = ("api", "collector")
ANSWER_S: Final = 2.0
HERE: Final = Path(__file__).parent / "servers" / "haproxy"


class HAProxyServer(Server):
    name = "haproxy"
    port_names = ("haproxy",)
    stop_grace_s = 5.0
    niceness = -10  # decision 0079

    @staticmethod
    def preferred_port(settings: Settings) -> int:  # noqa: ARG004  # no setting names it: clients are told
        return DEFAULT_PORT

    def address(self, settings: Settings) -> Settings:
        return settings

    @property
    def url(self) -> str:
        """Where clients go."""
        return f"http://{LOOPBACK}:{self.ports['haproxy']}"

    @property
    def admin(self) -> Path:
        """The socket of its runtime API."""
        return self.directory / "admin.sock"

    def prepare(self) -> list[str]:
        binary = find_haproxy()
        # By its name alone, in the directory where HAProxy runs: a path may be longer than the 107 bytes that a socket's name can have.
        given = {"DOOR": f"{LOOPBACK}:{self.ports['haproxy']}", "ADMIN": f"unix@{self.admin.name}", "SLOTS": str(SLOTS)}
        variables = self.directory / "variables.cfg"
        variables.write_text("global\n" + "".join(f"    setenv {name} {value}\n" for name, value in given.items()))
        return [binary, "-db", "-f", str(variables), "-f", str(HERE / "haproxy.cfg")]

    def ready(self) -> bool:
        try:
            return "Uptime" in Runtime(self.admin).say("show info")
        except ServerAway:
            return False


def find_haproxy() -> str:
    """The program. Raises SetupError when it is not installed."""
    binary = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")  # which is not on everybody's PATH
    if binary is None:
        raise SetupError("haproxy is not installed: run `make setup`, or install HAProxy 2.6.")
    return binary


class Runtime:
    """HAProxy's runtime API: a command a connection (management guide, §9.3). Blocks for ANSWER_S at the most."""

    def __init__(self, admin: Path) -> None:
        self._admin = admin

    def say(self, command: str) -> str:
        """What it answers. Raises ServerAway when it does not."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as spoken:
                spoken.settimeout(ANSWER_S)
                with short_path(self._admin) as address:
                    spoken.connect(address)
                spoken.sendall(f"{command}\n".encode())
                parts = iter(lambda: spoken.recv(65_536), b"")
                return b"".join(parts).decode()
        except OSError as error:
            raise ServerAway(f"HAProxy does not answer at {self._admin} ({error}).") from error
