"""`marquee autoscale`: an autoscaler by itself, of workers that Kubernetes runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from connectors.sockets import tell_ready
from marquee.config import LOCAL
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import Span
from marquee.output import say
from marquee.ready_file import ready_file_option
from marquee.signals import interruptible
from topologies.errors import UsageError

if TYPE_CHECKING:
    from cluster.scaling.actuator import Actuator

STEP_S: Final = 0.5


@click.command()
@click.argument("limits", metavar="A..B", type=Span())
@click.option("--kubernetes", "target", metavar="KIND/NAME", help="Whose replicas: deployment/NAME or statefulset/NAME.")
@click.option("--local", is_flag=True, help="The workers of `marquee up`, which runs on this machine without an autoscaler of its own.")
@click.option("--namespace", help="Its namespace; that of the configuration when not given.")
@click.option("--server", help="An API server that asks for no credentials (`kubectl proxy`); else the service account, or KUBECONFIG.")
@ready_file_option("it decides")
@pass_invocation
def autoscale(
    invocation: Invocation,
    limits: tuple[int, int],
    target: str | None,
    local: bool,
    namespace: str | None,
    server: str | None,
    ready_file: Path | None,
) -> int:
    """Keep as many workers as the load needs, from A to B, until SIGTERM or Ctrl-C. How it decides stands in docs/scaling.md.

    It measures at Kafka and Redis, and goes by scaling.capacity_per_s, what one worker sustains. Run two or three of it: with
    zookeeper.hosts, one of them leads, and the next does when that one ends. `marquee members` shows who.

    \b
    Examples:
      marquee autoscale 1..4 --local
      marquee autoscale 2..12 --kubernetes deployment/marquee-worker
      marquee -s scaling.capacity_per_s=25000 autoscale 1..8 --kubernetes statefulset/worker --namespace tv
    """
    from cluster.discovery import Role
    from cluster.registries import registered
    from cluster.scaling.asked import Asked
    from cluster.scaling.autoscaler import autoscaling

    if (target is None) != local:
        raise click.UsageError("say whose workers: --local, or --kubernetes KIND/NAME")
    settings, why = invocation.settings, ""
    with interruptible():
        try:
            actuator = _replicas(target, namespace, server) if target else Asked(Path(settings.local.directory) / LOCAL)
            whose = f"{target} has {actuator.wanted()} replicas" if target else f"`marquee up` has {actuator.wanted()} workers"
            say(f"{whose}; from {limits[0]} to {limits[1]} as the load needs")
            with registered(settings, [Role.AUTOSCALER], ""), autoscaling(settings, limits, actuator) as scaler:
                if ready_file is not None:
                    tell_ready(ready_file, {"pid": os.getpid()})
                while True:
                    change = scaler.step()
                    if change is not None:
                        say(f"{change.before} → {change.wanted} workers: {change.why}")
                    elif scaler.why != why and scaler.why.startswith(("held", "another")):
                        say(scaler.why)
                    why = scaler.why
                    time.sleep(STEP_S)
        except KeyboardInterrupt:
            say("stopped; the workers stay as they are")
    return 0


def _replicas(target: str, namespace: str | None, server: str | None) -> Actuator:
    try:
        from cluster.scaling.kubernetes import Replicas
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed, which speaks to Kubernetes: pip install 'marquee[kubernetes]'") from error
    return Replicas(target, namespace, server)


COMMAND = autoscale
