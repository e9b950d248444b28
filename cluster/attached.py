"""A local cluster seen from a process that does not own it: what `marquee status` and `marquee down` use."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Final

from cluster import state
from cluster.process import ProcessId, wait_until
from topologies.errors import ServerAway, UsageError
from topologies.settings import Settings

OWNER_GRACE_S: Final = 60.0
"""The owner drains its workers before it stops its servers."""


class AttachedCluster:
    def __init__(self, directory: Path) -> None:
        """Raises ServerAway if nothing is known to run in `directory`."""
        found = state.load(directory)
        if found is None:
            raise ServerAway(f"no local cluster runs in {directory}: `marquee up` starts one.")
        self.directory = directory
        self.state = found

    def settings(self, given: Settings) -> Settings:
        """`given` with this cluster's addresses filled in."""
        there = self.state.addresses
        kafka, cassandra, redis, memcached, zookeeper = given.kafka, given.cassandra, given.redis, given.memcached, given.zookeeper
        if "MARQUEE_KAFKA__BOOTSTRAP" in there:
            kafka = dataclasses.replace(kafka, bootstrap=there["MARQUEE_KAFKA__BOOTSTRAP"])
        if "MARQUEE_CASSANDRA__PORT" in there:
            hosts = tuple(there["MARQUEE_CASSANDRA__HOSTS"].split(","))
            cassandra = dataclasses.replace(cassandra, hosts=hosts, port=int(there["MARQUEE_CASSANDRA__PORT"]))
        if "MARQUEE_REDIS__URL" in there:
            redis = dataclasses.replace(redis, url=there["MARQUEE_REDIS__URL"])
        if "MARQUEE_MEMCACHED__SERVERS" in there:
            memcached = dataclasses.replace(memcached, servers=tuple(there["MARQUEE_MEMCACHED__SERVERS"].split(",")))
        if "MARQUEE_ZOOKEEPER__HOSTS" in there:
            zookeeper = dataclasses.replace(zookeeper, hosts=tuple(there["MARQUEE_ZOOKEEPER__HOSTS"].split(",")))
        return dataclasses.replace(given, kafka=kafka, cassandra=cassandra, redis=redis, memcached=memcached, zookeeper=zookeeper)

    def owner_alive(self) -> bool:
        """Whether the process that started it runs. If not, what is left is what a crash left."""
        return self.state.owner.alive()

    def alive(self) -> dict[str, bool]:
        """Which servers run, by service."""
        return self.state.alive()

    def process(self, service: str) -> ProcessId:
        """A server's process, for its CPU, memory and signals. Raises UsageError for a service it has not."""
        if service not in self.state.services:
            raise UsageError(f"{service} is not among the servers of {self.directory}: {', '.join(self.state.services)}.")
        return self.state.services[service]

    def kill(self, service: str) -> None:
        self.process(service).signal(signal.SIGKILL)

    def pause(self, service: str) -> None:
        self.process(service).signal(signal.SIGSTOP)

    def resume(self, service: str) -> None:
        self.process(service).signal(signal.SIGCONT)

    def stop(self) -> None:
        """Asks the owner to stop (SIGTERM) and waits until owner and servers are gone; what is left then is stopped here.

        Only processes that the state file names by pid and start time are touched. Twice does nothing more.
        """
        if self.state.owner.signal(signal.SIGTERM):
            wait_until(self._all_gone, OWNER_GRACE_S)
        for process in self.state.services.values():
            process.end(grace_s=15.0)
        state.forget(self.directory)

    def _all_gone(self) -> bool:
        return not self.state.owner.alive() and not any(self.alive().values())
