"""ZooKeeper of the local cluster: one server from its Maven jars. It knows who is up and who leads; nothing that is counted is in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from cluster.java import SHORT_LIVED, class_path, find_java
from cluster.ports import LOOPBACK
from cluster.server import Server
from connectors.health import zookeeper_version
from topologies.settings import Settings

DEFAULT_PORT: Final = 2181
SETTINGS: Final[dict[str, str]] = {
    # The unit of its clock, ms: a session's end is noticed to this, and none may be shorter than the next or longer than the one after it.
    "tickTime": "500",
    "minSessionTimeout": "1000",
    "maxSessionTimeout": "60000",
    # From one address, which here is everybody's: no bound.
    "maxClientCnxns": "0",
    # Its log of changes would grow for ever else: hours between clean-ups, and snapshots that are kept.
    "autopurge.purgeInterval": "1",
    "autopurge.snapRetainCount": "3",
    # An HTTP server on a port of its own.
    "admin.enableServer": "false",
}
"""What docker-compose.yml gives it too (as ZOO_… variables of the official image, and ZOO_CFG_EXTRA)."""

HERE: Final = Path(__file__).parent / "servers" / "zookeeper"


class ZooKeeperServer(Server):
    name = "zookeeper"
    port_names = ("zookeeper",)
    default_heap_mb = 128
    stop_grace_s = 5.0

    @staticmethod
    def preferred_port(settings: Settings) -> int:
        hosts = settings.zookeeper.hosts
        return int(hosts[0].rpartition(":")[2]) if hosts else DEFAULT_PORT

    def address(self, settings: Settings) -> Settings:
        hosts = (f"{LOOPBACK}:{self.ports['zookeeper']}",)
        return dataclasses.replace(settings, zookeeper=dataclasses.replace(settings.zookeeper, hosts=hosts))

    def prepare(self) -> list[str]:
        java = find_java()
        path = class_path(Path(self.settings.local.jars).resolve() / "zookeeper")
        options = [
            str(java.path),
            "-XX:+UseSerialGC",
            "-XX:-UsePerfData",
            "-XX:+ExitOnOutOfMemoryError",
        ]
        options += [f"-Djava.io.tmpdir={self.folder('tmp')}", f"-Dlogback.configurationFile={HERE / 'logback.xml'}", "-cp", path]
        options += [*(SHORT_LIVED if self.short_lived else ()), *self.options]
        return [*options, f"-Xmx{self.heap_mb}m", "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self._write_config())]

    def _write_config(self) -> Path:
        lines = {
            "clientPortAddress": LOOPBACK,
            "clientPort": str(self.ports["zookeeper"]),
            "dataDir": str(self.folder("data")),
            **SETTINGS,
        }
        config = self.directory / "zoo.cfg"
        config.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        return config

    def ready(self) -> bool:
        try:
            zookeeper_version(f"{LOOPBACK}:{self.ports['zookeeper']}", 1.0)
        except OSError:
            return False
        return True
