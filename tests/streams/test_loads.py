"""Loads with every kind of fault, through one worker and the auditor: exact while they go on and when they are through, in both formats,
with a letter for each row that is in no view, and of each kind as many found as were injected."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import pytest

from cluster.process import wait_until
from connectors.kafka import produce_bytes
from connectors.letters import read_letters
from connectors.redis_reader import CellReader
from loadgen.audit import audit
from loadgen.audit_report import AuditResult, LetterTally
from loadgen.faults import CLASSES, KINDS
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load
from marquee.catching_up import catch_up
from marquee.letters import row_values
from tests.conftest import soon_stored
from tests.streams.conftest import Pipeline, assert_exact, ready
from topologies.blocks import ARROW_TYPE
from topologies.settings import Settings

LONG = ("key-changes", "lost-stops")
"""Faults of sessions that have gone on for a while."""
FAULTS = ",".join(f"{kind}=0.02" for kind in KINDS if kind not in LONG)
GOING = LoadOptions(duration_s=600, rate=1_500, run="going", faults=FAULTS, seed=5, processes=1)
PAST = LoadOptions(events=2_000, backfill_s=600, format="arrow", faults="key-changes=0.2,lost-stops=0.5", seed=7, processes=1)


@pytest.fixture(scope="module")
def pipeline(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One worker, for all of these loads."""
    with ready(soon_stored(shared_settings), tmp_path_factory.mktemp("worker")) as pipeline:
        yield pipeline


@dataclass(frozen=True)
class Stopped:
    """A load that was stopped before its end, and what an audit said of it while it went on."""

    run: Run
    so_far: AuditResult


@pytest.fixture(scope="module")
def stopped(pipeline: Pipeline) -> Stopped:
    """A load in JSON."""
    enough = threading.Event()
    with ThreadPoolExecutor(1) as driver, closing(CellReader(pipeline.settings.redis, ())) as reader:
        driven = driver.submit(run_load, pipeline.settings, GOING, lambda _: None, enough.is_set)
        try:
            assert wait_until(lambda: sum(found.status.offset for found in reader.statuses().values() if found.status) > 3_000, 300)
            so_far = audit(pipeline.settings, "going", lambda _: None)
        finally:
            enough.set()
        return Stopped(driven.result(300), so_far)


def broken(run: Run, becomes: str) -> int:
    """How many of the run's events were broken so that this becomes of them."""
    return sum(run.faults.get(kind, 0) for kind, name in CLASSES.items() if name == becomes)


def test_a_load_that_goes_on_is_exact_so_far(stopped: Stopped) -> None:
    found = stopped.so_far
    assert (found.ledger, found.exact, found.differences) == ("equal so far", True, ())
    assert 1_000 < found.received <= stopped.run.generated
    assert min(found.duplicate, found.late, found.dead) > 0


def test_a_load_that_is_enough_is_stopped_and_what_it_sent_is_exact(pipeline: Pipeline, stopped: Stopped) -> None:
    run = stopped.run
    assert run.state == "stopped"
    result = pipeline.audited(run)
    assert_exact(result)
    assert result.received == run.generated
    assert result.faults == {kind: (count, count) for kind, count in run.faults.items()}
    # when the first burst comes is the seed's to say, and the load may have been enough before
    assert set(KINDS) - set(LONG) - {"bursts"} <= run.faults.keys() <= set(KINDS) - set(LONG)


def test_faults_of_long_sessions_are_found_in_a_backfill(pipeline: Pipeline) -> None:
    past = pipeline.drive(PAST)
    result = pipeline.audited(past)
    assert_exact(result)
    assert result.faults == {kind: (count, count) for kind, count in past.faults.items()}
    assert past.faults.keys() == set(LONG)


def test_arrow_and_json_in_one_topic_are_audited_exact(pipeline: Pipeline, stopped: Stopped) -> None:
    run = pipeline.drive(LoadOptions(duration_s=2, rate=4_000, format="arrow", faults=FAULTS, seed=6, processes=1))
    result = pipeline.audited(run)
    assert_exact(result)
    assert result.dead_reasons == run.malformed
    assert result.faults == {kind: (count, count) for kind, count in run.faults.items()}
    compared = {name: broken(run, name) + broken(stopped.run, name) for name in ("dead", "late")}
    assert result.letters == {kind: LetterTally(compared=count) for kind, count in compared.items()}
    assert run.faults.keys() == set(KINDS) - set(LONG)

    kafka = pipeline.settings.kafka
    letters = [letter for letter in read_letters(pipeline.settings, kafka.dead_topic) if letter.content_type == ARROW_TYPE]
    assert len(letters) == broken(run, "dead")
    late = [letter for letter in read_letters(pipeline.settings, kafka.late_topic) if letter.content_type == ARROW_TYPE]
    assert len(late) == broken(run, "late")
    assert all((row_values(letter) or {})["v"] == 1 for letter in late)

    # what is sent again, as `marquee dead replay` does, is judged again
    [ahead, *_] = [letter for letter in letters if letter.reason == "ahead" and letter.row > 0]
    produce_bytes(pipeline.settings, run.topic, [(ahead.key, ahead.value, ahead.content_headers())])
    catch_up(pipeline.settings, run.topic, lambda _: None)
    again = [letter for letter in read_letters(pipeline.settings, kafka.dead_topic) if row_values(letter) == row_values(ahead)]
    assert sorted((letter.row, letter.reason) for letter in again) == sorted([(ahead.row, "ahead"), (0, "ahead")])
