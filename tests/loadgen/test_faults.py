"""Events broken on purpose: what `--faults` accepts, and that each is broken in exactly the way the ledger says."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from loadgen.audit_sequence import classes as admitted
from loadgen.breaking import HELD_MS
from loadgen.draws import partitions_of
from loadgen.faults import CLASSES, DEFAULT_RATES, KIND_AND_WAY, KINDS, Faults, mangle, misversion, parse_faults
from loadgen.rows import (
    AGAIN,
    AHEAD,
    BEHIND,
    BURST,
    DAYS,
    DELAYED,
    FAR,
    HOURS,
    LOST,
    MALFORMED,
    MINUTES,
    MOVED,
    NEAR,
    SKEWED,
    VERSION,
    WELL,
)  # fmt: skip
from loadgen.shard import Chunk, Shard
from tests.loadgen.test_audience import BASE_MS, PARTITIONS, plan_of
from tests.topologies.arrows import rows_of
from topologies.errors import UsageError
from topologies.events import FIELDS, TYPES, Malformed, decode_event

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


def test_another_version_is_dead_for_its_version() -> None:
    assert {reason_of(misversion(VALID, chance)[0]) for chance in range(6)} == {"version"}


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("", {}),
        ("malformed=0.5", {MALFORMED: 0.5}),
        ("late=0.3, malformed=0", {MINUTES: 0.1, HOURS: 0.1, DAYS: 0.1, MALFORMED: 0.0}),
        ("late:days=0.01,duplicates:batch", {DAYS: 0.01, AGAIN: 0.005}),
    ],
)
def test_faults_are_read(text: str, rates: dict[int, float]) -> None:
    found = parse_faults(text).rates
    assert found == pytest.approx(rates)


def test_all_is_every_kind_at_its_own_rate() -> None:
    assert parse_faults("all") == parse_faults(",".join(KINDS))
    found = parse_faults("all").rates
    for kind, rate in DEFAULT_RATES.items():
        assert sum(found[code] for code, (of, _) in KIND_AND_WAY.items() if of == kind) == pytest.approx(rate)


@pytest.mark.parametrize(
    "text",
    [
        *("duplicate", "late=often", "late=-1", "late=2", "late=0.6,malformed=0.6", "late:weeks", "skew:near", "late,late:days"),
        *("bursts=0.6,duplicates:batch=0.6", "skew=0.6,clocks-behind=0.6"),
    ],
)
def test_faults_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_faults(text)


EVERY = parse_faults(
    "duplicates=0.03,late=0.03,malformed=0.02,out-of-order=0.03,version=0.01,skew=0.05,clocks-behind=0.02,clocks-ahead=0.02,bursts=0.05,"
    "key-changes=0.1,lost-stops=0.2"
)
MINUTE_MS = 60_000


def made(live: bool, faults: Faults, encoding: str = "json", count: int = 60_000) -> list[Chunk]:
    plan = plan_of(count, 600, live, faults)
    return list(Shard(plan, "tag", 6, BASE_MS, PARTITIONS, frozenset(range(PARTITIONS)), encoding).chunks(60_000))


def lag_of(rows: Any, fault: int) -> Any:
    """From what those events say of their time to their arrival, of the first record of each."""
    picked = rows[(rows["fault"] == fault) & (rows["copy"] == 0)]
    assert len(picked)
    return picked["arrival"] - picked["ts"]


@pytest.mark.parametrize("live", [True, False])
def test_each_event_is_broken_in_its_way(live: bool) -> None:
    for chunk in made(live, EVERY):
        for i in range(len(chunk.rows)):
            expected = chunk.reasons.get(i, "valid")
            assert reason_of(chunk.values[i]) == ("valid" if expected in BY_STATE else expected)
    rows = np.concatenate([chunk.rows for chunk in made(live, EVERY)])
    for fault, least, most in ((MINUTES, 17, 48), (HOURS, 58, 24 * 60), (DAYS, 24 * 60 - 2, 31 * 24 * 60), (BEHIND, 19, 121)):
        lags = lag_of(rows, fault)
        assert least * MINUTE_MS <= lags.min()
        assert lags.max() <= most * MINUTE_MS
    assert lag_of(rows, AHEAD).max() < -50 * MINUTE_MS
    assert lag_of(rows, SKEWED).min() > -MINUTE_MS
    applied = rows[np.isin(rows["fault"], [WELL, DELAYED, BURST, SKEWED, MOVED]) & (rows["copy"] == 0)]
    assert (applied["arrival"] - applied["ts"]).max() < 2 * MINUTE_MS
    copies = rows[rows["copy"] == 1]
    assert set(copies["fault"].tolist()) == {NEAR, FAR, AGAIN}
    assert (copies["arrival"] - copies["ts"]).max() < 7 * MINUTE_MS


@pytest.mark.parametrize("live", [True, False])
def test_as_many_are_broken_as_asked(live: bool) -> None:
    asked = {NEAR: 0.01, FAR: 0.02, AGAIN: 0.03, MINUTES: 0.02, HOURS: 0.01, DAYS: 0.02, MALFORMED: 0.02, VERSION: 0.03, DELAYED: 0.05}
    chunks = made(live, Faults(asked | {LOST: 0.3, BURST: 0.04}))
    rows = np.concatenate([chunk.rows for chunk in chunks])
    events = rows[rows["copy"] == 0]
    kinds = Counter(events["fault"].tolist())
    assert int(rows["copy"].sum()) == kinds[NEAR] + kinds[FAR] + kinds[AGAIN]
    for fault, share in asked.items():
        assert abs(kinds[fault] / len(events) - share) < 0.3 * share
    assert abs(kinds[BURST] / len(events) - 0.04) < 0.3 * 0.04
    lost = np.concatenate([chunk.lost for chunk in chunks])
    ends = len(lost) + sum(TYPES[code] in ("stop", "finish") for code in events["type"].tolist())
    assert abs(len(lost) / ends - 0.3) < 0.1


def test_what_is_held_comes_at_once_and_in_its_order() -> None:
    rows = np.concatenate([chunk.rows for chunk in made(live=False, faults=Faults({BURST: 0.2}))])
    held = rows[rows["held"] == 1]
    windows: dict[tuple[int, ...], list[Any]] = defaultdict(list)
    for row in held:
        windows[int(row["lane"]), int(row["ordinal"]), int(row["ts"]) // HELD_MS].append(row)
    assert len(windows) > 100
    for events in windows.values():
        arrivals = [int(event["arrival"]) for event in events]
        assert max(arrivals) - min(arrivals) <= 300
        assert [int(event["ts"]) for event in events] == sorted(int(event["ts"]) for event in events)
    others = rows[(rows["held"] == 0)]
    assert (others["arrival"] - others["ts"] < 300).all()


def test_a_session_whose_key_changes_goes_on_in_another_partition() -> None:
    partitions: dict[int, set[int]] = defaultdict(set)
    keys: dict[int, set[bytes]] = defaultdict(set)
    for chunk in made(live=False, faults=Faults({MOVED: 0.3})):
        for row, key, partition in zip(chunk.rows, chunk.keys, chunk.partitions, strict=True):
            assert partitions_of([key], PARTITIONS).tolist() == [partition]
            partitions[int(row["lane"])].add(partition)
            keys[int(row["lane"])].add(key)
            assert key.startswith(b"tag-")
            assert key.endswith(b".moved") == bool(row["moved"]) == (row["fault"] == MOVED)
    moved = [lane for lane, found in keys.items() if len(found) == 2]
    assert 0.1 < len(moved) / len(keys) < 0.35
    assert sum(len(partitions[lane]) == 2 for lane in moved) > 0.6 * len(moved)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone_makes_what_its_class_says(kind: str) -> None:
    """Admission, recounted event by event from the rows, finds of every broken event the class that its kind is said to have."""
    plan = plan_of(20_000, 1800, False, parse_faults(f"{kind}=0.05"))
    classes: Counter[str] = Counter()
    expected: Counter[str] = Counter()
    for partition in range(3):
        chunks = Shard(plan, "tag", 6, BASE_MS, 3, frozenset([partition])).chunks(600_000)
        rows = np.concatenate([chunk.rows for chunk in chunks])
        readable = rows[(rows["fault"] != MALFORMED) & (rows["fault"] != VERSION)]
        records = [
            (int(row["arrival"]) + BASE_MS, int(row["ts"]) + BASE_MS, int(row["lane"]) << 32 | int(row["ordinal"]), int(row["seq"]))
            for row in readable
        ]
        for row, found in zip(readable, admitted(records), strict=True):
            first = row["fault"] in (NEAR, FAR, AGAIN) and not row["copy"]
            wanted = "applied" if row["fault"] == WELL or first else CLASSES.get(KIND_AND_WAY[int(row["fault"])][0], "applied")
            assert found == wanted
            classes[found] += 1
        expected.update(KIND_AND_WAY[fault][0] for fault in rows["fault"].tolist() if fault != WELL)
    assert classes["applied"] > 10_000
    assert set(expected) == ({kind} if kind != "lost-stops" else set())


def test_every_fault_stands_in_arrow_as_in_json() -> None:
    """The same events of the same partitions are broken; mangled ones each as their format can be."""
    formats = {encoding: made(live=True, faults=EVERY, encoding=encoding, count=20_000) for encoding in ("json", "arrow")}
    counts = {encoding: Counter(int(fault) for chunk in chunks for fault in chunk.rows["fault"]) for encoding, chunks in formats.items()}
    assert counts["json"] == counts["arrow"]
    assert set(counts["json"]) == set(range(LOST))
    for chunk in formats["arrow"]:
        rows, _ = rows_of(chunk.values, arrow=[1] * len(chunk.values))
        assert rows.reasons == {row: reason for row, reason in chunk.reasons.items() if reason not in BY_STATE}
