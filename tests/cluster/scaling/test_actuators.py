"""All actuators are held to one contract; and those of this machine and of Kubernetes to what is their own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from cluster.control import Control
from cluster.process import wait_until
from cluster.scaling.actuator import Actuator, Supervised
from cluster.scaling.asked import Asked, answered
from cluster.scaling.aws import EcsService, ScalingGroup
from cluster.scaling.azure import ScaleSet
from cluster.scaling.kubernetes import Replicas
from cluster.supervisor import Workers
from tests.clouds import SUBSCRIPTION, aws, azure, ecs_service, scaling_group
from tests.cluster.scaling.kubernetes_server import PATH, kubernetes
from tests.http_server import serving
from topologies.errors import Conflict, ServerAway, StoreError, UsageError
from topologies.settings import Settings

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


@contextmanager
def taking_requests(workers: Workers, directory: Path) -> Iterator[None]:
    """As `marquee up` does, on a thread."""
    over = threading.Event()
    with Control(directory) as control:

        def take() -> None:
            while not over.wait(0.01):
                if (request := control.next()) is not None and not answered(request, workers):
                    request.end("nothing that can be asked for")

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture(params=["supervised", "asked", "kubernetes", "ecs", "asg", "vmss"])
def actuator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Actuator]:
    """Of two workers."""
    with ExitStack() as opened:
        if request.param == "kubernetes":
            _, address = opened.enter_context(kubernetes(2))
            yield Replicas("deployment/worker", "tv", address)
            return
        if request.param == "vmss":
            _, address = opened.enter_context(azure(2))
            yield ScaleSet("tv/workers", SUBSCRIPTION, address)
            return
        if request.param in ("ecs", "asg"):
            opened.enter_context(aws())
            made = ecs_service(2) if request.param == "ecs" else scaling_group(2, most=4)
            assert made
            yield EcsService("tv/worker") if request.param == "ecs" else ScalingGroup("workers")
            return
        workers = opened.enter_context(Workers(Settings(), 2, tmp_path, command=SLEEPER))
        if request.param == "asked":
            opened.enter_context(taking_requests(workers, tmp_path))
            yield Asked(tmp_path)
        else:
            yield Supervised(workers)


def test_what_is_scaled_is_wanted(actuator: Actuator) -> None:
    assert actuator.wanted() == 2
    for count in (4, 4, 1, 3):
        actuator.scale(count)
        assert actuator.wanted() == count


def test_the_same_number_again_changes_nothing(actuator: Actuator) -> None:
    actuator.scale(2)
    assert actuator.wanted() == 2


def test_of_fewer_workers_the_last_end_and_come_back_under_their_names(tmp_path: Path) -> None:
    with Workers(Settings(), 3, tmp_path, command=SLEEPER) as workers:
        workers.scale(1)
        assert workers.meant() == [0]
        assert workers.watch() == []
        assert wait_until(lambda: workers.alive() == [0], 30)
        before_s = workers.all_cpu_seconds()
        workers.scale(4)
        assert workers.all_cpu_seconds() >= before_s > 0
        assert [workers[index].name for index in workers.meant()] == ["worker-0", "worker-1", "worker-2", "worker-3"]
        assert wait_until(lambda: workers.alive() == [0, 1, 2, 3], 30)


def test_one_that_does_not_drain_in_time_is_killed(tmp_path: Path) -> None:
    program = "import pathlib, signal, sys, time; signal.signal(15, signal.SIG_IGN); pathlib.Path(sys.argv[2]).write_text('{}')"
    program += "; time.sleep(600)"
    deaf = (sys.executable, "-c", program)
    with Workers(Settings(), 1, tmp_path, command=deaf) as workers:
        workers.wait_ready(60)
        workers.scale(0)
        assert workers.reap(drain_s=600) == []
        assert workers.alive() == [0]
        assert wait_until(lambda: workers.reap(drain_s=0.01) == [0], 30)
        assert wait_until(lambda: workers.alive() == [], 30)


def test_what_the_supervisor_refuses_is_said(tmp_path: Path) -> None:
    with Workers(Settings(), 1, tmp_path, command=SLEEPER) as workers:
        with pytest.raises(ServerAway, match="can be asked"):
            Asked(tmp_path).wanted()
        with taking_requests(workers, tmp_path):
            for count in (-1, 257):
                with pytest.raises(StoreError, match="no number of workers"):
                    Asked(tmp_path).scale(count)
            asked = Asked(tmp_path)
            assert asked.wanted() == 1
            workers.scale(0)
            with pytest.raises(Conflict, match="there are 0 workers, not 1"):
                asked.scale(2)
            assert workers.meant() == []


def test_what_kubernetes_is_asked() -> None:
    with kubernetes(1) as (cluster, address):
        replicas = Replicas("deployment/worker", "tv", address)
        assert replicas.wanted() == 1
        replicas.scale(3)
        (read, path, _), (written, same, body) = cluster.asked
        assert (read, path, written, same) == ("GET", PATH, "PUT", PATH)
        assert (body["spec"], body["metadata"]["resourceVersion"]) == ({"replicas": 3}, "7")


def test_who_wrote_meanwhile_is_not_written_over() -> None:
    with kubernetes(1) as (cluster, address):
        replicas = Replicas("deployment/worker", "tv", address)
        replicas.wanted()
        cluster.replicas, cluster.version = 5, 8
        with pytest.raises(Conflict, match="modified"):
            replicas.scale(2)
        assert cluster.replicas == 5
        assert replicas.wanted() == 5


@pytest.mark.parametrize(("code", "told"), [(401, "credentials"), (403, "may not"), (404, "no such thing"), (500, "refused")])
def test_what_the_api_server_refuses_is_said(code: int, told: str) -> None:
    with kubernetes(1) as (cluster, address):
        cluster.refuse = code
        with pytest.raises(StoreError, match=told):
            Replicas("deployment/worker", "tv", address).wanted()


@pytest.mark.parametrize(("code", "body"), [(200, b"<html>no"), (200, b"[]"), (200, b"{}"), (502, b"<html>no")])
def test_a_page_instead_of_the_api_servers_answer_is_said_and_asked_for_again(code: int, body: bytes) -> None:
    kind = "text/html" if body.startswith(b"<") else "application/json"
    with serving(lambda _request, _body: (code, body, kind)) as address, pytest.raises(ServerAway, match=r"what answers is not|does not"):
        Replicas("deployment/worker", "tv", address).wanted()


def test_an_api_server_that_is_away_is_said() -> None:
    with pytest.raises(ServerAway, match="does not answer"):
        Replicas("deployment/worker", "tv", "http://127.0.0.1:1").wanted()


@pytest.mark.parametrize("target", ["worker", "pod/worker", "deployment/", ""])
def test_a_target_that_cannot_be_scaled_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match="deployment/NAME"):
        Replicas(target)
