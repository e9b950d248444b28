"""The local cluster: Kafka, Cassandra, Redis, Memcached, ZooKeeper and HAProxy side by side in one directory, on loopback, owned by this
process."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cluster import ports, state
from cluster.attached import AttachedCluster
from cluster.cassandra import CassandraServer, Place
from cluster.haproxy import HAProxyServer
from cluster.kafka import KafkaServer
from cluster.memcached import MemcachedServer
from cluster.process import ProcessId
from cluster.prometheus import PrometheusServer
from cluster.redis import RedisServer
from cluster.server import Server
from cluster.zookeeper import ZooKeeperServer
from topologies.errors import ServerAway, UsageError
from topologies.settings import Settings

# The slowest to start comes first.
SERVERS: Final[dict[str, type[Server]]] = {
    "cassandra": CassandraServer,
    "redis": RedisServer,
    "memcached": MemcachedServer,
    "kafka": KafkaServer,
    "zookeeper": ZooKeeperServer,
    "haproxy": HAProxyServer,
    "prometheus": PrometheusServer,
}
SERVICES: Final = ("kafka", "cassandra", "redis", "memcached")
"""What a cluster has unless told otherwise: all that counting and asking need."""
ALL_SERVICES: Final = (*SERVICES, "zookeeper", "haproxy")
"""With what says who is up and who leads, and the one door in front of all that answer over HTTP."""
BESIDE_EXTERNAL: Final = ("zookeeper", "haproxy")
"""What is started where the servers are somebody else's."""
READY_TIMEOUT_S: Final = 300.0
"""Cassandra takes 10 s on a quiet machine. A server that ends while it starts is noticed at once."""


def quietly(_: str) -> None:
    """A progress that nobody reads."""


class LocalCluster:
    """Servers that live as long as this object's process at the most (see cluster/guardian.py).

    Data stays in `directory` over stop and start. Only one cluster runs in a directory. All methods are for the thread that owns it;
    what concerns one service may be done by different threads for different services.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        *,
        services: tuple[str, ...] = SERVICES,
        preferred: Mapping[str, int] | None = None,
        heap_mb: Mapping[str, int] | None = None,
        short_lived: bool = False,
        options: Mapping[str, tuple[str, ...]] | None = None,
        place: Place | None = None,
    ) -> None:
        """Starts nothing yet. `preferred` ports by service are those of the settings unless given; 0 prefers none.

        `heap_mb`: greatest Java heap by service, MiB (kafka 768, cassandra 1024). `short_lived`: for servers that are started often and
        do little: Java compiles less (cluster/java.py). `options`: more of Java's, by service. `place`: of Cassandra's node among those of
        other clusters (cluster/regions.py).
        """
        if unknown := set(services) - set(SERVERS):
            raise UsageError(f"unknown service {', '.join(sorted(unknown))}: there are {', '.join(SERVERS)}.")
        self.directory = directory.resolve()
        self.services = services
        self._settings = settings
        self._preferred = dict(preferred or {})
        self._heap_mb = dict(heap_mb or {})
        self._short_lived = short_lived
        self._options = dict(options or {})
        self._place = place
        self._servers: dict[str, Server] = {}
        self._meant_down: set[str] = set()
        self._saving = threading.Lock()

    @property
    def settings(self) -> Settings:
        """The settings with the addresses of the started servers filled in."""
        return self._settings

    @classmethod
    def attach(cls, directory: Path) -> AttachedCluster:
        """The cluster that another process runs in `directory`. Raises ServerAway if none is there."""
        return AttachedCluster(directory)

    def start(self, progress: Callable[[str], None] = quietly) -> None:
        """Starts all servers and returns when each answers; says by `progress` what is ready, after how long, on which port.

        What a crashed owner left in the directory is cleaned up first. Raises UsageError when another process runs a cluster there,
        ServerAway when a server does not come up (then none is left running). When it runs already, nothing happens.
        """
        if self._servers:
            return
        begun = time.monotonic()
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            with self._sole_starter():
                self._clean_up(progress)
                self._servers = self._choose(progress)
                for server in self._servers.values():
                    server.start()
                for server in self._servers.values():
                    self._settings = server.address(self._settings)
                self._save()
            self._wait_ready(tuple(self._servers), begun, progress)
        except BaseException:
            self.stop()
            raise

    def _choose(self, progress: Callable[[str], None]) -> dict[str, Server]:
        """The servers with their ports: the preferred one if it is free, else another, and says so."""
        taken: set[int] = set()
        chosen: dict[str, Server] = {}
        for name in (name for name in SERVERS if name in self.services):
            kind = SERVERS[name]
            preferred = self._preferred.get(name, kind.preferred_port(self._settings))
            own: dict[str, int] = {}
            for port_name in kind.port_names:
                wanted = preferred if port_name == name else self._preferred.get(port_name, 0)
                own[port_name] = ports.pick(wanted, taken)
                taken.add(own[port_name])
            if preferred and own[name] != preferred:
                progress(f"{name}: port {preferred} is taken, using {own[name]}")
            chosen[name] = kind(self.directory, self._settings, own, self._heap_mb.get(name), self._short_lived)
            chosen[name].options = self._options.get(name, ())
        if isinstance(node := chosen.get("cassandra"), CassandraServer) and self._place is not None:
            node.place = self._place
        return chosen

    def _wait_ready(
        self, names: tuple[str, ...], begun: float, progress: Callable[[str], None], patience_s: float = READY_TIMEOUT_S
    ) -> None:
        waiting = list(names)
        while waiting:
            for name in list(waiting):
                server = self._servers[name]
                if server.ready():
                    waiting.remove(name)
                    progress(f"{name}: ready on port {server.ports[name]} after {time.monotonic() - begun:.1f} s")
                elif not server.alive():
                    raise ServerAway(f"{name} ended while it started; {server.log} says why.")
            if waiting and time.monotonic() - begun > patience_s:
                raise ServerAway(f"{', '.join(waiting)} not ready after {patience_s:.0f} s; see {self.directory / 'logs'}.")
            time.sleep(0.05)

    @contextmanager
    def _sole_starter(self) -> Iterator[None]:
        """Two starts in one directory take turns, so that the second sees the first's state."""
        with (self.directory / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _clean_up(self, progress: Callable[[str], None]) -> None:
        left = state.load(self.directory)
        if left is None:
            return
        if left.owner.alive():
            raise UsageError(f"a local cluster already runs in {self.directory} (process {left.owner.pid}): `marquee down` stops it.")
        if any(left.alive().values()):
            progress(f"stopping what process {left.owner.pid} left behind")
        for process in left.services.values():
            process.end(grace_s=15.0)
        state.forget(self.directory)

    def _save(self) -> None:
        with self._saving:
            state.ClusterState(
                owner=ProcessId.of(os.getpid()),
                addresses=state.addresses(self._settings, self.services),
                services={name: server.id() for name, server in self._servers.items()},
                ports={name: port for server in self._servers.values() for name, port in server.ports.items()},
            ).save(self.directory)

    def stop(self) -> None:
        """Stops all servers, side by side; returns when all are gone. Twice does nothing more."""
        if not self._servers:
            return
        self._meant_down.update(self._servers)
        for server in self._servers.values():
            server.ask_to_stop()
        for server in self._servers.values():
            server.stop()
        self._servers = {}
        state.forget(self.directory)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def server(self, service: str) -> Server:
        """A started server. Raises UsageError when this cluster has none of this name."""
        if service not in self._servers:
            raise UsageError(f"{service} is not among the started servers: {', '.join(self._servers) or 'none'}.")
        return self._servers[service]

    @property
    def haproxy(self) -> HAProxyServer:
        """The one door in front of all. Raises UsageError where there is none."""
        server = self.server("haproxy")
        assert isinstance(server, HAProxyServer)
        return server

    @property
    def prometheus(self) -> PrometheusServer:
        """Raises UsageError where there is none."""
        server = self.server("prometheus")
        assert isinstance(server, PrometheusServer)
        return server

    def alive(self, service: str) -> bool:
        return self.server(service).alive()

    def watch(self) -> list[str]:
        """The servers that died without being told to, until they are restarted. Cheap: call it once a second."""
        return [name for name, server in self._servers.items() if name not in self._meant_down and not server.alive()]

    def kill(self, service: str) -> None:
        """SIGKILL, for fault tests; `restart` brings it back."""
        self._meant_down.add(service)
        self.server(service).kill()

    def halt(self, service: str) -> None:
        """Stops one server in good order; `restart` brings it back."""
        self._meant_down.add(service)
        self.server(service).stop()

    def restart(self, service: str, progress: Callable[[str], None] = quietly, patience_s: float = READY_TIMEOUT_S) -> None:
        """Stops the server if it runs, starts it on the same ports and data, returns when it is ready. ServerAway if it is not in time."""
        begun = time.monotonic()
        self.revive(service)
        self._wait_ready((service,), begun, progress, patience_s)
        self._meant_down.discard(service)

    def revive(self, service: str) -> None:
        """Stops the server if it runs and starts it on the same ports and data, without waiting until it is ready."""
        server = self.server(service)
        server.stop()
        server.start()
        self._save()

    def pause(self, service: str) -> bool:
        """SIGSTOP: the server hangs, its connections stay open. False when it is gone."""
        return self.server(service).pause()

    def resume(self, service: str) -> None:
        self.server(service).resume()

    def cpu_seconds(self, service: str) -> float:
        """CPU time of the server's process since its last start, all threads, seconds."""
        return self.server(service).id().cpu_seconds()

    def rss_mb(self, service: str) -> float:
        """Resident memory of the server now, MiB."""
        return self.server(service).id().rss_mb()
