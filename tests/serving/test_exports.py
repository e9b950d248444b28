"""What is final, as Parquet: read by others, it is what an answer says; done again, nothing is there twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from connectors.objects import Objects
from serving.exports import ExportedDay, Exporter
from serving.questions import Question
from serving.stores import Stores
from tests.object_servers import ObjectServer
from tests.serving.test_answers import HOUR_MS, NOON, NOW, watched
from tests.serving.test_final_answers import Kept, keeping
from tests.topologies.logs import Record, apply, event, random_steps, tick, walked
from topologies.bins import middle_of
from topologies.fold import PartitionState
from topologies.settings import Settings
from topologies.sketches import estimate, union
from topologies.sources import Finish
from topologies.views import VIEWS, every_part

MIDNIGHT = (NOON // (24 * HOUR_MS) - 2) * 24 * HOUR_MS
OLD = MIDNIGHT - HOUR_MS
"""Its day is final, and so are the next two."""
TIMEOUT_S = 60.0


def log_of(seed: int) -> list[Record]:
    """Two hours or more of everything, sessions that are watched too, and the present's tick, with which all before it is final."""
    records = walked(random_steps(seed, 250, sessions=40), OLD)
    for viewer in range(200):
        at = max(records[-1].rts + 1, MIDNIGHT + HOUR_MS)
        fields = {"session": f"v{seed}-{viewer}", "account": f"a{viewer % 90}", "title": f"t{viewer % 5}", "region": f"r{viewer % 2}"}
        records.append(event(at, type="play_start", seq=1, startup_ms=40 * viewer, bitrate_kbps=3_000, watched_ms=10, **fields))
    return [*records, tick(max(NOW, records[-1].rts + 1))]


@pytest.fixture(scope="module")
def shared(shared_settings: Settings) -> Iterator[Kept]:
    """Every view of two sources, folded from their logs, with all final rows."""

    async def fill(kept: Kept) -> None:
        for partition in range(2):
            state = PartitionState(kept.world.status(partition).source, every_part())
            apply(state, log_of(partition))
            await kept.world.fold(state)
        assert await kept.settle() > 20

    with keeping(shared_settings) as kept:
        asyncio.run(fill(kept))
        yield kept


@pytest.fixture(scope="module")
def exported(shared: Kept, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    days = exports(shared.world.settings, f"file://{folder}", *VIEWS)
    assert {day.state for day in days} == {"written"}
    return folder


def exports(settings: Settings, url: str, *views: str) -> list[ExportedDay]:
    with Stores(settings) as stores:
        return [day for view in views for day in Exporter(stores, Objects(url, TIMEOUT_S)).export(view)]


def read(folder: Path, part: str, query: str) -> list[Any]:
    """The rows of a query of `found`: the part as DuckDB reads it, its partitions' names too, and each window's start_ms."""
    files = f"{folder}/history/view={part}/*/*/*/*.parquet"
    found = f"SELECT *, epoch_ms(window_start) AS start_ms FROM read_parquet('{files}', hive_partitioning = true)"
    with duckdb.connect() as database:
        return database.execute(f"WITH found AS ({found}) {query}").fetchall()


UNTIL = OLD + 12 * HOUR_MS
ASKED = f"start_ms < {UNTIL}"


def ask_days(kept: Kept, view: str, window: str, by: dict[str, str | None] | None = None) -> list[dict[str, Any]]:
    """The final answer's rows: of all the window's starts from the log's first to UNTIL."""
    answer = kept.world.ask(Question(view, by or {}, window=window, from_ms=OLD - HOUR_MS, to_ms=UNTIL))
    assert answer.final
    assert answer.rows
    return [{"start_ms": row.start_ms, "key": row.key, **dict(zip(answer.measures, row.values, strict=True))} for row in answer.rows]


def test_watch_time_in_the_files_is_what_the_query_says(shared: Kept, exported: Path) -> None:
    for window in ("hour", "day"):
        told = {
            (row["start_ms"], *row["key"]): (row["watched_ms"], row["plays"], row["attempts"])
            for row in ask_days(shared, "watch_time", window)
        }
        chosen = f"WHERE window_name = '{window}' AND logic = 1 AND {ASKED}"
        found = read(exported, "watch_time", f"SELECT start_ms, title, region, watched_ms, plays, attempts FROM found {chosen}")
        assert {row[:3]: row[3:] for row in found} == told
        assert len(told) >= 5


def test_every_sum_of_every_view_is_the_same_for_duckdb_polars_and_pyarrow(exported: Path) -> None:
    integers = [view for view in VIEWS.values() if view.measures]
    assert len(integers) >= 5
    for view in integers:
        names = [measure.name for measure in view.measures]
        sums = ", ".join(f"sum({name})::BIGINT" for name in names)
        (by_duckdb,) = read(exported, view.name, f"SELECT count(*), {sums} FROM found")
        frame = pl.read_parquet(f"{exported}/history/view={view.name}/**/*.parquet", hive_partitioning=True)
        by_polars = (frame.height, *frame.select(pl.sum(name) for name in names).row(0))
        tables = [pq.read_table(file, partitioning=None) for file in exported.glob(f"history/view={view.name}/**/*.parquet")]
        rows = [row for table in tables for row in table.select(names).to_pylist()]
        assert by_duckdb == by_polars == (len(rows), *(sum(row[name] for row in rows) for name in names))
        assert len(rows) > 0


def test_integers_bins_and_lengths_are_those_of_the_answer(shared: Kept, exported: Path) -> None:
    minutes, hours = ask_days(shared, "quality", "minute"), ask_days(shared, "sessions", "hour")
    sums = f"SELECT sum(attempts)::BIGINT, sum(stall_ms)::BIGINT FROM found WHERE {ASKED}"
    assert read(exported, "quality", sums) == [(sum(row["attempts"] for row in minutes), sum(row["stall_ms"] for row in minutes))]
    startups = read(exported, "quality.startup", f"SELECT sum(startup_count)::BIGINT FROM found WHERE {ASKED}")
    assert startups == [(sum(row["startup_count"] for row in minutes),)]
    assert startups[0][0] > 200
    bins = read(exported, "quality.startup", "SELECT DISTINCT bin, middle FROM found")
    assert all(middle == middle_of(number) for number, middle in bins)
    assert len(bins) > 50
    lengths = read(exported, "sessions.length", f"SELECT sum(length_count)::BIGINT FROM found WHERE {ASKED}")
    assert lengths == [(sum(row["length_count"] for row in hours),)]


def test_sketches_in_the_files_unite_to_the_answers_estimate(shared: Kept, exported: Path) -> None:
    for row in ask_days(shared, "audience", "hour", {"title": "t1"}):
        chosen = f"WHERE window_name = 'hour' AND title = 't1' AND start_ms = {row['start_ms']}"
        found = read(exported, "audience.viewers", f"SELECT viewers, sketch FROM found {chosen}")
        sketches = [np.frombuffer(sketch, dtype="<u4") for _, sketch in found]
        assert [viewers for viewers, _ in found] == [round(estimate(sketch)) for sketch in sketches]
        assert round(estimate(union(sketches))) == row["viewers"]


def test_columns_have_types_and_groupings_their_names(exported: Path) -> None:
    types = {name: kind for name, kind, *_ in read(exported, "concurrents", "SELECT * FROM (DESCRIBE SELECT * FROM found)")}
    wanted = {"window_start": "TIMESTAMP WITH TIME ZONE", "grouped_by": "VARCHAR", "title": "VARCHAR", "viewers": "BIGINT", "day": "DATE"}
    assert {name: types[name] for name in wanted} == wanted
    counts = "SELECT grouped_by, count(title), count(region), count(device), count(*) FROM found GROUP BY ALL"
    of = {name: tuple(count == rows for count in counted) for name, *counted, rows in read(exported, "concurrents", counts)}
    assert of == {"title": (True, False, False), "region": (False, True, False), "device": (False, False, True), "": (False,) * 3}


def test_done_again_nothing_is_written_and_a_file_that_is_gone_or_another_is_written_again(shared: Kept, exported: Path) -> None:
    settings, url = shared.world.settings, f"file://{exported}"
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in exported.rglob("*.parquet")}
    assert {day.state for day in exports(settings, url, *VIEWS)} == {"kept"}
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in exported.rglob("*.parquet")} == before
    gone, other = sorted(exported.glob("history/view=watch_time/logic=1/window_name=hour/*/part-0.parquet"))[:2]
    gone.unlink()
    other.write_bytes(b"PAR1")
    states = [day.state for day in exports(settings, url, "watch_time") if day.window == "hour"]
    assert states.count("written") == 2
    assert {file: file.read_bytes() for file in before} == {file: data for file, (_, data) in before.items()}
    assert len(list(exported.glob("history/_receipts/watch_time/1/hour/*/*.json"))) == len(states)


async def test_a_day_is_written_again_when_more_of_it_became_final_and_not_while_it_is_provisional(
    settings: Settings, tmp_path: Path
) -> None:
    def export() -> tuple[list[tuple[str, int]], list[Any]]:
        with Stores(settings) as stores:
            days = Exporter(stores, Objects(f"file://{tmp_path}", TIMEOUT_S)).export("watch_time")
        files = list(tmp_path.rglob("*.parquet"))
        rows = read(tmp_path, "watch_time", "SELECT start_ms, title, watched_ms FROM found ORDER BY ALL") if files else []
        return [(day.state, day.rows) for day in days if day.window == "hour"], rows

    day = OLD // (24 * HOUR_MS) * 24 * HOUR_MS
    first, second = day + HOUR_MS, day + 2 * HOUR_MS
    with keeping(settings) as kept:
        world = kept.world
        assert await asyncio.to_thread(export) == ([], [])
        passed_first = world.status(0, clock_ms=second + 16 * 60_000 + 60_000)
        await world.store(passed_first, [watched("a", "eu", 7, first), watched("a", "eu", 5, second)])
        assert await asyncio.to_thread(export) == ([("waiting", 0)], [])
        await kept.settle()
        assert await asyncio.to_thread(export) == ([("written", 1)], [(first, "a", 7)])
        await world.store(world.status(0, offset=200), [])
        await kept.settle()
        assert await asyncio.to_thread(export) == ([("written", 2)], [(first, "a", 7), (second, "a", 5)])
        assert await asyncio.to_thread(export) == ([("kept", 2)], [(first, "a", 7), (second, "a", 5)])

        behind = world.status(1, clock_ms=first)  # a backfill begins: what was final is provisional
        await world.store(behind, [watched("b", "eu", 1, first)])
        assert await asyncio.to_thread(export) == ([], [(first, "a", 7), (second, "a", 5)])
        kept.notes.finish(behind.source, Finish(behind.offset, NOW))
        assert await asyncio.to_thread(export) == ([("waiting", 2)], [(first, "a", 7), (second, "a", 5)])
        await kept.settle()
        assert await asyncio.to_thread(export) == ([("written", 3)], [(first, "a", 7), (first, "b", 1), (second, "a", 5)])


@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_a_bucket_and_a_container_get_the_same_files(shared: Kept, exported: Path, kind: str, request: pytest.FixtureRequest) -> None:
    server: ObjectServer = request.getfixturevalue(kind)
    url = server.new("some/prefix")
    assert {day.state for day in exports(shared.world.settings, url, "audience")} == {"written"}
    assert {day.state for day in exports(shared.world.settings, url, "audience")} == {"kept"}

    async def all_of() -> dict[str, bytes | None]:
        objects = Objects(url, TIMEOUT_S)
        return {one.key: await objects.get(one.key) for one in await objects.listed("history/view=audience.viewers")}

    there = {str(file.relative_to(exported)): file.read_bytes() for file in exported.glob("history/view=audience*/**/*.parquet")}
    assert asyncio.run(all_of()) == there
    assert len(there) >= 3
