"""`marquee up`: the local cluster and workers, in the foreground."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from marquee.config import LOCAL
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import Span
from marquee.output import say
from marquee.signals import interruptible, undisturbed
from topologies.errors import MarqueeError, ServerAway

if TYPE_CHECKING:
    from cluster.control import Control, Request
    from cluster.local import LocalCluster
    from cluster.rolling import Fleet, Roll
    from cluster.scaling.autoscaler import Autoscaler
    from cluster.supervisor import Workers
    from topologies.settings import Settings

STEP_S: Final = 0.5
MOST_APIS: Final = 63
"""And the spare one of a roll: as many as HAProxy has slots (cluster/haproxy.py)."""


@click.command()
@click.option("--workers", "count", type=click.IntRange(0, 256), show_default="1", help="Worker processes.")
@click.option("--autoscale", "limits", type=Span(), help="From A to B worker processes, as many as the load needs; begins with A.")
@click.option("--apis", type=click.IntRange(1, MOST_APIS), default=1, show_default=True, help="API processes, behind one address.")
@click.option("--external", is_flag=True, help="Start no Kafka, Cassandra, Redis or Memcached: use those that the settings name.")
@click.option("--prometheus", is_flag=True, help="A Prometheus too, with the alert rules: docs/alerts.md.")
@pass_invocation
def up(invocation: Invocation, count: int | None, limits: tuple[int, int] | None, apis: int, external: bool, prometheus: bool) -> int:
    """Start the servers, workers and the API with its dashboard, and keep them up until Ctrl-C or `marquee down`.

    The servers: Kafka, Cassandra, Redis, Memcached, ZooKeeper, and HAProxy, whose address is that of all API processes together.

    Data and logs stay in var/clusters/local. A port that is taken is replaced by a free one, and said; the other commands find the
    running cluster by themselves. How --autoscale decides stands in docs/scaling.md; scaling.capacity_per_s is what it goes by.

    With --external the servers are yours (docs/bring-your-own.md): each that the settings name has to answer, and none is started or
    stopped. Started are a ZooKeeper, where zookeeper.hosts names none, and HAProxy.

    \b
    Examples:
      marquee up
      marquee up --autoscale 1..4
      marquee up --workers 4
      marquee up --external --workers 2
      marquee -s kafka.bootstrap=127.0.0.1:19092 up --workers 0
    """
    from cluster.balancing import Balancer, takes
    from cluster.control import Control
    from cluster.haproxy import Runtime
    from cluster.local import LocalCluster
    from cluster.prometheus import Targets
    from cluster.registries import open_registry
    from cluster.rolling import Fleet
    from cluster.scaling.actuator import Supervised
    from cluster.scaling.autoscaler import autoscaling
    from cluster.supervisor import SERVE, Workers, ask_all_to_stop, at_any_port, start_all
    from connectors.kafka import ensure_topics

    if limits is not None and count is not None:
        raise click.UsageError("--autoscale A..B says how many workers there are; leave --workers out")
    count = limits[0] if limits is not None else 1 if count is None else count
    settings = invocation.settings
    directory = Path(settings.local.directory) / LOCAL
    if external:
        require_answers(settings)
    cluster = LocalCluster(directory, settings, services=_services(settings, external, prometheus))
    opened = ExitStack()  # what begins last ends first, and whatever goes wrong then, the rest is ended too
    with interruptible():
        try:
            opened.callback(cluster.stop)
            cluster.start(say)
            ensure_topics(cluster.settings)
            answering = _at_free_port(cluster.settings) if apis == 1 else at_any_port(cluster.settings)
            workers = Workers(cluster.settings, count, directory)
            doors = Workers(answering, apis, directory, command=SERVE, role="api")
            spare = Workers(at_any_port(cluster.settings), 1, directory, command=SERVE, role="spare")
            for group in (workers, doors, spare):
                opened.callback(group.stop_all)
            start_all([workers, doors], say)
            registry = opened.enter_context(open_registry(cluster.settings))
            opened.enter_context(Balancer(registry, cluster.haproxy.admin))
            if prometheus:
                opened.enter_context(Targets(registry, cluster.prometheus.targets))
            opened.callback(ask_all_to_stop, [workers, doors, spare])  # side by side, for each may take its time
            control = opened.enter_context(Control(directory))
            scaler = opened.enter_context(autoscaling(cluster.settings, limits, Supervised(workers))) if limits else None
            _announce(cluster, count, doors)
            runtime = Runtime(cluster.haproxy.admin)
            keeper = Keeper(cluster, Fleet(workers, doors, spare, lambda url: takes(runtime, url)), scaler, control)
            while True:
                keeper.step()
                time.sleep(STEP_S)
        except KeyboardInterrupt:
            say("stopping: the workers drain, then the servers stop …")
        finally:
            with undisturbed():
                opened.close()
    say("stopped")
    return 0


def _services(settings: Settings, external: bool, prometheus: bool) -> tuple[str, ...]:
    """What is started here."""
    from cluster.local import ALL_SERVICES, BESIDE_EXTERNAL

    own = BESIDE_EXTERNAL if external else ALL_SERVICES
    found = [name for name in own if not (external and name == "zookeeper" and settings.zookeeper.hosts)]
    return (*found, *(["prometheus"] if prometheus else []))


def require_answers(settings: Settings) -> None:
    """Raises ServerAway, with all that do not answer, unless every server that the settings name does."""
    from connectors.health import healths

    if away := [f"{health.name} at {health.address} ({health.detail})" for health in healths(settings) if not health.ok]:
        raise ServerAway(f"not all of your servers answer: {'; '.join(away)}; see to them, or without --external servers are started here")


def _at_free_port(settings: Settings) -> Settings:
    """The settings with a port that the API can have."""
    from cluster.ports import pick

    wanted = settings.api.http_port
    port = pick(wanted)
    if wanted not in (port, 0):
        say(f"port {wanted} is taken; the API gets {port}")
    return replace(settings, api=replace(settings.api, http_port=port))


def _announce(cluster: LocalCluster, count: int, api: Workers) -> None:
    from connectors.redis import shown

    settings = cluster.settings
    say(f"kafka      {settings.kafka.bootstrap}")
    say(f"redis      {shown(settings.redis.url)}")
    say(f"cassandra  {','.join(settings.cassandra.hosts)}:{settings.cassandra.port}")
    say(f"zookeeper  {','.join(settings.zookeeper.hosts)}")
    address = cluster.haproxy.url if len(api) > 1 else api.http(0)
    say(f"door       {cluster.haproxy.url}, in front of {len(api)} API process{'' if len(api) == 1 else 'es'}")
    say(f"dashboard  {address}/")
    say(f"api        {address}/v1/views, described at {address}/docs")
    if "prometheus" in cluster.services:
        say(f"prometheus {cluster.prometheus.url}/alerts")
    say(f"logs       {cluster.directory / 'logs'}")
    say(f"up with {count} worker{'' if count == 1 else 's'}; Ctrl-C or `marquee down` stops")


class Keeper:
    """Keeps up what has been started: starts again what ends on its own, later each time that it does not last (cluster/backoff.py), as
    many workers as the load needs, and others in their place when that is asked for. What will not stay up ends nothing else."""

    def __init__(self, cluster: LocalCluster, fleet: Fleet, scaler: Autoscaler | None, control: Control) -> None:
        from cluster.backoff import BackOff

        self._cluster = cluster
        self._fleet = fleet
        self._scaler = scaler
        self._control = control
        self._back_off = BackOff()
        self._roll: Roll | None = None
        self._asked: Request | None = None

    def step(self) -> None:
        """Once."""
        self._take_requests()
        self._go_on_rolling()
        for name in self._cluster.watch():
            server = self._cluster.server(name)
            self._again(name, server.process, server.log, partial(self._cluster.revive, name))
        for group in self._fleet.groups:
            for index in group.watch():
                if self._roll is None or not self._roll.coming(group, index):
                    worker = group[index]
                    self._again(worker.name, worker.process, worker.log, partial(group.restart, index))
            group.reap()
        # while one is replaced by another the number is the roll's
        if self._scaler is not None and self._roll is None and (change := self._scaler.step()) is not None:
            say(f"{change.before} → {change.wanted} workers: {change.why}")

    def _again(self, name: str, process: object, log: Path, start: Callable[[], None]) -> None:
        """Starts what has ended on its own, once it is time to."""
        if (wait_s := self._back_off.ended(name, process)) is not None:
            when = f" in {wait_s:.0f} s" if wait_s else ""
            say(f"{name} ended on its own ({log} says why); starting it again{when}")
        if self._back_off.begins(name):
            try:
                start()
            except MarqueeError as error:
                say(f"{name} could not be started again: {error}")

    def _take_requests(self) -> None:
        from cluster.rolling import Roll
        from cluster.scaling.asked import answered

        while (request := self._control.next()) is not None:
            if answered(request, self._fleet.workers, self._whose_number()):
                continue
            if request.do != "roll":
                request.end(f"{request.do!r} is nothing that can be asked for; `roll` is")
            elif self._roll is not None:
                request.end("a rolling restart is under way already")
            else:
                say("replacing every worker and API by one of the version that is installed now")
                self._asked, self._roll = request, Roll(self._fleet, self._told)

    def _whose_number(self) -> str:
        """Why the number of workers is not for others to change now; empty when it is."""
        if self._scaler is not None:
            return "`marquee up --autoscale` scales them itself"
        return "" if self._roll is None else "a rolling restart is under way"

    def _told(self, word: str) -> None:
        say(word)
        if self._asked is not None:
            self._asked.say(word)

    def _go_on_rolling(self) -> None:
        if self._roll is None:
            return
        failed = ""
        try:
            if not self._roll.step():
                return
        except MarqueeError as error:
            failed = str(error)
        say(f"not all were replaced: {failed}" if failed else "all were replaced")
        if self._asked is not None:
            self._asked.end(failed)
        self._roll = self._asked = None


COMMAND = up
