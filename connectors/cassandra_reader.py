"""The reader of cells out of Cassandra, for queries and the audit."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.concurrent import execute_concurrent

from connectors.cassandra import across, asked, cassandra_errors, prepared
from connectors.cassandra_store import SCOPE, STATUS_COLUMNS
from connectors.cell_id import CellId
from topologies.errors import StoreError
from topologies.packs import BUCKETS
from topologies.settings import CassandraSettings
from topologies.sketch_packs import decode_cells
from topologies.sources import Source, SourceStatus
from topologies.view import View

Values = tuple[int, ...]
_BUCKETS_A_QUERY: Final = 8
_ROWS_A_PAGE: Final = 200
_SPANS_ASKED: Final = 200
"""Of more spans of a view than these, packs are found by a walk through its table: a question asks a span for each of 16 buckets."""
_PAUSE_S: Final = 0.05
_ONE: Final = "bucket = ?"
_SOME: Final = "bucket IN ?"
_OF: Final = "bucket IN ? AND source IN ?"


@dataclass(frozen=True)
class StoredPack:
    """One row of a view's table: what `source` held in this pack as of offset `upto`. `blob` is for decode_cells."""

    view: str
    logic: int
    window: str
    pack_ms: int
    bucket: int
    source: str
    upto: int
    blob: bytes


@dataclass(frozen=True)
class SourceLook:
    """All packs of one source, exactly as of `status.offset`."""

    status: SourceStatus
    packs: list[StoredPack]

    def cells(self) -> dict[CellId, Values]:
        """The cells by name. Raises StoreError for a pack that cannot be read."""
        return {
            CellId(pack.view, pack.logic, pack.window, cell.start_ms, cell.grouping, cell.key): cell.values
            for pack in self.packs
            for cell in decode_cells(pack.blob)
        }


class CellRows:
    """Cassandra as queries and the audit read it. Methods block and raise ServerAway or StoreError; none answers empty for an error."""

    def __init__(self, session: Session, settings: CassandraSettings, views: Sequence[View], across_s: float = 0.0) -> None:
        """Prepares its statements; the schema is there (ensure_schema), of a view's tables not before the view is asked for: a keyspace
        has those that its workers compute. The session stays the caller's.

        across_s: packs are read in all data centres, which have so long to answer, seconds; 0: in this one, as is right where no other
        writes."""
        self._ways = across(session, across_s) if across_s else EXEC_PROFILE_DEFAULT
        self._session = session
        self._settings = settings
        self._views = tuple(views)
        self._of_tables: dict[tuple[str, str], Any] = {}
        keyspace = settings.keyspace
        with cassandra_errors(settings):
            self._statuses = self._prepare(f"SELECT {', '.join(STATUS_COLUMNS[1:])} FROM {keyspace}.sources WHERE scope = ?")
            self._counted = self._prepare(f"SELECT source, view_table, upto FROM {keyspace}.counted WHERE scope = ?")
            self._spans = self._prepare(f"SELECT pack_ms FROM {keyspace}.spans WHERE view_name = ? AND logic = ? AND window = ?")

    def _select(self, view: View, where: str) -> Any:
        """The statement that reads the view's packs of a window and span, and where else."""
        if (view.table, where) not in self._of_tables:
            columns = "pack_ms, bucket, source, upto, pack"
            text = f"SELECT {columns} FROM {self._settings.keyspace}.{view.table} WHERE window = ? AND pack_ms = ? AND {where}"
            with cassandra_errors(self._settings):
                self._of_tables[view.table, where] = self._prepare(text)
        return self._of_tables[view.table, where]

    def _prepare(self, text: str) -> Any:
        statement = prepared(self._session, text)
        statement.fetch_size = _ROWS_A_PAGE
        return statement

    def statuses(self) -> dict[str, SourceStatus]:
        """Every source that has ever flushed, by its text."""
        with cassandra_errors(self._settings):
            rows = list(self._session.execute(self._statuses, (SCOPE,)))
        return {text: SourceStatus(Source(*name), upto, *counts) for text, *rest in rows for name, upto, counts in [_split(rest)]}

    def reach(self) -> None:
        """Returns when the data centres that packs are read in have answered. Raises as the rest."""
        with cassandra_errors(self._settings):
            list(self._session.execute(self._statuses, (SCOPE,), execution_profile=self._ways))

    def counted(self) -> dict[str, dict[str, int]]:
        """By source and table, below which offset its cells are there. To be read after the statuses that it is compared with."""
        return self.count()()

    def count(self) -> Callable[[], dict[str, dict[str, int]]]:
        """Asks for that; what is returned waits for it."""
        rows = asked(self._session, self._settings, self._counted, SCOPE)

        def found() -> dict[str, dict[str, int]]:
            uptos: dict[str, dict[str, int]] = {}
            for source, table, upto in rows():
                uptos.setdefault(source, {})[table] = upto
            return uptos

        return found

    def pack_spans(self, view: View, window: str) -> list[int]:
        """Starts of the pack spans that have packs, ascending, epoch milliseconds (live: [0])."""
        with cassandra_errors(self._settings):
            asked = view.name, view.logic_version, window
            return [row[0] for row in self._session.execute(self._spans, asked, execution_profile=self._ways)]

    def packs(self, view: View, window: str, pack_ms: int, bucket: int | None = None) -> list[StoredPack]:
        """The packs of all sources in one span: of one bucket, or of all. Each is as of its own `upto`."""
        if bucket is not None:
            return list(self._stored(view, [(self._select(view, _ONE), (window, pack_ms, bucket))], window))
        return list(self._stored(view, [(self._select(view, _SOME), (window, pack_ms, part)) for part in _parts()], window))

    def source_packs(self, sources: Sequence[str], timeout_s: float = 60.0) -> dict[str, SourceLook]:
        """Each source's packs exactly as of its status.

        The status is read first: if no pack that is read afterwards is beyond it, the packs are those of its offset. A source that is
        being flushed is looked at again when its next flush has ended. Raises StoreError if a source is unknown, or was never at rest
        for timeout_s seconds.
        """
        deadline = time.monotonic() + timeout_s
        found: dict[str, SourceLook] = {}
        waiting = dict.fromkeys(sources, -1)
        while waiting:
            statuses = self.statuses()
            self._known(waiting, statuses)
            ready = [source for source, offset in waiting.items() if statuses[source].offset > offset]
            for look in self._looks([statuses[source] for source in ready]):
                text = str(look.status.source)
                if all(pack.upto <= look.status.offset for pack in look.packs):
                    found[text] = look
                    del waiting[text]
                else:
                    waiting[text] = look.status.offset
            if waiting:
                self._wait(waiting, deadline, timeout_s)
        return found

    def source_cells(self, source: str, timeout_s: float = 60.0) -> tuple[SourceStatus, dict[CellId, Values]]:
        """The cells of one source exactly as of its status; errors as `source_packs`, and StoreError for a pack that cannot be read."""
        look = self.source_packs([source], timeout_s)[source]
        return look.status, look.cells()

    def _known(self, waiting: dict[str, int], statuses: dict[str, SourceStatus]) -> None:
        for source in waiting:
            if source not in statuses:
                raise StoreError(f"Cassandra has never heard of source {source}; see whether its worker lives (`marquee status`)")

    def _wait(self, waiting: dict[str, int], deadline: float, timeout_s: float) -> None:
        if time.monotonic() >= deadline:
            names = ", ".join(sorted(waiting))
            raise StoreError(f"{names} had unfinished flushes in Cassandra for {timeout_s:g} s; see `marquee status`")
        time.sleep(_PAUSE_S)

    def _looks(self, statuses: list[SourceStatus]) -> Iterator[SourceLook]:
        if not statuses:
            return
        names = [str(status.source) for status in statuses]
        packs: dict[str, list[StoredPack]] = {name: [] for name in names}
        for view in self._views:
            spans = {window.name: self.pack_spans(view, window.name) for window in view.windows}
            walk = sum(map(len, spans.values())) > _SPANS_ASKED
            for pack in self._walked(view, spans) if walk else self._asked(view, spans, names):
                if pack.source in packs:
                    packs[pack.source].append(pack)
        for name, status in zip(names, statuses, strict=True):
            yield SourceLook(status, packs[name])

    def _asked(self, view: View, spans: Mapping[str, Sequence[int]], sources: list[str]) -> Iterator[StoredPack]:
        """These sources' packs in these spans, by window, span by span."""
        for window, starts in spans.items():
            queries = [(self._select(view, _OF), (window, pack_ms, part, sources)) for pack_ms in starts for part in _parts()]
            yield from self._stored(view, queries, window)

    def _walked(self, view: View, spans: Mapping[str, Collection[int]]) -> Iterator[StoredPack]:
        """All sources' packs in these spans, by window, by one walk through the view's table: what is in no span, no reader finds."""
        known = {(window, pack_ms) for window, starts in spans.items() for pack_ms in starts}
        columns = "window, pack_ms, bucket, source, upto, pack"
        with cassandra_errors(self._settings):
            walk = self._prepare(f"SELECT {columns} FROM {self._settings.keyspace}.{view.table}")
            rows = self._session.execute(walk, execution_profile=self._ways)
            for window, pack_ms, *rest in rows:
                if (window, pack_ms) in known:
                    yield StoredPack(view.name, view.logic_version, window, pack_ms, *rest)

    def _stored(self, view: View, queries: list[tuple[Any, tuple[Any, ...]]], window: str) -> Iterator[StoredPack]:
        with cassandra_errors(self._settings):
            found = execute_concurrent(self._session, queries, concurrency=16, raise_on_first_error=True, execution_profile=self._ways)
            for _, rows in found:
                for pack_ms, bucket, source, upto, blob in rows:
                    yield StoredPack(view.name, view.logic_version, window, pack_ms, bucket, source, upto, blob)


def _parts() -> list[list[int]]:
    return [list(range(first, min(first + _BUCKETS_A_QUERY, BUCKETS))) for first in range(0, BUCKETS, _BUCKETS_A_QUERY)]


def _split(row: list[Any]) -> tuple[list[Any], int, list[Any]]:
    return row[:4], row[4], row[5:]
