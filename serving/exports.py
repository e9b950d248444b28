"""Finished history among objects, as Parquet: a file a day of each window of each part of a view, for DuckDB, Spark, Athena and the like.

    {prefix}/history/view={part}/logic={version}/window_name={window}/day={YYYY-MM-DD}/part-0.parquet    the day's final rows (parquet.py)
    {prefix}/history/_receipts/{part}/{version}/{window}/{YYYY-MM-DD}/{digest}.json      what the file is made of: spans, rows, bytes.
                                                                                         digest: of the final rows, and of the file as it
                                                                                         is there (e_tag)

A part is a view's integers, or one of its histograms, extremes or distinct counts, as `quality.startup`. A day is UTC's, of the windows'
starts. Only what is final stands there: spans whose final rows are of every source that is known. What begins with _ is passed over by who
reads Hive's partitions.

A file is put at one name, whole, so who reads while a day is written anew reads it as it was or as it is. A day whose receipt fits is not
written: the same finals give the same file. It is written anew when more of it became final, or when its final rows were made of more
sources. While what stands in it is provisional again, because of a backfill, or its final rows are being made anew, it stays as it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec
import pyarrow.parquet as pq

from connectors.cassandra_finals import Mark
from connectors.objects import Objects
from serving.parquet import schema_of, table_of
from serving.stores import Stores
from topologies.packs import BUCKETS
from topologies.view import DAY, View, Window

FORMAT: Final = 1
"""Of the files' columns: another one makes every file anew."""
State = Literal["written", "kept", "waiting"]
"""Of a day: its file was written now; it is there as it is to be; it stays as it is until its final rows are made, or final again."""


class Receipt(msgspec.Struct, frozen=True):
    """What a day's file is made of. spans: when they start, epoch ms, ascending."""

    spans: tuple[int, ...]
    rows: int
    bytes: int


@dataclass(frozen=True)
class ExportedDay:
    """One day of one window of one part, and what became of it now; rows and bytes are of its file, 0 where there is none."""

    part: str
    window: str
    day: str
    state: State
    rows: int
    bytes: int


@dataclass(frozen=True)
class _Day:
    """What is final of a day and has its final rows: its spans with their marks, ascending."""

    part: View
    window: Window
    start_ms: int
    marks: Mapping[int, Mark]

    @property
    def name(self) -> str:
        return datetime.fromtimestamp(self.start_ms / 1000, UTC).strftime("%Y-%m-%d")

    @property
    def key(self) -> str:
        return f"{folder_of(self.part, self.window)}/day={self.name}/part-0.parquet"

    def receipt_of(self, e_tag: str) -> str:
        """The name of its receipt when that is the file."""
        told = (FORMAT, sorted((start_ms, mark.sources) for start_ms, mark in self.marks.items()), e_tag)
        return f"{receipts_of(self.part, self.window)}/{self.name}/{hashlib.blake2b(repr(told).encode(), digest_size=16).hexdigest()}.json"


def folder_of(part: View, window: Window) -> str:
    """Below which the days of a part's window stand."""
    return f"history/view={part.name}/logic={part.logic_version}/window_name={window.name}"


def receipts_of(part: View, window: Window) -> str:
    """Below which their receipts stand."""
    return f"history/_receipts/{part.name}/{part.logic_version}/{window.name}"


class Exporter:
    """Brings what is final of views from these stores to these objects. Blocks; not for a thread that runs an event loop. Two at once do no
    harm: at the worst a day is written again by the next."""

    def __init__(self, stores: Stores, objects: Objects) -> None:
        self._stores = stores
        self._objects = objects

    def export(self, view: str, on_day: Callable[[ExportedDay], None] = lambda _: None) -> list[ExportedDay]:
        """Every day of the view of that name that has something final, of every window that has an end, of whichever edition answers for
        it. Raises ServerAway or StoreError; the days before that are there."""
        answering = self._stores.answering(view)
        found: list[ExportedDay] = []
        with asyncio.Runner() as runner:
            for part in answering.view.parts:
                for window in (each for each in part.windows if each.length_ms):
                    for day in self._exported(runner, answering.stores, part, window):
                        on_day(day)
                        found.append(day)
        return found

    def _exported(self, runner: asyncio.Runner, stores: Stores, part: View, window: Window) -> Iterator[ExportedDay]:
        there = {one.key: one for one in runner.run(self._objects.listed(folder_of(part, window)))}
        receipts = {one.key for one in runner.run(self._objects.listed(receipts_of(part, window)))}
        for day in _days(stores, part, window):
            file = there.get(day.key)
            fitting = day.receipt_of(file.e_tag) if file is not None else ""
            old = sorted(key for key in receipts if key.startswith(f"{receipts_of(part, window)}/{day.name}/"))
            told = runner.run(self._receipt(fitting if fitting in receipts else old[0])) if old else None
            if fitting in receipts and told is not None:
                yield ExportedDay(part.name, window.name, day.name, "kept", told.rows, told.bytes)
            elif not day.marks or (told is not None and file is not None and not set(told.spans) <= day.marks.keys()):
                yield ExportedDay(part.name, window.name, day.name, "waiting", told.rows if told else 0, told.bytes if told else 0)
            else:
                yield self._write(runner, stores, day, old)

    async def _receipt(self, key: str) -> Receipt | None:
        """None for one that is gone, or no receipt: then its day is written again."""
        try:
            return msgspec.json.decode(await self._objects.get(key) or b"", type=Receipt)
        except msgspec.MsgspecError:
            return None

    def _write(self, runner: asyncio.Runner, stores: Stores, day: _Day, old: Sequence[str]) -> ExportedDay:
        with tempfile.TemporaryDirectory(prefix="marquee-history-") as folder:
            file = Path(folder) / "part-0.parquet"
            rows = _filled(stores, day, file)
            if rows is None:
                return ExportedDay(day.part.name, day.window.name, day.name, "waiting", 0, 0)
            size = file.stat().st_size
            e_tag = runner.run(self._objects.put(day.key, file))
        receipt = day.receipt_of(e_tag)
        runner.run(self._objects.put(receipt, msgspec.json.encode(Receipt(tuple(day.marks), rows, size))))
        runner.run(self._objects.delete([key for key in old if key != receipt]))
        return ExportedDay(day.part.name, day.window.name, day.name, "written", rows, size)


def _days(stores: Stores, part: View, window: Window) -> list[_Day]:
    """The days of which something is final, ascending."""
    known = stores.known()
    spans = sorted(stores.spans(part, window.name, known))
    bases = known.bases.of_spans(part, window, spans)
    marks = stores.finals.marks(part, window.name)
    days: dict[int, dict[int, Mark]] = {}
    for start_ms, basis in bases.items():
        held = days.setdefault(start_ms - start_ms % DAY.length_ms, {})
        if (mark := marks.get(start_ms)) is not None and mark.basis == basis.digest:
            held[start_ms] = mark
    return [_Day(part, window, day_ms, held) for day_ms, held in days.items()]


def _filled(stores: Stores, day: _Day, file: Path) -> int | None:
    """Writes the day's rows, a group of rows a span; how many. None if final rows are just being made anew."""
    rows = 0
    with pq.ParquetWriter(file, schema_of(day.part), compression="zstd") as writer:
        for start_ms, mark in day.marks.items():
            packs = sorted(stores.finals.packs(day.part, day.window.name, [start_ms], range(BUCKETS)), key=lambda pack: pack.bucket)
            if any(pack.upto > mark.upto for pack in packs):
                return None
            table = table_of(day.part, [pack.blob for pack in packs if pack.blob])
            if table.num_rows:
                writer.write_table(table)
            rows += table.num_rows
    return rows
