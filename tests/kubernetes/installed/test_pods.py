"""Processes start, work and end as the chart's pods have them: its words and variables, a user that nobody knows, no capability, and
nothing that can be written but /tmp. The stores are real; instead of a container there is a mount namespace, for which root is needed."""

from __future__ import annotations

import dataclasses
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.ports import LOOPBACK, pick
from cluster.process import Guarded, wait_until
from tests.kubernetes.rendering import REPOSITORY, Document, container, environment_in, of_files, of_kind, pod
from topologies.settings import Settings

STORES = ("kafka", "redis", "cassandra", "memcached")
AS_IN_A_POD = """
set -e
mount --bind "$1" /mnt
mount -o remount,bind,ro /mnt
mount -o remount,bind,ro /
mount -t tmpfs -o "mode=1777,size=$2" tmpfs /tmp
cd /mnt
exec setpriv --reuid="$3" --regid="$3" --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "${@:4}"
"""
PYTHON = "/mnt/.venv/bin/python"  # the repository may lie in /tmp, which the pod has its own of
READY_S = 500
"""A worker compiles its kernels meanwhile, in 40 s of CPU: no init container has put the image's beside it."""


def values_of(settings: Settings, ports: Mapping[str, int]) -> str:
    """For the chart, of these stores."""
    stores = {name: dataclasses.asdict(getattr(settings, name)) for name in STORES}
    for keys in stores.values():
        keys.pop("password", None)
    ours = {"workers": {"port": ports["worker"]}, "doors": {"port": ports["door"]}, "scaling": {"autoscaler": {"replicas": 1}}}
    return json.dumps({"settings": {**stores, "zookeeper": {"hosts": []}}, **ours})  # which YAML is, too


@pytest.mark.timeout(1500)
def test_pods_work_as_nobody_and_write_to_tmp_alone(settings: Settings, tmp_path: Path) -> None:
    """First a worker, since a door is not ready before one has made the tables."""
    assert os.getuid() == 0, "run it as root: it mounts, and becomes another user"
    ports = {"worker": pick()}
    ports["door"] = pick(taken=ports.values())
    file = tmp_path / "values.yaml"
    file.write_text(values_of(settings, ports))
    documents = of_files(file)
    with as_pod(documents, "worker", ports, tmp_path / "worker.log"), as_pod(documents, "door", ports, tmp_path / "door.log"):
        pass


@contextmanager
def as_pod(documents: list[Document], role: str, ports: Mapping[str, int], log: Path) -> Iterator[None]:
    """From when it is ready until it has ended in good order."""
    deployment = of_kind(documents, "Deployment")[role]
    environment = environment_in(documents, deployment, {"metadata.name": f"tv-{role}", "status.podIP": LOOPBACK})
    (room,) = (volume["emptyDir"]["sizeLimit"] for volume in pod(deployment)["volumes"])
    user = pod(deployment)["securityContext"]["runAsUser"]
    apart = [
        "unshare",
        "--mount",
        "--propagation=private",
        "bash",
        "-c",
        AS_IN_A_POD,
        "pod",
        str(REPOSITORY),
        room.removesuffix("i"),
        str(user),
    ]
    process = Guarded([*apart, PYTHON, "-m", "marquee", *container(deployment)["args"]], log, environment=environment)
    try:
        for path in ("healthz", "readyz"):
            answers(f"http://{LOOPBACK}:{ports[role]}/{path}", log)
        status = Path(f"/proc/{process.id.pid}/status").read_text()
        assert f"Uid:\t{user}\t{user}" in status
        assert "CapEff:\t0000000000000000" in status
        yield
    finally:
        ended = process.stop(pod(deployment)["terminationGracePeriodSeconds"])
    assert ended.status == 0, log.read_text()


def answers(url: str, log: Path) -> None:
    assert wait_until(lambda: not refused(url), READY_S), refused(url) + log.read_text()


def refused(url: str) -> str:
    """Why it does not answer with 200; empty when it does."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError as error:
        return str(error)
