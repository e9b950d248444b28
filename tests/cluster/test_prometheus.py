"""The local cluster's Prometheus scrapes who is registered, and knows the rules."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from cluster.discovery import Member, Role
from cluster.local import LocalCluster
from cluster.process import wait_until
from cluster.prometheus import Targets
from cluster.registries import open_registry
from cluster.zookeeper_registry import ZooKeeperRegistry
from connectors.zookeeper import Session
from tests.cluster.registry_conformance import PATIENCE_S
from tests.http_server import serving
from topologies.settings import Settings

METRICS = (200, b"# TYPE marquee_up_test gauge\nmarquee_up_test 7\n", "text/plain; version=0.0.4")


def asked(url: str, path: str) -> Any:
    with urllib.request.urlopen(f"{url}{path}", timeout=30) as answer:
        return json.load(answer)["data"]


def test_who_registers_is_scraped_and_who_leaves_is_not(tmp_path: Path, bare_settings: Settings) -> None:
    services = ("zookeeper", "prometheus")
    with (
        LocalCluster(tmp_path / "c", bare_settings, services=services, preferred=dict.fromkeys(services, 0)) as cluster,
        serving(lambda _request, _body: METRICS) as address,
        open_registry(cluster.settings) as registry,
    ):
        server = cluster.prometheus
        found = f"/api/v1/query?query={urllib.parse.quote('marquee_up_test')}"
        with Targets(registry, server.targets), ZooKeeperRegistry(Session(cluster.settings.zookeeper), cluster.settings) as own:
            own.register(Member("worker-7", Role.WORKER, address, "1", 0.0, 1), lambda: 0.0)
            assert wait_until(lambda: bool(asked(server.url, found)["result"]), PATIENCE_S)
            (sample,) = asked(server.url, found)["result"]
            assert (sample["metric"]["member"], sample["metric"]["job"], sample["value"][1]) == ("worker-7", "marquee-worker", "7")
            own.leave(Role.WORKER, "worker-7")
            assert wait_until(lambda: not asked(server.url, "/api/v1/targets")["activeTargets"], PATIENCE_S)
        names = {rule["name"] for group in asked(server.url, "/api/v1/rules")["groups"] for rule in group["rules"]}
        assert "MarqueeAccountingBroken" in names
