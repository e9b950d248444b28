"""`marquee up`: the local cluster and workers, in the foreground."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from marquee.config import LOCAL
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import Span
from marquee.output import say
from marquee.signals import interruptible, undisturbed
from topologies.errors import ServerAway

if TYPE_CHECKING:
    from cluster.haproxy import HAProxyServer
    from cluster.local import LocalCluster
    from cluster.scaling.autoscaler import Autoscaler
    from cluster.supervisor import Workers
    from topologies.settings import Settings

MOST_RESTARTS: Final = 5
RESTARTS_WITHIN_S: Final = 600.0
"""What has ended more often than that on its own within ten minutes is not started again."""


@click.command()
@click.option("--workers", "count", type=click.IntRange(0, 256), default=1, show_default=True, help="Worker processes.")
@click.option("--autoscale", "limits", type=Span(), help="From A to B worker processes, as many as the load needs; begins with A.")
@click.option("--apis", type=click.IntRange(1, 64), default=1, show_default=True, help="API processes, behind one address.")
@pass_invocation
def up(invocation: Invocation, count: int, limits: tuple[int, int] | None, apis: int) -> int:
    """Start the servers, workers and the API with its dashboard, and keep them up until Ctrl-C or `marquee down`.

    The servers: Kafka, Cassandra, Redis, Memcached, ZooKeeper, and HAProxy, whose address is that of all API processes together.

    Data and logs stay in var/clusters/local. A port that is taken is replaced by a free one, and said; the other commands find the
    running cluster by themselves. How --autoscale decides stands in docs/scaling.md; scaling.capacity_per_s is what it goes by.

    \b
    Examples:
      marquee up
      marquee up --autoscale 1..4
      marquee up --workers 4
      marquee -s kafka.bootstrap=127.0.0.1:19092 up --workers 0
    """
    from cluster.balancing import Balancer
    from cluster.local import ALL_SERVICES, LocalCluster
    from cluster.registries import open_registry
    from cluster.scaling.actuator import Supervised
    from cluster.scaling.autoscaler import autoscaling
    from cluster.supervisor import SERVE, Workers, start_all
    from connectors.kafka import ensure_topics

    if limits is not None:
        count = limits[0]
    settings = invocation.settings
    directory = Path(settings.local.directory) / LOCAL
    cluster = LocalCluster(directory, settings, services=ALL_SERVICES)
    opened = ExitStack()  # what begins last ends first, and whatever goes wrong then, the rest is ended too
    with interruptible():
        try:
            opened.callback(cluster.stop)
            cluster.start(say)
            ensure_topics(cluster.settings)
            answering = _at_free_port(cluster.settings) if apis == 1 else _anywhere(cluster.settings)
            groups = [Workers(cluster.settings, count, directory), Workers(answering, apis, directory, command=SERVE, role="api")]
            for group in groups:
                opened.callback(group.stop_all)
            start_all(groups, say)
            registry = opened.enter_context(open_registry(cluster.settings))
            opened.enter_context(Balancer(registry, door(cluster).admin))
            scaler = opened.enter_context(autoscaling(cluster.settings, limits, Supervised(groups[0]))) if limits else None
            _announce(cluster, count, groups[1])
            _watch(cluster, groups, scaler)
        except KeyboardInterrupt:
            say("stopping: the workers drain, then the servers stop …")
        finally:
            with undisturbed():
                opened.close()
    say("stopped")
    return 0


def _at_free_port(settings: Settings) -> Settings:
    """The settings with a port that the API can have."""
    from cluster.ports import pick

    wanted = settings.api.http_port
    port = pick(wanted)
    if wanted not in (port, 0):
        say(f"port {wanted} is taken; the API gets {port}")
    return replace(settings, api=replace(settings.api, http_port=port))


def _anywhere(settings: Settings) -> Settings:
    """The settings with any port for each API."""
    return replace(settings, api=replace(settings.api, http_port=0))


def door(cluster: LocalCluster) -> HAProxyServer:
    """The cluster's HAProxy."""
    from cluster.haproxy import HAProxyServer

    server = cluster.server("haproxy")
    assert isinstance(server, HAProxyServer)
    return server


def _announce(cluster: LocalCluster, count: int, api: Workers) -> None:
    settings = cluster.settings
    say(f"kafka      {settings.kafka.bootstrap}")
    say(f"redis      {settings.redis.url}")
    say(f"cassandra  {','.join(settings.cassandra.hosts)}:{settings.cassandra.port}")
    say(f"zookeeper  {','.join(settings.zookeeper.hosts)}")
    address = door(cluster).url if len(api) > 1 else api.http(0)
    say(f"door       {door(cluster).url}, in front of {len(api)} API process{'' if len(api) == 1 else 'es'}")
    say(f"dashboard  {address}/")
    say(f"api        {address}/v1/views, described at {address}/docs")
    say(f"logs       {cluster.directory / 'logs'}")
    say(f"up with {count} worker{'' if count == 1 else 's'}; Ctrl-C or `marquee down` stops")


def _watch(cluster: LocalCluster, groups: Sequence[Workers], scaler: Autoscaler | None) -> None:
    """Starts again what ends on its own, and as many workers as the load needs. Returns never; raises ServerAway when one will not stay
    up."""
    restarts: defaultdict[str, list[float]] = defaultdict(list)

    def again(name: str, log: Path) -> None:
        now = time.monotonic()
        restarts[name] = [when for when in restarts[name] if now - when < RESTARTS_WITHIN_S] + [now]
        if len(restarts[name]) > MOST_RESTARTS:
            raise ServerAway(f"{name} ended {len(restarts[name])} times on its own; {log} says why")
        say(f"{name} ended on its own ({log} says why); starting it again")

    while True:
        for name in cluster.watch():
            again(name, cluster.server(name).log)
            cluster.restart(name, say)
        for group in groups:
            for index in group.watch():
                again(group[index].name, group[index].log)
                group.restart(index)
            group.reap()
        if scaler is not None and (change := scaler.step()) is not None:
            say(f"{change.before} → {change.wanted} workers: {change.why}")
        time.sleep(0.5)


COMMAND = up
