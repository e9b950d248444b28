"""The local cluster's contract, on the real servers."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from cluster.local import SERVICES, LocalCluster
from cluster.ports import is_free, pick
from cluster.process import wait_until
from connectors.memcached import version_of
from tests.cluster.conftest import one_node
from topologies.errors import ServerAway, SetupError, UsageError
from topologies.settings import Settings


@pytest.fixture(scope="module")
def small(bare_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster of Kafka, Redis and Memcached that tests may break."""
    services = ("kafka", "redis", "memcached")
    with LocalCluster(tmp_path_factory.mktemp("small"), bare_settings, services=services, preferred=dict.fromkeys(services, 0)) as it:
        yield it


def topics(settings: Settings) -> set[str]:
    """What Kafka answers. Raises KafkaException where none does."""
    return set(AdminClient({"bootstrap.servers": settings.kafka.bootstrap, "log_level": 0}).list_topics(timeout=60).topics)


def test_all_answer_at_the_addresses_of_the_settings(cluster: LocalCluster) -> None:
    settings = cluster.settings
    assert cluster.watch() == []
    topics(settings)
    with redis.Redis.from_url(settings.redis.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert version_of(settings.memcached.servers[0], 10.0).startswith("1.6.")
    node = one_node(cluster.settings)
    try:
        row = node.connect().execute("SELECT release_version, data_center FROM system.local").one()
        assert (row.release_version, row.data_center) == ("5.0.6", settings.cassandra.datacenter)
    finally:
        node.shutdown()


def test_a_second_cluster_runs_beside_the_first(cluster: LocalCluster, small: LocalCluster) -> None:
    assert LocalCluster.attach(small.directory).state.ports.keys() == {"kafka", "kafka_controller", "redis", "memcached"}
    ours, others = (set(LocalCluster.attach(it.directory).state.ports.values()) for it in (cluster, small))
    assert not ours & others


def test_a_server_keeps_its_port_and_kafka_its_data_over_kill_and_restart(small: LocalCluster) -> None:
    admin = AdminClient({"bootstrap.servers": small.settings.kafka.bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("kept", 2, 1)])["kept"].result(60)
    before = small.settings
    for service in small.services:
        small.kill(service)
        assert not small.alive(service)
        assert small.watch() == []
        small.restart(service)
        assert small.alive(service)
    assert small.settings == before
    assert "kept" in topics(small.settings)


def test_a_server_that_dies_is_noticed(small: LocalCluster) -> None:
    small.server("redis").kill()
    assert small.watch() == ["redis"]
    small.restart("redis")
    assert small.watch() == []


@pytest.mark.parametrize("service", ["redis", "memcached"])
def test_a_paused_server_is_alive_and_silent_until_it_is_resumed(small: LocalCluster, service: str) -> None:
    small.pause(service)
    assert small.alive(service)
    assert not small.server(service).ready()
    small.resume(service)
    assert wait_until(small.server(service).ready, 60)


def test_cpu_and_memory_are_those_of_the_server(small: LocalCluster) -> None:
    assert small.cpu_seconds("kafka") > small.cpu_seconds("redis")
    assert small.rss_mb("kafka") > 100 > small.rss_mb("redis") > 1


def test_another_process_finds_the_addresses(small: LocalCluster) -> None:
    defaults = Settings()
    found = LocalCluster.attach(small.directory).settings(defaults)
    assert found.kafka.bootstrap == small.settings.kafka.bootstrap
    assert found.redis.url == small.settings.redis.url
    assert found.memcached.servers == small.settings.memcached.servers
    assert found.cassandra == defaults.cassandra


def test_a_taken_port_is_replaced_and_said(tmp_path: Path, bare_settings: Settings) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cluster = LocalCluster(tmp_path, bare_settings, services=("redis",), preferred={"redis": port})
        try:
            cluster.start(said.append)
            cluster.start(said.append)
            assert str(port) not in cluster.settings.redis.url
        finally:
            cluster.stop()
    assert f"port {port} is taken, using" in said[0]
    assert len(said) == 2


def test_a_free_preferred_port_is_used_and_given_back(tmp_path: Path, bare_settings: Settings) -> None:
    port = pick()  # none that the system gives to somebody's connection meanwhile
    with LocalCluster(tmp_path, bare_settings, services=("redis",), preferred={"redis": port}) as cluster:
        assert cluster.settings.redis.url == f"redis://127.0.0.1:{port}/0"
        assert not is_free(port)
    assert is_free(port)


def test_without_its_jars_kafka_does_not_start_and_nothing_is_left(tmp_path: Path, bare_settings: Settings) -> None:
    settings = dataclasses.replace(bare_settings, local=dataclasses.replace(bare_settings.local, jars=str(tmp_path / "none")))
    cluster = LocalCluster(tmp_path, settings, services=("redis", "kafka"), preferred=dict.fromkeys(SERVICES, 0))
    with pytest.raises(SetupError, match="make setup"):
        cluster.start()
    with pytest.raises(ServerAway):
        LocalCluster.attach(tmp_path)


def test_a_server_that_cannot_start_says_where_its_log_is(tmp_path: Path, bare_settings: Settings) -> None:
    cluster = LocalCluster(tmp_path, bare_settings, services=("kafka",), preferred={"kafka": 0}, heap_mb={"kafka": 1})
    with pytest.raises(ServerAway, match=r"kafka\.log"):
        cluster.start()


def test_an_unknown_service_is_refused(tmp_path: Path, bare_settings: Settings) -> None:
    with pytest.raises(UsageError, match="mysql"):
        LocalCluster(tmp_path, bare_settings, services=("mysql",))
