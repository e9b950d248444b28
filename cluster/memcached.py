"""Memcached of the local cluster: it remembers what history's readers got out of Cassandra, and may lose all of it."""

from __future__ import annotations

import dataclasses
import os
import shutil
from typing import Final

from cluster.ports import LOOPBACK
from cluster.server import Server
from connectors.memcached import version_of
from topologies.errors import SetupError
from topologies.settings import Settings

DEFAULT_PORT: Final = 11211
SETTINGS: Final[dict[str, str]] = {
    # MiB for items. Full means that the least recently used go, which costs a read of Cassandra.
    "-m": "64",
    # No UDP.
    "-U": "0",
}
"""What docker-compose.yml gives it too."""


class MemcachedServer(Server):
    name = "memcached"
    port_names = ("memcached",)
    stop_grace_s = 5.0
    niceness = -15  # decision 0079

    @staticmethod
    def preferred_port(settings: Settings) -> int:
        servers = settings.memcached.servers
        return int(servers[0].rpartition(":")[2]) if servers else DEFAULT_PORT

    def address(self, settings: Settings) -> Settings:
        servers = (f"{LOOPBACK}:{self.ports['memcached']}",)
        return dataclasses.replace(settings, memcached=dataclasses.replace(settings.memcached, servers=servers))

    def prepare(self) -> list[str]:
        binary = shutil.which("memcached")
        if binary is None:
            raise SetupError("memcached is not installed: run `make setup`, or install Memcached 1.6.")
        words = [binary, "-l", LOOPBACK, "-p", str(self.ports["memcached"])]
        if os.geteuid() == 0:
            words += ["-u", "root"]  # as root it does not start without being told whom to run as
        return words + [word for pair in SETTINGS.items() for word in pair]

    def ready(self) -> bool:
        try:
            version_of(f"{LOOPBACK}:{self.ports['memcached']}", 1.0)
        except OSError:
            return False
        return True
