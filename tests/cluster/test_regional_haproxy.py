"""One region's HAProxy: its own doors, others' when none of its own answers or all are busy."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from cluster import ports
from cluster.haproxy import Runtime
from cluster.process import wait_until
from cluster.regional_haproxy import MOST, RegionalHAProxyServer, configuration
from tests.cluster.registry_conformance import PATIENCE_S
from tests.cluster.test_balancing import Nodes, answered, asked, nodes
from topologies.errors import UsageError
from topologies.settings import Settings

__all__ = ["nodes"]


@contextmanager
def door(directory: Path, own: int, elsewhere: int, most: int = MOST) -> Iterator[RegionalHAProxyServer]:
    """The door of region `eu`, of which one API answers at `own`; one of region `us` at `elsewhere`."""
    server = RegionalHAProxyServer(directory, Settings(), {"haproxy": ports.pick()})
    server.own, server.doors, server.most = "eu", {"eu": [f"http://127.0.0.1:{own}"], "us": [f"http://127.0.0.1:{elsewhere}"]}, most
    server.start()
    try:
        assert wait_until(server.ready, PATIENCE_S)
        yield server
    finally:
        server.stop()


def test_a_region_answers_itself_until_it_is_lost_and_again_when_it_is_back(nodes: Nodes, tmp_path: Path) -> None:
    own, elsewhere = nodes.add(), nodes.add()
    with door(tmp_path, own, elsewhere) as server:
        assert wait_until(lambda: answered(server.url) == {str(own)}, PATIENCE_S)
        nodes.running[0].kill()
        assert wait_until(lambda: answered(server.url) == {str(elsewhere)}, PATIENCE_S)
        nodes.add(own)
        assert wait_until(lambda: answered(server.url) == {str(own)}, PATIENCE_S)


def test_a_region_whose_doors_are_all_busy_spills_over(nodes: Nodes, tmp_path: Path) -> None:
    own, elsewhere = nodes.add(), nodes.add()
    with door(tmp_path, own, elsewhere, most=1) as server:
        assert wait_until(lambda: answered(server.url) == {str(own)}, PATIENCE_S)
        nodes.running[0].id.signal(signal.SIGSTOP)
        waiting = threading.Thread(target=lambda: _patiently(server.url))
        waiting.start()
        # Its checks find out a second later at the earliest: until then it is the one request that it is busy with.
        assert wait_until(lambda: _busy(server) == 1, PATIENCE_S, every_s=0.005)
        assert asked(f"{server.url}/v1/views") == str(elsewhere)
        assert _running(server)
        nodes.running[0].id.signal(signal.SIGCONT)
        waiting.join()


def test_a_door_that_would_lead_only_elsewhere_is_refused() -> None:
    with pytest.raises(UsageError, match="names none of 'eu'"):
        configuration("eu", {"us": ["http://127.0.0.1:1"]}, "127.0.0.1:2", "admin.sock")


def _patiently(url: str) -> None:
    with suppress(OSError, HTTPException):
        asked(f"{url}/v1/views")


def _busy(server: RegionalHAProxyServer) -> int:
    return int(_stat(server)["scur"] or 0)


def _running(server: RegionalHAProxyServer) -> bool:
    return _stat(server)["status"].startswith("UP")


def _stat(server: RegionalHAProxyServer) -> dict[str, str]:
    """The row of the region's own door."""
    names, *rows = [line.lstrip("# ").split(",") for line in Runtime(server.admin).say("show stat").splitlines() if line]
    return next(dict(zip(names, row, strict=False)) for row in rows if row[:2] == ["own", "eu.1"])
