"""Bookmarks in Cassandra, written from asyncio and read by queries.

Rows of several profiles go in one unlogged batch (docs/decisions/0031). It stays below what servers warn of: ten partitions, 5 KiB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import BoundStatement

from connectors.cassandra import across, cassandra_errors, prepared, unlogged_batch
from connectors.flight import executed
from topologies.marks import Mark, MarkBatch
from topologies.settings import CassandraSettings

PROFILES_A_BATCH: Final = 10
BYTES_A_BATCH: Final = 4096
_ROW_BYTES: Final = 96
"""What a row takes in a batch besides its texts, as servers reckon it, and some more."""
_VERSION: Final = struct.Struct(">q")
_Row = tuple[bytes, bytes, bytes, bytes, bytes]
"""Account, profile, title, mark and version."""


class BookmarkStore:
    """Cassandra as a worker writes bookmarks. Statements are idempotent, and whatever their order the greatest bookmark stands."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        """Prepares its statement, which blocks; the schema is there (ensure_schema). The session stays the caller's."""
        self._session = session
        self._settings = settings
        with cassandra_errors(settings):
            text = f"INSERT INTO {settings.keyspace}.bookmarks (account, profile, title, mark) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
            self._mark = prepared(session, text)

    async def write(self, batch: MarkBatch) -> None:
        """Stores these bookmarks. Raises ServerAway or StoreError; then some may be stored, and writing them again is right."""
        if len(batch):
            await executed(self._session, self._settings, self._statements(batch))

    def _statements(self, batch: MarkBatch) -> Iterator[Any]:
        rows: list[_Row] = []
        people, size = 0, 0
        for account, profile, titles, marks, versions in batch.shelves():
            people += 1
            for title, mark, version in zip(titles, marks, versions, strict=True):
                length = _ROW_BYTES + len(account) + len(profile) + len(title)
                if rows and (people > PROFILES_A_BATCH or size + length > BYTES_A_BATCH):
                    yield self._batch_of(rows)
                    rows, people, size = [], 1, 0
                rows.append((account, profile, title, mark, _VERSION.pack(version)))
                size += length
        if rows:
            yield self._batch_of(rows)

    def _batch_of(self, rows: Sequence[_Row]) -> Any:
        """One statement for them all. Its values are bytes as the protocol has them: binding each row would cost as much as the rest."""
        row = BoundStatement(self._mark)
        row.values = rows[0]
        if len(rows) == 1:
            return row
        batch = unlogged_batch()
        for values in rows:
            row.values = values
            batch.add(row)  # keeps the values; by those of the first it finds the replicas
        return batch


class BookmarkRows:
    """Cassandra as queries read bookmarks. Blocks."""

    def __init__(self, session: Session, settings: CassandraSettings, across_s: float = 0.0) -> None:
        """Prepares its statement; the schema is there. The session stays the caller's. across_s: as CellRows has it."""
        self._ways = across(session, across_s) if across_s else EXEC_PROFILE_DEFAULT
        self._session = session
        self._settings = settings
        with cassandra_errors(settings):
            self._shelf = prepared(session, f"SELECT title, mark FROM {settings.keyspace}.bookmarks WHERE account = ? AND profile = ?")

    def shelf(self, account: str, profile: str) -> dict[str, Mark]:
        """The profile's bookmarks by title, finished ones too; all that are kept. Raises ServerAway or StoreError."""
        with cassandra_errors(self._settings):
            rows = self._session.execute(self._shelf, (account, profile), execution_profile=self._ways)
            return {title: Mark.of(mark) for title, mark in rows}

    def every(self) -> Iterator[tuple[str, str, str, Mark]]:
        """All bookmarks: account, profile, title, mark. Reads the whole table, for the audit. Raises ServerAway or StoreError."""
        with cassandra_errors(self._settings):
            query = f"SELECT account, profile, title, mark FROM {self._settings.keyspace}.bookmarks"
            for account, profile, title, mark in self._session.execute(query, execution_profile=self._ways):
                yield account, profile, title, Mark.of(mark)
