"""Two implementations that share nothing but the text: the auditor's recount in SQL and the workers' fold, over the same bytes."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import audit_admission, audit_sql, audit_views
from loadgen.audit_log import SCHEMA
from loadgen.audit_strict import TYPES
from tests.loadgen.audit_walk import T0, Cell, Record
from tests.loadgen.own_views import OWN, OWN_SESSIONS
from topologies.compiled import PADDING
from topologies.fold import PartitionState, RecordBlock
from topologies.sketch_packs import decode_cells
from topologies.sources import Source
from topologies.view import KEY_SEPARATOR, View, parts_of
from topologies.views import VIEWS

PARTS = parts_of((*VIEWS.values(), OWN, OWN_SESSIONS))
Log = list[tuple[int, int, bytes | None]]  # offset, timestamp, value


def value_of(record: Record) -> bytes:
    if record.ts is None:
        return b'{"v":1,"type":"tick"}'
    event = {name: value for name, value in asdict(record).items() if name not in ("rts", "sid")}
    return json.dumps({"v": 1, "session": f"s{record.sid}", "account": f"a{record.sid}", "profile": "p", **event}).encode()


def random_log(seed: int, length: int) -> Log:
    """A log with all that can happen to it: late, early, repeated and malformed events, silences, ticks, gaps between offsets."""
    chosen = random.Random(seed)
    pace = chosen.choice([100, 2_000, 10_000])
    now, offset, log = T0 + chosen.choice([0, 1, 59_999]), 0, []
    recent: list[bytes] = []
    for _ in range(length):
        now += chosen.choice([0, 0, pace, pace, 3 * pace, -pace]) if chosen.random() < 0.99 else chosen.choice([31_000, 200_000, 1_700_000])
        offset += 1 if chosen.random() < 0.99 else 3
        skew = (
            0
            if chosen.random() < 0.6
            else chosen.choice([-1_000, 30_000, 60_000, 60_001, -60_000, -60_001, -880_000, -900_001, -1_200_000])
        )
        ts = None if chosen.random() < 0.03 else now + skew
        seq = chosen.randrange(80) if chosen.random() < 0.98 else chosen.choice([10_050, 20_000, 2**31 - 1])
        watched_ms, stall_ms = chosen.choice([None, 0, 9_000]), chosen.choice([None, 0, 400])
        title, region, device = chosen.choice(["tt1", "tt2", "tt ü", "x"]), chosen.choice(["eu", "us"]), chosen.choice(["tv", "phone"])
        name, fatal = chosen.choice(TYPES), chosen.choice([None, False, True])
        record = Record(
            now, ts, chosen.randrange(12), seq, name, title, region, device, watched_ms, stall_ms, fatal,
            cdn=chosen.choice([None, "c1", "c2"]), app=chosen.choice([None, "a"]), bitrate_kbps=chosen.choice([None, 800, 10_000_000]),
            startup_ms=chosen.choice([None, 0, 63, 64, 999, 86_400_000]), stalls=chosen.choice([None, 1]),
            position_s=chosen.choice([None, 0, 9, 18, 27, 30]), runtime_s=chosen.choice([None, 30, 31]),
            kind=chosen.choice([None, "film", "live"]), dropped_frames=chosen.choice([None, 0, 7]),
        )  # fmt: skip
        value: bytes | None = value_of(record)
        luck = chosen.random()
        if luck < 0.05 and recent:
            value = chosen.choice(recent)
        elif luck < 0.07:
            value = chosen.choice([None, b"", b"{", b"[]", b"\xff", b'{"v":1}', value_of(record).replace(b'"seq": ', b'"seq": 1.')])
        elif ts is not None:
            recent.append(value_of(record))
        log.append((offset, now, value))
    return log


def folded(log: Log, blocks: int, parts: tuple[View, ...] = PARTS) -> PartitionState:
    """The workers' state after this log, taken in so many blocks."""
    state = PartitionState(Source("local", "t", "AAAAAAAAAAAAAAAAAAAAAA", 0), parts)
    cuts = sorted({0, len(log), *(len(log) * cut // blocks for cut in range(blocks))})
    for first, end in pairwise(cuts):
        state.apply(block_of(log[first:end], state.offset))
    return state


def block_of(records: Log, first_offset: int) -> RecordBlock:
    values = [value or b"" for _, _, value in records]
    ends = np.cumsum([len(value) for value in values], dtype=np.int64)
    starts = ends - np.array([len(value) for value in values], dtype=np.int64)
    absent = [at for at, (_, _, value) in enumerate(records) if value is None]
    starts[absent] = ends[absent] = -1
    none = np.full(len(records), -1, dtype=np.int64)
    return RecordBlock(
        buffer=np.frombuffer(b"".join(values) + bytes(PADDING), dtype=np.uint8),
        starts=starts,
        ends=ends,
        key_starts=none,
        key_ends=none,
        offsets=np.array([offset for offset, _, _ in records], dtype=np.int64),
        timestamps=np.array([rts for _, rts, _ in records], dtype=np.int64),
        first_offset=first_offset,
        next_offset=records[-1][0] + 1,
    )


def packed(state: PartitionState) -> dict[Cell, list[int]]:
    """The cells that the state gives to Cassandra."""
    found = [(pack, cell) for pack in state.take_packs()[0] for cell in decode_cells(pack.blob)]
    return {
        (pack.view.name, pack.window.name, cell.start_ms, cell.grouping, KEY_SEPARATOR.join(cell.key)): list(cell.values)
        for pack, cell in found
    }


def cached(state: PartitionState) -> dict[Cell, list[int]]:
    """The cells that the state gives to Redis, of windows that are kept there."""
    found: dict[Cell, list[int]] = {}
    for batch in state.take_cached()[0]:
        for key, values in zip(batch.keys, batch.values.tolist(), strict=True):
            if any(values):
                found[(batch.view.name, batch.window.name, batch.start_ms, batch.grouping, key.decode())] = values
    return found


def recounted(
    database: duckdb.DuckDBPyConnection, log: Log, path: Path, parts: tuple[View, ...] = PARTS
) -> tuple[Any, dict[Cell, list[int]]]:
    columns = [[offset for offset, _, _ in log], [rts for _, rts, _ in log], [None] * len(log), [value for _, _, value in log]]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)]
    pq.write_table(pa.table(arrays, schema=SCHEMA), path / "log.parquet")
    audit_sql.load_rows(database, [path / "log.parquet"], None)
    audit_admission.classify(database)
    audit_views.prepare(database, parts)
    end = log[-1][0] + 1
    audit_views.recount(database, parts, end)
    cells = {tuple(row[:5]): row[5] for row in database.execute("SELECT * FROM recounted").fetchall()}
    return audit_views.status_at(database, end), cells


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), length=st.sampled_from([1, 20, 200, 1_000]), blocks=st.integers(1, 7))
def test_the_recount_and_the_fold_agree(
    database: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory, seed: int, length: int, blocks: int
) -> None:
    log = random_log(seed, length)
    status, cells = recounted(database, log, tmp_path_factory.getbasetemp())
    state = folded(log, blocks)
    names = ("offset", "clock_ms", "watermark_ms", "received", "applied", "duplicate", "late", "dead")
    assert {name: getattr(state.status(), name) for name in names} == {name: getattr(status, name) for name in names}
    assert packed(state) == cells
    kept = {(part.name, window.name) for part in PARTS for window in part.windows if window.cached}
    assert cached(state) == {cell: values for cell, values in cells.items() if cell[:2] in kept}
