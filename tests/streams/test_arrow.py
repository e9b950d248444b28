"""Both formats in one topic with every kind of fault, through the workers and the auditor: exact, with a letter for each row that is in no
view, and of each kind as many found as were injected."""

from __future__ import annotations

from connectors.kafka import produce_bytes
from connectors.letters import read_letters
from loadgen.audit_report import LetterTally
from loadgen.faults import CLASSES, KINDS
from loadgen.ledger import Run
from loadgen.load import LoadOptions
from marquee.catching_up import catch_up
from marquee.letters import row_values
from tests.streams.conftest import Pipeline, assert_exact
from topologies.blocks import ARROW_TYPE

LONG = ("key-changes", "lost-stops")
"""Faults of sessions that have gone on for a while."""
FAULTS = ",".join(f"{kind}=0.02" for kind in KINDS if kind not in LONG)
PAST = LoadOptions(events=2_000, backfill_s=600, format="arrow", faults="key-changes=0.2,lost-stops=0.5", seed=7, processes=1)


def broken(run: Run, becomes: str) -> int:
    """How many of the run's events were broken so that this becomes of them."""
    return sum(run.faults.get(kind, 0) for kind, name in CLASSES.items() if name == becomes)


def test_arrow_and_json_in_one_topic_are_audited_exact(pipeline: Pipeline) -> None:
    past = pipeline.drive(PAST)
    json_run = pipeline.drive(LoadOptions(duration_s=1, rate=2_000, faults=FAULTS, seed=5, processes=1))
    run = pipeline.drive(LoadOptions(duration_s=2, rate=4_000, format="arrow", faults=FAULTS, seed=6, processes=1))
    result = pipeline.audited(run)
    assert_exact(result)
    assert result.dead_reasons == run.malformed
    assert result.faults == {kind: (count, count) for kind, count in run.faults.items()}
    compared = {name: broken(run, name) + broken(json_run, name) for name in ("dead", "late")}
    assert result.letters == {kind: LetterTally(compared=count) for kind, count in compared.items()}
    assert run.faults.keys() == json_run.faults.keys() == set(KINDS) - set(LONG)
    result = pipeline.audited(past)
    assert_exact(result)
    assert result.faults == {kind: (count, count) for kind, count in past.faults.items()}
    assert past.faults.keys() == set(LONG)

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
