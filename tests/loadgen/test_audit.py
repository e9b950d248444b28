"""The audit on real servers: a small log, stores filled by the walk, and then one thing after the other made wrong."""

from __future__ import annotations

import asyncio
import json
import random
import struct
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import redis
from cassandra.cluster import Session
from confluent_kafka.admin import AdminClient, NewTopic

from cluster.local import LocalCluster
from cluster.process import wait_until
from connectors.cassandra import close, connect
from connectors.cassandra_schema import ensure_schema
from connectors.cassandra_store import CellStore
from connectors.kafka import ensure_topic
from connectors.redis import RedisKeys
from connectors.redis_cache import CellCache, FlushOutcome
from loadgen import audit_sequence
from loadgen.audit import audit
from loadgen.audit_log import copy_log, log_ends
from loadgen.audit_report import AuditResult
from loadgen.audit_strict import TYPES
from loadgen.ledger import FAULT_SCHEMA, PartitionSpan, Run, create_run
from tests.conftest import dropped
from tests.loadgen.audit_tables import WALKED
from tests.loadgen.audit_walk import T0, Cell, Record, walked
from tests.topologies.packed import encode_pack
from topologies.errors import ServerAway, UsageError
from topologies.flushes import CellBatch, Pack
from topologies.packs import PackedCell, bucket_of
from topologies.settings import Settings
from topologies.sources import Source, SourceStatus
from topologies.texts import Texts
from topologies.view import KEY_SEPARATOR, parts_of
from topologies.views import VIEWS

AUDITED = tuple(view for view in WALKED if view.name in VIEWS)
PARTS = {part.name: part for part in parts_of(AUDITED)}
MALFORMED = (b"{", b'{"v":1,"type":"tick"', b"\xff\x00", None)
LENGTH = 300 + len(MALFORMED)
STORES = ("redis", "cassandra")
Cells = dict[Cell, list[int]]


def log_of(seed: int, length: int, start_ms: int) -> list[Record]:
    """A log of a few sessions with every type, late, skewed and repeated events, silences and ticks."""
    chosen, now, records = random.Random(seed), start_ms, []
    for _ in range(length):
        now += chosen.choice([0, 500, 1_000, 5_000, 10_000, 29_000]) if chosen.random() < 0.98 else 1_500_000
        ts = None if chosen.random() < 0.05 else now + chosen.choice([0, -500, -1_000, 30_000, -61_000, -1_200_000, 70_000])
        title, region, device = chosen.choice(["tt1", "tt2", "tt ü"]), chosen.choice(["eu", "us"]), chosen.choice(["tv", "phone"])
        watched_ms, stall_ms = chosen.choice([None, 0, 9_000]), chosen.choice([None, 0, 400])
        sid, seq, name = 8 * seed + chosen.randrange(8), chosen.randrange(40), chosen.choice(TYPES)
        cdn, app, startup_ms = chosen.choice([None, "c1", "c2"]), chosen.choice([None, "a ü"]), chosen.choice([None, 40, 640, 90_001])
        position_s, runtime_s, bitrate_kbps = chosen.choice([None, 9, 18]), chosen.choice([None, 18]), chosen.choice([None, 4_000])
        records.append(
            Record(
                now, ts, sid, seq, name, title, region, device, watched_ms, stall_ms, chosen.choice([None, True]),
                cdn, app, startup_ms, bitrate_kbps, 1, position_s, runtime_s,
            )
        )  # fmt: skip
    return records


def value_of(record: Record) -> bytes:
    if record.ts is None:
        return b'{"v":1,"type":"tick"}'
    event = {name: value for name, value in asdict(record).items() if name not in ("rts", "sid")}
    return json.dumps({"v": 1, "session": f"s{record.sid}", "account": f"T-{record.sid}", "profile": "p", **event}).encode()


@dataclass
class Place:
    """A topic with two partitions, what is in them, and stores to fill."""

    settings: Settings
    topic: str
    logs: dict[Source, list[Record]]

    def serve(self, redis_offset: int, cassandra_offset: int) -> None:
        """Fill the stores as right workers would that have come so far."""
        for source, records in self.logs.items():
            self.cache(*status_of(source, records, redis_offset))
            self.store(*status_of(source, records, cassandra_offset))

    def cache(self, status: SourceStatus, cells: Cells) -> None:
        async def flush() -> FlushOutcome:
            cache = CellCache(self.settings.redis, tuple(PARTS.values()))
            try:
                return await cache.flush(status, batches(cells), last_applied=None, worker="w", at_ms=time.time_ns() // 1_000_000)
            finally:
                await cache.close()

        assert asyncio.run(flush()) is FlushOutcome.WRITTEN

    def store(self, status: SourceStatus, cells: Cells, emptied: Cells | None = None) -> None:
        async def write(store: CellStore) -> None:
            if emptied:
                await store.write_packs(status.source, status.offset, [replace(pack, blob=encode_pack([])) for pack in packs(emptied)])
            await store.write_packs(status.source, status.offset, packs(cells))
            await store.write_status(status)

        session = connect(self.settings.cassandra)
        try:
            asyncio.run(write(CellStore(session, self.settings.cassandra, tuple(PARTS.values()))))
        finally:
            close(session)

    def audit(self, run: str | None = None) -> AuditResult:
        return audit(self.settings, run, lambda _: None)


@pytest.fixture
def place(settings: Settings) -> Place:
    """A log, and stores that serve what it says."""
    return filled(settings)


@pytest.fixture(scope="module")
def right(cluster: LocalCluster, keyspaces: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The same for tests that change nothing in it. It is made anew where a process comes back to these tests after others."""
    given, mark = cluster.settings, f"audited_{uuid.uuid4().hex[:12]}"
    kafka = replace(given.kafka, topics=(mark,), backfill_prefix=f"{mark}.backfill.")
    local = replace(given.local, directory=str(tmp_path_factory.mktemp("var")))
    cached, stored = replace(given.redis, prefix=f"{mark}:"), replace(given.cassandra, keyspace=mark)
    yield filled(replace(given, kafka=kafka, local=local, redis=cached, cassandra=stored))
    assert wait_until(lambda: dropped(keyspaces, mark), 300)


def filled(settings: Settings, redis_offset: int = LENGTH, cassandra_offset: int = LENGTH) -> Place:
    settings = replace(settings, worker=replace(settings.worker, views=tuple(view.name for view in AUDITED)))
    topic = settings.kafka.topics[0]
    made_topic(settings, topic)
    start_ms = (time.time_ns() // 1_000_000 // 3_600_000 - 12) * 3_600_000  # recent: Redis keeps windows by the wall clock
    place = Place(settings, topic, {})
    for end in log_ends(settings, [topic]):
        place.logs[end.source] = records = log_of(end.source.partition, 300, start_ms)
        sent = [(value_of(record), b"" if record.ts is None else f"T-{record.sid}".encode(), record.rts) for record in records]
        produce(place, end.source, sent + [(value, b"T-0", start_ms + 10**9) for value in MALFORMED])
    session = connect(settings.cassandra)
    ensure_schema(session, settings.cassandra, tuple(PARTS.values()))
    close(session)
    place.serve(redis_offset, cassandra_offset)
    return place


def made_topic(settings: Settings, topic: str) -> None:
    """A topic of two partitions that takes records of any time."""
    config = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": str(2**62)}
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap, "log_level": 0})
    admin.create_topics([NewTopic(topic, 2, 1, config=config)])[topic].result()
    ensure_topic(settings, topic, live=False, partitions=2)


def produce(place: Place, source: Source, records: list[tuple[bytes | None, bytes, int]]) -> None:
    """Append these records: value, key, timestamp."""
    failed: list[ck.KafkaError] = []

    def delivered(error: ck.KafkaError | None, _: object) -> None:
        if error is not None:
            failed.append(error)

    producer = ck.Producer({"bootstrap.servers": place.settings.kafka.bootstrap, "acks": "all", "log_level": 0})
    for value, key, rts in records:
        producer.produce(place.topic, value, key, source.partition, delivered, timestamp=rts)
    assert producer.flush(120) == 0
    assert not failed


def status_of(source: Source, records: list[Record], offset: int) -> tuple[SourceStatus, Cells]:
    """What a right worker would say and serve at this offset; the malformed records stand at the end of the log."""
    walk = walked(records, min(offset, len(records)))
    walk.classes["dead"] += max(0, offset - len(records))
    counts = [walk.classes[name] for name in ("applied", "duplicate", "late", "dead")]
    watermark = max(walk.max_ts, walk.clock - 60_000)
    cells = {cell: values for cell, values in walk.answer().items() if cell[0] in PARTS}
    return SourceStatus(source, offset, walk.clock, watermark, sum(counts), *counts), cells


def batches(cells: Cells) -> list[CellBatch]:
    found: dict[Any, dict[str, list[int]]] = {}
    for (name, window, start_ms, grouping, key), values in cells.items():
        found.setdefault((name, window, start_ms, grouping), {})[key] = values
    return [
        CellBatch(
            PARTS[name],
            PARTS[name].window(window),
            start_ms,
            grouping,
            Texts.of([key.encode() for key in rows]),
            np.array(list(rows.values()), dtype=np.int64),
        )
        for (name, window, start_ms, grouping), rows in found.items()
    ]


def packs(cells: Cells) -> list[Pack]:
    found: dict[Any, list[PackedCell]] = {}
    for (name, window, start_ms, grouping, joined), values in cells.items():
        key = tuple(joined.split(KEY_SEPARATOR)) if joined else ()
        place = (name, window, PARTS[name].window(window).pack_of(start_ms), bucket_of(key))
        found.setdefault(place, []).append(PackedCell(start_ms, grouping, key, tuple(values)))
    return [
        Pack(PARTS[name], PARTS[name].window(window), pack_ms, bucket, encode_pack(rows))
        for (name, window, pack_ms, bucket), rows in found.items()
    ]


def test_stores_that_serve_what_the_log_says_are_exact(right: Place) -> None:
    result = right.audit()
    assert result.differences == ()
    assert result.exact
    assert result.complete
    assert result.received == result.applied + result.duplicate + result.late + result.dead
    assert result.dead_reasons["not_json"] == 4
    assert result.dead_reasons["empty"] == 2
    assert min(result.applied, result.duplicate, result.late, result.dead) > 0
    document = json.loads(json.dumps(result.document()))
    assert set(document) >= {*("generated", "received", "applied", "duplicate", "late", "dead", "crossed", "unaccounted", "views", "exact")}
    assert set(document["views"]) == {*(view.name for view in AUDITED), "accounting"}
    assert document["views"]["concurrents"].keys() >= {"cells", "wrong", "empty"}
    assert not any(view["empty"] or not view["independent"] for view in document["views"].values())
    error = document["errors"]["quality.startup"]
    assert 0 < error["measured"] <= error["stated"] == 1 / 64
    assert document["finals"]["missing"] == document["finals"]["spans"] > 0  # no worker has been here


def test_each_store_is_recounted_to_its_own_offset_and_a_wrong_cell_is_named(settings: Settings) -> None:
    place = filled(settings)
    source, records = next(iter(place.logs.items()))
    status, cells = status_of(source, records, LENGTH)
    changed = next(cell for cell in cells if cell[0] == "concurrents" and cell[1] == "minute" and cell[3] == 1)
    added = ("concurrents", "minute", changed[2], 1, "nowhere")
    gone = next(cell for cell in cells if cell[:2] == ("watch_time", "hour"))
    lost = next(cell for cell in cells if cell[0] == "quality.startup")
    wrong = {cell: values for cell, values in cells.items() if cell not in (gone, lost)} | {changed: [cells[changed][0] + 1], added: [1]}
    produce(place, source, [(b'{"v":1,"type":"tick"}', b"", T0)])  # moves nothing: an offset more, for the next version
    place.store(replace(status, offset=LENGTH + 1), wrong, emptied=cells)
    result = place.audit()
    found = {(d.view, d.window, d.start_ms, d.grouping, d.key): (d.store, d.expected, d.served) for d in result.differences}
    assert found == {
        changed: ("cassandra", tuple(cells[changed]), (cells[changed][0] + 1,)),
        added: ("cassandra", None, (1,)),
        gone: ("cassandra", tuple(cells[gone]), None),
        lost: ("cassandra", tuple(cells[lost]), None),
    }
    assert {name: view.wrong for name, view in result.views.items() if view.wrong} == {"concurrents": 2, "watch_time": 1, "quality": 1}
    origins = {d.key: {origin.what: origin for origin in d.origins} for d in result.differences}
    assert origins[changed[4]]["applied"].events == cells[changed][0]
    assert {origin.partition for each in origins.values() for origin in each.values()} == {source.partition}
    assert not origins["nowhere"]  # no event is of it
    assert not result.exact
    assert result.complete  # Redis lacks a tick only


def test_a_worker_that_counts_a_duplicate_is_found_at_its_offset(place: Place) -> None:
    source, records = next(iter(place.logs.items()))
    status, cells = status_of(source, records, LENGTH)
    classes = audit_sequence.classes((r.rts, r.ts, r.sid, None if r.ts is None else r.seq) for r in records)
    at = next(offset for offset, name in enumerate(classes) if name == "duplicate" and records[offset].watched_ms)
    twice, ts = records[at], records[at].ts
    assert ts is not None
    key = f"{twice.title}\x1f{twice.region}"
    of = [("watch_time", name, ts - ts % length, 0, key) for name, length in (("hour", 3_600_000), ("day", 86_400_000))]
    wrong = cells | {cell: [cells[cell][0] + (twice.watched_ms or 0), *cells[cell][1:]] for cell in of}
    produce(place, source, [(b'{"v":1,"type":"tick"}', b"", T0)])
    place.cache(replace(status, offset=LENGTH + 1), wrong)
    place.store(replace(status, offset=LENGTH + 1), wrong)
    result = place.audit()
    assert {(d.store, d.window, d.key) for d in result.differences} == {(store, cell[1], key) for cell in of for store in STORES}
    for difference in result.differences:
        assert difference.served == tuple(wrong[difference.view, difference.window, difference.start_ms, 0, key])
        origins = {origin.what: origin for origin in difference.origins}
        assert any(first <= at <= last for first, last in origins["duplicate"].offsets)
        counted = [offset for first, last in origins["applied"].offsets for offset in range(first, last + 1)]
        assert sum(records[offset].watched_ms or 0 for offset in counted) == (difference.expected or ())[0]
    told = json.loads(json.dumps(result.document()))["differences"][0]["origins"][0]
    assert told.keys() == {"source", "topic", "partition", "what", "events", "offsets", "sample"}


def test_wrong_cells_totals_ranks_and_statuses_in_redis_are_found(place: Place) -> None:
    client = redis.Redis.from_url(place.settings.redis.url)
    keys = RedisKeys(place.settings.redis.prefix)
    source, records = next(iter(place.logs.items()))
    status, cells = status_of(source, records, LENGTH)
    hour = max(start for name, window, start, _, _ in cells if (name, window) == ("watch_time", "hour"))
    stem = keys.stem(PARTS["watch_time"], "hour", hour, 0)
    client.hset(keys.cells(stem, str(source)), "tt9\x1feu", struct.pack("<3q", 1, 0, 0))
    client.hset(keys.totals(stem), "tt8\x1feu", struct.pack("<3q", 0, 1, 0))
    client.zadd(str(keys.board(stem, PARTS["watch_time"])), {"tt7\x1feu": -5})
    client.hset(keys.status(str(source)), "late", status.late + 1)
    result = place.audit()
    found = {(d.store, d.key, d.expected, d.served) for d in result.differences if d.view == "watch_time"}
    assert found == {
        ("redis", "tt9\x1feu", None, (1, 0, 0)),
        ("redis totals", "tt9\x1feu", (1, 0, 0), None),
        ("redis totals", "tt8\x1feu", None, (0, 1, 0)),
        ("redis leaderboard", "tt7\x1feu", None, (5,)),
    }
    assert result.views["accounting"].wrong == 1
    late = next(d for d in result.differences if d.view == "accounting")
    assert [(origin.what, origin.events) for origin in late.origins] == [("late", status.late)]
    assert not result.exact


def test_a_cell_that_redis_lost_is_missed_only_while_its_window_can_change(place: Place) -> None:
    client = redis.Redis.from_url(place.settings.redis.url)
    keys = RedisKeys(place.settings.redis.prefix)
    source, records = next(iter(place.logs.items()))
    status, cells = status_of(source, records, LENGTH)
    hours = sorted({start for name, window, start, _, _ in cells if (name, window) == ("watch_time", "hour")})
    assert hours[0] + 3_600_000 + 900_000 <= status.watermark_ms
    for hour in (hours[0], hours[-1]):
        stem = keys.stem(PARTS["watch_time"], "hour", hour, 0)
        client.delete(keys.cells(stem, str(source)))
    result = place.audit()
    assert {d.start_ms for d in result.differences if d.store == "redis"} == {hours[-1]}

    for key in client.scan_iter(f"{place.settings.redis.prefix}*"):
        client.delete(key)
    result = place.audit()
    assert result.views["accounting"].wrong == 2  # a source that Cassandra knows and Redis does not
    assert not result.exact
    assert not result.complete


def test_an_audit_while_workers_are_behind_is_exact_but_not_complete(settings: Settings) -> None:
    place = filled(settings, 120, 77)
    run = run_of(place, place.audit(), state="running", acknowledged=10**6)
    write_ledger(place, run)
    result = place.audit(run.name)
    assert result.differences == ()
    assert result.exact
    assert not result.complete
    assert {source.waiting > 0 for source in result.sources} == {True}
    assert result.ledger.startswith("not compared")
    assert result.unaccounted == 0


def test_a_run_that_failed_has_no_whole_ledger_to_compare(settings: Settings) -> None:
    place = filled(settings)
    run = run_of(place, place.audit(), state="failed", generated=10**6, faults={}, malformed={})
    write_ledger(place, run)
    result = place.audit(run.name)
    assert result.ledger.startswith("not compared: the run failed")
    assert result.differences == ()
    assert not result.proven


def run_of(place: Place, result: AuditResult, **changes: Any) -> Run:
    """The ledger of a run that is all of this log but the ticks."""
    name = f"run-{uuid.uuid4().hex[:8]}"
    source = next(iter(place.logs))
    faults = {"duplicates": result.duplicate, "late": result.late, "malformed": result.dead}
    run = Run(
        name=name,
        path=Path(place.settings.local.directory) / "runs" / name,
        tag="T",
        kind="load",
        state="finished",
        live=False,
        topic=place.topic,
        topic_id=source.topic_id,
        seed=1,
        options={},
        started_ms=0,
        ended_ms=1,
        span_start_ms=0,
        span_end_ms=1,
        partitions=tuple(PartitionSpan(each.partition, 0, LENGTH - 1) for each in place.logs),
        generated=result.received,
        acknowledged=result.received,
        faults=faults,
        malformed=dict(result.dead_reasons),
    )
    return replace(run, **changes)


def write_ledger(place: Place, run: Run) -> None:
    """run.json, sent.parquet and faults.parquet, these from the walk; of late events those whose numbers no other event has."""
    create_run(run)
    sent: dict[str, list[int]] = {}
    numbers = Counter((record.sid, record.seq) for records in place.logs.values() for record in records)
    late: list[tuple[str, str, str, str, int, int]] = []
    for records in place.logs.values():
        classes = audit_sequence.classes((r.rts, r.ts, r.sid, None if r.ts is None else r.seq) for r in records)
        for record, name in zip(records, classes, strict=True):
            if name == "applied":
                tally = sent.setdefault(f"s{record.sid}", [0, 0])
                tally[0] += 1
                tally[1] += record.watched_ms or 0
            elif name == "late" and numbers[record.sid, record.seq] == 1:
                late.append(("late", "minutes", f"T-{record.sid}", f"s{record.sid}", record.seq, 1))
    rows = [(f"T-{name[1:]}", name, *tally) for name, tally in sent.items()]
    pl.DataFrame(rows, schema=["account", "session", "events", "watched_ms"], orient="row").write_parquet(run.sent)
    pl.DataFrame(late, schema=FAULT_SCHEMA, orient="row").write_parquet(run.broken)


def test_a_run_is_compared_with_its_ledger(right: Place) -> None:
    whole = right.audit()
    good = run_of(right, whole)
    write_ledger(right, good)
    result = right.audit(good.name)
    assert (result.ledger, result.exact, result.differences) == ("equal", True, ())
    assert (result.generated, result.received, result.unaccounted) == (whole.received, whole.received, 0)

    other = run_of(right, whole, faults={**good.faults, "late": whole.late + 1})
    write_ledger(right, other)
    result = right.audit(other.name)
    assert (result.ledger, result.exact) == ("different", False)
    assert {(d.key, d.expected, d.served) for d in result.differences} >= {("late", (whole.late + 1,), (whole.late,))}


def test_a_fault_that_did_not_what_it_should_is_told(right: Place) -> None:
    run = run_of(right, right.audit())
    write_ledger(right, run)
    late = pl.read_parquet(run.broken)
    assert len(late)
    applied = pl.read_parquet(run.sent).select("account", "session").row(0)
    late.extend(pl.DataFrame([("late", "days", *applied, 0, 1)], schema=FAULT_SCHEMA, orient="row")).write_parquet(run.broken)
    result = right.audit(run.name)
    assert result.faults == {"late": (len(late), len(late) - 1)}
    assert [(d.key, d.expected, d.served) for d in result.differences] == [("fault: late", (len(late),), (len(late) - 1,))]
    assert not result.exact


def test_a_session_that_lost_an_event_is_named(right: Place) -> None:
    run = run_of(right, right.audit())
    write_ledger(right, run)
    sent = pl.read_parquet(run.sent)
    sent.with_columns(events=pl.when(pl.col("session") == "s3").then(pl.col("events") + 1).otherwise(pl.col("events"))).write_parquet(
        run.sent
    )
    result = right.audit(run.name)
    assert [d.key for d in result.differences] == ["T-3/s3"]
    [stretch] = result.differences[0].origins
    source = next(source for source in right.logs if source.partition == stretch.partition)
    [(first, last)] = stretch.offsets
    assert (right.logs[source][first].sid, right.logs[source][last].sid) == (3, 3)
    assert not result.exact


def test_what_was_acknowledged_but_is_not_in_the_log_is_unaccounted(right: Place) -> None:
    whole = right.audit()
    run = run_of(right, whole, acknowledged=whole.received + 3, generated=whole.received + 3)
    write_ledger(right, run)
    result = right.audit(run.name)
    assert result.unaccounted == 3
    assert not result.exact


def test_a_run_that_does_not_exist_is_a_usage_error(bare_settings: Settings) -> None:
    with pytest.raises(UsageError, match="nobody"):
        audit(bare_settings, "nobody", lambda _: None)


def test_a_broker_that_is_away_is_said_so(bare_settings: Settings) -> None:
    away = replace(bare_settings, kafka=replace(bare_settings.kafka, bootstrap="127.0.0.1:1", request_timeout_s=2.0))
    with pytest.raises(ServerAway, match=r"127\.0\.0\.1:1"):
        log_ends(away, ["viewing-events"])


def test_the_log_is_copied_with_its_gaps_and_without_what_was_aborted(settings: Settings, tmp_path: Path) -> None:
    topic = settings.kafka.topics[0]
    made_topic(settings, topic)
    producer = ck.Producer({"bootstrap.servers": settings.kafka.bootstrap, "transactional.id": topic, "log_level": 0})
    producer.init_transactions(120)
    for number, commit in enumerate([True, False, True]):
        producer.begin_transaction()
        for _ in range(3):
            producer.produce(topic, str(number).encode(), None, 0, timestamp=T0 + number)
        assert producer.flush(30) == 0  # else an abort only forgets what was never sent
        producer.commit_transaction(120) if commit else producer.abort_transaction(120)
    ends = log_ends(settings, [topic, "a-topic-that-is-not-there"])
    assert [(end.source.partition, end.first, end.end) for end in ends] == [(0, 0, 12), (1, 0, 0)]
    files = dict(copy_log(settings, {end.source: end.end for end in ends}, tmp_path, lambda _: None))
    rows = [pq.read_table(copied.json).to_pylist() for copied in files.values()]
    assert [(row["offset"], row["record_ts"] - T0, row["key"], row["value"]) for row in rows[0]] == [
        *((offset, 0, None, b"0") for offset in (0, 1, 2)),
        *((offset, 2, None, b"2") for offset in (8, 9, 10)),
    ]
    assert rows[1] == []
    part = dict(copy_log(settings, {ends[0].source: 9}, tmp_path, lambda _: None))
    assert pq.read_table(part[ends[0].source].json).num_rows == 4
