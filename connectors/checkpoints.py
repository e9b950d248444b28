"""Checkpoints: the whole truth of a source at an offset, kept where any worker finds it.

Which store keeps them is told by the settings (checkpoint_store.py): Cassandra (cassandra_checkpoints.py), or a bucket, container or
directory (object_checkpoints.py). Here stands what any store owes, and what those two have in common: a payload is cut into pieces; the
manifest that names them is written after them, and a checkpoint counts only when every piece is there with its checksum. `stamp` is made of
the checksums, so two payloads that one writer wrote for one offset never mix.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from topologies.errors import CheckpointError
from topologies.sources import Source

KEPT: Final = 3


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
class Cut:
    """A payload in pieces, views of it: a piece is copied when it is sent, not all of them before."""

    pieces: Sequence[memoryview]
    checksums: Sequence[int]
    """CRC-32 of each."""
    size: int

    @classmethod
    def of(cls, payload: bytes, piece_bytes: int) -> Cut:
        """One piece at least. Takes some 0.3 ms a MiB."""
        whole = memoryview(payload)
        pieces = [whole[first : first + piece_bytes] for first in range(0, len(payload), piece_bytes)] or [whole]
        return cls(pieces, [zlib.crc32(piece) for piece in pieces], len(payload))

    @property
    def stamp(self) -> str:
        """Tells it from any other that one writer writes for one offset."""
        return stamp_of(self.size, self.checksums)


def stamp_of(size: int, checksums: Sequence[int]) -> str:
    """The stamp of a payload of so many bytes whose pieces have these checksums."""
    return hashlib.blake2b(struct.pack(f"<q{len(checksums)}I", size, *checksums), digest_size=8).hexdigest()


def forgotten_below(offsets: Iterable[int], written: int) -> int | None:
    """Below which offset checkpoints go, given all that there are and the one that was just written; None: none goes. That one never does,
    for newer ones may turn out to be damaged."""
    newest = sorted(set(offsets), reverse=True)
    return min(newest[KEPT - 1], written) if len(newest) > KEPT else None


class Named(Protocol):
    """What tells a written checkpoint of a source from any other. Hashable; equal means that nothing was written in between."""

    @property
    def offset(self) -> int: ...
    @property
    def writer(self) -> str: ...


One = TypeVar("One", bound=Named)


class PiecedCheckpoints(ABC, Generic[One]):
    """What reads them from a store that keeps manifests and pieces."""

    async def newest(self, source: Source) -> Checkpoint | None:
        """See CheckpointStore."""
        name = str(source)
        skipped: list[str] = []
        tried: set[One] = set()
        while True:
            left = [one for one in await self._written(name) if one not in tried]
            if not left:
                break
            one = left[0]
            tried.add(one)
            payload, fault = await self._payload(name, one)
            if fault is None:
                return Checkpoint(source, one.offset, one.writer, payload, tuple(skipped))
            if one in await self._written(name):  # else it was forgotten, or written anew, while it was read
                skipped.append(f"the checkpoint of {name} at offset {one.offset} by {one.writer} does not verify: {fault}")
        if skipped:
            raise CheckpointError(f"no checkpoint of {name} can be used: {'; '.join(skipped)}")
        return None

    @abstractmethod
    async def _written(self, source: str) -> Sequence[One]:
        """Those that have a manifest, newest offset first."""

    @abstractmethod
    async def _payload(self, source: str, one: One) -> tuple[bytes, str | None]:
        """The bytes of one of them, or b"" and what is wrong with them."""


def joined(pieces: Sequence[bytes | None], faults: Sequence[str], size: int) -> tuple[bytes, str | None]:
    """The payload of `size` bytes that these are, or b"" and the first thing that is wrong with it. faults: what is known already."""
    wrong = [*faults, *(f"piece {number} is missing" for number, piece in enumerate(pieces) if piece is None)]
    whole = b"".join(piece for piece in pieces if piece is not None)
    if not wrong and len(whole) != size:
        wrong.append(f"it has {len(whole)} bytes instead of {size}")
    return (b"", wrong[0]) if wrong else (whole, None)
