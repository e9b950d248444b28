"""`marquee balance`: the members of a HAProxy that something else runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import say
from marquee.signals import interruptible
from topologies.errors import UsageError

STEP_S: Final = 0.5


@click.command()
@click.argument("admin", metavar="SOCKET", type=click.Path(path_type=Path))
@pass_invocation
def balance(invocation: Invocation, admin: Path) -> int:
    """Keep the members of the HAProxy whose runtime API has this SOCKET, until SIGTERM or Ctrl-C: APIs and collectors that register are
    told to it, those that leave drain.

    `marquee up` does this for its own HAProxy. This is for one that docker-compose.yml, or you, started with
    cluster/servers/haproxy/haproxy.cfg; docs/balancing.md has both. It may be away or restarted: it is told all again.

    \b
    Examples:
      marquee balance var/haproxy/admin.sock
      marquee -s zookeeper.hosts=10.0.0.5:2181 balance /run/haproxy/admin.sock
    """
    from cluster.balancing import Balancer
    from cluster.haproxy import Runtime
    from cluster.registries import open_registry

    settings = invocation.settings
    if not settings.zookeeper.hosts and not settings.discovery.members:
        raise UsageError("nobody says who is up: set zookeeper.hosts, or list discovery.members; `marquee up` runs a ZooKeeper")
    with interruptible():
        try:
            Runtime(admin).say("show info")
            with open_registry(settings) as registry, Balancer(registry, admin):
                say(f"HAProxy at {admin} is told who is up; Ctrl-C stops")
                while True:
                    time.sleep(STEP_S)
        except KeyboardInterrupt:
            say("stopped; HAProxy goes on with the members that it has")
    return 0


COMMAND = balance
