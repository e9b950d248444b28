"""The demo's look after its workers."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cluster.process import wait_until
from cluster.supervisor import Workers
from marquee.demonstration import Demo, DemoOptions
from marquee.screen import Screen
from tests.cluster.registry_conformance import PATIENCE_S
from topologies.settings import Settings

DEAF = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[2]).write_text("{}")
time.sleep(600)
"""


def test_workers_are_told_as_they_run_and_one_that_does_not_drain_is_killed(tmp_path: Path) -> None:
    demo = Demo(Settings(), DemoOptions(1, 2, 1.0), Screen("test", "none"))
    with Workers(Settings(), 2, tmp_path, command=(sys.executable, "-c", DEAF)) as workers:
        workers.wait_ready()
        demo._look(workers, time.monotonic())
        workers.scale(1)
        demo._look(workers, time.monotonic())
        demo._look(workers, time.monotonic())
        assert [counts for _, *counts in demo.workers] == [[2, 2], [2, 1]]
        workers[1].asked_s = time.monotonic() - 60.0

        def told() -> bool:
            demo._look(workers, time.monotonic())
            return demo.workers[-1][1:] == (1, 1)

        assert wait_until(told, PATIENCE_S)
        workers.kill(0)
