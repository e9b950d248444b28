"""Marquee's own autoscaler scales what the chart installed, with the rights that the chart gives it and no others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cluster.ports import LOOPBACK, pick
from cluster.process import Guarded
from cluster.scaling.kubernetes import Replicas
from tests.kubernetes.installed.control_plane import Failed
from tests.kubernetes.installed.release import WORKERS, Release
from topologies.errors import Conflict, StoreError


@pytest.fixture
def replicas(release: Release, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replicas]:
    """Of the workers, as an autoscaler in its pod has them."""
    release.install()
    monkeypatch.setenv("KUBECONFIG", str(release.autoscaler()))
    with closing(Replicas(f"deployment/{WORKERS}", release.namespace)) as found:
        yield found


def test_the_actuator_scales_with_the_charts_own_rights(release: Release, replicas: Replicas) -> None:
    for count in (4, 2, 5):
        replicas.wanted()  # as the autoscaler asks before it scales: what a roll or the pods change is another version too
        replicas.scale(count)
        assert replicas.wanted() == count
        assert release.has_workers(count)


def test_who_wrote_meanwhile_is_not_written_over(release: Release, replicas: Replicas) -> None:
    replicas.wanted()
    release.plane.kubectl("scale", f"deployment/{WORKERS}", "--replicas=3", f"--namespace={release.namespace}")
    with pytest.raises(Conflict, match="modified"):
        replicas.scale(6)
    assert replicas.wanted() == 3


def test_an_upgrade_leaves_the_number_as_it_was_scaled(release: Release, replicas: Replicas) -> None:
    replicas.scale(4)
    assert release.has_workers(4)
    release.install("settings.kafka.group=other")
    assert replicas.wanted() == 4
    assert release.has_workers(4)


def test_who_scales_is_changed_and_the_number_stays(release: Release, replicas: Replicas) -> None:
    replicas.scale(4)
    for mode, scaled in (("keda", [WORKERS]), ("marquee", [])):
        release.install(f"scaling.mode={mode}")
        assert release.get("deployment", WORKERS)["spec"]["replicas"] == release.ready()["worker"] == 4
        assert [one["spec"]["scaleTargetRef"]["name"] for one in release.get("scaledobjects")["items"]] == scaled
        assert ("autoscaler" in release.ready()) == (mode == "marquee")


def test_a_fixed_number_takes_over_from_who_scaled(release: Release, replicas: Replicas) -> None:
    replicas.scale(4)
    release.install("scaling.mode=none", "workers.replicas=3")
    assert release.has_workers(3)


def test_the_command_brings_the_workers_within_its_limits(release: Release, replicas: Replicas, tmp_path: Path) -> None:
    """`marquee autoscale` as the pod runs it. No server answers it, so it goes by the limits alone."""
    assert replicas.wanted() == 1
    nowhere = f"{LOOPBACK}:{pick()}"
    away = {"MARQUEE_KAFKA__BOOTSTRAP": nowhere, "MARQUEE_REDIS__URL": f"redis://{nowhere}/0"}
    words = (
        "autoscale",
        "3..6",
        f"--kubernetes=deployment/{WORKERS}",
        f"--namespace={release.namespace}",
        f"--ready-file={tmp_path}/ready",
    )
    process = Guarded([sys.executable, "-m", "marquee", *words], tmp_path / "log", cwd=tmp_path, environment=away)
    try:
        assert release.has_workers(3), (tmp_path / "log").read_text()
        assert (tmp_path / "ready").exists()
    finally:
        assert process.stop(30).status == 0
    assert replicas.wanted() == 3


@pytest.mark.usefixtures("replicas")
def test_it_may_do_nothing_else(release: Release) -> None:
    account = release.autoscaler()
    for name, namespace in (("tv-marquee-door", release.namespace), (WORKERS, "default")):
        with closing(Replicas(f"deployment/{name}", namespace)) as others, pytest.raises(StoreError, match="may not"):
            others.wanted()
    allowed = {
        what
        for what in (
            "get deployments",
            "patch deployments",
            "list pods",
            "get secrets",
            "get configmaps",
            "delete deployments",
            "create pods",
        )
        if may(release, account, *what.split())
    }
    assert allowed == set()
    for verb, right in (("get", True), ("update", True), ("patch", False), ("delete", False)):
        assert may(release, account, verb, f"deployments.apps/{WORKERS}", "--subresource=scale") is right


def may(release: Release, account: Path, *words: str) -> bool:
    """Whether Kubernetes says so of who has this configuration."""
    try:
        return release.plane.kubectl("auth", "can-i", *words, f"--namespace={release.namespace}", by=account).strip() == "yes"
    except Failed as refused:
        if not str(refused).startswith("no\n"):
            raise
        return False
