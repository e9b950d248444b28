"""Checkpoints in a bucket, a container or a directory (objects.py).

    {prefix}/checkpoints/{keyspace}/{source}/{offset}/{writer}/manifest         JSON, written after the pieces: source, offset, writer,
                                                                               size in bytes, checksums: CRC-32 of each piece
    {prefix}/checkpoints/{keyspace}/{source}/{offset}/{writer}/{stamp}/{piece}  the payload's bytes, PIECE_BYTES of them but for the last

offset: 20 digits; piece: 5; source and writer as object_url.segment writes them. The keyspace is Cassandra's: who has another one (an
edition, a benchmark) has other checkpoints.

Nobody writes a key of somebody else's: a writer that is behind, of whatever offset, changes nothing of a newer checkpoint. So no put is
conditional; one that is done again puts the same bytes, or, of a manifest, those of another whole payload (decision 0070). What is
forgotten is what stands below the third newest offset that has a manifest: manifests first, then pieces, those too that never got one.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from connectors.checkpoints import Cut, PiecedCheckpoints, forgotten_below, joined, stamp_of
from connectors.object_url import segment, text_of
from connectors.objects import Objects, bounded
from topologies.sources import Source

PIECE_BYTES: Final = 8 * 1024 * 1024
"""A request's worth: a state of 100 MiB is 13 of them, tried again one by one, IN_FLIGHT under way."""
_MANIFEST: Final = re.compile(r"/(\d{20})/([^/]+)/manifest$")
_OFFSET: Final = re.compile(r"\d{20}")


class _Manifest(msgspec.Struct, frozen=True):
    source: str
    offset: int
    writer: str
    size: int
    checksums: tuple[int, ...]

    @property
    def stamp(self) -> str:
        return stamp_of(self.size, self.checksums)


@dataclass(frozen=True)
class _Written:
    """A manifest that is listed. e_tag: of these bytes of it."""

    offset: int
    writer: str
    e_tag: str


class ObjectCheckpoints(PiecedCheckpoints[_Written]):
    """CheckpointStore among objects."""

    def __init__(self, objects: Objects, keyspace: str, piece_bytes: int = PIECE_BYTES) -> None:
        self._objects = objects
        self._keyspace = keyspace
        self._piece_bytes = piece_bytes

    async def write(self, source: Source, offset: int, writer: str, payload: bytes) -> None:
        """See CheckpointStore."""
        name = str(source)
        cut = await asyncio.to_thread(Cut.of, payload, self._piece_bytes)
        manifest = _Manifest(name, offset, writer, cut.size, tuple(cut.checksums))
        folder = self._folder(name, offset, writer)
        await bounded(self._objects.put(f"{folder}/{_piece(cut.stamp, number)}", piece) for number, piece in enumerate(cut.pieces))
        await self._objects.put(f"{folder}/manifest", msgspec.json.encode(manifest))
        await self._forget_old(name, offset)

    async def offsets(self, sources: Iterable[str]) -> dict[str, int]:
        """Of each of these sources that ever had a checkpoint, the offset of the newest, whether it verifies or not. Raises as `newest`."""
        newest = {source: next(iter(await self._written(source)), None) for source in sources}
        return {source: one.offset for source, one in newest.items() if one is not None}

    async def _forget_old(self, source: str, written: int) -> None:
        below = self._below(source)
        keys = [one.key for one in await self._objects.listed(below)]
        oldest = forgotten_below((int(found[1]) for key in keys if (found := _MANIFEST.search(key))), written)
        if oldest is None:
            return

        def is_stale(offset: str) -> bool:
            return _OFFSET.fullmatch(offset) is not None and int(offset) < oldest

        stale = [key for key in keys if is_stale(key.removeprefix(f"{below}/").partition("/")[0])]
        await self._objects.delete([key for key in stale if _MANIFEST.search(key)])
        await self._objects.delete([key for key in stale if not _MANIFEST.search(key)])
        await self._objects.sweep(below, is_stale)

    async def _written(self, source: str) -> list[_Written]:
        listed = await self._objects.listed(self._below(source))
        found = [_Written(int(match[1]), text_of(match[2]), one.e_tag) for one in listed if (match := _MANIFEST.search(one.key))]
        return sorted(found, key=lambda one: (-one.offset, one.writer))

    async def _payload(self, source: str, one: _Written) -> tuple[bytes, str | None]:
        folder = self._folder(source, one.offset, one.writer)
        told = await self._objects.get(f"{folder}/manifest")
        try:
            manifest = msgspec.json.decode(told or b"", type=_Manifest)
        except msgspec.MsgspecError as error:
            return b"", f"its manifest cannot be read ({error})"
        if (manifest.source, manifest.offset, manifest.writer) != (source, one.offset, one.writer):
            return b"", f"its manifest is that of {manifest.source} at offset {manifest.offset} by {manifest.writer}"
        pieces: list[bytes | None] = [None] * len(manifest.checksums)
        faults: list[str] = []

        async def get(number: int, checksum: int) -> None:
            piece = pieces[number] = await self._objects.get(f"{folder}/{_piece(manifest.stamp, number)}")
            if piece is not None and await asyncio.to_thread(zlib.crc32, piece) != checksum:
                faults.append(f"piece {number} is corrupted")

        await bounded(get(number, checksum) for number, checksum in enumerate(manifest.checksums))
        return await asyncio.to_thread(joined, pieces, faults, manifest.size)

    def _below(self, source: str) -> str:
        return f"checkpoints/{self._keyspace}/{segment(source)}"

    def _folder(self, source: str, offset: int, writer: str) -> str:
        return f"{self._below(source)}/{offset:020d}/{segment(writer)}"


def _piece(stamp: str, number: int) -> str:
    return f"{stamp}/{number:05d}"


class RuntimeCpu:
    """CPU of the threads in which obstore works, whoever it works for; of those that ended as it was when they were last looked at."""

    def __init__(self) -> None:
        self._spent_ns: dict[str, int] = {}

    def __call__(self) -> float:
        """Seconds so far, of the whole process."""
        for task in Path("/proc/self/task").iterdir():
            try:
                if (task / "comm").read_text() == "tokio-rt-worker\n":
                    self._spent_ns[task.name] = int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended while we looked
        return sum(self._spent_ns.values()) / 1e9
