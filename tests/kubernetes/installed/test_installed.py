"""The chart is installed in a real Kubernetes, rolled, drained and taken away again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import yaml

from cluster.process import wait_until
from tests.kubernetes.installed.control_plane import ControlPlane, Failed
from tests.kubernetes.installed.release import READY_S, WORKERS, Release
from tests.kubernetes.rendering import ELSEWHERE, EVERYTHING, PLATFORMS, rendered


@pytest.mark.parametrize("platform", PLATFORMS)
def test_everything_comes_up_where_only_restricted_pods_may(release: Release, platform: str) -> None:
    release.install(files=PLATFORMS[platform])
    clouds = platform != "plain"
    assert release.ready() == {"worker": 1, "door": 3 if clouds else 2, "autoscaler": 2}
    if clouds:
        assert release.zones("door") == [1, 1, 1]


def test_what_is_taken_away_leaves_nothing(release: Release) -> None:
    release.install(*EVERYTHING, files=PLATFORMS["eks"])
    release.plane.helm("uninstall", "tv", "--wait", f"--namespace={release.namespace}")
    kinds = {one["kind"] for one in rendered("eks", *EVERYTHING)}
    assert len(kinds) >= 11
    for kind in kinds:
        assert release.get(kind, "--selector=app.kubernetes.io/instance=tv")["items"] == []
    assert wait_until(lambda: release.get("pods")["items"] == [], READY_S)


def test_workers_spread_over_the_zones(release: Release) -> None:
    release.install("scaling.mode=none", "workers.replicas=6")
    assert release.zones("worker") == [2, 2, 2]


def test_a_roll_has_one_worker_more_and_none_less(release: Release) -> None:
    """By what the replica sets are to have: their statuses, and so the Deployment's own, come later one after the other."""
    values = ("scaling.mode=none", "workers.replicas=3")
    release.install(*values)
    assert wait_until(lambda: release.get("deployment", WORKERS)["status"].get("availableReplicas") == 3, READY_S)
    before = {pod["metadata"]["name"] for pod in release.pods("worker")}
    seen: set[tuple[int, int]] = set()
    release.upgrade(*values, "settings.kafka.group=other")

    def rolled() -> bool:
        sets = [one for one in release.get("replicasets")["items"] if one["metadata"]["name"].startswith(f"{WORKERS}-")]
        workers = release.get("deployment", WORKERS)
        status = workers["status"]
        seen.add((sum(one["spec"]["replicas"] for one in sets), status.get("availableReplicas", 0)))
        told = status.get("observedGeneration") == workers["metadata"]["generation"]
        return told and {status.get(name) for name in ("updatedReplicas", "replicas", "availableReplicas")} == {3}

    assert wait_until(rolled, READY_S)
    assert not before & {pod["metadata"]["name"] for pod in release.pods("worker")}
    assert max(wanted for wanted, _ in seen) == 4
    assert min(available for _, available in seen) >= 3


def test_one_worker_after_the_other_is_drained(release: Release) -> None:
    """Of a budget, the second eviction has to wait until the first worker's successor is ready. While no node takes one it is not."""
    release.install("scaling.mode=none", "workers.replicas=2")
    assert wait_until(lambda: release.get("pdb", WORKERS)["status"].get("disruptionsAllowed") == 1, READY_S)
    first, second = (pod["metadata"]["name"] for pod in release.pods("worker"))
    with cordoned(release.plane, [one["metadata"]["name"] for one in release.plane.get("nodes")["items"]]):
        evict(release, first)
        with pytest.raises(Failed, match="disruption budget"):
            evict(release, second)
    assert release.has_workers(2)


def test_a_node_that_has_everything_is_drained(release: Release) -> None:
    """By `kubectl drain`. Meanwhile never more than one worker and one door are away; in the end nothing is on it, and all are ready."""
    plane = release.plane
    node, *others = (one["metadata"]["name"] for one in plane.get("nodes")["items"])
    with cordoned(plane, others):
        release.install("scaling.mode=none", "workers.replicas=3")
    with cordoned(plane, [node]), ThreadPoolExecutor(1) as beside:
        draining = beside.submit(plane.kubectl, "drain", node, "--delete-emptydir-data", f"--timeout={READY_S}s")
        while not draining.done():
            ready = release.ready()
            assert ready["worker"] >= 2
            assert ready["door"] >= 1
        draining.result()
        assert wait_until(lambda: release.ready() == {"worker": 3, "door": 2}, READY_S)
        assert node not in {pod["spec"]["nodeName"] for role in ("worker", "door") for pod in release.pods(role)}


@contextmanager
def cordoned(plane: ControlPlane, nodes: Sequence[str]) -> Iterator[None]:
    """The scheduler puts nothing on these."""
    plane.kubectl("cordon", *nodes)
    try:
        yield
    finally:
        plane.kubectl("uncordon", *nodes)


def evict(release: Release, pod: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": release.namespace}}
    path = f"/api/v1/namespaces/{release.namespace}/pods/{pod}/eviction"
    release.plane.kubectl("create", f"--raw={path}", "--filename=-", given=json.dumps(eviction))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_kedas_and_prometheus_operators_kinds_are_as_they_define_them(release: Release, platform: str) -> None:
    more = ("scaling.mode=keda", "scaling.keda.authenticationRef=kafka", "scaling.keda.metadata.tls=enable")
    theirs = [one for one in rendered(platform, *EVERYTHING, *more) if one["apiVersion"] in ELSEWHERE]
    assert len(theirs) == 4
    for document in theirs:
        placed = {**document, "metadata": {**document["metadata"], "namespace": release.namespace}}
        strictly_applied(release.plane, placed)


def test_a_kind_of_theirs_that_is_wrong_is_refused(release: Release) -> None:
    (scaled,) = (one for one in rendered("plain", "scaling.mode=keda") if one["kind"] == "ScaledObject")
    wrong = {**scaled, "metadata": {"name": "x", "namespace": release.namespace}, "spec": {**scaled["spec"], "minReplicas": 1}}
    with pytest.raises(Failed, match="minReplicas"):
        strictly_applied(release.plane, wrong)


def strictly_applied(plane: ControlPlane, document: dict[str, object]) -> None:
    plane.kubectl("apply", "--validate=strict", "--filename=-", given=yaml.safe_dump(document))
