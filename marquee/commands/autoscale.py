"""`marquee autoscale`: an autoscaler by itself, of workers that Kubernetes runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

import click

from connectors.sockets import tell_ready
from marquee.actuators import Whose
from marquee.config import LOCAL
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import Span
from marquee.output import say
from marquee.ready_file import ready_file_option
from marquee.signals import interruptible

STEP_S: Final = 0.5


@click.command()
@click.argument("limits", metavar="A..B", type=Span())
@click.option("--local", is_flag=True, help="The workers of `marquee up`, which runs on this machine without an autoscaler of its own.")
@click.option("--kubernetes", metavar="KIND/NAME", help="Whose replicas: deployment/NAME or statefulset/NAME.")
@click.option("--ecs", metavar="CLUSTER/SERVICE", help="The tasks of a service of Amazon ECS.")
@click.option("--asg", metavar="NAME", help="The machines of an EC2 Auto Scaling group.")
@click.option("--vmss", metavar="GROUP/NAME", help="The machines of an Azure scale set, in a resource group of AZURE_SUBSCRIPTION_ID.")
@click.option("--namespace", help="Of --kubernetes; that of the configuration when not given.")
@click.option("--server", help="An API server that asks for no credentials, as `kubectl proxy` is; of --kubernetes or --vmss.")
@ready_file_option("it decides")
@pass_invocation
def autoscale(invocation: Invocation, /, limits: tuple[int, int], ready_file: Path | None, **said: Any) -> int:
    """Keep as many workers as the load needs, from A to B, until SIGTERM or Ctrl-C. How it decides stands in docs/scaling.md.

    It measures at Kafka and Redis, and goes by scaling.capacity_per_s, what one worker sustains. Run two or three of it: with
    zookeeper.hosts, one of them leads, and the next does when that one ends. `marquee members` shows who.

    \b
    Examples:
      marquee autoscale 1..4 --local
      marquee autoscale 2..12 --kubernetes deployment/marquee-worker
      marquee -s scaling.capacity_per_s=25000 autoscale 1..8 --kubernetes statefulset/worker --namespace tv
      marquee autoscale 2..24 --ecs marquee/worker
      marquee autoscale 2..24 --vmss tv/workers
    """
    from cluster.discovery import Role
    from cluster.registries import registered
    from cluster.scaling.autoscaler import autoscaling

    whose = Whose(**said)
    whose.require_one()
    settings, why = invocation.settings, ""
    with interruptible():
        try:
            actuator, shown = whose.opened(Path(settings.local.directory) / LOCAL)
            say(f"{shown} has {actuator.wanted()} workers; from {limits[0]} to {limits[1]} as the load needs")
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


COMMAND = autoscale
