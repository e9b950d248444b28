"""What a partition begins with: its checkpoint, the log's start, or a clear refusal."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from connectors.checkpoints import Checkpoint
from streams.partition import FOREIGN, restored
from topologies.errors import CheckpointError
from topologies.fold import PartitionState, RecordBlock
from topologies.sources import Source
from topologies.state_codec import dump_state, pack_state
from topologies.views import VIEWS
from topologies.watch_time import WATCH_TIME

SOURCE = Source("eu", "viewing-events", "A" * 22, 3)
NOW = tuple(VIEWS.values())
NOTHING = np.zeros(0, dtype=np.int64)


class Kept:
    """A store that holds this one checkpoint."""

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        self.checkpoint = checkpoint

    async def newest(self, _source: Source) -> Checkpoint | None:
        return self.checkpoint

    async def write(self, source: Source, offset: int, writer: str, payload: bytes) -> None:
        self.checkpoint = Checkpoint(source, offset, writer, payload)


def at(offset: int) -> Kept:
    state = PartitionState(SOURCE, NOW)
    state.apply(RecordBlock(np.zeros(64, dtype=np.uint8), NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, 0, offset))
    return Kept(Checkpoint(SOURCE, offset, "w", pack_state(dump_state(state))))


async def test_without_a_checkpoint_the_log_is_read_from_its_start() -> None:
    state, cached = await restored(SOURCE, NOW, Kept(None), 7)
    assert (state.offset, cached) == (7, None)


async def test_a_checkpoint_is_gone_on_from() -> None:
    state, cached = await restored(SOURCE, NOW, at(12), 0)
    assert (state.offset, cached) == (12, 12)


async def test_a_checkpoint_of_other_views_is_recounted_and_the_cache_written_anew() -> None:
    changed = (*NOW[:-1], dataclasses.replace(WATCH_TIME, logic_version=2))
    state, cached = await restored(SOURCE, changed, at(12), 0)
    assert (state.offset, cached) == (0, FOREIGN)


async def test_a_checkpoint_of_other_views_of_a_log_that_lost_its_start_stops_with_a_sentence() -> None:
    changed = (*NOW[:-1], dataclasses.replace(WATCH_TIME, logic_version=2))
    with pytest.raises(CheckpointError, match="cannot be recounted; declare the views as they were"):
        await restored(SOURCE, changed, at(12), 5)


async def test_records_gone_between_checkpoint_and_log_stop_with_a_sentence() -> None:
    with pytest.raises(CheckpointError, match="8 records are gone"):
        await restored(SOURCE, NOW, at(12), 20)
