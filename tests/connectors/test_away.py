"""A server that is away: one clear sentence that names it, soon, and nothing else on the terminal."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from connectors.cassandra import connect
from connectors.kafka import ensure_topics
from connectors.redis_cache import CellCache
from connectors.redis_reader import CellReader
from topologies.errors import ServerAway
from topologies.settings import Settings


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port on which nobody listens: held, so that nobody will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


TIMEOUT_S = 300.0
"""Of a request: far longer than it takes to tell that nobody listens."""


def reach_kafka(port: int) -> None:
    given = Settings()
    kafka = dataclasses.replace(given.kafka, bootstrap=f"127.0.0.1:{port}", request_timeout_s=TIMEOUT_S)
    ensure_topics(dataclasses.replace(given, kafka=kafka))


def reach_cassandra(port: int) -> None:
    connect(dataclasses.replace(Settings().cassandra, port=port, timeout_s=TIMEOUT_S))


def reach_redis(port: int) -> None:
    url = f"redis://:secret@127.0.0.1:{port}/0"
    reader = CellReader(dataclasses.replace(Settings().redis, url=url, timeout_s=TIMEOUT_S), ())
    try:
        reader.statuses()
    finally:
        reader.close()


@pytest.mark.parametrize(
    ("reach", "name", "setting"),
    [
        (reach_kafka, "Kafka", "kafka.bootstrap"),
        (reach_cassandra, "Cassandra", "cassandra.hosts"),
        (reach_redis, "Redis", "redis.url"),
    ],
)
def test_a_server_that_is_away_is_named_in_one_sentence(
    reach: Callable[[int], None], name: str, setting: str, nobody: int, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    with pytest.raises(ServerAway) as raised:
        reach(nobody)
    said = str(raised.value)
    assert said.startswith(f"{name} at ")
    assert f"127.0.0.1:{nobody}" in said
    assert setting in said
    assert "\n" not in said
    assert "secret" not in said
    assert time.monotonic() - begun < TIMEOUT_S / 2
    assert capfd.readouterr() == ("", "")


async def test_a_worker_whose_redis_is_away_gets_the_same_sentence(nobody: int) -> None:
    cache = CellCache(dataclasses.replace(Settings().redis, url=f"redis://127.0.0.1:{nobody}/0"), ())
    try:
        with pytest.raises(ServerAway, match=r"does not answer .*; start it, or set redis\.url"):
            await cache.connect()
    finally:
        await cache.close()
