"""The API of this test's settings, as a server that listens, and its stores as workers fill them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from cluster.process import wait_until
from connectors.sockets import listen
from serving.api.app import application
from serving.api.routes import Roster, nobody_known
from serving.api.server import Server
from tests.serving.test_answers import World, world_of
from topologies.settings import Settings


@contextmanager
def served(settings: Settings, port: int = 0, roster: Roster = nobody_known) -> Iterator[httpx.Client]:
    """A client of an API that runs in a thread of this process."""
    opened, address = listen("127.0.0.1", port, "api", "API")
    server = Server(application(settings, roster=roster), address, None, settings.api.drain_s)
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
    with world_of(all_views) as opened:
        yield opened


@pytest.fixture
def api(world: World) -> Iterator[httpx.Client]:
    """A client of an API over the stores of `world`."""
    with served(world.settings) as client:
        yield client
