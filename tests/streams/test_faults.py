"""Faults under load that a chaos run (tests/marquee/test_chaos.py) has shorter or not at all: the audit is exact."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.local import LocalCluster
from loadgen.ledger import Run
from loadgen.load import LoadOptions
from tests.conftest import impatient
from tests.streams.conftest import Pipeline, assert_exact
from topologies.settings import Settings

EVENTS = 48_000
OPTIONS = LoadOptions(events=EVENTS, rate=6_000, faults="duplicates,late,malformed,out-of-order", processes=1)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return impatient(settings)


def drive_with(pipeline: Pipeline, at: int, fault: Callable[[], None]) -> Run:
    """Drive the run; the fault happens once `at` events are sent."""
    reached = threading.Event()

    def strike() -> None:
        assert reached.wait(300)
        fault()

    with ThreadPoolExecutor(1) as striker:
        struck = striker.submit(strike)
        run = pipeline.drive(OPTIONS, when=(at, reached))
        struck.result(300)
    return run


def test_killed_joining_and_leaving_workers_count_nothing_twice_and_lose_nothing(pipeline: Pipeline) -> None:
    workers = pipeline.workers
    workers.add()
    workers.wait_ready()

    def fault() -> None:
        workers.kill(0)
        workers.add()
        workers.add()

    run = drive_with(pipeline, EVENTS // 3, fault)
    assert_exact(pipeline.audited(run))
    assert workers.alive() == [1, 2, 3]


def test_a_broker_that_is_away_for_longer_than_the_session_time_out_costs_nothing(pipeline: Pipeline, cluster: LocalCluster) -> None:
    def fault() -> None:
        cluster.pause("kafka")
        try:
            threading.Event().wait(pipeline.settings.kafka.session_timeout_s + 5)
        finally:
            cluster.resume("kafka")

    run = drive_with(pipeline, EVENTS // 4, fault)
    assert_exact(pipeline.audited(run))
