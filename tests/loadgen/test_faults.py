"""Events broken on purpose: what `--faults` accepts, and that each is broken in exactly the way the ledger says."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from loadgen.faults import Faults, mangle, parse_faults
from loadgen.rows import DELAYED, FAR, LATE, MALFORMED, NEAR
from loadgen.shard import Shard
from tests.loadgen.test_audience import BASE_MS, BROKEN, PARTITIONS, plan_of
from topologies.errors import UsageError
from topologies.events import FIELDS, Malformed, decode_event

VALID = (
    b'{"v":1,"type":"heartbeat","session":"37cc0a5f12b6a7b1","seq":117,"ts":1790000000192,"account":"tag-0000018","profile":"p1",'
    b'"title":"t05382","region":"ap-south","device":"tv","app":"tv-7.4","cdn":"cloudfront","position_s":2,"watched_ms":10000}'
)
BY_STATE = {"ahead", "seq_jump"}
"""Reasons that need the partition's state: the strict decoder takes these."""


def reason_of(value: bytes | None) -> str:
    try:
        decode_event(value)
    except Malformed as error:
        return error.reason
    return "valid"


def test_each_way_of_mangling_gives_the_reason_it_says() -> None:
    chances = random.Random(7)
    seen: Counter[str] = Counter()
    for _ in range(20_000):
        value, reason = mangle(VALID, chances.getrandbits(32))
        assert reason_of(value) == ("valid" if reason in BY_STATE else reason)
        seen[reason] += 1
    plain = {"empty", "too_big", "encoding", "not_json", "not_object", "version", "type"} | BY_STATE
    missing = {f"missing:{field.name}" for field in FIELDS[2:] if field.required}
    wrong = {f"wrong_type:{field.name}" for field in FIELDS[2:]}
    outside = {f"out_of_range:{field.name}" for field in FIELDS[2:] if field.name != "fatal"}
    assert set(seen) == plain | missing | wrong | outside


def test_one_malformed_value_in_some_has_two_megabytes() -> None:
    sizes = [len(value) for chance in range(12 * 100) if (value := mangle(VALID, chance)[0]) is not None]
    assert max(sizes) > 2_000_000


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", Faults()),
        ("duplicates=0.5", Faults(duplicates=0.5)),
        ("late=0.25, malformed=0", Faults(late=0.25)),
        ("duplicates,late,malformed,out-of-order", Faults(0.005, 0.001, 0.001, 0.01)),
    ],
)
def test_faults_are_read(text: str, faults: Faults) -> None:
    assert parse_faults(text) == faults


@pytest.mark.parametrize("text", ["duplicate", "late=often", "late=-1", "late=2", "late=0.6,malformed=0.6"])
def test_faults_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_faults(text)


@pytest.mark.parametrize("live", [True, False])
def test_as_many_events_are_broken_as_asked_and_in_their_way(live: bool) -> None:
    count = 60_000
    kinds: Counter[int] = Counter()
    copies = 0
    for chunk in Shard(plan_of(count, 600, live, BROKEN), "tag", 6, BASE_MS, PARTITIONS, frozenset(range(PARTITIONS))).chunks(60_000):
        rows = chunk.rows[chunk.order]
        copies += int(rows["copy"].sum())
        kinds.update(rows["fault"][rows["copy"] == 0].tolist())
        late = rows[rows["fault"] == LATE]
        assert (late["arrival"] - late["ts"] >= 17 * 60_000).all()
        others = rows[(rows["fault"] != LATE) & (rows["copy"] == 0)]
        assert (others["arrival"] - others["ts"] <= 31_000).all()
        doubled = rows[rows["copy"] == 1]
        assert (doubled["arrival"] - doubled["ts"] <= 301_000).all()
        for i in range(len(rows)):
            expected = chunk.reasons.get(i, "valid")
            assert reason_of(chunk.values[i]) == ("valid" if expected in BY_STATE else expected)
    assert copies == kinds[NEAR] + kinds[FAR]
    for found, share in ((copies, 0.02), (kinds[LATE], 0.01), (kinds[MALFORMED], 0.02), (kinds[DELAYED], 0.03)):
        assert abs(found / count - share) < 0.3 * share
