"""One control plane for all, and a namespace and a release for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.kubernetes.installed.control_plane import BUILT, ControlPlane, add_nodes, running
from tests.kubernetes.installed.release import Release


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With six nodes in three zones, and the kinds that KEDA and Prometheus' operator define."""
    directory = tmp_path_factory.mktemp("kubernetes")
    with pytest.MonkeyPatch.context() as patch, running(directory) as started:
        patch.setenv("KUBECACHEDIR", str(directory / "cache"))  # of kubectl and Helm, which know a server by its port alone
        add_nodes(started, each_zone=2)
        started.kubectl("create", "--filename", str(BUILT / "definitions"))
        started.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=60s")
        yield started


@pytest.fixture
def release(plane: ControlPlane) -> Iterator[Release]:
    """Not installed yet, in a namespace where Kubernetes refuses pods that are not as its restricted standard wants them."""
    namespace = f"stream-{uuid.uuid4().hex[:8]}"
    plane.kubectl("create", "namespace", namespace)
    plane.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    yield Release(plane, namespace)
    plane.kubectl("delete", "namespace", namespace, "--wait=false")  # its pods go at once, itself after half of their grace period
