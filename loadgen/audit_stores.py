"""What Redis and Cassandra serve, brought into DuckDB: each source's cells exactly as of the offset that its store says.

Table `served`: store, source, "view", "window", key VARCHAR; start_ms BIGINT; grouping INTEGER; "values" BIGINT[].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from types import TracebackType
from typing import Final, Self

import duckdb
import pyarrow as pa

from connectors.bookmark_store import BookmarkRows
from connectors.cassandra import close, connect
from connectors.cassandra_finals import FinalRows
from connectors.cassandra_reader import CellRows
from connectors.cassandra_schema import ensure_schema
from connectors.checkpoint_store import checkpoint_offsets
from connectors.redis import BOARD_FEWEST
from connectors.redis_reader import CellReader, WindowLook
from connectors.shelves import ShelfReader
from connectors.source_notes import SourceNotes
from loadgen import audit_bookmarks, audit_finals, audit_volumes
from loadgen.audit_report import TOTAL, Difference
from topologies import volumes
from topologies.errors import StoreError
from topologies.regions import in_region, regions_of
from topologies.settings import Settings
from topologies.sketch_packs import decode_cells
from topologies.sources import Finish, Source, SourceStatus
from topologies.view import KEY_SEPARATOR, View

_LOOKS: Final = 5
_ROWS_A_TABLE: Final = 100_000
_INTEGERS_A_TABLE: Final = 1_000_000
"""A sketch has up to 16,384."""
_SOURCES_A_LOOK: Final = 64
_SCHEMA: Final = pa.schema(
    {
        "store": pa.string(),
        "source": pa.string(),
        "view": pa.string(),
        "window": pa.string(),
        "start_ms": pa.int64(),
        "grouping": pa.int32(),
        "key": pa.string(),
        "values": pa.list_(pa.int64()),
    }
)
Served = tuple[str, str, str, str, int, int, str, tuple[int, ...]]
"""A row of table `served`."""


class ServedStores:
    """Both stores, open. Methods raise ServerAway and StoreError."""

    def __init__(self, settings: Settings, views: tuple[View, ...], database: duckdb.DuckDBPyConnection) -> None:
        self._views = {view.name: view for view in views}
        self._database = database
        self._regions = [in_region(settings, region) for region in regions_of(settings)]
        self._redis = [CellReader(one.redis, views) for one in self._regions]
        across_s = settings.cassandra.timeout_s if len(self._regions) > 1 else 0.0
        self._session = connect(settings.cassandra)
        ensure_schema(self._session, settings.cassandra, views)
        self._cassandra = CellRows(self._session, settings.cassandra, views, across_s)
        self._bookmarks = BookmarkRows(self._session, settings.cassandra, across_s)
        self._finals = FinalRows(self._session, settings.cassandra)
        self._settings = settings
        self._notes = SourceNotes(self._session, settings.cassandra)
        database.execute(
            'CREATE OR REPLACE TABLE served (store VARCHAR, source VARCHAR, "view" VARCHAR, "window" VARCHAR, start_ms BIGINT, '
            'grouping INTEGER, key VARCHAR, "values" BIGINT[])'
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for reader in self._redis:
            reader.close()
        close(self._session)

    def known_topics(self) -> set[str]:
        """The topics of every source that either store has heard of."""
        cached = {status.source.topic for reader in self._redis for status in reader.statuses().values()}
        return cached.union(status.source.topic for status in self._cassandra.statuses().values()) - {""}

    def losses(self) -> dict[str, str]:
        """Of each source that has lost records before they were folded, which, in words."""
        found: dict[str, list[str]] = {}
        for gap in self._notes.gaps():
            if gap.records:
                found.setdefault(gap.source, []).append(f"{gap.first} to {gap.upto - 1} ({gap.records})")
        return {source: f"records {', '.join(told)} were gone before they were folded" for source, told in found.items()}

    def checkpoints(self, sources: Iterable[str]) -> dict[str, int]:
        """The offset of the newest checkpoint of each of these sources that has one: all letters below are delivered before it."""
        return checkpoint_offsets(self._settings, self._session, sources)

    def ended(self) -> dict[str, int]:
        """The sources whose topic is no more, and when that was found (epoch ms)."""
        return self._notes.ended()

    def finished(self) -> dict[str, Finish]:
        """Where the logs of backfills were found to have ended."""
        return self._notes.finished()

    def counted(self) -> dict[str, dict[str, int]]:
        """By source and table, below which offset its cells are there."""
        return self._cassandra.counted()

    def load_redis(self) -> dict[str, SourceStatus]:
        """Bring every source's cells from Redis; returns the statuses that they are as of."""
        statuses = {}
        for reader, text in [(each, text) for each in self._redis for text in each.statuses()]:
            found, cells = reader.source_cells(text)
            assert found.status is not None
            statuses[text] = found.status
            mine = ((cell, values) for cell, values in cells.items() if self._is_read(cell.view, cell.logic, cell.window))
            self._insert(("redis", text, c.view, c.window, c.start_ms, c.grouping, KEY_SEPARATOR.join(c.key), values) for c, values in mine)
        return statuses

    def load_cassandra(self, on_progress: Callable[[str], None]) -> dict[str, SourceStatus]:
        """Bring every source's cells from Cassandra; returns the statuses that they are as of.

        Many sources at a time: each look asks for every span that there is, or walks through all of them.
        """
        waiting, statuses = sorted(self._cassandra.statuses()), {}
        for first in range(0, len(waiting), _SOURCES_A_LOOK):
            on_progress(f"reading what Cassandra serves: {first} of {len(waiting)} sources")
            for text, look in self._cassandra.source_packs(waiting[first : first + _SOURCES_A_LOOK]).items():
                statuses[text] = look.status
                cells = ((pack.view, pack.window, cell) for pack in look.packs for cell in decode_cells(pack.blob))
                self._insert(
                    ("cassandra", text, view, window, c.start_ms, c.grouping, KEY_SEPARATOR.join(c.key), c.values)
                    for view, window, c in cells
                )
        return statuses

    def load_finals(self) -> audit_finals.Spans:
        """Bring the final rows; returns the spans that there are, and what those are of. Before load_cassandra: so that knows every source
        that they are of."""
        spans: audit_finals.Spans = {}
        for view in self._views.values():
            names = [window.name for window in view.windows if window.length_ms]
            spans |= {(view.name, name, pack_ms): "" for name in names for pack_ms in self._cassandra.pack_spans(view, name)}
            marks = {name: self._finals.marks(view, name) for name in names}
            self._insert(audit_finals.read(self._finals, view, marks))
            spans |= {(view.name, name, pack_ms): mark.basis for name in names for pack_ms, mark in marks[name].items()}
        return spans

    def load_volumes(self) -> audit_finals.Spans:
        """Bring the volumes of final rows; returns which there are, and what those are of. Before load_cassandra, too."""
        found: audit_finals.Spans = {}
        for view in self._views.values():
            for window in view.windows:
                if volumes.are_kept(view, window) and (marks := self._finals.marks(view, volumes.name_of(window))):
                    self._insert(audit_volumes.read(self._finals, view, window, marks))
                    found |= {(view.name, window.name, first_ms): mark.basis for first_ms, mark in marks.items()}
        return found

    def load_bookmarks(self) -> None:
        """Bring every bookmark that stands in either store."""
        with ExitStack() as opened:
            readers = [opened.enter_context(closing(ShelfReader(one.redis))) for one in self._regions]
            audit_bookmarks.load(self._database, self._bookmarks, readers)

    def wrong_totals(self) -> tuple[dict[str, tuple[int, int]], list[Difference]]:
        """By view: how many totals and ranks of Redis were compared with the sums of its sources' cells, and how many differ; and which."""
        counts, wrong = dict.fromkeys(self._views, (0, 0)), list[Difference]()
        for reader in self._redis:
            found, of_reader = self._wrong_totals(reader)
            counts = {name: (counts[name][0] + found[name][0], counts[name][1] + found[name][1]) for name in counts}
            wrong += of_reader
        return counts, wrong

    def _wrong_totals(self, reader: CellReader) -> tuple[dict[str, tuple[int, int]], list[Difference]]:
        """The same of one region's Redis."""
        for _ in range(_LOOKS):
            known = {text: status.source for text, status in reader.statuses().items()}
            counts, wrong = self._compare_totals(reader, list(known.values()))
            # A source that came meanwhile is in the totals but not among the summed ones: look again.
            if not wrong or set(reader.statuses()) == set(known):
                return counts, wrong
        raise StoreError("new sources keep coming into Redis; audit again when the workers have settled")

    def _compare_totals(self, reader: CellReader, sources: list[Source]) -> tuple[dict[str, tuple[int, int]], list[Difference]]:
        counts = dict.fromkeys(self._views, (0, 0))
        wrong: list[Difference] = []
        for look in reader.snapshot(sources):
            if self._is_read(look.view, look.logic, look.window):
                found = _wrong_sums(self._views[look.view], look)
                cells, so_far = counts[look.view]
                counts[look.view] = (cells + len(look.totals) + len(look.board or ()), so_far + len(found))
                wrong.extend(found)
        return counts, wrong

    def _is_read(self, view: str, logic: int, window: str) -> bool:
        """Whether that is declared to be in Redis; else it is left of another declaration, and nobody reads it."""
        if view not in self._views or self._views[view].logic_version != logic:
            return False
        return any(each.name == window and each.cached for each in self._views[view].windows)

    def _insert(self, rows: Iterable[Served]) -> None:
        for table in _tables(rows):
            self._database.register("arrived", table)
            self._database.execute("INSERT INTO served SELECT * FROM arrived")
            self._database.unregister("arrived")


def _tables(rows: Iterable[Served]) -> Iterator[pa.Table]:
    columns: tuple[list[object], ...] = tuple([] for _ in _SCHEMA)
    integers = 0
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
        integers += len(row[-1])
        if len(columns[0]) == _ROWS_A_TABLE or integers >= _INTEGERS_A_TABLE:
            yield _table(columns)
            columns, integers = tuple([] for _ in _SCHEMA), 0
    if columns[0]:
        yield _table(columns)


def _table(columns: tuple[list[object], ...]) -> pa.Table:
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, _SCHEMA.types, strict=True)], schema=_SCHEMA)


def _board_floor(totals: list[int], board: Mapping[tuple[str, ...], int]) -> int:
    """From which total on a leaderboard must have every one: from the least that it has, and at least the greatest BOARD_FEWEST."""
    must = sorted(totals, reverse=True)[:BOARD_FEWEST]
    return min([*must[-1:], *board.values()], default=0)


def _wrong_sums(view: View, look: WindowLook) -> list[Difference]:
    """Totals that are not the sums of the sources' cells, and ranks that are not the totals."""
    sums: dict[tuple[str, ...], tuple[int, ...]] = {}
    for cells in look.sources.values():
        for key, values in cells.items():
            sums[key] = tuple(map(sum, zip(sums[key], values, strict=True))) if key in sums else values
    found = [("redis totals", key, sums.get(key), look.totals.get(key)) for key in sums.keys() | look.totals.keys()]
    if look.board is not None and view.ranked is not None:
        least = _board_floor([values[view.ranked] for values in look.totals.values()], look.board)
        for key in look.totals.keys() | look.board.keys():
            total = look.totals[key][view.ranked] if key in look.totals else None
            served = (look.board[key],) if key in look.board else None
            if served is not None or (total is not None and total >= least):
                found.append(("redis leaderboard", key, None if total is None else (total,), served))
    return [
        Difference(look.view, look.window, look.start_ms, look.grouping, KEY_SEPARATOR.join(key), TOTAL, store, expected, served)
        for store, key, expected, served in found
        if (expected or (0,)) != (served or (0,)) and (any(expected or ()) or any(served or ()))
    ]
