"""What a running cluster leaves for other processes to read: `cluster.json` in its directory.

owner      {pid, started}                     the process that started it and stops it
addresses  MARQUEE_SECTION__KEY → value       how to reach its servers
services   name → {pid, started}              the servers' processes
ports      name → port                        all of them
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from cluster.process import ProcessId
from topologies.settings import Settings

FILE: Final = "cluster.json"
_ADDRESSES: Final = {
    "kafka": ("MARQUEE_KAFKA__BOOTSTRAP",),
    "cassandra": ("MARQUEE_CASSANDRA__HOSTS", "MARQUEE_CASSANDRA__PORT"),
    "redis": ("MARQUEE_REDIS__URL",),
    "memcached": ("MARQUEE_MEMCACHED__SERVERS",),
    "zookeeper": ("MARQUEE_ZOOKEEPER__HOSTS",),
    "haproxy": (),
    "prometheus": (),
}


class ClusterState(msgspec.Struct, frozen=True):
    owner: ProcessId
    addresses: dict[str, str]
    services: dict[str, ProcessId]
    ports: dict[str, int]

    def save(self, directory: Path) -> None:
        """Replaces the file at once: a reader sees the old one or the new one."""
        fresh = directory / f"{FILE}.new"
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2))
        fresh.replace(directory / FILE)

    def alive(self) -> dict[str, bool]:
        """Which servers run."""
        return {name: process.alive() for name, process in self.services.items()}


def load(directory: Path) -> ClusterState | None:
    """The state left in a directory, whether its servers run or not; None when there is none or it cannot be read as one."""
    try:
        return msgspec.json.decode((directory / FILE).read_bytes(), type=ClusterState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def forget(directory: Path) -> None:
    (directory / FILE).unlink(missing_ok=True)


def addresses(settings: Settings, services: tuple[str, ...]) -> dict[str, str]:
    """The environment variables that say where these services are."""
    environment = settings.environment()
    return {key: environment[key] for service in services for key in _ADDRESSES[service]}


def running_addresses(directory: Path) -> dict[str, str]:
    """The `MARQUEE_…` variables of the cluster that runs in a directory; none when its owner does not.

    A server that is down for a moment changes nothing: whoever asks it hears so.
    """
    state = load(directory)
    return state.addresses if state and state.owner.alive() else {}
