"""The worker's HTTP door without a worker: it answers whatever the loop does and whoever asks, and nobody can hang it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import pytest

from streams import endpoint as endpoint_module
from streams.endpoint import Endpoint
from streams.health import STUCK_S, Health
from topologies.errors import UsageError
from topologies.settings import WorkerSettings


@pytest.fixture
def health() -> Health:
    return Health(stage="working", partitions=("viewing-events/0",))


@pytest.fixture
async def address(health: Health) -> AsyncIterator[str]:
    opened = Endpoint(WorkerSettings(), health)
    yield opened.start()
    opened.close()


def got(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and body."""
    request = urllib.request.Request(address + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def asked(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    return await asyncio.to_thread(got, address, path, method)


async def test_a_working_worker_is_alive_and_ready_and_shows_its_metrics(address: str) -> None:
    assert await asked(address, "/healthz") == (200, '{"alive": true}')
    status, body = await asked(address, "/readyz")
    assert (status, json.loads(body)["partitions"]) == (200, ["viewing-events/0"])
    status, body = await asked(address, "/metrics?name=all")
    assert status == 200
    assert "marquee_rebalances_total 0.0\n" in body
    assert "process_resident_memory_bytes" in body
    assert await asked(address, "/metrics", "HEAD") == (200, "")


async def test_unknown_paths_and_methods_are_refused_with_a_sentence(address: str) -> None:
    status, body = await asked(address, "/secret")
    assert (status, json.loads(body)["reason"]) == (404, "there is no /secret; there are /metrics, /healthz and /readyz")
    status, body = await asked(address, "/metrics", "POST")
    assert (status, json.loads(body)["reason"]) == (405, "/metrics takes GET, not POST")


async def test_clients_that_say_nothing_hang_nothing_and_are_put_out(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "REQUEST_S", 600.0)
    host, port = address.removeprefix("http://").split(":")

    def silent() -> list[socket.socket]:
        opened = [socket.create_connection((host, int(port)), timeout=60) for _ in range(5)]
        opened[0].sendall(b"GET /metr")
        opened[1].sendall(b"x" * 20_000)
        return opened

    def slow() -> list[bytes]:
        patient = silent()
        assert got(address, "/healthz")[0] == 200
        for one in patient:
            one.close()
        monkeypatch.setattr(endpoint_module, "REQUEST_S", 0.3)
        ends = []
        for one in silent():
            with one:
                try:
                    ends.append(one.recv(1))
                except ConnectionResetError:
                    ends.append(b"")
        return ends

    assert await asyncio.to_thread(slow) == [b""] * 5


async def test_a_loop_that_stands_still_is_told_by_healthz(address: str, health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "REQUEST_S", 60.0)
    monkeypatch.setattr(endpoint_module, "LOOP_S", 0.3)
    health.beat_at_s = time.monotonic() - STUCK_S - 1
    status, body = await asked(address, "/healthz")
    assert status == 503
    assert re.search(r"has not turned for \d+ s", json.loads(body)["reason"])
    # what has to wait for the worker's loop is answered all the same while that one is held
    assert got(address, "/metrics")[0] == 503
    assert got(address, "/readyz")[0] == 200


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"stage": "starting"}, "starting: the partitions are not opened yet"),
        ({"stage": "draining"}, "draining: no more is read, what was folded is being stored"),
        ({"stores": {"redis": lambda: "Redis does not answer", "cassandra": str}}, "Redis does not answer"),
        ({"waits": lambda: "9 bytes of letters wait for Kafka"}, "reading is held back: 9 bytes of letters wait for Kafka"),
        (
            {"waits": lambda: "Cassandra: not all", "stores": {"cassandra": lambda: "it does not answer"}},
            "reading is held back: Cassandra: not all; it does not answer",
        ),
        ({"held": lambda: {"viewing-events/1": "8 records are gone"}}, "8 records are gone"),
    ],
    ids=["starting", "draining", "a store away", "back-pressure", "back-pressure and why", "a held partition"],
)
async def test_a_worker_that_does_not_do_its_job_says_why(address: str, health: Health, changed: dict[str, object], reason: str) -> None:
    for name, value in changed.items():
        setattr(health, name, value)
    status, body = await asked(address, "/readyz")
    assert (status, json.loads(body)["reason"]) == (503, reason)


async def test_a_port_that_another_worker_has_is_refused_with_a_sentence(address: str) -> None:
    port = int(address.rpartition(":")[2])
    second = Endpoint(dataclasses.replace(WorkerSettings(), http_port=port), Health())
    with pytest.raises(UsageError, match=f"HTTP port {port} at 127.0.0.1 cannot be had .*set worker.http_port"):
        second.start()
