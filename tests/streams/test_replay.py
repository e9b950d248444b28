"""The recorded traces through the whole pipeline: the audit of each is exact."""

from __future__ import annotations

import pytest

from loadgen.replay import ReplayOptions, run_replay
from tests.streams.conftest import Pipeline, assert_exact
from tests.traces import recorded


@pytest.mark.parametrize("name", ["lumos_chunks_2019-2021.csv.gz", "youtube_sessions_2015.csv.gz"])
def test_a_replayed_trace_is_audited_exact(pipeline: Pipeline, name: str) -> None:
    file = recorded(pipeline.settings, name)
    run = run_replay(pipeline.settings, ReplayOptions(file, keep_time=True), lambda _: None)
    assert run.unmapped == 0
    assert_exact(pipeline.audited(run))
