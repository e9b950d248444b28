"""Workers as the supervisor sees them: processes that say when they are ready, drain when asked and can be killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.process import Guarded, wait_until
from cluster.supervisor import Workers
from topologies.errors import ServerAway
from topologies.settings import Settings

WORKER = """
import json, os, signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: (print("drained", flush=True), sys.exit(0)))
while time.process_time() < 0.1: pass
said = {"partitions": 4, "name": os.environ["MARQUEE_WORKER__NAME"], "cores": list(os.sched_getaffinity(0))}
Path(sys.argv[2]).write_text(json.dumps(said))
signal.pause()
"""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with Workers(Settings(), 2, tmp_path, cores=[0], command=(sys.executable, "-c", WORKER)) as started:
        started.wait_ready()
        yield started


def test_workers_are_ready_named_and_pinned(workers: Workers) -> None:
    assert workers.alive() == [0, 1]
    assert workers.ready(0) == {"partitions": 4, "name": "worker-0", "cores": [0]}
    assert workers.ready(1) == {"partitions": 4, "name": "worker-1", "cores": [0]}
    assert workers.rss_mb(0) > 1


def test_a_stopped_worker_drains_and_its_cpu_is_known_after_its_end(workers: Workers) -> None:
    assert workers.stop(0).status == 0
    assert workers.stop(0).status == 0
    assert "drained" in workers[0].log.read_text()
    assert workers.alive() == [1]
    assert workers.watch() == []
    assert workers.cpu_seconds(0) >= 0.1
    assert workers.rss_mb(0) == 0


def test_a_killed_worker_does_not_drain_and_comes_back_under_its_name(workers: Workers) -> None:
    assert workers.kill(1).status == -signal.SIGKILL
    assert "drained" not in workers[1].log.read_text()
    workers.restart(1)
    workers.wait_ready()
    assert workers.alive() == [0, 1]
    assert workers[1].name == "worker-1"


def test_the_cpu_of_one_that_cannot_be_started_again_counts_once(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    workers.kill(1)
    workers.stop(0)
    before_s = workers.all_cpu_seconds()

    def failing(*_: object, **__: object) -> Guarded:
        raise OSError("no more processes")

    with monkeypatch.context() as failed:
        failed.setattr("cluster.supervisor.Guarded", failing)
        with pytest.raises(OSError, match="no more"):
            workers.restart(1)
    assert workers.all_cpu_seconds() == before_s
    workers.restart(1)
    assert workers.all_cpu_seconds() >= before_s


def test_a_worker_joins(workers: Workers) -> None:
    assert workers.add() == 2
    workers.wait_ready()
    assert workers.alive() == [0, 1, 2]
    assert len(workers) == 3


def test_a_worker_that_dies_is_noticed(workers: Workers) -> None:
    os.kill(workers[0].process.id.pid, signal.SIGKILL)
    assert wait_until(lambda: workers.watch() == [0], 60)
    with pytest.raises(ServerAway, match="worker-0 ended"):
        workers.wait_ready()


def test_a_paused_worker_stops_all_the_same(workers: Workers) -> None:
    workers.pause(0)
    assert [ended.status for ended in workers.stop_all(60)] == [0, 0]


def test_a_worker_that_does_not_drain_in_time_is_killed(tmp_path: Path) -> None:
    deaf = WORKER.replace('lambda *_: (print("drained", flush=True), sys.exit(0))', "signal.SIG_IGN")
    with Workers(Settings(), 1, tmp_path, command=(sys.executable, "-c", deaf)) as started:
        started.wait_ready()
        assert started.stop(0, drain_s=0.2).status == -signal.SIGKILL


def test_a_command_that_does_not_exist_is_told_from_a_worker(tmp_path: Path) -> None:
    with Workers(Settings(), 1, tmp_path, command=("/nowhere/marquee",)) as started, pytest.raises(ServerAway, match="ended before"):
        started.wait_ready()
