"""Final rows in Cassandra (topologies/finals.py): written by the historians of all workers, read by queries and the audit.

    final_{view}_{logic}   ((window, pack_ms, bucket)) → upto, pack
                           all cells of all sources that share window, pack span and bucket; bucket −1 − g has the best of grouping g
    finals                 ((view_name, logic, window), pack_ms) → upto, basis, sources
                           the span's final packs are there: written after them; basis: digest of every source known, sources: those of them
                           that have cells in the span
    both again             window "hour x24/256", pack_ms of a day, bucket 0 … 255
                           the day's volume (topologies/volumes.py): all its hours' cells, standing together; basis: digest of theirs,
                           sources: what its packs are made of, and which buckets have one

Both are written USING TIMESTAMP BASE_US + upto, upto being Basis.version: who knew more wins, and who knew the same wrote the same. A pack
whose `upto` is above its mark's is of somebody who is just making them anew. An empty bucket has no row. No row is ever deleted, none has a
TTL; whoever wants them made anew truncates tables, for these write times are beyond the clock's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.concurrent import execute_concurrent

from connectors.cassandra import BASE_US, across, cassandra_errors, prepared
from topologies.packs import BUCKETS
from topologies.settings import CassandraSettings
from topologies.view import View

_ROWS_A_QUERY: Final = 48
_IN_FLIGHT: Final = 8
_ROWS_A_PAGE: Final = 200
_MOST_MS: Final = 2**62


@dataclass(frozen=True)
class Mark:
    """That a span's final packs are there, as of version `upto`. basis: Basis.digest; sources: texts, ascending, joined by spaces."""

    upto: int
    basis: str
    sources: str


@dataclass(frozen=True)
class FinalPack:
    """One row of a table of final packs; `bucket` as stored."""

    pack_ms: int
    bucket: int
    upto: int
    blob: bytes


def top_bucket(grouping: int) -> int:
    """Where the top lists of a grouping stand among a span's buckets."""
    return -1 - grouping


class FinalRows:
    """Final rows as they are read. Methods block and raise ServerAway or StoreError; none answers empty for an error."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        """Prepares its statements; the schema is there (ensure_schema), of a view's table not before the view is asked for. The session
        stays the caller's."""
        self._session = session
        self._settings = settings
        self._packs: dict[str, Any] = {}
        chosen = "WHERE view_name = ? AND logic = ? AND window = ? AND pack_ms >= ? AND pack_ms <= ?"
        with cassandra_errors(settings):
            self._marks = prepared(session, f"SELECT pack_ms, upto, basis, sources FROM {settings.keyspace}.finals {chosen}")

    def _of(self, view: View) -> Any:
        """The statement that reads the view's packs."""
        if view.final_table not in self._packs:
            table = f"{self._settings.keyspace}.{view.final_table}"
            text = f"SELECT pack_ms, bucket, upto, pack FROM {table} WHERE window = ? AND pack_ms IN ? AND bucket IN ?"
            self._packs[view.final_table] = prepared(self._session, text)
        return self._packs[view.final_table]

    def marks(self, view: View, window: str, first_ms: int = 0, last_ms: int = _MOST_MS) -> dict[int, Mark]:
        """The spans of a part that have final packs and start from `first_ms` to `last_ms`, by their start."""
        with cassandra_errors(self._settings):
            rows = self._session.execute(self._marks, (view.name, view.logic_version, window, first_ms, last_ms))
            return {pack_ms: Mark(*mark) for pack_ms, *mark in rows}

    def packs(self, view: View, window: str, spans_ms: Sequence[int], buckets: Sequence[int]) -> Iterator[FinalPack]:
        """The final packs of these spans in these buckets, as far as there are any."""
        many = max(1, _ROWS_A_QUERY // max(1, len(buckets)))
        with cassandra_errors(self._settings):
            queries = [(self._of(view), (window, list(spans_ms[at : at + many]), list(buckets))) for at in range(0, len(spans_ms), many)]
            for _, rows in execute_concurrent(self._session, queries, concurrency=_IN_FLIGHT, raise_on_first_error=True):
                for row in rows:
                    yield FinalPack(*row)

    def every(self, view: View) -> Iterator[tuple[str, FinalPack]]:
        """Every final pack of a part that there is, and its window, by one walk through its table: for who wants many spans."""
        statement = f"SELECT window, pack_ms, bucket, upto, pack FROM {self._settings.keyspace}.{view.final_table}"
        with cassandra_errors(self._settings):
            walk = prepared(self._session, statement)
            walk.fetch_size = _ROWS_A_PAGE
            for window, *row in self._session.execute(walk):
                yield window, FinalPack(*row)


class FinalStore:
    """Final rows as a historian writes them: `write`, then `mark`. Methods block and raise ServerAway or StoreError; called again, or by
    somebody who knew less, they change nothing."""

    def __init__(self, session: Session, settings: CassandraSettings, views: Sequence[View], across_s: float = 0.0) -> None:
        """Prepares its statements; the schema is there (ensure_schema). The session stays the caller's. across_s: packs are written in all
        data centres before their mark is in any, and holders are read in all, each of which has so long; 0: there is one."""
        self._ways = across(session, across_s) if across_s else EXEC_PROFILE_DEFAULT
        self._session = session
        self._settings = settings
        keyspace = settings.keyspace
        columns = "(window, pack_ms, bucket, upto, pack) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
        marked = "(view_name, logic, window, pack_ms, upto, basis, sources) VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
        where = "WHERE window = ? AND pack_ms = ? AND bucket IN ?"
        with cassandra_errors(settings):
            self._mark = prepared(session, f"INSERT INTO {keyspace}.finals {marked}")
            self._pack = {view.name: prepared(session, f"INSERT INTO {keyspace}.{view.final_table} {columns}") for view in views}
            self._held = {view.name: prepared(session, f"SELECT bucket, source FROM {keyspace}.{view.table} {where}") for view in views}

    def holders(self, view: View, window: str, pack_ms: int) -> dict[int, set[str]]:
        """By bucket, the sources that have a pack in the span, emptied ones too."""
        found: dict[int, set[str]] = {}
        asked = window, pack_ms, list(range(BUCKETS))
        with cassandra_errors(self._settings):
            for bucket, source in self._session.execute(self._held[view.name], asked, execution_profile=self._ways):
                found.setdefault(bucket, set()).add(source)
        return found

    def write(self, view: View, window: str, pack_ms: int, version: int, packs: Mapping[int, bytes]) -> None:
        """Stores the final packs of a span, by bucket."""
        rows = [(window, pack_ms, bucket, version, blob, BASE_US + version) for bucket, blob in packs.items()]
        with cassandra_errors(self._settings):
            queries = [(self._pack[view.name], row) for row in rows]
            ways = {"concurrency": _IN_FLIGHT, "raise_on_first_error": True, "execution_profile": self._ways}
            for _ in execute_concurrent(self._session, queries, **ways):
                pass

    def mark(self, view: View, window: str, pack_ms: int, mark: Mark) -> None:
        """Says that the span's final packs are all there."""
        name = (view.name, view.logic_version, window, pack_ms)
        with cassandra_errors(self._settings):
            self._session.execute(self._mark, (*name, mark.upto, mark.basis, mark.sources, BASE_US + mark.upto))
