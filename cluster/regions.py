"""Regions on one machine: a local cluster each, of Kafka, Redis, Memcached and a Cassandra node, all nodes together one Cassandra with a
data centre a region. Nodes of one Cassandra differ by their address and share their ports: 127.0.0.2, 127.0.0.3 and so on.

A region is lost as by a power cut: SIGKILL to all of its servers at once. It comes back on the same ports and data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cassandra.cluster import Session

from cluster import ports
from cluster.cassandra import Place
from cluster.local import SERVICES, LocalCluster, quietly
from cluster.process import wait_until
from connectors.cassandra import close, connect
from connectors.cassandra_schema import ensure_schema
from topologies.errors import ServerAway, UsageError
from topologies.settings import Settings
from topologies.view import parts_of
from topologies.views import selected

FIRST_NODE: Final = 2
"""127.0.0.1 is everybody's."""
HEAP_MB: Final = {"kafka": 384, "cassandra": 640}
OPTIONS: Final = (
    # A node that comes back has what it missed within seconds, not at a megabyte a second.
    "-Dcassandra.settings.hinted_handoff_throttle=16MiB",
    "-Dcassandra.settings.hints_flush_period=1s",
    # Of nodes that start at the same time one may be heard of before it has its token: without a delay it is forgotten at once, as a
    # client that has gone, and with it that it was a seed.
    "-Dcassandra.ring_delay_ms=3000",
    # On loopback nobody is slow to answer but who is gone: it is known within seconds, and what it misses is kept for it from then on.
    "-Dcassandra.settings.phi_convict_threshold=5",
)
MEET_S: Final = 60.0
"""Nodes that have started have heard of each other within so long."""


class RegionalCluster:
    """The servers of all regions; they live as long as this process at the most. All methods are for the thread that owns it."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        names: Sequence[str],
        *,
        services: tuple[str, ...] = SERVICES,
        options: tuple[str, ...] = OPTIONS,
    ) -> None:
        """Starts nothing yet. services: of each region, Cassandra among them; options: of its node, for Java. Raises UsageError for less
        than two different names."""
        if len(names) < 2 or len(set(names)) < len(names):
            raise UsageError(f"regions need names of their own, and there are two at least: not {', '.join(names) or 'none'}")
        self.names = tuple(names)
        nodes = tuple(f"127.0.0.{FIRST_NODE + at}" for at in range(len(names)))
        shared = {"cassandra": ports.pick()}
        shared["cassandra_storage"] = ports.pick(taken=shared.values())
        preferred = {**dict.fromkeys(services, 0), **shared}
        self._doors = {name: ports.pick(taken=shared.values()) for name in self.names}
        self._clusters = {
            name: LocalCluster(
                directory / name,
                _of_region(settings, name),
                services=services,
                preferred=preferred,
                heap_mb=HEAP_MB,
                short_lived=True,
                options={"cassandra": options},
                place=Place(node, nodes),
            )
            for name, node in zip(self.names, nodes, strict=True)
        }

    def cluster(self, region: str) -> LocalCluster:
        """The servers of one region. Raises UsageError for one that is not there."""
        if region not in self._clusters:
            raise UsageError(f"there is no region {region!r}; there are {', '.join(self.names)}")
        return self._clusters[region]

    def settings(self, region: str) -> Settings:
        """What a process in that region is told: its own servers, and where those of all regions are. Its API has a port of its own, which
        stays as it is."""
        own = self.cluster(region).settings
        redis = tuple(f"{name}={cluster.settings.redis.url}" for name, cluster in self._clusters.items())
        kafka = tuple(f"{name}={cluster.settings.kafka.bootstrap}" for name, cluster in self._clusters.items())
        doors = tuple(f"{name}=http://{ports.LOOPBACK}:{port}" for name, port in self._doors.items())
        regions = replace(own.regions, redis=redis, kafka=kafka, doors=doors)
        return replace(own, regions=regions, api=replace(own.api, http_host=ports.LOOPBACK, http_port=self._doors[region]))

    def start(self, progress: Callable[[str], None] = quietly) -> None:
        """Starts all servers, side by side; returns when all answer, the nodes have met, and the tables are there in every data centre.

        Raises ServerAway when one does not come up; none is left running then. When it runs already, nothing happens.
        """
        try:
            with ThreadPoolExecutor(len(self.names)) as pool:
                for started in [pool.submit(cluster.start, _named(progress, name)) for name, cluster in self._clusters.items()]:
                    started.result()
            self._require_one_port()
            self._meet()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops all, side by side. Twice does nothing more."""
        with ThreadPoolExecutor(len(self.names)) as pool:
            for stopped in [pool.submit(cluster.stop) for cluster in self._clusters.values()]:
                stopped.result()

    def lose(self, region: str) -> None:
        """SIGKILL to every server of the region."""
        cluster = self.cluster(region)
        for service in cluster.services:
            cluster.kill(service)

    def revive(self, region: str, progress: Callable[[str], None] = quietly) -> None:
        """Starts a lost region's servers again, side by side; returns when each answers. Raises ServerAway when one does not."""
        cluster, told = self.cluster(region), _named(progress, region)
        with ThreadPoolExecutor(len(cluster.services)) as pool:
            for started in [pool.submit(cluster.restart, service, told) for service in cluster.services]:
                started.result()

    def _require_one_port(self) -> None:
        if len({cluster.settings.cassandra.port for cluster in self._clusters.values()}) > 1:
            raise ServerAway("another process took the port that Cassandra's nodes were to share; start again")

    def _meet(self) -> None:
        """A keyspace can only be spread over data centres that its coordinator has heard of."""
        for name in self.names:
            settings = self.cluster(name).settings
            session = connect(settings.cassandra)
            try:
                if not wait_until(lambda session=session: self._all_met(session), MEET_S):  # type: ignore[misc]
                    raise ServerAway(f"Cassandra in {name} has not heard of all regions within {MEET_S:.0f} s; see its log")
                if name == self.names[0]:
                    self._make_tables(session, settings)
            finally:
                close(session)

    def _make_tables(self, session: Session, settings: Settings) -> None:
        """All by one node, which waits for no other between two of them: forty times that takes half a minute."""
        session.cluster.max_schema_agreement_wait = 0
        ensure_schema(session, settings.cassandra, parts_of(selected(settings.worker.views)))
        if not session.cluster.control_connection.wait_for_schema_agreement(wait_time=MEET_S):
            raise ServerAway(f"the regions' Cassandras do not agree about the tables within {MEET_S:.0f} s; see their logs")

    def _all_met(self, session: Session) -> bool:
        there = {row[0] for row in session.execute("SELECT data_center FROM system.peers_v2")}
        session.cluster.refresh_nodes()
        return len(there) == len(self.names) - 1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _of_region(settings: Settings, name: str) -> Settings:
    """The region's sources and its data centre are named as it is."""
    cassandra = replace(settings.cassandra, datacenter=name)
    return replace(settings, cassandra=cassandra, worker=replace(settings.worker, region=name, name=""))


def _named(progress: Callable[[str], None], region: str) -> Callable[[str], None]:
    return lambda said: progress(f"{region} {said}")
