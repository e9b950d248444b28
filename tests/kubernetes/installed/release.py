"""The chart as it is installed in one namespace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.process import wait_until
from tests.kubernetes.installed.control_plane import ControlPlane
from tests.kubernetes.rendering import CHART

WORKERS = "tv-marquee-worker"
READY_S = 300
QUICK = ("workers.minReadySeconds=1", "doors.minReadySeconds=1")
"""A pod that kwok plays is ready at once, and stays so."""


@dataclass(frozen=True)
class Release:
    """Named tv."""

    plane: ControlPlane
    namespace: str

    def install(self, *values: str, files: Sequence[Path] = ()) -> str:
        """Installs or upgrades it, by these files as they are, or QUICK; waits until everything is ready. Raises Refused."""
        words = (*(f"--values={file}" for file in files), *_set(values if files else (*QUICK, *values)))
        return self._helm(*words, "--install", "--wait", f"--timeout={READY_S}s")

    def upgrade(self, *values: str) -> str:
        """The same, of what is installed, without waiting."""
        return self._helm(*_set((*QUICK, *values)))

    def _helm(self, *words: str) -> str:
        return self.plane.helm("upgrade", "tv", str(CHART), f"--namespace={self.namespace}", *words)

    def get(self, *words: str) -> Any:
        return self.plane.get(f"--namespace={self.namespace}", *words)

    def pods(self, role: str) -> list[dict[str, Any]]:
        """Those that are not on their way out."""
        found = self.get("pods", f"--selector=app.kubernetes.io/component={role}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self) -> dict[str, int]:
        """Pods that are ready, by component."""
        found = self.get("deployments")["items"]
        return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one["status"].get("readyReplicas", 0) for one in found}

    def has_workers(self, count: int) -> bool:
        """Whether so many come to be ready, and no more are there."""
        return wait_until(lambda: self.ready()["worker"] == len(self.pods("worker")) == count, READY_S)

    def zones(self, role: str) -> list[int]:
        """How many pods of this component are in each zone."""
        nodes = {one["metadata"]["name"]: one["metadata"]["labels"] for one in self.plane.get("nodes")["items"]}
        counted = Counter(nodes[pod["spec"]["nodeName"]]["topology.kubernetes.io/zone"] for pod in self.pods(role))
        return sorted(counted.values())

    def autoscaler(self) -> Path:
        """The configuration of who has the token of the chart's own service account for autoscalers."""
        token = self.plane.kubectl("create", "token", "tv-marquee-autoscaler", f"--namespace={self.namespace}").strip()
        return self.plane.kubeconfig(f"autoscaler-{self.namespace}", token, self.namespace)


def _set(values: Sequence[str]) -> list[str]:
    return [f"--set={value}" for value in values]
