"""The partitions of this worker: opened from their checkpoints, folded into, ticked when silent, settled before they go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from connectors.checkpoints import CheckpointStore
from connectors.kafka import partition_offsets, topic_ids
from streams.letters import Letters
from streams.partition import PartitionOwner, restored
from streams.records import FetchedBatches
from topologies.errors import ServerAway, SourceError, StoreError
from topologies.settings import Settings
from topologies.sources import Source
from topologies.view import View

log = logging.getLogger(__name__)
Place = tuple[str, int]
"""A topic and a partition."""
TICK_CHECK_S: Final = 0.1
OPEN_AGAIN_S: Final = 1.0
OPEN_PATIENCE_S: Final = 25.0
"""Stores that are away when partitions come are waited for so long; Faust gives up after the brokers' request time-out."""


class Owners:
    """The owned partitions by place. `open` and `fold` are called on the event loop, one after another."""

    def __init__(self, settings: Settings, views: Sequence[View], checkpoints: CheckpointStore, letters: Letters) -> None:
        self._settings = settings
        self._views = views
        self._checkpoints = checkpoints
        self._letters = letters
        self._owners: dict[Place, PartitionOwner] = {}
        self._opening = asyncio.Lock()

    def all(self) -> list[PartitionOwner]:
        return list(self._owners.values())

    async def open(self, places: Iterable[Place]) -> Mapping[Place, int]:
        """Own exactly these partitions: keep what is owned already, restore what is new, forget the rest.

        Returns where to read each from.

        Raises SourceError or CheckpointError when a partition cannot be gone on with exactly, ServerAway or StoreError when that
        cannot be known.
        """
        wanted = set(places)
        async with self._opening:  # Faust may ask twice at once
            for place in set(self._owners) - wanted:
                del self._owners[place]
            await self._open_new(wanted)
            return {place: self._owners[place].state.offset for place in wanted}

    async def _open_new(self, wanted: set[Place]) -> None:
        deadline = time.monotonic() + OPEN_PATIENCE_S
        while new := sorted(wanted - set(self._owners)):
            try:
                sources, offsets = await asyncio.to_thread(self._look_up, new)
                for place in new:
                    self._owners[place] = await self._opened(sources[place], *offsets[place])
            except (ServerAway, StoreError) as error:
                if time.monotonic() > deadline:
                    raise
                log.error("the partitions cannot be opened yet: %s", error)
                await asyncio.sleep(OPEN_AGAIN_S)

    def _look_up(self, places: Sequence[Place]) -> tuple[dict[Place, Source], dict[Place, tuple[int, int]]]:
        topics = sorted({topic for topic, _ in places})
        ids = topic_ids(self._settings, topics)
        spans = {topic: partition_offsets(self._settings, topic) for topic in topics}
        count = self._settings.kafka.partitions
        if grown := [topic for topic in topics if topic in self._settings.kafka.topics and len(spans[topic]) != count]:
            raise SourceError(
                f"topic {grown[0]} has {len(spans[grown[0]])} partitions instead of {count}, which splits sessions; cut over to a new topic"
            )
        region = self._settings.worker.region
        sources = {(topic, partition): Source(region, topic, ids[topic], partition) for topic, partition in places}
        return sources, {(topic, partition): spans[topic][partition] for topic, partition in places}

    async def _opened(self, source: Source, earliest: int, end: int) -> PartitionOwner:
        state, cached = await restored(source, self._views, self._checkpoints, earliest)
        if state.offset > end:
            raise SourceError(
                f"{source}: its checkpoint stands at offset {state.offset} and the log ends at {end}; "
                "the log was cut, so nothing is read from it"
            )
        live = source.topic in self._settings.kafka.topics
        return PartitionOwner(source, state, live, durable=state.offset, cached=cached, clock_moved_s=time.monotonic())

    async def fold(self, place: Place, fetched: FetchedBatches, event: Any, seek: Callable[[Place, int], Any]) -> None:
        """Fold one batch in and send its letters. A batch that does not follow its partition's state is passed over; if it is ahead, the
        partition is read again from where the state stands. After an error the partition is owned no more."""
        owner = self._owners.get(place)
        if owner is None:
            return
        if fetched.first_offset != owner.state.offset:
            log.info("%s: a batch from %d does not follow the state at %d", owner.source, fetched.first_offset, owner.state.offset)
            if fetched.first_offset > owner.state.offset:
                await seek(place, owner.state.offset)
            return
        try:
            await self._fold(owner, fetched, event)
        except BaseException:  # the state may have half of the batch, or some of its letters be missing: nobody is to store it
            self._owners.pop(place, None)
            raise

    async def _fold(self, owner: PartitionOwner, fetched: FetchedBatches, event: Any) -> None:
        block, refused = owner.fold(fetched, time.monotonic())
        event.value = event.message.value = None  # what waits for its ack need not keep what it brought
        owner.pending.append((fetched.next_offset, event))
        if refused:
            await self._letters.send(owner.source, block, refused)

    async def tick(self, caught_up: Callable[[Place, int], bool]) -> None:
        """Until cancelled: append a tick to each live partition whose clock has stood still, though everything in it was read."""
        while True:
            await asyncio.sleep(TICK_CHECK_S)
            now = time.monotonic()
            patience = self._settings.worker.tick_after_s
            for place, owner in list(self._owners.items()):
                if not owner.live or now - owner.clock_moved_s < patience:
                    continue
                if caught_up(place, owner.state.offset) or now - owner.folded_s < patience:
                    owner.clock_moved_s = now
                    self._letters.tick(*place)
