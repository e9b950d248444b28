"""A run in Arrow is the run in JSON: the same events in the same partitions, broken in ways that have the reasons that it says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from loadgen.audience import Plan, make_plan, make_world
from loadgen.batches import LINGER_MS, MOST_ROWS
from loadgen.faults import parse_faults
from loadgen.shard import LIVE_CHUNK_MS, Chunk, Shard, chunk_ms_of
from tests.topologies.arrows import rows_of
from topologies.events import FIELDS, decode_event

T0 = 1_760_000_000_000


def plan_of(faults: str, *, live: bool, records: int = 20_000) -> Plan:
    limits = parse_faults(faults).limits()
    world = make_world(seed=4, span_ms=300_000, live=live, titles=500, regions=6, vanish=0.02, faults=limits, first_hour=0)
    return make_plan(world, records)


def chunks(plan: Plan, encoding: str) -> list[Chunk]:
    return list(Shard(plan, "tag", 6, T0, 3, frozenset(range(3)), encoding).chunks(100_000))


def events_of(value: bytes) -> list[dict[str, Any]]:
    """A record's rows, a measure that is nothing as null: as JSON leaves it out."""
    rows = pa.ipc.open_stream(value).read_all().to_pylist()
    zeros = ("watched_ms", "stall_ms", "stalls", "dropped_frames", "fatal")
    return [{name: None if name in zeros and not found else found for name, found in row.items()} for row in rows]


def test_a_run_in_arrow_is_the_run_in_json() -> None:
    plan = plan_of("duplicates,out-of-order", live=False)
    arrow: dict[int, list[dict[str, Any]]] = {}
    plain: dict[int, list[dict[str, Any]]] = {}
    for chunk in chunks(plan, "arrow"):
        for value, partition in zip(chunk.values, chunk.partitions, strict=True):
            arrow.setdefault(partition, []).extend(events_of(value or b""))
    for chunk in chunks(plan, "json"):
        for value, partition in zip(chunk.values, chunk.partitions, strict=True):
            event = decode_event(value)
            assert event is not None
            plain.setdefault(partition, []).append(event)
    always = {"kind", "country", "asn", "os"}  # in JSON with a session's first and last events only
    names = [field.name for field in FIELDS if field.name not in always]
    nothing = {"watched_ms": 0, "fatal": False}
    assert sorted(arrow) == sorted(plain)
    for partition, events in plain.items():
        expected = [{name: event[name] if event[name] != nothing.get(name) else None for name in names} for event in events]
        assert [{name: event[name] for name in names} for event in arrow[partition]] == expected


@pytest.mark.parametrize(("live", "chunk_ms"), [(True, LIVE_CHUNK_MS), (False, 20), (False, 3_000), (False, 20_000), (False, 740_000)])
@pytest.mark.parametrize("faults", ["duplicates,late,malformed,out-of-order", "all"])
def test_any_number_of_processes_make_the_same_records(live: bool, chunk_ms: int, faults: str) -> None:
    plan = plan_of(faults, live=live, records=6_000)

    def made(shards: list[set[int]]) -> dict[int, list[tuple[int, bytes, bytes | None]]]:
        found: dict[int, list[tuple[int, bytes, bytes | None]]] = {}
        for mine in shards:
            for chunk in Shard(plan, "tag", 6, T0, 3, frozenset(mine), "arrow").chunks(chunk_ms):
                records = zip(chunk.partitions.tolist(), chunk.arrivals_ms.tolist(), chunk.keys, chunk.values, strict=True)
                for partition, arrival, key, value in records:
                    found.setdefault(partition, []).append((arrival, key, value))
        return found

    assert made([{0, 1, 2}]) == made([{2}, {0, 1}]) == made([{0}, {1}, {2}])


def test_a_record_holds_what_arrives_within_a_linger_at_the_time_of_its_last() -> None:
    for live in (True, False):
        for chunk in chunks(plan_of("duplicates,late,malformed,out-of-order", live=live), "arrow"):
            arrivals = chunk.rows["arrival"] + T0
            assert chunk.bounds[0] == 0
            assert chunk.bounds[-1] == len(chunk.rows)
            firsts, lasts = arrivals[chunk.bounds[:-1]], arrivals[chunk.bounds[1:] - 1]
            assert (lasts - firsts <= LINGER_MS).all()
            assert (np.diff(chunk.bounds) <= MOST_ROWS).all()
            assert chunk.arrivals_ms.tolist() == lasts.tolist()
            if live:
                assert (np.diff(lasts) >= 0).all()


@pytest.mark.parametrize(
    ("records", "chunk_ms"), [(100_000, 2_060_000), (3_000_000, 60_000), (10_000_000, 20_000), (100_000_000, 2_064), (10**11, 20)]
)
def test_a_backfills_chunk_is_of_whole_lingers_or_less_than_one(records: int, chunk_ms: int) -> None:
    assert chunk_ms_of(records, 3_600_000, live=False, partitions=8) == chunk_ms


def test_no_record_of_a_backfill_holds_what_a_linger_has_left_over() -> None:
    plan = plan_of("", live=False, records=60_000)
    made = list(Shard(plan, "tag", 6, T0, 3, frozenset({1}), "arrow").chunks(2 * LINGER_MS))
    sizes = np.concatenate([np.diff(chunk.bounds) for chunk in made[1:-1]])
    assert 10 <= len(sizes) <= 2 * len(made)
    assert sizes.min() > sizes.max() / 2


def test_broken_events_have_the_reasons_that_the_ledger_will_say() -> None:
    seen: Counter[str] = Counter()
    for chunk in chunks(plan_of("malformed=0.2", live=True, records=6_000), "arrow"):
        rows, _ = rows_of(chunk.values, arrow=[1] * len(chunk.values))
        assert len(rows.kinds) == len(chunk.rows)
        stateless = {row: reason for row, reason in chunk.reasons.items() if reason not in ("ahead", "seq_jump")}
        assert rows.reasons == stateless
        seen.update(reason.split(":")[0] for reason in chunk.reasons.values())
    whole, rowwise = {"empty", "too_big", "not_arrow"}, {"version", "type", "missing", "wrong_type", "out_of_range", "ahead", "seq_jump"}
    assert set(seen) == whole | rowwise
