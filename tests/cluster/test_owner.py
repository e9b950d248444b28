"""Servers live as long as their owner, and nobody else's process is ever touched."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from pathlib import Path

import pytest

from cluster import state
from cluster.local import LocalCluster
from cluster.process import ProcessId, wait_until
from tests.cluster.conftest import Owner
from topologies.errors import ServerAway, UsageError
from topologies.settings import Settings


def servers_of(directory: Path) -> dict[str, ProcessId]:
    left = state.load(directory)
    assert left is not None
    return left.services


def test_servers_die_with_an_owner_that_is_killed_and_the_next_start_cleans_up(
    tmp_path: Path, bare_settings: Settings, owner: Owner
) -> None:
    process = owner(tmp_path, "redis", "kafka")
    servers = servers_of(tmp_path)
    assert all(server.alive() for server in servers.values())
    process.kill()
    process.wait()
    assert wait_until(lambda: not any(server.alive() for server in servers.values()), 60)
    assert state.running_addresses(tmp_path) == {}

    with LocalCluster(tmp_path, bare_settings, services=("redis",), preferred={"redis": 0}) as again:
        assert again.alive("redis")


def test_a_server_dies_with_its_guardian(tmp_path: Path, bare_settings: Settings) -> None:
    with LocalCluster(tmp_path, bare_settings, services=("redis",), preferred={"redis": 0}) as cluster:
        process = cluster.server("redis").process
        assert process is not None
        os.kill(process.guardian_id.pid, signal.SIGKILL)
        assert process.id.gone_within(60)
        assert cluster.watch() == ["redis"]
        cluster.restart("redis")
        assert cluster.watch() == []


def test_down_from_another_process_stops_owner_and_servers(tmp_path: Path, owner: Owner) -> None:
    process = owner(tmp_path, "redis")
    attached = LocalCluster.attach(tmp_path)
    assert attached.alive() == {"redis": True}
    assert attached.owner_alive()
    attached.stop()
    assert process.wait(60) == 0
    assert attached.alive() == {"redis": False}
    attached.stop()
    with pytest.raises(ServerAway, match="no local cluster"):
        LocalCluster.attach(tmp_path)


def test_a_second_cluster_in_the_same_directory_is_refused(tmp_path: Path, bare_settings: Settings, owner: Owner) -> None:
    owner(tmp_path, "redis")
    second = LocalCluster(tmp_path, bare_settings, services=("redis",))
    with pytest.raises(UsageError, match="already runs"):
        second.start()
    second.stop()
    assert LocalCluster.attach(tmp_path).alive() == {"redis": True}


def test_a_recycled_pid_is_not_killed(tmp_path: Path, bare_settings: Settings) -> None:
    with subprocess.Popen(["sleep", "600"]) as innocent:
        process = ProcessId.of(innocent.pid)
        recycled = dataclasses.replace(process, started=process.started - 1)
        state.ClusterState(owner=recycled, addresses={}, services={"redis": recycled}, ports={}).save(tmp_path)

        LocalCluster.attach(tmp_path).stop()
        state.ClusterState(owner=recycled, addresses={}, services={"redis": recycled}, ports={}).save(tmp_path)
        with LocalCluster(tmp_path, bare_settings, services=("redis",), preferred={"redis": 0}):
            assert process.alive()
        innocent.kill()
