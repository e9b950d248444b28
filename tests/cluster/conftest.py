"""Owners of clusters as processes of their own."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import WhiteListRoundRobinPolicy

from cluster.local import LocalCluster
from topologies.settings import Settings, ZooKeeperSettings

OWNER = Path(__file__).parent / "owner.py"
Owner = Callable[..., "subprocess.Popen[str]"]


def one_node(settings: Settings) -> Cluster:
    """The plain driver at the cluster's one node, patient enough for a machine that does much else."""
    there = settings.cassandra
    profile = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy(there.hosts), request_timeout=60)
    return Cluster(
        there.hosts,
        port=there.port,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=60,
        control_connection_timeout=60,
    )


@pytest.fixture
def owner(bare_settings: Settings) -> Iterator[Owner]:
    """Starts a process that owns a cluster of these services in this directory; returns when its servers answer."""
    started: list[subprocess.Popen[str]] = []

    def start(directory: Path, *services: str) -> subprocess.Popen[str]:
        words = [sys.executable, str(OWNER), str(directory), bare_settings.local.jars, *services]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="package")
def zookeeper(bare_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A ZooKeeper alone, which tests may kill if they start it again."""
    directory = tmp_path_factory.mktemp("zookeeper")
    with LocalCluster(directory, bare_settings, services=("zookeeper",), preferred={"zookeeper": 0}, short_lived=True) as running:
        yield running


@pytest.fixture
def place(zookeeper: LocalCluster) -> ZooKeeperSettings:
    hosts = zookeeper.settings.zookeeper.hosts
    return ZooKeeperSettings(hosts=hosts, root=f"/test-{uuid.uuid4().hex[:12]}", session_timeout_s=30.0, timeout_s=30.0)
