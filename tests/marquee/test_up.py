"""What `marquee up` has begun it ends, in order, whatever goes wrong then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from cluster.backoff import BackOff
from cluster.haproxy import SLOTS
from marquee import cli
from marquee.commands import up
from marquee.invocation import Invocation
from topologies.errors import ServerAway
from topologies.settings import Settings


class Begun:
    """What stands in for all that `up` begins; what was ended, in order. failing: what cannot be ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failing: str) -> None:
        self.ended: list[str] = []
        self.failing = failing
        door = SimpleNamespace(admin=Path("admin.sock"))
        cluster = SimpleNamespace(settings=Settings(), haproxy=door, start=lambda _: None, stop=lambda: self.end("cluster"))
        monkeypatch.setattr("cluster.local.LocalCluster", lambda *_, **__: cluster)
        monkeypatch.setattr("cluster.supervisor.Workers", self.workers)
        monkeypatch.setattr("cluster.supervisor.start_all", lambda *_: None)
        monkeypatch.setattr("connectors.kafka.ensure_topics", lambda _: None)
        monkeypatch.setattr("cluster.registries.open_registry", lambda _: self.opened("registry"))
        monkeypatch.setattr("cluster.balancing.Balancer", lambda *_: self.opened("balancer"))
        monkeypatch.setattr("cluster.scaling.autoscaler.autoscaling", lambda *_: self.opened("autoscaler"))
        monkeypatch.setattr("cluster.supervisor.ask_all_to_stop", lambda _: None)
        monkeypatch.setattr("cluster.control.Control", lambda _: self.opened("control"))
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


ORDER = ["autoscaler", "control", "balancer", "registry", "spare", "api", "workers", "cluster"]


def stopped(*_: object) -> None:
    raise KeyboardInterrupt


def run() -> int:
    assert up.COMMAND.callback is not None
    with click.Context(up.COMMAND, obj=Invocation()):
        code: int = up.COMMAND.callback(count=None, limits=(1, 2), apis=1, external=False, prometheus=False)
        return code


def test_a_rolls_spare_api_has_a_slot_too() -> None:
    assert up.MOST_APIS == SLOTS - 1


def test_two_numbers_of_workers_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--workers", "2", "--autoscale", "1..3"]) == 2
    assert "leave --workers out" in capsys.readouterr().err


def test_what_begins_last_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Begun(monkeypatch)
    monkeypatch.setattr(up.Keeper, "step", stopped)
    assert run() == 0
    assert begun.ended == ORDER


@pytest.mark.parametrize("failing", [("autoscaler",), ("balancer", "api"), ("registry", "workers")])
def test_what_does_not_end_keeps_nothing_else_up(failing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Begun(monkeypatch, *failing)
    monkeypatch.setattr(up.Keeper, "step", stopped)
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
    assert begun.ended == ["spare", "api", "workers", "cluster"]


class Servers:
    """A cluster of which some servers have ended, and do so again as soon as they are started."""

    def __init__(self, *ended: str) -> None:
        self.ended = list(ended)
        self.done: list[str] = []

    def watch(self) -> list[str]:
        return list(self.ended)

    def server(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(log=Path(f"{name}.log"), process=(name, len(self.done)))

    def revive(self, name: str) -> None:
        self.done.append(name)


class Group(SimpleNamespace):
    def __getitem__(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(name=f"worker-{index}", log=Path("worker.log"), process=(index, len(self.restarted)))


class Asking:
    """Requests, one a look; what became of each."""

    def __init__(self, *do: str) -> None:
        self.waiting = [self.request(one) for one in do]
        self.ends: list[tuple[str, str]] = []

    def request(self, do: str) -> SimpleNamespace:
        return SimpleNamespace(do=do, say=lambda _: None, end=lambda failed="", **_: self.ends.append((do, failed)))

    def next(self) -> SimpleNamespace | None:
        return self.waiting.pop(0) if self.waiting else None


def keeper(servers: Servers, workers: object, asking: Asking | None = None, scaler: object = None) -> up.Keeper:
    fleet = SimpleNamespace(workers=workers, groups=(workers,))
    made: up.Keeper = up.Keeper(servers, fleet, scaler, asking or Asking())  # type: ignore[arg-type]
    return made


def of_workers(*ended: int) -> Group:
    made = Group(restarted=[], meant=lambda: [0, 1], reap=list)
    made.watch = lambda: list(ended)
    made.restart = made.restarted.append
    return made


def test_what_will_not_stay_up_is_started_again_later_each_time_and_ends_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = [0.0]
    monkeypatch.setattr("cluster.backoff.BackOff", lambda: BackOff(lambda: now_s[0]))
    servers, workers = Servers("kafka"), of_workers(1)
    kept = keeper(servers, workers)
    for _ in range(20):
        kept.step()
        now_s[0] += 0.5
    assert servers.done == ["kafka"] * 4  # after 0, 1, 3 and 7 seconds
    assert workers.restarted == [1] * 4
    said = capsys.readouterr().err
    assert said.count("kafka ended on its own (kafka.log says why); starting it again") == 5
    assert "worker-1 ended on its own (worker.log says why); starting it again in 8 s" in said


def test_what_cannot_be_started_now_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    workers, tried = of_workers(0), []

    def restart(index: int) -> None:
        tried.append(index)
        raise ServerAway("its fork server is gone")

    workers.restart = restart
    kept = keeper(Servers(), workers)
    kept.step()
    kept.step()
    assert tried == [0]
    said = capsys.readouterr().err
    assert "worker-0 could not be started again: its fork server is gone" in said
    assert "starting it again in 1 s" in said


def test_while_it_rolls_nothing_else_is_done_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    over = [False]

    class Rolling:
        def __init__(self, *_: object) -> None:
            pass

        def step(self) -> bool:
            return over[0]

        def coming(self, _: object, index: int) -> bool:
            return index == 0

    monkeypatch.setattr("cluster.rolling.Roll", Rolling)
    steps: list[int] = []
    scaler = SimpleNamespace(step=lambda: steps.append(1))
    asking, workers = Asking("roll", "roll", "wanted", "nothing"), of_workers(0, 1)
    kept = keeper(Servers(), workers, asking, scaler)
    kept.step()
    assert workers.restarted == [1]  # 0 is only now coming up
    assert steps == []
    ends = dict(asking.ends)
    assert "under way" in ends["roll"]
    assert "scales them itself" in ends["wanted"]
    assert "nothing that can be asked" in ends["nothing"]
    over[0] = True
    kept.step()
    assert asking.ends[-1] == ("roll", "")
    assert steps == [1]
