"""Viewers who fall silent leave by the clock, with no event after their last one."""

from __future__ import annotations

import dataclasses

import polars as pl

from loadgen.load import LoadOptions
from loadgen.truth import sessions_of
from marquee.benches.vanish import GONE_S, Silence, fall_silent, told
from tests.streams.conftest import Pipeline, assert_exact
from topologies.concurrents import EXPIRY_MS


def test_when_all_viewers_vanish_nobody_is_watching_within_thirty_five_seconds(pipeline: Pipeline) -> None:
    run, silence = fall_silent(pipeline.settings, LoadOptions(rate=500, duration_s=3, vanish=1.0, processes=1))
    assert silence.most > 100
    assert silence.gone_s is not None
    # Not at once, and not by another clock. The last record may be of somebody who had paused, seconds after the last viewer's where the
    # generator was held up.
    assert EXPIRY_MS / 1000 - 5 <= silence.gone_s <= GONE_S
    result = pipeline.audited(run)
    assert_exact(result)
    assert sessions_of(run)["stop"].sum() == 0


def test_sessions_that_are_closed_twice_or_left_open_are_told() -> None:
    silence = Silence(last_ms=0, most=2, gone_s=31.04)
    sent = pl.DataFrame({"session": ["a", "b", "c"], "events": [3, 1, 0]})
    right = told(silence, {"sessions": 2, "ended": 1, "closed": 1}, sent)
    assert right["counted_once"]
    assert right["gone_in_time"]
    assert right["gone_s"] == 31.0
    for over in (
        {"sessions": 3, "ended": 1, "closed": 2},
        {"sessions": 1, "ended": 0, "closed": 1},
        {"sessions": 2, "ended": 2, "closed": 0},
    ):
        assert not told(silence, over, sent)["counted_once"]
    for wrong in (
        dataclasses.replace(silence, gone_s=None),
        dataclasses.replace(silence, most=0),
        dataclasses.replace(silence, gone_s=12.0),
    ):
        assert not told(wrong, {"sessions": 2, "ended": 1, "closed": 1}, sent)["gone_in_time"]
