"""Times are set right by sent_at, and nothing that is set right is counted twice when it is sent again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marquee.log_blocks import block_of
from serving.collector.clock import AS_SENT, Correction, correction_of, moved
from serving.collector.judging import judge
from tests.serving.collector.log import TS, event, written
from topologies.errors import UsageError
from topologies.events import TICK_VALUE, decode_event
from topologies.fold import PartitionState
from topologies.settings import CollectorSettings
from topologies.sources import Source
from topologies.views import every_part

SETTINGS = CollectorSettings()
NOW = 1_767_300_000_000
MINUTE = 60_000


def test_without_a_stamp_times_stay_as_they_are() -> None:
    assert correction_of(None, NOW, NOW, SETTINGS) == AS_SENT


@pytest.mark.parametrize(
    ("off_ms", "shift"), [(0, 0), (1_000, 0), (-1_000, 0), (1_001, 1_001), (-3_600_000, -3_600_000), (86_400_000, 86_400_000)]
)
def test_a_clock_is_set_right_by_what_it_is_off_by(off_ms: int, shift: int) -> None:
    assert correction_of(NOW - off_ms, NOW, NOW, SETTINGS) == Correction(shift, NOW - 600_000)


@pytest.mark.parametrize(("off_ms", "says"), [(86_400_001, "behind"), (-86_400_001, "ahead of")])
def test_a_clock_that_is_off_by_more_than_is_allowed_is_refused(off_ms: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        correction_of(NOW - off_ms, NOW, NOW, SETTINGS)


@pytest.mark.parametrize(
    "value",
    [
        b'{"v":1,"type":"stop","session":"s","seq":1,"ts":5,"account":"a","profile":"p","title":"t","region":"r","device":"d"}',
        b'{"ts" :\n5 ,"v":1,"type":"stop","session":"s","seq":1,"account":"a","profile":"p","title":"5","region":"r","device":"d"}',
    ],
)
def test_a_moved_event_is_the_same_bytes_but_for_its_ts(value: bytes) -> None:
    found = moved(value, 5, 777)
    assert len(found) == len(value) + 2
    assert json.loads(found) == json.loads(value) | {"ts": 777}


@pytest.mark.parametrize(
    "value",
    [
        written(event(more={"ts": TS})),
        written(event(session="ts")),
        written(event(title='a"ts":1')),
        written(event()).replace(b'"ts"', b'"t\\u0073"'),
        written(event()).replace(b'"ts"', b'"t\\u0073"').replace(b'"title":"t"', b'"title":"ts"'),
        written(event()).replace(b'"device"', b'"ts":4,"device"'),
        b'{"ts":1,' + written(event())[1:],
    ],
)
def test_a_ts_that_is_written_in_a_strange_way_is_moved_too(value: bytes) -> None:
    before, after = decode_event(value), decode_event(moved(value, TS, 777))
    assert before is not None
    assert after == before | {"ts": 777}


def test_events_are_moved_and_judged_by_the_right_time() -> None:
    correction = correction_of(NOW - 3_600_000, NOW, NOW, SETTINGS)
    off = NOW - 3_600_000
    values = [written(event(seq, ts=ts)) for seq, ts in enumerate((off, off - 600_000, off - 600_001, 253_402_300_799_999))]
    judged = judge(values, correction)
    assert [json.loads(value)["ts"] for value in judged.values] == [NOW, NOW - 600_000]
    assert judged.rejected == [(2, "too_old"), (3, "out_of_range:ts")]


def test_events_of_a_clock_that_is_right_go_into_the_log_as_they_came() -> None:
    value = b' {"more":[1,2], ' + written(event(ts=NOW))[1:]
    assert judge([value], correction_of(NOW - 900, NOW, NOW, SETTINGS)).values == [value]


def test_what_is_valid_is_what_the_log_takes_for_valid() -> None:
    values = [written(event(1)), b"{", written(event() | {"seq": "x"}), TICK_VALUE, b"null", written(event(3, account="ä"))]
    judged = judge(values, AS_SENT)
    assert judged.values == [values[0], values[5]]
    assert judged.keys == [b"a-1", "ä".encode()]
    assert judged.rejected == [(1, "not_json"), (2, "wrong_type:seq"), (3, "type"), (4, "not_object")]


@settings(deadline=None)  # the fold may have to be compiled
@given(
    skew_ms=st.integers(-86_000_000, 86_000_000),
    first_delay_ms=st.integers(0, 200_000),
    waits=st.lists(st.integers(0, 20 * MINUTE), min_size=1, max_size=4),
    delays=st.lists(st.integers(0, 200_000), min_size=4, max_size=4),
    others_ahead_ms=st.integers(-MINUTE, MINUTE),
)
def test_what_is_sent_again_with_a_stamp_of_its_own_is_applied_once(
    skew_ms: int, first_delay_ms: int, waits: list[int], delays: list[int], others_ahead_ms: int
) -> None:
    """However far off the clock is, however long the ways take, and while others' events drive the watermark as far ahead as it may go."""
    happened = NOW
    log: list[tuple[bytes, int]] = []
    sent = happened
    for wait, delay in zip([0, *waits], [first_delay_ms, *delays], strict=False):
        sent += wait
        receipt = sent + delay
        correction = correction_of(sent + skew_ms, receipt, receipt, SETTINGS)
        judged = judge([written(event(1, ts=happened + skew_ms))], correction)
        other = written(event(len(log), ts=receipt + others_ahead_ms, account="other", session=f"o{len(log)}"))
        log.append((other, receipt))
        log += [(value, receipt + 30_000) for value in judged.values]
    state = PartitionState(Source("", "", "", 0), every_part())
    times = np.maximum.accumulate([at for _, at in log]).tolist()
    state.apply(block_of([value for value, _ in log], times, 0))
    own = sum(value.find(b'"other"') < 0 for value, _ in log)
    status = state.status()
    assert status.applied + status.duplicate + status.late + status.dead == len(log)
    assert status.applied <= len(log) - own + 1
