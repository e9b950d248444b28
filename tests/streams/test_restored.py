"""What a partition begins with: its checkpoint, the log's start, or a clear refusal; and that what is lost is noted."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
import pytest

from connectors.checkpoints import Checkpoint
from connectors.source_notes import Gap, Loss
from streams.partition import FOREIGN
from streams.restoring import Restored, restored
from topologies.errors import CheckpointError
from topologies.fold import PartitionState, RecordBlock
from topologies.sources import Source
from topologies.state_codec import dump_state, pack_state
from topologies.view import View
from topologies.views import every_part
from topologies.watch_time import WATCH_TIME

SOURCE = Source("eu", "viewing-events", "A" * 22, 3)
NOW = every_part()
RECACHED = tuple(dataclasses.replace(view, leaderboard=None) for view in NOW)
OTHERS = (*NOW[:-1], dataclasses.replace(WATCH_TIME, logic_version=2))
NOTHING = np.zeros(0, dtype=np.int64)


class Kept:
    """A store that holds this one checkpoint, or only damaged ones."""

    def __init__(self, checkpoint: Checkpoint | None = None, damaged: str = "") -> None:
        self.checkpoint = checkpoint
        self.damaged = damaged

    async def newest(self, _source: Source) -> Checkpoint | None:
        if self.damaged:
            raise CheckpointError(self.damaged)
        return self.checkpoint

    async def write(self, source: Source, offset: int, writer: str, payload: bytes) -> None:
        self.checkpoint = Checkpoint(source, offset, writer, payload)


class Book:
    """Notes in memory: what Cassandra has stored of the source, what an operator has accepted, what was noted."""

    def __init__(self, stored: int | None = None, accepted: int = -1) -> None:
        self._stored, self._noted = stored, dict[int, Gap]()
        self._accepted: Loss | None = None
        if accepted >= 0:
            self.accept(accepted)

    def stored(self, _source: Source) -> int | None:
        return self._stored

    def accepted(self, _source: Source) -> Loss | None:
        return self._accepted

    def accept(self, upto: int) -> None:
        """Where it stands now."""
        self._accepted = Loss(str(SOURCE), (self._stored or 0,), upto)

    def go_on(self, stored: int) -> None:
        self._stored = stored

    def note(self, gap: Gap) -> None:
        self._noted[gap.first] = gap

    def gaps(self) -> list[Gap]:
        return list(self._noted.values())


def payload(offset: int) -> bytes:
    state = PartitionState(SOURCE, NOW)
    state.apply(RecordBlock(np.zeros(64, dtype=np.uint8), NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, 0, offset))
    return pack_state(dump_state(state))


def at(offset: int, skipped: tuple[str, ...] = ()) -> Kept:
    return Kept(Checkpoint(SOURCE, offset, "w", payload(offset), skipped))


def of_schema(schema: int) -> Kept:
    whole = payload(12)
    return Kept(Checkpoint(SOURCE, 12, "w", whole[:4] + struct.pack("<H", schema) + whole[6:]))


async def begin(kept: Kept, book: Book, earliest: int, views: tuple[View, ...] = NOW) -> Restored:
    return await restored(SOURCE, views, kept, book, earliest)


async def test_without_a_checkpoint_the_log_is_read_from_its_start() -> None:
    book = Book()
    found = await begin(Kept(), book, 0)
    assert (found.state.offset, found.cached, found.lost, book.gaps()) == (0, None, 0, [])


async def test_a_log_that_began_above_0_when_it_was_first_read_is_read_from_there_and_that_is_noted() -> None:
    book = Book()
    found = await begin(Kept(), book, 7)
    assert (found.state.offset, found.cached, found.lost) == (7, None, 7)
    assert [(gap.source, gap.first, gap.upto) for gap in book.gaps()] == [(str(SOURCE), 0, 7)]


async def test_a_checkpoint_is_gone_on_from() -> None:
    found = await begin(at(12), Book(), 0)
    assert (found.state.offset, found.cached, found.lost) == (12, 12, 0)


async def test_an_older_checkpoint_is_gone_on_from_where_the_newest_is_damaged(caplog: pytest.LogCaptureFixture) -> None:
    found = await begin(at(12, ("the checkpoint at offset 20 does not verify",)), Book(), 0)
    assert (found.state.offset, found.cached) == (12, 12)
    assert "the checkpoint at offset 20 does not verify; going on from the one at offset 12" in caplog.text


@pytest.mark.parametrize(
    ("kept", "views"),
    [
        (at(12), OTHERS),
        (of_schema(0), NOW),
        (of_schema(60_000), NOW),
        (Kept(damaged="no checkpoint can be used"), NOW),
        (Kept(Checkpoint(SOURCE, 12, "w", b"something else entirely")), NOW),
    ],
    ids=["of other views", "of an unknown older version", "of a newer version", "all damaged", "no checkpoint at all"],
)
async def test_what_cannot_be_gone_on_from_is_recounted_if_the_log_is_whole(kept: Kept, views: tuple[View, ...]) -> None:
    book = Book(stored=12)
    found = await begin(kept, book, 0, views)
    assert (found.state.offset, found.cached, found.lost, book.gaps()) == (0, FOREIGN, 0, [])
    with pytest.raises(CheckpointError, match=rf"the log begins at 5: 0 records are gone; `marquee source accept-gap {SOURCE}`"):
        await begin(kept, book, 5, views)
    assert book.gaps() == []

    book = Book(stored=12, accepted=30)
    found = await begin(kept, book, 20, views)
    assert (found.state.offset, found.cached, found.lost) == (20, FOREIGN, 8)
    [gap] = book.gaps()
    assert (gap.first, gap.upto) == (12, 20)
    assert "what was not final at offset 12 is counted anew from offset 20 on" in gap.reason


async def test_a_checkpoint_of_views_that_were_otherwise_in_redis_alone_is_gone_on_from_and_redis_written_anew() -> None:
    """The log may have lost its beginning: nothing of it is needed."""
    book = Book(stored=12)
    found = await begin(at(12), book, 5, RECACHED)
    assert (found.state.offset, found.durable, found.cached, found.lost, book.gaps()) == (12, 12, FOREIGN, 0, [])
    assert found.state.views == RECACHED


async def test_checkpoints_that_were_dropped_of_a_source_that_was_computed_are_missed() -> None:
    with pytest.raises(CheckpointError, match="has been computed and has no checkpoint any more"):
        await begin(Kept(), Book(stored=12), 5)


async def test_records_gone_between_checkpoint_and_log_hold_the_partition_until_that_is_accepted() -> None:
    book = Book(stored=12)
    with pytest.raises(CheckpointError, match=r"viewing-events partition 3.*8 records are gone; `marquee source accept-gap"):
        await begin(at(12), book, 20)
    assert book.gaps() == []

    book = Book(stored=12, accepted=20)
    found = await begin(at(12), book, 20)
    assert (found.state.offset, found.cached, found.lost) == (20, 12, 8)
    assert [(gap.first, gap.upto) for gap in book.gaps()] == [(12, 20)]
    # begun again before there is a newer checkpoint: it is the same loss
    assert (await begin(at(12), book, 20)).lost == 8

    with pytest.raises(CheckpointError, match="9 records are gone"):  # more than was accepted
        await begin(at(12), Book(stored=12, accepted=20), 21)


async def test_a_loss_that_was_accepted_once_is_no_word_for_another_one() -> None:
    book = Book(stored=12, accepted=30)
    assert (await begin(Kept(), book, 20)).state.offset == 20
    assert (await begin(Kept(), book, 21)).state.offset == 21  # one more went before there was a checkpoint: it is the same loss
    book.go_on(25)
    with pytest.raises(CheckpointError, match="what was not final at offset 25"):
        await begin(Kept(), book, 22)  # all checkpoints gone once more, of a log that still begins below what was accepted
    with pytest.raises(CheckpointError, match="4 records are gone"):
        await begin(at(25), book, 29)
    assert Loss.parsed(str(SOURCE), 30, Loss(str(SOURCE), (12, 9), 30).text) == Loss(str(SOURCE), (12, 9), 30)
    assert not Loss.parsed(str(SOURCE), 30, "accepted").covers(12, 20)
