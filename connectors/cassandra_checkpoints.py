"""Checkpoints in Cassandra. The tables are drawn in connectors/cassandra.py."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from cassandra.cluster import Session

from connectors.cassandra import cassandra_errors, prepared
from connectors.checkpoints import Cut, PiecedCheckpoints, forgotten_below, joined
from connectors.flight import executed
from topologies.settings import CassandraSettings
from topologies.sources import Source

PIECE_BYTES: Final = 512 * 1024
SHARDS: Final = 16
_PIECES_IN_FLIGHT: Final = 8


@dataclass(frozen=True)
class _Manifest:
    offset: int
    writer: str
    stamp: str
    pieces: int
    size: int


def offsets_of(session: Session, settings: CassandraSettings, sources: Iterable[str]) -> dict[str, int]:
    """Of each of these sources that ever had a checkpoint, the offset of the newest, whether it verifies or not. Blocks.

    Raises ServerAway or StoreError.
    """
    with cassandra_errors(settings):
        newest = f"SELECT upto FROM {settings.keyspace}.checkpoints WHERE source = %s LIMIT 1"
        found = {source: session.execute(newest, (source,)).one() for source in sources}
    return {source: int(row[0]) for source, row in found.items() if row is not None}


class CassandraCheckpoints(PiecedCheckpoints[_Manifest]):
    """CheckpointStore in Cassandra."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        """Prepares its statements, which blocks; the schema is there (ensure_schema). The session stays the caller's."""
        self._session = session
        self._settings = settings
        manifests, pieces = f"{settings.keyspace}.checkpoints", f"{settings.keyspace}.checkpoint_pieces"
        with cassandra_errors(settings):
            self._write = prepared(
                session, f"INSERT INTO {manifests} (source, upto, writer, stamp, pieces, size) VALUES (?, ?, ?, ?, ?, ?)"
            )
            columns = "(source, shard, upto, writer, stamp, piece, checksum, data)"
            self._write_piece = prepared(session, f"INSERT INTO {pieces} {columns} VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
            self._list = prepared(session, f"SELECT upto, writer, stamp, pieces, size FROM {manifests} WHERE source = ?")
            where = "source = ? AND shard = ? AND upto = ? AND writer = ? AND stamp = ? AND piece = ?"
            self._read_piece = prepared(session, f"SELECT checksum, data FROM {pieces} WHERE {where}")
            self._forget = prepared(session, f"DELETE FROM {manifests} WHERE source = ? AND upto < ?")
            self._forget_pieces = prepared(session, f"DELETE FROM {pieces} WHERE source = ? AND shard = ? AND upto < ?")

    async def write(self, source: Source, offset: int, writer: str, payload: bytes) -> None:
        """See CheckpointStore."""
        name = str(source)
        cut = await asyncio.to_thread(Cut.of, payload, PIECE_BYTES)
        stamp = cut.stamp
        rows = (
            self._write_piece.bind((name, number % SHARDS, offset, writer, stamp, number, cut.checksums[number], piece))
            for number, piece in enumerate(cut.pieces)
        )
        await executed(self._session, self._settings, rows, in_flight=_PIECES_IN_FLIGHT)
        await executed(self._session, self._settings, [self._write.bind((name, offset, writer, stamp, len(cut.pieces), cut.size))])
        await self._forget_old(name, offset)

    async def _forget_old(self, source: str, written: int) -> None:
        oldest = forgotten_below((manifest.offset for manifest in await self._written(source)), written)
        if oldest is None:
            return
        await executed(self._session, self._settings, [self._forget.bind((source, oldest))])
        await executed(self._session, self._settings, [self._forget_pieces.bind((source, shard, oldest)) for shard in range(SHARDS)])

    async def _written(self, source: str) -> list[_Manifest]:
        rows: list[Any] = []
        await executed(self._session, self._settings, [self._list.bind((source,))], take=lambda _, page: rows.extend(page))
        return [_Manifest(*row) for row in rows]

    async def _payload(self, source: str, one: _Manifest) -> tuple[bytes, str | None]:
        pieces: list[bytes | None] = [None] * one.pieces
        faults: list[str] = []

        def take(number: int, rows: Any) -> None:
            for checksum, data in rows:
                if zlib.crc32(data) != checksum:
                    faults.append(f"piece {number} is corrupted")
                pieces[number] = data

        queries = (
            self._read_piece.bind((source, number % SHARDS, one.offset, one.writer, one.stamp, number)) for number in range(one.pieces)
        )
        await executed(self._session, self._settings, queries, in_flight=_PIECES_IN_FLIGHT, take=take)
        return joined(pieces, faults, one.size)
