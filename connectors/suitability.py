"""Whether a server can do what Marquee needs, found by asking it: what `marquee doctor --target` shows.

It is asked, not read about: a topic is validated and not made; a function library of one line is loaded, called and deleted; a table of one
row, `doctor`, is made in Marquee's keyspace, written with a time of 2017 and dropped, where the keyspace is there; an object is put, got,
listed and deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from topologies.errors import MarqueeError
from topologies.settings import IN_CASSANDRA, Settings

PATIENCE_S: Final = 10.0
_LIBRARY: Final = "marquee_doctor"
_CODE: Final = f"""#!lua name={_LIBRARY}
redis.register_function{{function_name='{_LIBRARY}', callback=function() return 'OK' end, flags={{'no-writes'}}}}
"""
_OLDEST: Final = {"cassandra": (5, 0), "redis": (7, 0), "memcached": (1, 6)}


@dataclass(frozen=True)
class Finding:
    """One thing asked of a server: whether it is as needed, and what was found."""

    server: str
    need: str
    ok: bool
    detail: str


def findings(settings: Settings, server: str) -> list[Finding]:
    """What one of Marquee's servers says, in the order asked; ends with the first that it does not answer. Does not raise for a server's
    sake."""
    found: list[Finding] = []
    try:
        found.extend(_ASKED[server](settings))
    except MarqueeError as error:
        found.append(Finding(server, "answers", False, str(error)))
    return found


def _kafka(settings: Settings) -> Iterator[Finding]:
    from confluent_kafka import KafkaException, TopicCollection
    from confluent_kafka.admin import ConfigResource, ResourceType
    from confluent_kafka.cimpl import NewTopic

    from connectors.kafka import kafka_errors, met

    kafka = settings.kafka
    admin, metadata = met(kafka, PATIENCE_S)
    for kind, why in (("LogAppendTime", "live topics"), ("CreateTime", "backfills")):
        kept = {"max.message.bytes": str(kafka.max_record_bytes), "retention.ms": "-1", "retention.bytes": "-1"}
        config = {"message.timestamp.type": kind, **kept}
        topic = NewTopic("marquee-doctor", num_partitions=1, replication_factor=kafka.replication, config=config)
        asked = f"{kind} for {why}, kept for ever, records of {kafka.max_record_bytes} bytes"
        try:
            admin.create_topics([topic], validate_only=True, request_timeout=PATIENCE_S)["marquee-doctor"].result(PATIENCE_S)
            yield Finding("kafka", asked, True, "such a topic would be made")
        except KafkaException as error:
            yield Finding("kafka", asked, False, error.args[0].str())
    names = sorted(name for name in metadata.topics if not name.startswith("__"))
    with kafka_errors(kafka):
        if names:
            answers = admin.describe_topics(TopicCollection(names[:1]), request_timeout=PATIENCE_S)
            topic_id = answers[names[0]].result(PATIENCE_S).topic_id
            there = topic_id is not None and bool(topic_id.get_most_significant_bits() or topic_id.get_least_significant_bits())
            yield Finding("kafka", "topic ids", there, f"of {names[0]}: {topic_id}")
        for name in (name for name in kafka.topics if name in metadata.topics):
            resource = ConfigResource(ResourceType.TOPIC, name)
            entries = admin.describe_configs([resource], request_timeout=PATIENCE_S)[resource].result(PATIENCE_S)
            for entry, right in (("message.timestamp.type", "LogAppendTime"), ("retention.ms", "-1")):
                value = str(entries[entry].value)
                yield Finding("kafka", f"{name}: {entry} {right}", value == right, value)


def _redis(settings: Settings) -> Iterator[Finding]:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from connectors.redis import at_shelves, connection_options, redis_errors

    place = replace(settings.redis, timeout_s=PATIENCE_S)
    client: Any = redis.Redis.from_url(place.url, retry=Retry(NoBackoff(), 0), **connection_options(place))
    with client, redis_errors(place):
        server, memory = client.info("server"), client.info("memory")
        yield _version("redis", server["redis_version"])
        run_id = str(server.get("run_id", ""))
        yield Finding("redis", "a run id", re.fullmatch("[0-9a-f]{8,}", run_id) is not None, run_id or "none")
        policy = memory.get("maxmemory_policy", "unknown")
        yield Finding("redis", "maxmemory-policy noeviction", policy == "noeviction", policy)
        cluster = client.info("cluster").get("cluster_enabled", 0)
        yield Finding("redis", "cluster mode disabled", not cluster, "enabled" if cluster else "disabled")
        yield _tried("redis", "functions", lambda: _function(client))
    shelves = at_shelves(place)
    other: Any = redis.Redis.from_url(shelves.url, retry=Retry(NoBackoff(), 0), **connection_options(shelves))
    with other, redis_errors(shelves):
        yield _tried("redis", "a second database (redis.shelves_db)", lambda: str(other.ping()))


def _function(client: Any) -> str:
    client.function_load(_CODE, replace=True)
    try:
        return str(client.fcall_ro(_LIBRARY, 0), "ascii")
    finally:
        client.function_delete(_LIBRARY)


def _tried(server: str, need: str, act: Callable[[], str]) -> Finding:
    """What an act that a server may refuse came to: only that it is away ends the asking."""
    import redis

    try:
        return Finding(server, need, True, act())
    except redis.ResponseError as error:
        return Finding(server, need, False, str(error).splitlines()[0])


def _cassandra(settings: Settings) -> Iterator[Finding]:
    from connectors.cassandra import BASE_US, cassandra_errors, close, connect

    place = settings.cassandra
    session = connect(replace(place, timeout_s=max(place.timeout_s, PATIENCE_S)))
    try:
        with cassandra_errors(place):
            version = next(iter(session.execute("SELECT release_version FROM system.local")))[0]
            yield _version("cassandra", version)
            yield Finding("cassandra", "signed in", True, f"data centre {place.datacenter}, LOCAL_QUORUM")
            if not list(session.execute("SELECT * FROM system_schema.keyspaces WHERE keyspace_name = %s", (place.keyspace,))):
                detail = f"not asked: there is no keyspace {place.keyspace} yet, a worker makes it"
                yield Finding("cassandra", "write times of the client's choice", True, detail)
                return
            kept = _write_time(session, place.keyspace, BASE_US)
            yield Finding("cassandra", "write times of the client's choice", kept == BASE_US, f"{kept} was kept of {BASE_US}")
    finally:
        close(session)


def _write_time(session: Any, keyspace: str, at_us: int) -> int | None:
    """The time that a row has which was written with this one; None when it was not kept."""
    table = f"{keyspace}.doctor"
    session.execute(f"CREATE TABLE IF NOT EXISTS {table} (k int PRIMARY KEY, v int)")
    try:
        session.execute(f"INSERT INTO {table} (k, v) VALUES (0, 0) USING TIMESTAMP {at_us}")
        rows = list(session.execute(f"SELECT writetime(v) FROM {table} WHERE k = 0"))
        return int(rows[0][0]) if rows else None
    finally:
        session.execute(f"DROP TABLE IF EXISTS {table}")


def _memcached(settings: Settings) -> Iterator[Finding]:
    from connectors.memcached import version_of
    from connectors.tls import memcached_tls

    context = memcached_tls(settings.memcached)
    if not settings.memcached.servers:
        yield Finding("memcached", "answers", True, "memcached.servers names none; history is read from Cassandra, and slower")
    for address in settings.memcached.servers:
        try:
            yield replace(_version("memcached", version_of(address, PATIENCE_S, context)), need=f"{address}: 1.6 or later")
        except OSError as error:
            yield Finding("memcached", f"{address}: 1.6 or later", False, error.strerror or str(error))


def _checkpoints(settings: Settings) -> Iterator[Finding]:
    from connectors.object_url import ObjectUrl
    from connectors.objects import try_out

    if settings.checkpoints.url == IN_CASSANDRA:
        yield Finding("checkpoints", "objects", True, "not asked: checkpoints.url names Cassandra")
        return
    try_out(settings.checkpoints.url, settings.checkpoints.timeout_s)
    shown = ObjectUrl.of(settings.checkpoints.url).shown
    yield Finding("checkpoints", "objects", True, f"{shown}: one was put, got, listed and deleted")


def _version(server: str, version: str) -> Finding:
    least = _OLDEST[server]
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return Finding(server, f"version {'.'.join(map(str, least))} or later", numbers >= least, version)


_ASKED: Final[dict[str, Callable[[Settings], Iterator[Finding]]]] = {
    "kafka": _kafka,
    "redis": _redis,
    "cassandra": _cassandra,
    "memcached": _memcached,
    "checkpoints": _checkpoints,
}
