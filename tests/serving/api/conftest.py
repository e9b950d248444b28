"""The API of this test's settings, as a server that listens, and its stores as workers fill them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from cluster.process import wait_until
from connectors.cassandra import close, connect
from connectors.cassandra_schema import ensure_schema
from connectors.sockets import listen
from serving.api.app import application
from serving.api.server import Server
from tests.serving.test_answers import World
from topologies.settings import Settings
from topologies.views import every_part


@contextmanager
def served(settings: Settings, port: int = 0) -> Iterator[httpx.Client]:
    """A client of an API that runs in a thread of this process."""
    opened, address = listen("127.0.0.1", port, "api", "API")
    server = Server(application(settings), address, None, settings.api.drain_s)
    thread = threading.Thread(target=server.run, args=([opened],))
    thread.start()
    try:
        assert wait_until(lambda: server.started or not thread.is_alive(), 30)
        assert server.started
        with httpx.Client(base_url=address, timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(60)
        opened.close()
        assert not thread.is_alive()


@pytest.fixture
def world(all_views: Settings) -> Iterator[World]:
    session = connect(all_views.cassandra)
    try:
        ensure_schema(session, all_views.cassandra, every_part())
        yield World(all_views, session)
    finally:
        close(session)


@pytest.fixture
def api(world: World) -> Iterator[httpx.Client]:
    """A client of an API over the stores of `world`."""
    with served(world.settings) as client:
        yield client
