"""`marquee doctor --target`: what a managed service cannot do is said from its documents, and what a server cannot by asking it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from connectors.cassandra import close, connect
from connectors.kafka import ensure_topic
from connectors.suitability import Finding, findings
from marquee.cli import cli
from marquee.targets import services
from tests.object_servers import ObjectServer
from topologies.settings import Settings


def doctor(name: str, environment: dict[str, str] | None = None) -> tuple[int, Any]:
    """The exit code and what is told, as JSON."""
    told = CliRunner().invoke(cli, ["doctor", "--target", name, "--json"], env=environment, standalone_mode=False)
    return told.return_value, json.loads(told.stdout)


@pytest.mark.parametrize(
    ("name", "code", "needs"),
    [
        ("keyspaces", 1, "write times of the client's choice"),
        ("elasticache-serverless", 1, "no eviction"),
        ("event-hubs", 1, "keeps all"),
        ("azure-redis", 1, "functions"),
        ("msk", 0, ""),
        ("elasticache", 0, ""),
    ],
)
def test_what_a_service_cannot_do_is_said_with_its_source(name: str, code: int, needs: str) -> None:
    ended, told = doctor(name)
    assert (ended, told["ok"], told["asked"]) == (code, code == 0, [])
    lacking = [need for need in told["need"] if need["verdict"] == "no"]
    assert bool(lacking) == bool(code)
    assert any(needs in need["need"] for need in lacking) or not needs
    assert all(need["url"].startswith("https://") and need["source"] for need in lacking)


def test_every_verdict_of_the_table_follows_from_its_needs() -> None:
    for service in services().values():
        assert (service.verdict == "no") == any(need.verdict == "no" for need in service.need), service.target
        assert all(bool(need.source) == bool(need.url) for need in service.need), service.target
        assert all(need.url for need in service.need if need.verdict in ("no", "configured")), service.target
        assert service.take


def test_a_target_that_nobody_knows_is_refused() -> None:
    told = CliRunner().invoke(cli, ["doctor", "--target", "dynamo"])
    assert "is no target that is known: msk, keyspaces" in str(told.exception)


def test_an_object_store_is_asked(s3: ObjectServer) -> None:
    told = {}
    for name, url in (("there", s3.new("some/prefix")), ("missing", s3.url("nobody-made-it"))):
        told[name] = doctor("s3", environment={"MARQUEE_CHECKPOINTS__URL": url})
    code, document = told["there"]
    assert (code, [one["need"] for one in document["asked"]]) == (0, ["objects"]), document
    code, document = told["missing"]
    assert (code, document["ok"]) == (1, False)
    assert "nobody-made-it is not there" in document["asked"][0]["detail"]


def test_own_servers_are_asked_and_fit(settings: Settings) -> None:
    ensure_topic(settings, settings.kafka.topics[0], True)
    session = connect(settings.cassandra)
    session.execute(
        f"CREATE KEYSPACE {settings.cassandra.keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    code, told = doctor("own", environment=settings.environment())
    assert code == 0, told
    asked = [(one["server"], one["need"]) for one in told["asked"]]
    assert [server for server, _ in asked] == sorted(
        (server for server, _ in asked), key=["kafka", "redis", "cassandra", "memcached"].index
    )
    assert {"topic ids", "write times of the client's choice"} <= {need for _, need in asked}
    assert {one["need"]: one["detail"] for one in told["asked"]}["functions"] == "OK"
    assert ("kafka", f"{settings.kafka.topics[0]}: message.timestamp.type LogAppendTime") in asked
    tables = session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (settings.cassandra.keyspace,))
    assert list(tables) == []
    close(session)
    with redis.Redis.from_url(settings.redis.url) as client:
        libraries: Any = client.function_list()
    assert "marquee_doctor" not in str(libraries)


def refused(settings: Settings, server: str) -> list[Finding]:
    return [finding for finding in findings(settings, server) if not finding.ok]


def test_a_topic_of_the_wrong_time_and_one_that_would_not_be_made_are_found(settings: Settings) -> None:
    ensure_topic(settings, settings.kafka.topics[0], False)
    (found,) = refused(settings, "kafka")
    assert (found.need, found.detail) == (f"{settings.kafka.topics[0]}: message.timestamp.type LogAppendTime", "CreateTime")
    lonely = replace(settings, kafka=replace(settings.kafka, replication=3, topics=("none-yet",)))
    assert ["LogAppendTime" in one.need or "CreateTime" in one.need for one in refused(lonely, "kafka")] == [True, True]


def test_a_redis_that_evicts_or_lets_no_functions_be_loaded_is_found(settings: Settings) -> None:
    with redis.Redis.from_url(settings.redis.url) as client:
        client.config_set("maxmemory-policy", "volatile-lru")
        client.acl_setuser("weak", enabled=True, passwords=["+p"], keys=["*"], channels=["*"], categories=["+@all"], commands=["-function"])
        try:
            weak = replace(settings, redis=replace(settings.redis, user="weak", password="p"))
            assert [one.need for one in refused(weak, "redis")] == ["maxmemory-policy noeviction", "functions"]
        finally:
            client.config_set("maxmemory-policy", "noeviction")
            client.acl_deluser("weak")


def test_a_server_that_is_away_is_a_finding(settings: Settings) -> None:
    away = replace(
        settings,
        redis=replace(settings.redis, url="redis://127.0.0.1:1/0"),
        memcached=replace(settings.memcached, servers=("127.0.0.1:1",)),
        cassandra=replace(settings.cassandra, port=1),
    )
    for server in ("redis", "cassandra", "memcached"):
        (found,) = findings(away, server)
        assert not found.ok
