"""What every CheckpointStore owes (connectors/checkpoints.py), as tests: subclass it and give it a `store` of pieces of PIECE_BYTES, a
`damage`, and with `reopened` the store as another process finds it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from connectors.checkpoints import CheckpointStore
from topologies.errors import CheckpointError
from topologies.sources import Source

Damage = Callable[[Source, int, str, str], None]
"""damage(source, offset, writer, how) spoils what is stored of a checkpoint, behind the store's back: a bit of a piece is "flipped", a
piece is "cut" short, or a piece is "lost"."""
PIECE_BYTES = 512 * 1024
HOWS = ("flipped", "cut", "lost")

HERE = Source("local", "viewing-events", "AAAAAAAAAAAAAAAAAAAA-_", 0)
THERE = Source("local", "viewing-events", "AAAAAAAAAAAAAAAAAAAA-_", 1)


def payload(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


class CheckpointConformance:
    async def test_nothing_written_is_nothing_found(self, store: CheckpointStore) -> None:
        assert await store.newest(HERE) is None

    @pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 20 * PIECE_BYTES + 7])
    async def test_a_payload_of_any_size_comes_back(self, store: CheckpointStore, size: int) -> None:
        await store.write(HERE, 10, "w", payload(1, size))
        found = await store.newest(HERE)
        assert found is not None
        assert (found.source, found.offset, found.writer, found.skipped) == (HERE, 10, "w", ())
        assert found.payload == payload(1, size)
        assert await store.newest(THERE) is None

    async def test_the_greatest_offset_is_found_whatever_the_order_of_writing(self, store: CheckpointStore) -> None:
        for offset in (20, 40, 30):
            await store.write(HERE, offset, "w", payload(offset, 100))
        found = await store.newest(HERE)
        assert found is not None
        assert (found.offset, found.payload) == (40, payload(40, 100))

    @pytest.mark.parametrize("how", HOWS)
    async def test_a_damaged_one_is_skipped_and_reported(self, store: CheckpointStore, damage: Damage, how: str) -> None:
        for offset in (10, 20, 30):
            await store.write(HERE, offset, "w", payload(offset, 3 * PIECE_BYTES))
        damage(HERE, 30, "w", how)
        found = await store.newest(HERE)
        assert found is not None
        assert (found.offset, found.payload) == (20, payload(20, 3 * PIECE_BYTES))
        (sentence,) = found.skipped
        assert "offset 30" in sentence

    async def test_when_none_verifies_it_is_an_error_that_names_each(self, store: CheckpointStore, damage: Damage) -> None:
        for offset, how in ((10, "cut"), (20, "lost")):
            await store.write(HERE, offset, "w", payload(offset, 1000))
            damage(HERE, offset, "w", how)
        with pytest.raises(CheckpointError, match=r"offset 20 .*offset 10 "):
            await store.newest(HERE)

    @pytest.mark.parametrize("last", [40, 50])
    async def test_three_offsets_are_kept(self, store: CheckpointStore, damage: Damage, last: int) -> None:
        for offset in range(10, last + 10, 10):
            await store.write(HERE, offset, "w", payload(offset, 100))
        for offset in (last, last - 10):
            damage(HERE, offset, "w", "flipped")
        found = await store.newest(HERE)
        assert found is not None
        assert found.offset == last - 20
        damage(HERE, last - 20, "w", "flipped")
        with pytest.raises(CheckpointError) as raised:
            await store.newest(HERE)
        assert f"offset {last - 30}" not in str(raised.value)

    async def test_a_writer_that_is_behind_harms_nothing(self, store: CheckpointStore) -> None:
        for offset in (100, 200, 300):
            await store.write(HERE, offset, "owner", payload(offset, 1000))
        await store.write(HERE, 50, "zombie", payload(50, 1000))
        found = await store.newest(HERE)
        assert found is not None
        assert (found.offset, found.writer, found.payload) == (300, "owner", payload(300, 1000))

    async def test_two_writers_of_one_offset_do_not_mix(self, store: CheckpointStore) -> None:
        sizes = {"a": 5 * PIECE_BYTES, "b": 4 * PIECE_BYTES + 9}
        await asyncio.gather(*(store.write(HERE, 10, writer, payload(ord(writer), size)) for writer, size in sizes.items()))
        found = await store.newest(HERE)
        assert found is not None
        assert found.payload == payload(ord(found.writer), sizes[found.writer])

    async def test_writing_again_changes_nothing_and_other_bytes_replace_it_whole(self, store: CheckpointStore) -> None:
        for seed, size in ((1, 3 * PIECE_BYTES), (1, 3 * PIECE_BYTES), (2, PIECE_BYTES)):
            await store.write(HERE, 10, "w", payload(seed, size))
        found = await store.newest(HERE)
        assert found is not None
        assert found.payload == payload(2, PIECE_BYTES)
        assert found.skipped == ()

    async def test_a_damaged_one_is_made_whole_by_writing_it_again(self, store: CheckpointStore, damage: Damage) -> None:
        await store.write(HERE, 10, "w", payload(1, 2 * PIECE_BYTES))
        for how in HOWS:
            damage(HERE, 10, "w", how)
            await store.write(HERE, 10, "w", payload(1, 2 * PIECE_BYTES))
            found = await store.newest(HERE)
            assert found is not None
            assert (found.payload, found.skipped) == (payload(1, 2 * PIECE_BYTES), ())

    async def test_a_writer_that_ends_half_way_leaves_the_older_one(self, store: CheckpointStore) -> None:
        """Cancelled at every stage of its writing: what is found is the older one or the newer, whole, and no fault is told of."""
        await store.write(HERE, 10, "w", payload(1, PIECE_BYTES))
        found_at: list[int] = []
        for attempt in range(9):
            writing = asyncio.create_task(store.write(HERE, 20 + attempt, "killed", payload(20 + attempt, 12 * PIECE_BYTES)))
            for _ in range(attempt * attempt):  # steps of the event loop; each attempt comes further
                await asyncio.sleep(0.0005)
            writing.cancel()
            await asyncio.wait([writing])
            found = await store.newest(HERE)
            assert found is not None
            assert found.skipped == ()
            size, seed = (PIECE_BYTES, 1) if found.offset == 10 else (12 * PIECE_BYTES, found.offset)
            assert found.payload == payload(seed, size)
            found_at.append(found.offset)
        assert found_at == sorted(found_at)
        await store.write(HERE, 100, "w", payload(100, 1000))
        last = await store.newest(HERE)
        assert last is not None
        assert (last.offset, last.payload) == (100, payload(100, 1000))

    async def test_who_reads_while_others_write_and_forget_never_goes_back_nor_finds_a_fault(
        self, store: CheckpointStore, reopened: Callable[[], CheckpointStore]
    ) -> None:
        async def write(writer: str, offsets: range) -> None:
            for offset in offsets:
                await store.write(HERE, offset, writer, payload(offset, 2 * PIECE_BYTES))

        await write("owner", range(1, 2))
        reader, seen = reopened(), 0
        writing = asyncio.gather(write("owner", range(2, 15)), write("zombie", range(1, 8)))
        while not writing.done():
            found = await reader.newest(HERE)
            assert found is not None
            assert found.skipped == ()
            assert found.offset >= seen
            assert found.payload == payload(found.offset, 2 * PIECE_BYTES)
            seen = found.offset
        await writing
        last = await reader.newest(HERE)
        assert last is not None
        assert last.offset == 14

    async def test_sources_are_told_apart_whatever_they_are_called(
        self, store: CheckpointStore, reopened: Callable[[], CheckpointStore]
    ) -> None:
        """Names that are prefixes of others, that differ by case, that a path or a URL would read otherwise."""
        regions = ("eu", "EU", "eu/west", "eu%2Fwest", "eu west", "eu:west", "../eu", "", ".", "eü", "eu\\west", "e*", "eu'")
        sources = [Source(region, "t", "-_AAAAAAAAAAAAAAAAAAA-", 1) for region in regions]
        sources += [Source("eu", "t", "-_AAAAAAAAAAAAAAAAAAA-", partition) for partition in (0, 10, 11, 100)]
        for number, source in enumerate(sources):
            await store.write(source, 5, "w", payload(number, 100 + number))
        for number, source in enumerate(sources):
            found = await reopened().newest(source)
            assert found is not None
            assert (found.source, found.payload) == (source, payload(number, 100 + number))

    async def test_offsets_are_numbers_and_writers_any_text(self, store: CheckpointStore) -> None:
        writers = ("host-1", 'Über:host/7 "x" {%s}', "..")
        for offset, writer in zip((9, 10, 2**40), writers, strict=True):
            await store.write(HERE, offset, writer, payload(offset % 97, 50))
            found = await store.newest(HERE)
            assert found is not None
            assert (found.offset, found.writer) == (offset, writer)

    async def test_writers_of_one_offset_count_as_one_of_the_three(self, store: CheckpointStore, damage: Damage) -> None:
        for offset in (10, 20, 30):
            for writer in ("a", "b", "c"):
                await store.write(HERE, offset, writer, payload(offset, 60))
        for offset in (30, 20):
            for writer in ("a", "b", "c"):
                damage(HERE, offset, writer, "flipped")
        found = await store.newest(HERE)
        assert found is not None
        assert (found.offset, found.payload, len(found.skipped)) == (10, payload(10, 60), 6)
