"""Workers on the shared cluster, and a run driven through them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.supervisor import Workers
from connectors.kafka import ensure_topics
from loadgen.audit import audit
from loadgen.audit_report import AuditResult
from loadgen.crew import LoadProgress
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load
from marquee.catching_up import catch_up
from streams import owners as owners_module
from tests.conftest import soon_stored
from tests.streams.handover_scene import Scene
from topologies.settings import Settings


@dataclass
class Pipeline:
    """Workers, and what is driven through them."""

    settings: Settings
    workers: Workers

    def drive(self, options: LoadOptions, *, when: tuple[int, threading.Event] | None = None) -> Run:
        """Drive a run to its end; sets the event once so many records are sent."""

        def on_progress(progress: LoadProgress) -> None:
            if when is not None and progress.sent >= when[0]:
                when[1].set()

        return run_load(self.settings, options, on_progress)

    def audited(self, run: Run) -> AuditResult:
        """The audit, once both stores have everything."""
        catch_up(self.settings, run.topic, lambda _: None)
        return audit(self.settings, run.name, lambda _: None)


@contextmanager
def ready(settings: Settings, directory: Path) -> Iterator[Pipeline]:
    """One worker, ready, which writes its log into the directory."""
    ensure_topics(settings)
    with Workers(settings, 1, directory) as workers:
        workers.wait_ready()
        yield Pipeline(settings, workers)


@pytest.fixture
def pipeline(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    """One worker, for a test of its own."""
    with ready(settings, tmp_path) as pipeline:
        yield pipeline


@pytest.fixture
def prompt(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    """The same, that stores soon: where nothing is killed, and how much is stored when says nothing."""
    with ready(soon_stored(settings), tmp_path) as pipeline:
        yield pipeline


def assert_exact(result: AuditResult) -> None:
    """Every number is right, and all of the log is in them."""
    assert result.differences == ()
    assert result.unaccounted == 0
    assert result.ledger == "equal"
    assert result.complete
    assert result.exact


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(owners_module, "topic_ids", lambda _settings, topics: dict.fromkeys(topics, "A" * 22))
    monkeypatch.setattr(owners_module, "partition_offsets", lambda _settings, _topic: dict.fromkeys(range(8), (0, 10)))
    return Scene()
