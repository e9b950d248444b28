"""The audience: as many records as asked for, the same from any number of processes, all valid, shaped as measured."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from loadgen.audience import Plan, make_plan, make_world
from loadgen.catalogue import popularity
from loadgen.draws import partitions_of
from loadgen.faults import KINDS, Faults, parse_faults
from loadgen.rows import PLAY_REQUEST
from loadgen.shard import Shard
from topologies.events import TYPES, decode_event

BASE_MS = 1_790_000_000_000
PARTITIONS = 8
BROKEN = parse_faults("duplicates=0.02,late=0.01,malformed=0.02,out-of-order=0.03")
EVERY_KIND = parse_faults(",".join(f"{kind}=0.03" for kind in KINDS))
Record = tuple[int, bytes, bytes | None]


def plan_of(records: int, span_s: int, live: bool = False, faults: Faults | None = None, seed: int = 5, vanish: float = 0.02) -> Plan:
    limits = (faults or Faults()).limits()
    world = make_world(
        seed=seed, span_ms=span_s * 1000, live=live, titles=18_214, regions=6, vanish=vanish, faults=limits, first_hour=0
    )  # fmt: skip
    return make_plan(world, records)


def records_of(plan: Plan, shards: list[set[int]], chunk_ms: int) -> dict[int, list[Record]]:
    """Every partition's records (arrival, key, value), made by these shards."""
    found: dict[int, list[Record]] = defaultdict(list)
    for mine in shards:
        for chunk in Shard(plan, "tag", 6, BASE_MS, PARTITIONS, frozenset(mine)).chunks(chunk_ms):
            for partition, arrival, key, value in zip(chunk.partitions, chunk.arrivals_ms.tolist(), chunk.keys, chunk.values, strict=True):
                found[partition].append((arrival, key, value))
    return found


def events_of(plan: Plan) -> list[dict[str, Any]]:
    made = []
    for records in records_of(plan, [set(range(PARTITIONS))], 60_000).values():
        for _, key, value in records:
            event = decode_event(value)
            assert event is not None
            assert event["account"].encode() == key
            made.append(event)
    return made


@pytest.mark.parametrize("records", [1, 2, 777, 20_000])
@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("faults", [Faults(), EVERY_KIND])
def test_a_plan_makes_exactly_the_records_asked_for(records: int, live: bool, faults: Faults) -> None:
    made = records_of(plan_of(records, 300, live, faults), [set(range(PARTITIONS))], 5_000)
    assert sum(map(len, made.values())) == records


@pytest.mark.parametrize("live", [True, False])
def test_any_number_of_processes_and_any_chunk_make_the_same_log(live: bool) -> None:
    plan = plan_of(30_000, 240, live, EVERY_KIND)
    alone = records_of(plan, [set(range(PARTITIONS))], 10_000)
    assert records_of(plan, [{0, 3}, {1, 2, 7}, {4, 5, 6}], 700) == alone
    assert records_of(plan, [{partition} for partition in range(PARTITIONS)], 240_000) == alone


def test_another_seed_is_another_audience() -> None:
    assert records_of(plan_of(500, 60), [{0}], 60_000) != records_of(plan_of(500, 60, seed=6), [{0}], 60_000)


@pytest.mark.parametrize("live", [True, False])
def test_a_partition_is_written_in_the_order_of_arrival_and_by_its_keys(live: bool) -> None:
    for partition, records in records_of(plan_of(30_000, 240, live, BROKEN), [{0, 1, 2, 3}, {4, 5, 6, 7}], 3_000).items():
        arrivals = [arrival for arrival, _, _ in records]
        assert arrivals == sorted(arrivals)
        assert set(partitions_of([key for _, key, _ in records], PARTITIONS).tolist()) == {partition}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_session_is_whole_and_its_increments_fit_its_time(seed: int) -> None:
    sessions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events_of(plan_of(60_000, 3600, seed=seed, vanish=0.0)):
        sessions[event["session"]].append(event)
    for events in sessions.values():
        assert [event["seq"] for event in events] == list(range(len(events)))
        assert events[0]["type"] == "play_request"
        assert len({(event["account"], event["profile"], event["title"], event["region"], event["device"]) for event in events}) == 1
        assert all(event["type"] not in ("finish", "stop") and not event["fatal"] for event in events[:-1])
        started = False
        for before, event in pairwise(events):
            assert event["ts"] > before["ts"]
            passed = (event["watched_ms"] or 0) + (event["stall_ms"] or 0)
            assert 0 <= passed <= (event["ts"] - before["ts"] if started else 0)
            assert event["ts"] - before["ts"] <= (10_000 if started else 62_000)
            started = started or event["type"] == "play_start"
        runtime = max((event["runtime_s"] or 0) for event in events)
        assert not runtime or all(event["position_s"] <= runtime for event in events)


def test_every_type_of_event_and_every_dimension_appears() -> None:
    events = events_of(plan_of(200_000, 3600))
    assert {event["type"] for event in events} == set(TYPES)
    assert len({event["region"] for event in events}) == 6
    assert {event["kind"] for event in events} == {None, "film", "episode", "live"}
    stalled = sum(event["stall_ms"] or 0 for event in events)
    watched = sum(event["watched_ms"] or 0 for event in events)
    assert 0.0005 < stalled / watched < 0.005


def test_who_vanishes_sends_no_stop() -> None:
    types = {event["type"] for event in events_of(plan_of(20_000, 3600, vanish=1.0))}
    assert not types & {"stop", "finish"}


def test_popularity_meets_the_measured_curve() -> None:
    share = popularity(18_214)
    assert np.allclose([share[0], share[17], share[181], share[1820], share[3642]], [0.0087, 0.074, 0.267, 0.711, 0.856], atol=0.002)
    weights = np.diff(share, prepend=0.0)
    assert (np.diff(weights) <= 1e-12).all()
    assert popularity(1).tolist() == [1.0]


def test_plays_follow_the_curve() -> None:
    chunks = Shard(plan_of(400_000, 3600), "tag", 6, BASE_MS, PARTITIONS, frozenset(range(PARTITIONS))).chunks(600_000)
    rows = np.concatenate([chunk.rows for chunk in chunks])
    played = rows["title"][rows["type"] == PLAY_REQUEST]
    assert abs((played < 1821).mean() - 0.711) < 0.03


def test_a_live_run_keeps_its_rate_from_the_first_second() -> None:
    plan = plan_of(60_000, 30, live=True)
    arrivals = [arrival - BASE_MS for records in records_of(plan, [set(range(PARTITIONS))], 1_000).values() for arrival, _, _ in records]
    by_second = np.bincount(np.array(arrivals) // 1000, minlength=30)[:30]
    assert by_second.min() > 0.9 * 2_000
    assert by_second.max() < 1.1 * 2_000
