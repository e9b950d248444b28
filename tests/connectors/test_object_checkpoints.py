"""Checkpoints in S3, in Azure Blob Storage and in a directory keep what every store of checkpoints owes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from connectors.checkpoints import stamp_of
from connectors.object_checkpoints import PIECE_BYTES as WHOLE_PIECE_BYTES
from connectors.object_checkpoints import ObjectCheckpoints, RuntimeCpu
from connectors.object_url import segment
from connectors.objects import Objects
from tests.connectors.checkpoint_conformance import HERE, PIECE_BYTES, CheckpointConformance, Damage, payload
from tests.object_servers import ObjectServer
from topologies.sources import Source

TIMEOUT_S = 60.0


class ObjectConformance(CheckpointConformance):
    """What those owe that keep objects; a subclass gives the `url`, which has nothing below it."""

    @pytest.fixture
    def objects(self, url: str) -> Objects:
        return Objects(url, TIMEOUT_S)

    @pytest.fixture
    def store(self, objects: Objects) -> ObjectCheckpoints:
        return ObjectCheckpoints(objects, "marquee", PIECE_BYTES)

    @pytest.fixture
    def reopened(self, url: str) -> Callable[[], ObjectCheckpoints]:
        return lambda: ObjectCheckpoints(Objects(url, TIMEOUT_S), "marquee", PIECE_BYTES)

    @pytest.fixture
    def damage(self, url: str) -> Damage:
        async def spoil(source: Source, offset: int, writer: str, how: str) -> None:
            objects = Objects(url, TIMEOUT_S)
            folder = f"checkpoints/marquee/{segment(str(source))}/{offset:020d}/{segment(writer)}"
            told = msgspec.json.decode(await objects.get(f"{folder}/manifest") or b"")
            piece = f"{folder}/{stamp_of(told['size'], told['checksums'])}/00000"
            data = await objects.get(piece)
            if how == "lost":
                await objects.delete([piece])
            elif data is not None:  # else it is lost already
                await objects.put(piece, {"flipped": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:-1]}[how])

        def at_once(source: Source, offset: int, writer: str, how: str) -> None:
            """In a loop of its own, in another thread: the tests' one is running."""
            with ThreadPoolExecutor(1) as aside:
                aside.submit(asyncio.run, spoil(source, offset, writer, how)).result()

        return at_once

    async def test_what_is_forgotten_leaves_no_objects_nor_does_what_was_never_finished(
        self, store: ObjectCheckpoints, objects: Objects
    ) -> None:
        below = f"checkpoints/marquee/{segment(str(HERE))}"
        await objects.put(f"{below}/{15:020d}/killed/0011223344556677/00000", b"of a writer that ended before its manifest")
        for offset in range(10, 70, 10):
            await store.write(HERE, offset, "w", payload(offset, 1000))
        left = {one.key.removeprefix(f"{below}/").split("/")[0] for one in await objects.listed(below)}
        assert left == {f"{offset:020d}" for offset in (40, 50, 60)}

    async def test_what_killed_writers_left_does_not_count_among_the_three(self, store: ObjectCheckpoints, objects: Objects) -> None:
        await store.write(HERE, 10, "w", payload(10, 1000))
        for offset in (20, 30, 40, 50):
            await objects.put(f"checkpoints/marquee/{segment(str(HERE))}/{offset:020d}/killed/0011223344556677/00000", b"half")
        await store.write(HERE, 60, "w", payload(60, 1000))
        await objects.delete([one.key for one in await objects.listed("checkpoints") if f"/{60:020d}/" in one.key])
        found = await store.newest(HERE)
        assert found is not None
        assert (found.offset, found.skipped) == (10, ())

    async def test_a_manifest_that_is_no_manifest_or_anothers_is_skipped_and_reported(
        self, store: ObjectCheckpoints, objects: Objects
    ) -> None:
        for offset in (10, 20, 30):
            await store.write(HERE, offset, "w", payload(offset, 1000))
        below = f"checkpoints/marquee/{segment(str(HERE))}"
        strange = await objects.get(f"{below}/{10:020d}/w/manifest")
        assert strange is not None
        await objects.put(f"{below}/{20:020d}/w/manifest", strange)
        await objects.put(f"{below}/{30:020d}/w/manifest", b'{"half": ')
        found = await store.newest(HERE)
        assert found is not None
        assert found.offset == 10
        assert ["cannot be read" in found.skipped[0], "is that of" in found.skipped[1]] == [True, True]

    async def test_another_keyspace_has_other_checkpoints(self, store: ObjectCheckpoints, objects: Objects) -> None:
        await store.write(HERE, 10, "w", payload(1, 1000))
        assert await ObjectCheckpoints(objects, "marquee_fix").newest(HERE) is None
        assert await ObjectCheckpoints(objects, "marquee").offsets([str(HERE), "other:AAAAAAAAAAAAAAAAAAAAAA:0"]) == {str(HERE): 10}

    async def test_a_payload_of_several_whole_pieces_comes_back(self, objects: Objects) -> None:
        store, whole = ObjectCheckpoints(objects, "marquee"), payload(5, 2 * WHOLE_PIECE_BYTES + 3)
        await store.write(HERE, 10, "w", whole)
        found = await store.newest(HERE)
        assert found is not None
        assert found.payload == whole


class TestCheckpointsInS3(ObjectConformance):
    @pytest.fixture
    def url(self, s3: ObjectServer) -> str:
        return s3.new("some/prefix")


class TestCheckpointsInAzure(ObjectConformance):
    @pytest.fixture
    def url(self, azure: ObjectServer) -> str:
        return azure.new("some/prefix")


class TestCheckpointsInADirectory(ObjectConformance):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}"

    async def test_the_cpu_of_the_threads_that_write_is_counted(self, store: ObjectCheckpoints) -> None:
        """Of the checkpoints' share; it only ever grows, though such threads end when there is nothing to do."""
        spent_s, before_s = RuntimeCpu(), time.process_time()
        begun_s = spent_s()
        for offset in range(3):
            await store.write(HERE, offset, "w", payload(offset, 20 * PIECE_BYTES))
        assert 0 < spent_s() - begun_s < time.process_time() - before_s

    async def test_what_a_killed_writer_had_begun_goes_with_what_is_forgotten(self, store: ObjectCheckpoints, tmp_path: Path) -> None:
        """A file that is not renamed yet is listed by nobody."""
        begun = tmp_path / "checkpoints" / "marquee" / segment(str(HERE)) / f"{15:020d}" / "killed" / "0011223344556677" / "00000#1"
        begun.parent.mkdir(parents=True)
        begun.write_bytes(b"half of a piece")
        for offset in (10, 20, 30):
            await store.write(HERE, offset, "w", payload(offset, 100))
        assert begun.exists()
        await store.write(HERE, 40, "w", payload(40, 100))
        assert not begun.exists()
        assert sorted(each.name for each in begun.parents[3].iterdir()) == [f"{offset:020d}" for offset in (20, 30, 40)]
