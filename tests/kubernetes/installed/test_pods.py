"""Processes start, work and end as the chart's pods have them: its words and variables, a user that nobody knows, no capability, and
nothing that can be written but /tmp. The stores are real; instead of a container there is a mount namespace, for which root is needed."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cluster.ports import LOOPBACK, pick
from cluster.process import Guarded, wait_until
from tests.kubernetes.rendering import REPOSITORY, container, environment_in, of_files, of_kind, pod
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
READY_S = 300


def values_of(settings: Settings, port: int) -> str:
    """For the chart, of these stores."""
    stores = {name: dataclasses.asdict(getattr(settings, name)) for name in STORES}
    for keys in stores.values():
        keys.pop("password", None)
    ours = {"workers": {"port": port}, "doors": {"port": port}, "scaling": {"autoscaler": {"replicas": 1}}}
    return json.dumps({"settings": {**stores, "zookeeper": {"hosts": []}}, **ours})  # which YAML is, too


@pytest.mark.parametrize("role", ["worker", "door"])
def test_a_pod_works_as_nobody_and_writes_to_tmp_alone(settings: Settings, tmp_path: Path, role: str) -> None:
    assert os.getuid() == 0, "run it as root: it mounts, and becomes another user"
    port = pick()
    file = tmp_path / "values.yaml"
    file.write_text(values_of(settings, port))
    documents = of_files(file)
    deployment = of_kind(documents, "Deployment")[role]
    environment = environment_in(documents, deployment, {"metadata.name": f"tv-{role}", "status.podIP": LOOPBACK})
    (room,) = (volume["emptyDir"]["sizeLimit"] for volume in pod(deployment)["volumes"])
    user = pod(deployment)["securityContext"]["runAsUser"]
    words = [
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
    log = tmp_path / "log"
    process = Guarded([*words, sys.executable, "-m", "marquee", *container(deployment)["args"]], log, environment=environment)
    try:
        assert wait_until(lambda: answers(port, "/healthz"), READY_S), log.read_text()
        assert wait_until(lambda: answers(port, "/readyz"), READY_S), log.read_text()
        status = Path(f"/proc/{process.id.pid}/status").read_text()
        assert f"Uid:\t{user}\t{user}" in status
        assert "CapEff:\t0000000000000000" in status
    finally:
        ended = process.stop(pod(deployment)["terminationGracePeriodSeconds"])
    assert ended.status == 0, log.read_text()


def answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
