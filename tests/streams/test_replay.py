"""A recorded trace through the whole pipeline: its audit is exact. What the others' rows become, tests/loadgen/test_replay.py has."""

from __future__ import annotations

from loadgen.replay import ReplayOptions, run_replay
from tests.streams.conftest import Pipeline, assert_exact
from tests.traces import recorded


def test_a_replayed_trace_is_audited_exact(prompt: Pipeline) -> None:
    file = recorded(prompt.settings, "lumos_chunks_2019-2021.csv.gz")
    run = run_replay(prompt.settings, ReplayOptions(file, keep_time=True), lambda _: None)
    assert run.unmapped == 0
    assert_exact(prompt.audited(run))
