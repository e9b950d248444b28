"""Whether each server answers, asked side by side, without raising: what status, doctor and up want to know.

Kafka is asked for its metadata, Redis for PING, Cassandra for OPTIONS (native protocol v4 §4.1.3, which needs no login), Memcached and
ZooKeeper for their versions, and the object store that checkpoints are kept in for a listing, where the settings name one.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from connectors.memcached import version_of
from connectors.object_url import ObjectUrl
from connectors.redis import connection_options, shown
from connectors.tls import memcached_tls, reached, tls_context
from topologies.settings import IN_CASSANDRA, Settings

TIMEOUT_S: Final = 3.0
_OPTIONS: Final = bytes((0x04, 0, 0, 0, 0x05, 0, 0, 0, 0))
_SUPPORTED: Final = 0x06


@dataclass(frozen=True)
class Health:
    """One server: where it was looked for, whether it answered and how long that took (ms), else why not."""

    name: str
    address: str
    ok: bool
    took_ms: float
    detail: str


def healths(settings: Settings) -> list[Health]:
    """Kafka, Redis and Cassandra, in that order, Memcached, ZooKeeper and an object store if there is one; takes about 3 s at the most, of
    an object store maybe 9."""
    hosts = ",".join(f"{host}:{settings.cassandra.port}" for host in settings.cassandra.hosts)
    asked: list[tuple[str, str, Callable[[Settings], str]]] = [
        ("kafka", settings.kafka.bootstrap, _kafka),
        ("redis", shown(settings.redis.url), _redis),
        ("cassandra", hosts, _cassandra),
    ]
    if settings.memcached.servers:
        asked.append(("memcached", ",".join(settings.memcached.servers), _memcached))
    if settings.zookeeper.hosts:
        asked.append(("zookeeper", ",".join(settings.zookeeper.hosts), _zookeeper))
    if settings.checkpoints.url != IN_CASSANDRA:
        asked.append(("checkpoints", ObjectUrl.of(settings.checkpoints.url).shown, _checkpoints))
    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(lambda ask: _health(settings, *ask), asked))


def _health(settings: Settings, name: str, address: str, probe: Callable[[Settings], str]) -> Health:
    begun = time.monotonic()
    try:
        detail, ok = probe(settings), True
    except Exception as error:  # noqa: BLE001  # whatever a client library raises means that the server does not answer
        detail, ok = _line(error), False
    return Health(name, address, ok, round((time.monotonic() - begun) * 1000, 1), detail)


def _line(error: Exception) -> str:
    cause = error.args[0] if error.args else error
    text = cause.str() if hasattr(cause, "str") else str(error)  # librdkafka's errors carry their sentence inside
    return " ".join(text.split()) or type(error).__name__


def _kafka(settings: Settings) -> str:
    from connectors.kafka import met

    _, metadata = met(settings.kafka, TIMEOUT_S)
    brokers = len(metadata.brokers)
    return f"{brokers} broker{'' if brokers == 1 else 's'}, {len(metadata.topics)} topics"


def _redis(settings: Settings) -> str:
    import redis

    client = redis.Redis.from_url(settings.redis.url, **connection_options(replace(settings.redis, timeout_s=TIMEOUT_S)))
    try:
        client.ping()
        info: dict[str, object] = client.info("server")
        memory: dict[str, object] = client.info("memory")
    finally:
        client.close()
    return f"Redis {info['redis_version']}, {memory['used_memory_human']} in use"


def _cassandra(settings: Settings) -> str:
    failures = []
    cassandra = settings.cassandra
    context = tls_context("cassandra.ca_file", cassandra.ca_file, names=cassandra.tls_names) if cassandra.tls else None
    for host in cassandra.hosts:
        try:
            with closing(reached(host, cassandra.port, TIMEOUT_S, context)) as connection:
                connection.settimeout(TIMEOUT_S)
                connection.sendall(_OPTIONS)
                answer = connection.recv(9)
        except OSError as error:
            failures.append(f"{host}: {error.strerror or error}")
            continue
        if len(answer) == 9 and answer[4] == _SUPPORTED:
            return f"{host} takes queries"
        failures.append(f"{host}: something else listens there")
    raise ConnectionError("; ".join(failures) or "no host is set")


def _memcached(settings: Settings) -> str:
    servers = settings.memcached.servers
    context = memcached_tls(settings.memcached)
    with ThreadPoolExecutor(len(servers)) as pool:
        versions = list(pool.map(lambda address: _version(address, context), servers))
    return f"Memcached {', '.join(versions)}; without it history is read from Cassandra, and slower"


def _version(address: str, context: ssl.SSLContext | None) -> str:
    try:
        return version_of(address, TIMEOUT_S, context)
    except OSError as error:
        raise ConnectionError(f"{address}: {error.strerror or error}; history is read from Cassandra, and slower") from error


def _zookeeper(settings: Settings) -> str:
    hosts = settings.zookeeper.hosts
    failures = []
    with ThreadPoolExecutor(len(hosts)) as pool:
        for host, asked in [(host, pool.submit(zookeeper_version, host, TIMEOUT_S)) for host in hosts]:
            try:
                return f"ZooKeeper {asked.result()} at {host}; without it members go by who was there last"
            except OSError as error:
                failures.append(f"{host}: {error.strerror or error}")
    raise ConnectionError("; ".join(failures))


def _checkpoints(settings: Settings) -> str:
    from connectors.objects import Objects

    asyncio.run(Objects(settings.checkpoints.url, min(TIMEOUT_S, settings.checkpoints.timeout_s)).require())
    return "the object store lists what it has; without it nothing is acknowledged to Kafka"


def zookeeper_version(address: str, timeout_s: float) -> str:
    """What the server at host:port says that it is, by its command `srvr`. Raises OSError when none that serves answers: one of an ensemble
    without a quorum does not."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout_s) as connection:
        connection.settimeout(timeout_s)
        connection.sendall(b"srvr")
        said = connection.makefile("rb").read(4_096).decode(errors="replace")
    found = re.match(r"Zookeeper version: ([0-9.]+)", said)
    if found is None:
        raise ConnectionError(" ".join(said.split())[:80] or "something else listens there")
    return found.group(1)
