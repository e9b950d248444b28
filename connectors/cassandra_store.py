"""The writer of cells and statuses into Cassandra, from asyncio.

Measured with packs of 10 KB on a busy machine: 120-180 µs of client CPU a pack as single statements over protocol v4, 150-270 over v5.
Unlogged batches of four save up to half of it, but every pack is a Cassandra partition of its own: servers warn above 5 KiB a batch
and refuse above 50 KiB unless configured otherwise, and token awareness is lost. So: single statements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from cassandra.cluster import Session

from connectors.cassandra import BASE_US, cassandra_errors, prepared, unlogged_batch
from connectors.flight import executed
from topologies.flushes import Pack
from topologies.settings import CassandraSettings
from topologies.sources import Source, SourceStatus
from topologies.view import View

SCOPE: Final = "all"
PACK_COLUMNS: Final = ("window", "pack_ms", "bucket", "source", "upto", "pack")
_SOURCE: Final = ("scope", "source", "region", "topic", "topic_id", "part", "upto")
_COUNTS: Final = ("clock_ms", "watermark_ms", "received", "applied", "duplicate", "late", "dead")
STATUS_COLUMNS: Final = (*_SOURCE, *_COUNTS)


class CellStore:
    """Cassandra as a worker writes it. Flushes of several sources may run at once.

    Order of a flush at version O: `write_packs`, then `write_status`; a status says that the packs up to it are complete, of the tables
    that are counted so far.
    Every statement is idempotent and carries O: called again, or called by a worker that is behind, it changes nothing newer.
    Methods raise ServerAway or StoreError; then some packs may be stored, and the flush is to be repeated with the same or a newer O.
    """

    def __init__(self, session: Session, settings: CassandraSettings, views: Sequence[View]) -> None:
        """Prepares its statements, which blocks; the schema is there (ensure_schema). The session stays the caller's."""
        self._session = session
        self._settings = settings
        self._spans: set[tuple[str, int, str, int]] = set()
        with cassandra_errors(settings):
            self._pack = {view.table: self._prepare(view.table, PACK_COLUMNS) for view in views}
            self._counted = self._prepare("counted", ("scope", "source", "view_table", "upto"))
            self._span = self._prepare("spans", ("view_name", "logic", "window", "pack_ms"))
            self._status = self._prepare("sources", STATUS_COLUMNS)

    def _prepare(self, table: str, columns: tuple[str, ...]) -> Any:
        places = ", ".join("?" * len(columns))
        text = f"INSERT INTO {self._settings.keyspace}.{table} ({', '.join(columns)}) VALUES ({places}) USING TIMESTAMP ?"
        return prepared(self._session, text)

    async def write_packs(self, source: Source, version: int, packs: Sequence[Pack]) -> None:
        """Stores the packs as the source's at `version`, each whole; an emptied one with an empty blob."""
        spans = {(pack.view.name, pack.view.logic_version, pack.window.name, pack.pack_ms) for pack in packs} - self._spans
        if spans:
            await executed(self._session, self._settings, [self._span.bind((*span, BASE_US)) for span in sorted(spans)])
            self._spans |= spans
        await executed(self._session, self._settings, self._bound(str(source), version, packs))

    def _bound(self, source: str, version: int, packs: Sequence[Pack]) -> Iterator[Any]:
        at_us = BASE_US + version
        for pack in packs:
            yield self._pack[pack.view.table].bind((pack.window.name, pack.pack_ms, pack.bucket, source, version, pack.blob, at_us))

    async def write_status(self, status: SourceStatus) -> None:
        """Says that all packs of the source up to `status.offset` are stored."""
        source = status.source
        values = (SCOPE, str(source), source.region, source.topic, source.topic_id, source.partition, status.offset)
        counts = (status.clock_ms, status.watermark_ms, status.received, status.applied, status.duplicate, status.late, status.dead)
        # first: whoever reads a status, and what is counted after it, finds no table behind that is not
        await executed(self._session, self._settings, [self._all_counted(str(source), status.offset)])
        await executed(self._session, self._settings, [self._status.bind((*values, *counts, BASE_US + status.offset))])

    def _all_counted(self, source: str, offset: int) -> Any:
        """One statement: the rows share their partition."""
        batch = unlogged_batch()
        for table in self._pack:
            batch.add(self._counted.bind((SCOPE, source, table, offset, BASE_US + offset)))
        return batch
