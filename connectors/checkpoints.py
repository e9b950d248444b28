"""Checkpoints: the whole truth of a source at an offset, kept where any worker finds it.

The tables are drawn in connectors/cassandra.py. A payload is cut into pieces; the manifest that names them is written after them, and
a checkpoint counts only when every piece is there with its checksum. `stamp` is made of the checksums, so two payloads that one
writer wrote for one offset never mix.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cassandra.cluster import Session

from connectors.cassandra import cassandra_errors, prepared
from connectors.flight import executed
from topologies.errors import CheckpointError
from topologies.settings import CassandraSettings
from topologies.sources import Source

PIECE_BYTES: Final = 512 * 1024
SHARDS: Final = 16
KEPT: Final = 3
_PIECES_IN_FLIGHT: Final = 8


@dataclass(frozen=True)
class Checkpoint:
    """One that verified. `skipped` says, a sentence each, which newer ones did not and why."""

    source: Source
    offset: int
    writer: str
    payload: bytes
    skipped: tuple[str, ...] = ()


class CheckpointStore(Protocol):
    """Where checkpoints are kept. Called by a partition's owner, and by one that no longer knows that it is not the owner.

    Any number of writers may write at once, for the same source and offset too: each one's checkpoint is whole or does not count, and
    nothing a writer that is behind does makes a newer one vanish. A writer may end at any moment: what it leaves counts as nothing, is told
    of to nobody, and goes with the next that are forgotten. Sources are told apart by their text, whatever characters it has; a writer's
    name is any text; a payload is any bytes, none too. Does not block the event loop. tests/connectors/checkpoint_conformance.py holds
    every store to this.
    """

    async def write(self, source: Source, offset: int, writer: str, payload: bytes) -> None:
        """Returns when the checkpoint is durable; writing it again changes nothing, or makes it whole where it was damaged. The three
        newest offsets are kept, by whoever, older ones go.

        Raises ServerAway or StoreError; then it is not there, or is there whole.
        """

    async def newest(self, source: Source) -> Checkpoint | None:
        """The one of the greatest offset that verifies; None if there has never been one.

        Raises CheckpointError, naming each, when there are some and none verifies; ServerAway or StoreError when it cannot be known.
        """


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


class CassandraCheckpoints:
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
        whole = memoryview(payload)  # a piece is copied when it is sent, not all of them before
        cut = [whole[first : first + PIECE_BYTES] for first in range(0, len(payload), PIECE_BYTES)] or [whole]
        checksums = await asyncio.to_thread(lambda: [zlib.crc32(piece) for piece in cut])
        stamp = hashlib.blake2b(struct.pack(f"<q{len(cut)}I", len(payload), *checksums), digest_size=8).hexdigest()
        rows = (
            self._write_piece.bind((name, number % SHARDS, offset, writer, stamp, number, checksums[number], piece))
            for number, piece in enumerate(cut)
        )
        await executed(self._session, self._settings, rows, in_flight=_PIECES_IN_FLIGHT)
        await executed(self._session, self._settings, [self._write.bind((name, offset, writer, stamp, len(cut), len(payload)))])
        await self._forget_old(name, offset)

    async def _forget_old(self, source: str, written: int) -> None:
        """Keep the newest; never forget what was just written, for newer ones may turn out to be damaged."""
        offsets = sorted({manifest.offset for manifest in await self._manifests(source)}, reverse=True)
        if len(offsets) <= KEPT:
            return
        oldest = min(offsets[KEPT - 1], written)
        await executed(self._session, self._settings, [self._forget.bind((source, oldest))])
        await executed(self._session, self._settings, [self._forget_pieces.bind((source, shard, oldest)) for shard in range(SHARDS)])

    async def newest(self, source: Source) -> Checkpoint | None:
        """See CheckpointStore."""
        name = str(source)
        skipped: list[str] = []
        tried: set[_Manifest] = set()
        while True:
            left = [manifest for manifest in await self._manifests(name) if manifest not in tried]
            if not left:
                break
            manifest = left[0]
            tried.add(manifest)
            payload, fault = await self._payload(name, manifest)
            if fault is None:
                return Checkpoint(source, manifest.offset, manifest.writer, payload, tuple(skipped))
            if manifest in await self._manifests(name):  # else it was forgotten while it was read
                skipped.append(f"the checkpoint of {name} at offset {manifest.offset} by {manifest.writer} does not verify: {fault}")
        if skipped:
            raise CheckpointError(f"no checkpoint of {name} can be used: {'; '.join(skipped)}")
        return None

    async def _manifests(self, source: str) -> list[_Manifest]:
        """Newest offset first."""
        rows: list[Any] = []
        await executed(self._session, self._settings, [self._list.bind((source,))], take=lambda _, page: rows.extend(page))
        return [_Manifest(*row) for row in rows]

    async def _payload(self, source: str, manifest: _Manifest) -> tuple[bytes, str | None]:
        """The bytes, or b"" and what is wrong with them."""
        pieces: list[bytes | None] = [None] * manifest.pieces
        faults: list[str] = []

        def take(number: int, rows: Any) -> None:
            for checksum, data in rows:
                if zlib.crc32(data) != checksum:
                    faults.append(f"piece {number} is corrupted")
                pieces[number] = data

        queries = (
            self._read_piece.bind((source, number % SHARDS, manifest.offset, manifest.writer, manifest.stamp, number))
            for number in range(manifest.pieces)
        )
        await executed(self._session, self._settings, queries, in_flight=_PIECES_IN_FLIGHT, take=take)
        faults += [f"piece {number} is missing" for number, piece in enumerate(pieces) if piece is None]
        whole = b"".join(piece for piece in pieces if piece is not None)
        if not faults and len(whole) != manifest.size:
            faults.append(f"it has {len(whole)} bytes instead of {manifest.size}")
        return (b"", faults[0]) if faults else (whole, None)
