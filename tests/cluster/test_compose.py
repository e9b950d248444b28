"""docker-compose.yml and the local cluster describe the same servers: asked of the servers that run, not of our own files."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import redis
import yaml
from confluent_kafka.admin import AdminClient, ConfigResource

from cluster import cassandra, haproxy, kafka, local, memcached, zookeeper
from cluster.local import ALL_SERVICES, LocalCluster
from connectors.memcached import version_of
from tests.cluster.conftest import one_node
from topologies.settings import Settings

REPOSITORY = Path(__file__).parents[2]

SERVERS = {name: local.SERVERS[name] for name in ALL_SERVICES}
"""Prometheus is the local cluster's alone as yet."""


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    return found


@pytest.fixture
def cassandra_settings(cluster: LocalCluster) -> Iterator[dict[str, str]]:
    """The running node's own account of its settings."""
    node = one_node(cluster.settings)
    try:
        yield {row.name: row.value for row in node.connect().execute("SELECT name, value FROM system_views.settings")}
    finally:
        node.shutdown()


def version_in_pom(pom: Path, artifact: str) -> str:
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    for dependency in ET.parse(pom).getroot().iterfind(".//m:dependency", space):
        if dependency.findtext("m:artifactId", namespaces=space) == artifact:
            return dependency.findtext("m:version", namespaces=space) or ""
    raise AssertionError(f"{artifact} is not in {pom}")


def test_the_same_servers(services: dict[str, Any]) -> None:
    assert services.keys() == SERVERS.keys()


def test_the_same_versions(services: dict[str, Any], cluster: LocalCluster) -> None:
    assert services["kafka"]["image"] == f"apache/kafka:{version_in_pom(kafka.HERE / 'pom.xml', 'kafka_2.13')}"
    assert services["cassandra"]["image"] == f"cassandra:{version_in_pom(cassandra.HERE / 'pom.xml', 'cassandra-all')}"
    with redis.Redis.from_url(cluster.settings.redis.url) as client:
        assert services["redis"]["image"] == f"redis:{client.info('server')['redis_version'].split('.')[0]}"
    assert services["zookeeper"]["image"] == f"zookeeper:{version_in_pom(zookeeper.HERE / 'pom.xml', 'zookeeper')}"
    version = version_of(cluster.settings.memcached.servers[0], 10.0)
    assert services["memcached"]["image"] == f"memcached:{'.'.join(version.split('.')[:2])}"


def test_the_default_ports(services: dict[str, Any]) -> None:
    for name, kind in SERVERS.items():
        port = kind.preferred_port(Settings())
        if name == "haproxy":  # in the host's network, where it says itself what it binds
            assert services[name]["environment"]["DOOR"] == f"127.0.0.1:{port}"
        else:
            assert services[name]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_same_kafka_settings(services: dict[str, Any], cluster: LocalCluster) -> None:
    given = services["kafka"]["environment"]
    admin = AdminClient({"bootstrap.servers": cluster.settings.kafka.bootstrap})
    resource = ConfigResource(ConfigResource.Type.BROKER, "1")
    running = admin.describe_configs([resource])[resource].result(60)
    for name in kafka.SETTINGS:
        assert str(given["KAFKA_" + name.upper().replace(".", "_")]) == running[name].value, name


def test_the_same_cassandra_settings(services: dict[str, Any], cassandra_settings: dict[str, str]) -> None:
    given = services["cassandra"]["environment"]
    options = dict(option.removeprefix("-D").split("=", 1) for option in given["JVM_EXTRA_OPTS"].split())
    there = {name.removeprefix("cassandra.settings."): value for name, value in options.items() if "cassandra.settings." in name}
    there |= {"num_tokens": str(given["CASSANDRA_NUM_TOKENS"])}
    assert there == cassandra.SETTINGS
    assert {name: cassandra_settings[name] for name in there} == there
    assert options["cassandra.config.allow_system_properties"] == "true"
    assert cassandra_settings["cluster_name"] == given["CASSANDRA_CLUSTER_NAME"]
    assert cassandra_settings["endpoint_snitch"] == given["CASSANDRA_ENDPOINT_SNITCH"]
    assert given["CASSANDRA_DC"] == Settings().cassandra.datacenter


def test_the_same_redis_settings(services: dict[str, Any], cluster: LocalCluster) -> None:
    words = services["redis"]["command"][1:]
    given = {words[at].removeprefix("--"): words[at + 1] for at in range(0, len(words), 2)}
    with redis.Redis.from_url(cluster.settings.redis.url) as client:
        assert {name: client.config_get(name)[name] for name in given} == given


def test_the_same_memcached_settings(services: dict[str, Any]) -> None:
    words = services["memcached"]["command"][1:]
    assert dict(zip(words[::2], words[1::2], strict=True)) == memcached.SETTINGS


def test_the_same_zookeeper_settings(services: dict[str, Any]) -> None:
    given = services["zookeeper"]["environment"]
    named = {
        "tickTime": "ZOO_TICK_TIME",
        "maxClientCnxns": "ZOO_MAX_CLIENT_CNXNS",
        "autopurge.purgeInterval": "ZOO_AUTOPURGE_PURGEINTERVAL",
        "autopurge.snapRetainCount": "ZOO_AUTOPURGE_SNAPRETAINCOUNT",
        "admin.enableServer": "ZOO_ADMINSERVER_ENABLED",
    }
    extra = dict(pair.split("=", 1) for pair in given["ZOO_CFG_EXTRA"].split())
    assert {name: str(given[variable]) for name, variable in named.items()} | extra == zookeeper.SETTINGS


def test_the_same_haproxy(services: dict[str, Any]) -> None:
    """Its configuration is the local cluster's own file, given what that gives it."""
    given = services["haproxy"]
    said = subprocess.run([haproxy.find_haproxy(), "-v"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert given["image"] == f"haproxy:{re.findall(r'HAProxy version ([0-9]+[.][0-9]+)', said)[0]}"
    file = haproxy.HERE / "haproxy.cfg"
    assert f"./{file.relative_to(REPOSITORY)}:/usr/local/etc/haproxy/haproxy.cfg:ro" in given["volumes"]
    assert given["environment"].keys() == set(re.findall(r"\$\{([A-Z]+)\}", file.read_text()))
    assert given["environment"]["SLOTS"] == haproxy.SLOTS


def test_the_same_heaps(services: dict[str, Any]) -> None:
    assert f"-Xmx{kafka.KafkaServer.default_heap_mb}m" in services["kafka"]["environment"]["KAFKA_HEAP_OPTS"]
    assert services["zookeeper"]["environment"]["ZK_SERVER_HEAP"] == zookeeper.ZooKeeperServer.default_heap_mb
    assert services["cassandra"]["environment"]["MAX_HEAP_SIZE"] == f"{cassandra.CassandraServer.default_heap_mb}M"
