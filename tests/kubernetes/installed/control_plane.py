"""Kubernetes without machines: etcd, the API server, controllers and the scheduler as they are, and kwok, which plays nodes and pods.

Each on a loopback port of its own, with everything in one directory; scripts/kubernetes-servers builds them. A pod that the scheduler puts
on a node is ready a moment later, whatever its image: nothing of it runs.
"""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from cluster.ports import LOOPBACK, listening, pick
from cluster.process import Guarded, wait_until
from tests.kubernetes.rendering import REPOSITORY, helm

BUILT: Final = REPOSITORY / "var" / "kubernetes"
KUBECTL: Final = REPOSITORY / "var" / "tools" / "kubectl"
ADMIN: Final = "the-administrators-token"
STARTED_S: Final = 300.0
ANSWERED_S: Final = 400.0  # with what it is told to wait for
STOPPED_S: Final = 15.0
ZONES: Final = ("a", "b", "c")


class Failed(Exception):
    """What kubectl said."""


@dataclass(frozen=True)
class ControlPlane:
    """One that runs. address: of the API server; directory: where its files are."""

    address: str
    directory: Path

    def kubeconfig(self, name: str, token: str, namespace: str = "default") -> Path:
        """A file by which clients ask with this token."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [
                {
                    "name": name,
                    "cluster": {"server": self.address, "certificate-authority": str(self.directory / "certs" / "apiserver.crt")},
                }
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        }
        file = self.directory / f"{name}.kubeconfig"
        file.write_text(yaml.safe_dump(config))
        return file

    @property
    def admin(self) -> Path:
        return self.directory / "admin.kubeconfig"

    def kubectl(self, *words: str, given: str | None = None, by: Path | None = None) -> str:
        """What it prints. by: whose configuration, the administrator's when None. Raises Failed."""
        command = [str(KUBECTL), f"--kubeconfig={by or self.admin}", *words]
        ran = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=ANSWERED_S)
        if ran.returncode:
            raise Failed(ran.stdout + ran.stderr)
        return ran.stdout

    def get(self, *words: str) -> Any:
        """What `kubectl get` has, as JSON."""
        return json.loads(self.kubectl("get", "--output=json", *words))

    def helm(self, *words: str) -> str:
        """What it prints. Raises Refused."""
        return helm(f"--kubeconfig={self.admin}", *words)


def binary(name: str) -> str:
    """Where it is. Fails where it was not built."""
    path = BUILT / "bin" / name
    assert path.exists(), f"{path} is missing: run `make kubernetes`"
    return str(path)


@contextmanager
def running(directory: Path) -> Iterator[ControlPlane]:
    """From when it answers until its processes have ended."""
    ports: dict[str, int] = {}
    for name in ("etcd", "peers", "apiserver", "controllers", "scheduler"):
        ports[name] = pick(taken=ports.values())
    plane = ControlPlane(f"https://{LOOPBACK}:{ports['apiserver']}", directory)
    _write_credentials(plane)
    with ExitStack() as opened:

        def start(*command: str) -> None:
            process = Guarded(command, directory / f"{Path(command[0]).name}.log", cwd=directory)
            opened.callback(process.stop, STOPPED_S)

        etcd = shutil.which("etcd")
        assert etcd is not None, "etcd is missing: run `make kubernetes`"
        start(etcd, *_etcd(ports))
        assert wait_until(lambda: listening(ports["etcd"]), STARTED_S)
        start(binary("kube-apiserver"), *_apiserver(ports))
        assert wait_until(lambda: _answers(plane), STARTED_S), (directory / "kube-apiserver.log").read_text()[-2000:]
        start(binary("kube-controller-manager"), *_controllers(ports, plane))
        start(binary("kube-scheduler"), *_asking(ports["scheduler"], plane))
        start(
            binary("kwok"),
            f"--kubeconfig={plane.admin}",
            f"--config={BUILT / 'stages.yaml'}",
            "--manage-all-nodes=true",
            "--server-address=",
        )
        yield plane


def _write_credentials(plane: ControlPlane) -> None:
    (plane.directory / "tokens.csv").write_text(f"{ADMIN},admin,admin,system:masters\n")
    subprocess.run(["openssl", "genrsa", "-out", "accounts.key", "2048"], cwd=plane.directory, check=True, capture_output=True)
    plane.kubeconfig("admin", ADMIN)


def _etcd(ports: dict[str, int]) -> list[str]:
    """Debian's cannot be asked how far a watch is. Told so every second, not in 10 minutes, the API server's caches do not wait for it:
    else who begins to watch, as Helm and kwok do, hears nothing for a minute."""
    clients, peers = (f"http://{LOOPBACK}:{ports[name]}" for name in ("etcd", "peers"))
    return [
        "--data-dir=etcd", "--unsafe-no-fsync", "--experimental-watch-progress-notify-interval=1s",
        f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}",
    ]  # fmt: skip


def _apiserver(ports: dict[str, int]) -> list[str]:
    return [
        f"--etcd-servers=http://{LOOPBACK}:{ports['etcd']}", f"--bind-address={LOOPBACK}", f"--advertise-address={LOOPBACK}",
        f"--secure-port={ports['apiserver']}", "--endpoint-reconciler-type=none", "--cert-dir=certs", "--authorization-mode=RBAC",
        "--token-auth-file=tokens.csv", "--service-cluster-ip-range=10.0.0.0/24", "--service-account-key-file=accounts.key",
        "--service-account-signing-key-file=accounts.key", "--service-account-issuer=https://kubernetes.default.svc",
    ]  # fmt: skip


def _controllers(ports: dict[str, int], plane: ControlPlane) -> list[str]:
    return [*_asking(ports["controllers"], plane), "--service-account-private-key-file=accounts.key"]


def _asking(port: int, plane: ControlPlane) -> list[str]:
    return [
        f"--kubeconfig={plane.admin}",
        "--leader-elect=false",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        "--cert-dir=certs",
    ]


def _answers(plane: ControlPlane) -> bool:
    trusted = plane.directory / "certs" / "apiserver.crt"
    if not trusted.exists():
        return False
    request = urllib.request.Request(f"{plane.address}/readyz", headers={"Authorization": f"Bearer {ADMIN}"})
    try:
        with urllib.request.urlopen(request, timeout=5, context=ssl.create_default_context(cafile=str(trusted))) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def add_nodes(plane: ControlPlane, each_zone: int) -> None:
    """Fake ones in ZONES, of the kind that the values for clouds ask for; returns when they are ready."""
    nodes = [_node(zone, number) for zone in ZONES for number in range(each_zone)]
    plane.kubectl("apply", "--filename=-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes}))
    plane.kubectl("wait", "node", "--all", "--for=condition=Ready", f"--timeout={STARTED_S:.0f}s")


def _node(zone: str, number: int) -> dict[str, Any]:
    labels = {"topology.kubernetes.io/zone": zone, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}
    name = f"node-{zone}{number}"
    amounts = {"cpu": "16", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**labels, "kubernetes.io/hostname": name}},
        "status": {"capacity": amounts, "allocatable": amounts},
    }
