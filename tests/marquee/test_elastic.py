"""`autoscale` and `balance` as a person runs them: each keeps something that runs elsewhere as it should be, until it is stopped."""

from __future__ import annotations

import signal
from pathlib import Path

from cluster.local import LocalCluster
from cluster.process import wait_until
from tests.cluster.scaling.kubernetes_server import kubernetes
from tests.http_server import serving
from tests.marquee.running import Foreground, answers, marquee, sentence
from tests.marquee.test_cli import AWAY
from topologies.settings import Settings


def test_autoscale_holds_what_kubernetes_has_while_nothing_is_measured(tmp_path: Path) -> None:
    with kubernetes(3) as (cluster, address):
        words = ("autoscale", "1..8", "--kubernetes", "deployment/worker", "--namespace", "tv", "--server", address)
        with Foreground(tmp_path, *words, environment=AWAY) as scaler:
            scaler.wait_said("deployment/worker has 3 workers; from 1 to 8 as the load needs", 120)
            scaler.wait_said("held: no measurement", 120)
            scaler.signal(signal.SIGTERM)
            assert scaler.ended(120) == 0
        assert cluster.replicas == 3
        assert {method for method, _, _ in cluster.asked} == {"GET"}


def test_what_autoscale_cannot_reach_or_scale_is_said(tmp_path: Path) -> None:
    words = ("autoscale", "1..8", "--server", "http://127.0.0.1:1", "--kubernetes")
    assert "does not answer" in sentence(marquee(tmp_path, *words, "deployment/worker"), 1)
    assert "is not deployment/NAME" in sentence(marquee(tmp_path, *words, "pod/worker"), 2)


def test_balance_tells_a_haproxy_who_is_up(tmp_path: Path, bare_settings: Settings) -> None:
    with (
        LocalCluster(tmp_path / "c", bare_settings, services=("haproxy",), preferred={"haproxy": 0}) as cluster,
        serving(lambda _request, _body: (200, b"{}", "application/json")) as address,
    ):
        proxy = cluster.haproxy
        assert not answers(f"{proxy.url}/v1/views")
        words = ("-s", f"discovery.members=api={address}", "balance", str(proxy.admin))
        with Foreground(tmp_path, *words) as balancer:
            assert wait_until(lambda: answers(f"{proxy.url}/v1/views"), 120)
            balancer.signal(signal.SIGTERM)
            assert balancer.ended(120) == 0
        assert answers(f"{proxy.url}/v1/views")


def test_what_balance_cannot_do_is_said(tmp_path: Path) -> None:
    assert "nobody says who is up" in sentence(marquee(tmp_path, "balance", "no.sock"), 2)
    assert "does not answer" in sentence(marquee(tmp_path, "-s", "discovery.members=api=http://127.0.0.1:1", "balance", "no.sock"), 1)
