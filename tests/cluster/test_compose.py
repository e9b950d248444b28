"""docker-compose.yml and the local cluster describe the same servers: asked of the servers that run, not of our own files.

What one of the two has and the other has not is a difference too: each comparison is of all there is, without what only says where a
container has its files and its neighbours (`WIRING`). Marquee's own containers are tests/containers' business.
"""

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

from cluster import cassandra, haproxy, kafka, local, memcached, prometheus, zookeeper
from cluster import redis as redis_server
from cluster.local import LocalCluster
from connectors.memcached import version_of
from tests.cluster.conftest import one_node
from topologies.settings import Settings

REPOSITORY = Path(__file__).parents[2]

COMPOSED_ALONE = {"grafana"}
"""Servers that the local cluster has no program for."""
WIRING = {
    "kafka": {
        "KAFKA_CONTROLLER_QUORUM_VOTERS", "KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "KAFKA_LOG_DIRS", "KAFKA_HEAP_OPTS",
    },
    "cassandra": {"CASSANDRA_RACK", "HEAP_NEWSIZE"},
}  # fmt: skip
KAFKA_ROLE = ("process.roles", "node.id", "controller.listener.names")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The servers among them: what is not made from Dockerfile."""
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    return {name: service for name, service in found.items() if "build" not in service}


def program_version(binary: str) -> str:
    """Major and minor of an installed program."""
    said = subprocess.run([binary, "--version" if "prometheus" in binary else "-v"], capture_output=True, text=True, check=True, timeout=60)
    return str(re.findall(r"version ([0-9]+[.][0-9]+)", said.stdout + said.stderr)[0])


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
    assert services.keys() - COMPOSED_ALONE == local.SERVERS.keys()


def test_the_same_versions(services: dict[str, Any], cluster: LocalCluster) -> None:
    assert services["kafka"]["image"] == f"apache/kafka:{version_in_pom(kafka.HERE / 'pom.xml', 'kafka_2.13')}"
    assert services["cassandra"]["image"] == f"cassandra:{version_in_pom(cassandra.HERE / 'pom.xml', 'cassandra-all')}"
    with redis.Redis.from_url(cluster.settings.redis.url) as client:
        assert services["redis"]["image"] == f"redis:{client.info('server')['redis_version'].split('.')[0]}"
    assert services["zookeeper"]["image"] == f"zookeeper:{version_in_pom(zookeeper.HERE / 'pom.xml', 'zookeeper')}"
    version = version_of(cluster.settings.memcached.servers[0], 10.0)
    assert services["memcached"]["image"] == f"memcached:{'.'.join(version.split('.')[:2])}"
    assert services["haproxy"]["image"] == f"haproxy:{program_version(haproxy.find_haproxy())}"
    assert services["prometheus"]["image"].rpartition(".")[0] == f"prom/prometheus:v{program_version('prometheus')}"


def test_the_default_ports(services: dict[str, Any]) -> None:
    for name, kind in local.SERVERS.items():
        port = kind.preferred_port(Settings())
        assert services[name]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_same_kafka_settings(services: dict[str, Any], cluster: LocalCluster) -> None:
    given = services["kafka"]["environment"]
    variables = {"KAFKA_" + name.upper().replace(".", "_"): name for name in (*kafka.SETTINGS, *KAFKA_ROLE)}
    assert given.keys() - WIRING["kafka"] == variables.keys()
    admin = AdminClient({"bootstrap.servers": cluster.settings.kafka.bootstrap})
    resource = ConfigResource(ConfigResource.Type.BROKER, "1")
    running = admin.describe_configs([resource])[resource].result(60)
    for variable, name in variables.items():
        assert str(given[variable]) == running[name].value, name


def test_who_is_outside_is_told_the_published_address_of_kafka(services: dict[str, Any]) -> None:
    given = services["kafka"]["environment"]
    advertised = dict(part.split("://") for part in given["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert advertised["PLAINTEXT"] == Settings().kafka.bootstrap
    listened = dict(part.split("://") for part in given["KAFKA_LISTENERS"].split(","))
    assert {name: place.rpartition(":")[2] for name, place in advertised.items()} == {
        name: listened[name].rpartition(":")[2] for name in advertised
    }


def test_the_same_cassandra_settings(services: dict[str, Any], cassandra_settings: dict[str, str]) -> None:
    given = services["cassandra"]["environment"]
    named = {f"CASSANDRA_{name}" for name in ("CLUSTER_NAME", "NUM_TOKENS", "ENDPOINT_SNITCH", "DC")}
    assert given.keys() - WIRING["cassandra"] == named | {"MAX_HEAP_SIZE", "JVM_EXTRA_OPTS"}
    options = dict(option.removeprefix("-D").split("=", 1) for option in given["JVM_EXTRA_OPTS"].split())
    there = {name.removeprefix("cassandra.settings."): value for name, value in options.items() if "cassandra.settings." in name}
    there |= {"num_tokens": str(given["CASSANDRA_NUM_TOKENS"])}
    assert there == cassandra.SETTINGS
    assert {name: cassandra_settings[name] for name in there} == there
    others = {name: value for name, value in options.items() if "cassandra.settings." not in name}
    assert others.pop("cassandra.config.allow_system_properties") == "true"
    here = (cassandra.HERE / "jvm.options").read_text().splitlines()
    assert set(here) >= {f"-D{name}={value}" for name, value in others.items()}
    assert cassandra_settings["cluster_name"] == given["CASSANDRA_CLUSTER_NAME"]
    assert cassandra_settings["endpoint_snitch"] == given["CASSANDRA_ENDPOINT_SNITCH"]
    assert given["CASSANDRA_DC"] == Settings().cassandra.datacenter


def test_the_same_redis_settings(services: dict[str, Any], cluster: LocalCluster) -> None:
    words = services["redis"]["command"][1:]
    given = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True))
    assert given == {name: value.strip('"') for name, value in redis_server.SETTINGS.items()}
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
    assert given.keys() == {*named.values(), "ZOO_CFG_EXTRA", "ZK_SERVER_HEAP"}
    extra = dict(pair.split("=", 1) for pair in given["ZOO_CFG_EXTRA"].split())
    assert {name: str(given[variable]) for name, variable in named.items()} | extra == zookeeper.SETTINGS


def test_the_same_haproxy(services: dict[str, Any]) -> None:
    """Its configuration is the local cluster's own file, given what that gives it."""
    given = services["haproxy"]
    file = haproxy.HERE / "haproxy.cfg"
    assert f"./{file.relative_to(REPOSITORY)}:/usr/local/etc/haproxy/haproxy.cfg:ro" in given["volumes"]
    assert given["environment"].keys() == set(re.findall(r"\$\{([A-Z]+)\}", file.read_text()))
    assert given["environment"]["SLOTS"] == haproxy.SLOTS
    assert given["environment"]["DOOR"] == f"*:{haproxy.DEFAULT_PORT}"


def test_the_same_prometheus(services: dict[str, Any]) -> None:
    """But for whom it scrapes, which names tell there and files here."""
    given = services["prometheus"]
    assert f"--storage.tsdb.retention.time={prometheus.KEPT}" in given["command"]
    mounted = dict(volume.split(":")[:2] for volume in given["volumes"] if volume.startswith("./"))
    there, here = (yaml.safe_load(file.read_text()) for file in (REPOSITORY / next(iter(mounted)), prometheus.HERE / prometheus.FILES[0]))
    jobs = [{job["job_name"] for job in config.pop("scrape_configs")} for config in (there, here)]
    assert jobs[0] == jobs[1] == {f"marquee-{role}" for role in prometheus.ROLES}
    assert there == here
    assert mounted[f"./{(prometheus.HERE / 'alerts.yml').relative_to(REPOSITORY)}"] == "/etc/prometheus/alerts.yml"


def test_the_same_heaps(services: dict[str, Any]) -> None:
    assert f"-Xmx{kafka.KafkaServer.default_heap_mb}m" in services["kafka"]["environment"]["KAFKA_HEAP_OPTS"].split()
    assert services["zookeeper"]["environment"]["ZK_SERVER_HEAP"] == zookeeper.ZooKeeperServer.default_heap_mb
    assert services["cassandra"]["environment"]["MAX_HEAP_SIZE"] == f"{cassandra.CassandraServer.default_heap_mb}M"
