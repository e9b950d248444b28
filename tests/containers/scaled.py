"""The image's autoscalers: with the words of the Helm chart and of the clouds' templates, in containers as confined as those are there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cluster.process import wait_until
from tests.cluster.scaling.kubernetes_server import kubernetes
from tests.containers.daemon import Docker
from topologies.errors import ServerAway

LEAST: Final = 2
WORDS: Final = ("autoscale", f"{LEAST}..4")
CHART: Final = ("--kubernetes=deployment/worker", "--namespace=tv", "--ready-file=/tmp/ready")
"""As deploy/helm has it, of kubernetes_server.py's one Deployment."""
NOWHERE: Final = "http://127.0.0.1:9"
AWS: Final = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": NOWHERE}
CLOUDS: Final[tuple[tuple[tuple[str, ...], Mapping[str, str], str], ...]] = (
    (("--ecs", "tv/worker"), AWS, "AWS does not answer"),
    (("--asg", "tv"), AWS, "AWS does not answer"),
    (("--vmss", "tv/workers", "--server", NOWHERE), {"AZURE_SUBSCRIPTION_ID": "tv"}, "Azure does not answer"),
)
"""Whose workers, the environment, and what is said where nobody answers: so all that speaks to that cloud was there."""
CONFINED: Final = ("--init", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp", "--tmpfs", "/run/marquee", "--network", "host")
SCALED_S: Final = 90.0
ENDED_S: Final = 120.0


def try_scaling(docker: Docker, image: str, name: str, directory: Path, stores: Mapping[str, str]) -> None:
    """stores: where Kafka and Redis are on this machine, as settings' variables. Raises ServerAway when one does not do what it should."""
    with kubernetes(LEAST - 1) as (cluster, address):
        config = directory / "kubeconfig"
        config.write_text(json.dumps(_kubeconfig(address)))
        config.chmod(0o644)
        mounted = ("--volume", f"{config}:/kubeconfig:ro")
        with _running(docker, name, *mounted, *_told({**stores, "KUBECONFIG": "/kubeconfig"}), image, *WORDS, *CHART):
            if not wait_until(lambda: cluster.replicas == LEAST, SCALED_S, every_s=0.5):
                raise ServerAway(f"the Deployment has {cluster.replicas} replicas, not {LEAST}:\n{docker.run('logs', name)}")
    for whose, environment, expected in CLOUDS:
        ran = subprocess.run(
            ["docker", "run", "--rm", *CONFINED, *_told(environment), image, *WORDS, *whose],
            env=docker.environment, capture_output=True, text=True, check=False, timeout=ENDED_S,
        )  # fmt: skip
        if ran.returncode != ServerAway.exit_code or expected not in ran.stderr:
            raise ServerAway(f"`{' '.join((*WORDS, *whose))}` ended with {ran.returncode}: {ran.stderr[-500:]}")


def _told(environment: Mapping[str, str]) -> list[str]:
    return [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]


def _kubeconfig(address: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tv", "cluster": {"server": address}}],
        "users": [{"name": "tv", "user": {}}],
        "contexts": [{"name": "tv", "context": {"cluster": "tv", "user": "tv"}}],
        "current-context": "tv",
    }


@contextmanager
def _running(docker: Docker, name: str, *words: str) -> Iterator[None]:
    """A container of that name; raises ServerAway unless it ends in good order when it is told to."""
    docker.run("run", "--detach", "--name", name, *CONFINED, *words)
    try:
        yield
        docker.run("stop", name)
        if code := docker.inspect("container", name)["State"]["ExitCode"]:
            raise ServerAway(f"{name} ended with {code}:\n{docker.run('logs', name)}")
    finally:
        docker.run("rm", "--force", "--volumes", name)
