"""A corrected view is counted beside the live one, switched to while events come, and back."""

from __future__ import annotations

import dataclasses
import os
import runpy
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from cluster.process import wait_until
from cluster.supervisor import Workers
from connectors.kafka import ensure_topics
from loadgen.audit import audit
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load
from marquee.catching_up import catch_up
from serving.answers import Answer, ask
from serving.questions import Question
from serving.stores import Stores
from tests.distributions import install
from tests.marquee.running import ROOT, document, marquee, sentence
from tests.streams.conftest import assert_exact
from topologies.editions import in_edition
from topologies.settings import Settings
from topologies.view import View
from topologies.views import VIEWS

FIX: Final = "fix"
DAY_MS: Final = 86_400_000
OPTIONS: Final = LoadOptions(events=12_000, rate=4_000, faults="duplicates,late,malformed,out-of-order", processes=1)
DECLARATION: Final = """
from dataclasses import replace

from topologies.view import Measure
from topologies.watch_time import WATCH_TIME

watched, plays, attempts = WATCH_TIME.measures
VIEW = replace(WATCH_TIME, logic_version={version}, measures=(watched, replace(plays, count_of={counted!r}), attempts))
"""


@dataclass(frozen=True)
class Shipped:
    """A distribution with a watch_time that stands in the built-in one's place."""

    path: str
    """What finds it and this repository."""
    view: View

    @classmethod
    def of(cls, directory: Path, version: int, counted: str) -> Shipped:
        """Whose plays are events of the type `counted`."""
        install(directory, "corrected", DECLARATION.format(version=version, counted=counted), {"watch_time": "corrected:VIEW"})
        return cls(f"{directory}{os.pathsep}{ROOT}", runpy.run_path(str(directory / "corrected.py"))["VIEW"])


@contextmanager
def working(settings: Settings, directory: Path, shipped: Shipped) -> Iterator[Workers]:
    """A worker that computes what was shipped."""
    directory.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", shipped.path)
        workers = Workers(settings, 1, directory)
        workers.start()
    with workers:
        yield workers


@dataclass(frozen=True)
class Desk:
    """Who operates and asks: the settings are the live edition's throughout."""

    settings: Settings
    directory: Path
    shipped: Shipped
    since_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000 - DAY_MS)
    """What is asked is of all days from then on: one may begin in the middle of the test."""

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return marquee(self.directory, *arguments, environment={**self.settings.environment(), "PYTHONPATH": self.shipped.path})

    def switched(self) -> bool:
        """Whether the edition answers from now on; until then the command says why not."""
        ran = self.run("switch", "watch_time", FIX)
        why_not = ("there is no edition", "is making them", "has no watch_time of", "has not caught up")
        assert ran.returncode == 0 or any(words in ran.stderr for words in why_not), ran.stderr
        return ran.returncode == 0

    def ask(self) -> Answer:
        with Stores(self.settings) as stores:
            return ask(stores, Question("watch_time", {"title": None}, window="day", from_ms=self.since_ms))


def drive(settings: Settings, events: int, seed: int) -> Run:
    return run_load(settings, dataclasses.replace(OPTIONS, events=events, seed=seed), lambda _: None)


def starts_and_attempts(answer: Answer) -> tuple[int, int]:
    plays, attempts = (answer.measures.index(name) for name in ("plays", "attempts"))
    return sum(int(row.values[plays] or 0) for row in answer.rows), sum(int(row.values[attempts] or 0) for row in answer.rows)


def test_a_corrected_view_is_counted_beside_the_live_one_and_switched(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, right = Shipped.of(tmp_path / "wrong", 2, "play_request"), Shipped.of(tmp_path / "right", 3, "play_start")
    monkeypatch.setitem(VIEWS, "watch_time", wrong.view)  # readers go on with what they have
    fixed, desk = in_edition(settings, FIX), Desk(settings, tmp_path, right)
    ensure_topics(settings)
    with working(settings, tmp_path / "live", wrong) as live:
        live.wait_ready()
        drive(settings, 12_000, seed=1)
        assert "there is no edition 'fix'" in sentence(desk.run("switch", "watch_time", FIX), 2)
        with working(fixed, tmp_path / FIX, right), ThreadPoolExecutor(1) as pool:
            loading = pool.submit(drive, settings, 40_000, 2)
            assert wait_until(desk.switched, 400)
            run = loading.result(300)
            for each in (settings, fixed):
                catch_up(each, run.topic, lambda _: None)

            answer = desk.ask()
            plays, attempts = starts_and_attempts(answer)
            assert 0 < plays < attempts
            assert "answered by edition fix, version 3" in answer.notes
            [pointer] = document(desk.run("status", "--json"))["pointers"]
            assert (pointer["view"], pointer["edition"], pointer["logic_version"]) == ("watch_time", FIX, 3)

            document(desk.run("switch", "watch_time", "--back", "--json"))
            answer = desk.ask()
            assert starts_and_attempts(answer) == (attempts, attempts)
            assert not any("edition" in note for note in answer.notes)
            operated = [(one["method"], one["target"], one["outcome"]) for one in document(desk.run("operations", "--json"))["operations"]]
            assert operated == [("switch", f"watch_time: live → {FIX}", "done"), ("switch", f"watch_time: {FIX} → live", "done")]

            assert_exact(audit(settings, run.name, lambda _: None))
            monkeypatch.setitem(VIEWS, "watch_time", right.view)
            assert_exact(audit(fixed, run.name, lambda _: None))
