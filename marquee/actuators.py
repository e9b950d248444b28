"""Whose number of workers `marquee autoscale` changes: one of its options, and the packages that each needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topologies.errors import UsageError

if TYPE_CHECKING:
    from cluster.scaling.actuator import Actuator


@dataclass(frozen=True)
class Whose:
    """What was said on the command line; exactly one of the first five."""

    local: bool
    kubernetes: str | None
    ecs: str | None
    asg: str | None
    vmss: str | None
    namespace: str | None
    server: str | None

    def require_one(self) -> None:
        """Raises click's UsageError unless one is said, with no more than goes with it."""
        said = [one for one in (self.kubernetes, self.ecs, self.asg, self.vmss) if one is not None]
        if len(said) + self.local != 1:
            known = "--local, --kubernetes KIND/NAME, --ecs CLUSTER/SERVICE, --asg NAME or --vmss GROUP/NAME"
            raise click.UsageError(f"say whose workers: {known}")
        if self.namespace is not None and self.kubernetes is None:
            raise click.UsageError("--namespace goes with --kubernetes")
        if self.server is not None and self.kubernetes is None and self.vmss is None:
            raise click.UsageError("--server goes with --kubernetes or --vmss; AWS takes AWS_ENDPOINT_URL")

    def opened(self, directory: Path) -> tuple[Actuator, str]:
        """What scales, and what it is called. directory: the local cluster's. Raises UsageError, ServerAway and StoreError."""
        if self.kubernetes is not None:
            with _needing("kubernetes", "Kubernetes"):
                from cluster.scaling.kubernetes import Replicas
            return Replicas(self.kubernetes, self.namespace, self.server), self.kubernetes
        if self.ecs is not None or self.asg is not None:
            with _needing("aws", "AWS"):
                from cluster.scaling.aws import EcsService, ScalingGroup
            if self.ecs is not None:
                return EcsService(self.ecs), f"ECS service {self.ecs}"
            return ScalingGroup(self.asg or ""), f"Auto Scaling group {self.asg}"
        if self.vmss is not None:
            with _needing("azure", "Azure"):
                from cluster.scaling.azure import ScaleSet
            return ScaleSet(self.vmss, server=self.server), f"scale set {self.vmss}"
        from cluster.scaling.asked import Asked

        return Asked(directory), "`marquee up`"


@contextmanager
def _needing(extra: str, spoken_to: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed, which speaks to {spoken_to}: pip install 'marquee[{extra}]'") from error
