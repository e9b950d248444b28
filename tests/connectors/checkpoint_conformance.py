"""What every CheckpointStore owes (connectors/checkpoints.py), as tests: subclass it and give it a `store` and a `damage`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from connectors.checkpoints import PIECE_BYTES, CheckpointStore
from topologies.errors import CheckpointError
from topologies.sources import Source

Damage = Callable[[Source, int, str], None]
"""damage(source, offset, writer) spoils a stored checkpoint's bytes behind the store's back."""

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

    async def test_a_corrupted_one_is_skipped_and_reported(self, store: CheckpointStore, damage: Damage) -> None:
        for offset in (10, 20, 30):
            await store.write(HERE, offset, "w", payload(offset, 3 * PIECE_BYTES))
        damage(HERE, 30, "w")
        found = await store.newest(HERE)
        assert found is not None
        assert (found.offset, found.payload) == (20, payload(20, 3 * PIECE_BYTES))
        (sentence,) = found.skipped
        assert "offset 30" in sentence

    async def test_when_none_verifies_it_is_an_error_that_names_each(self, store: CheckpointStore, damage: Damage) -> None:
        for offset in (10, 20):
            await store.write(HERE, offset, "w", payload(offset, 1000))
            damage(HERE, offset, "w")
        with pytest.raises(CheckpointError, match=r"offset 20 .*offset 10 "):
            await store.newest(HERE)

    async def test_three_offsets_are_kept(self, store: CheckpointStore, damage: Damage) -> None:
        for offset in (10, 20, 30, 40, 50):
            await store.write(HERE, offset, "w", payload(offset, 100))
        for offset in (50, 40):
            damage(HERE, offset, "w")
        found = await store.newest(HERE)
        assert found is not None
        assert found.offset == 30
        damage(HERE, 30, "w")
        with pytest.raises(CheckpointError) as raised:
            await store.newest(HERE)
        assert "offset 20" not in str(raised.value)

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
