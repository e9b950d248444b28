"""What `marquee up` has begun it ends, in order, whatever goes wrong then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from marquee.commands import up
from marquee.invocation import Invocation
from topologies.errors import ServerAway
from topologies.settings import Settings


class Begun:
    """What stands in for all that `up` begins; what was ended, in order. failing: what cannot be ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failing: str) -> None:
        self.ended: list[str] = []
        self.failing = failing
        cluster = SimpleNamespace(settings=Settings(), start=lambda _: None, stop=lambda: self.end("cluster"))
        monkeypatch.setattr("cluster.local.LocalCluster", lambda *_, **__: cluster)
        monkeypatch.setattr("cluster.supervisor.Workers", self.workers)
        monkeypatch.setattr("cluster.supervisor.start_all", lambda *_: None)
        monkeypatch.setattr("connectors.kafka.ensure_topics", lambda _: None)
        monkeypatch.setattr("cluster.registries.open_registry", lambda _: self.opened("registry"))
        monkeypatch.setattr("cluster.balancing.Balancer", lambda *_: self.opened("balancer"))
        monkeypatch.setattr("cluster.scaling.autoscaler.autoscaling", lambda *_: self.opened("autoscaler"))
        monkeypatch.setattr(up, "door", lambda _: SimpleNamespace(admin=Path("admin.sock")))
        monkeypatch.setattr(up, "_announce", lambda *_: None)

    def end(self, name: str) -> None:
        self.ended.append(name)
        if name in self.failing:
            raise ServerAway(f"{name} does not end.")

    def workers(self, *_: object, role: str = "workers", **__: object) -> SimpleNamespace:
        return SimpleNamespace(stop_all=lambda: self.end(role))

    @contextmanager
    def opened(self, name: str) -> Iterator[None]:
        try:
            yield
        finally:
            self.end(name)


ORDER = ["autoscaler", "balancer", "registry", "api", "workers", "cluster"]


def stopped(*_: object) -> None:
    raise KeyboardInterrupt


def run() -> int:
    assert up.COMMAND.callback is not None
    with click.Context(up.COMMAND, obj=Invocation()):
        code: int = up.COMMAND.callback(count=1, limits=(1, 2), apis=1)
        return code


def test_what_begins_last_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Begun(monkeypatch)
    monkeypatch.setattr(up, "_watch", stopped)
    assert run() == 0
    assert begun.ended == ORDER


@pytest.mark.parametrize("failing", [("autoscaler",), ("balancer", "api"), ("registry", "workers")])
def test_what_does_not_end_keeps_nothing_else_up(failing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Begun(monkeypatch, *failing)
    monkeypatch.setattr(up, "_watch", stopped)
    with pytest.raises(ServerAway, match=failing[-1]):
        run()
    assert begun.ended == ORDER


def test_what_ends_while_it_starts_ends_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Begun(monkeypatch)

    def failing(*_: object) -> None:
        raise ServerAway("worker-0 ended before it was ready")

    monkeypatch.setattr("cluster.supervisor.start_all", failing)
    with pytest.raises(ServerAway, match="worker-0"):
        run()
    assert begun.ended == ["api", "workers", "cluster"]
