"""The partitions of this worker: restored from their checkpoints, folded into, ticked when silent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectors.checkpoints import CheckpointStore
from connectors.kafka import partition_offsets, topic_ids
from connectors.logs import at
from streams.assignor import Place
from streams.letters import Letters
from streams.partition import PartitionOwner
from streams.records import FetchedBatches
from streams.restoring import Notes, restored
from topologies.errors import NoTopic, SourceError
from topologies.settings import Settings
from topologies.sources import Source
from topologies.view import View

log = logging.getLogger(__name__)
TICK_CHECK_S: Final = 0.1


@dataclass(frozen=True)
class Found:
    """A partition as the broker has it: the offsets between which its log stands."""

    source: Source
    earliest: int
    end: int


class Owners:
    """The owned partitions by place. For the event loop only."""

    def __init__(
        self,
        settings: Settings,
        views: Sequence[View],
        checkpoints: CheckpointStore,
        notes: Notes,
        letters: Letters,
        *,
        bookmarks: bool = False,
    ) -> None:
        self._settings = settings
        self._views = views
        self._bookmarks = bookmarks
        self._checkpoints = checkpoints
        self._notes = notes
        self._letters = letters
        self._owners: dict[Place, PartitionOwner] = {}

    def all(self) -> list[PartitionOwner]:
        return list(self._owners.values())

    def places(self) -> set[Place]:
        return set(self._owners)

    def get(self, place: Place) -> PartitionOwner | None:
        """Its owner, or None where it is not owned, or not yet."""
        return self._owners.get(place)

    def offsets(self, places: Iterable[Place]) -> dict[Place, int]:
        """Of those that are owned: where to read on."""
        return {place: self._owners[place].state.offset for place in places if place in self._owners}

    def unacked_bytes(self) -> int:
        """Of the log, folded and not yet durable, compressed as it was fetched."""
        return sum(owner.unacked_bytes for owner in self._owners.values())

    def state_bytes(self) -> int:
        """What the tables of all states take."""
        return sum(owner.state.nbytes for owner in self._owners.values())

    def keep(self, places: Collection[Place]) -> dict[Place, PartitionOwner]:
        """Own no others than these any more; those that were, as they are. Nothing more is folded into them."""
        return {place: self._owners.pop(place) for place in set(self._owners) - set(places)}

    def adopt(self, place: Place, owner: PartitionOwner) -> None:
        """Own this partition from now on."""
        self._owners[place] = owner

    def topic_id(self, topic: str) -> str | None:
        """Kafka's id of the topic; None if there is none of that name. Blocks. Raises ServerAway or StoreError."""
        try:
            return topic_ids(self._settings, [topic])[topic]
        except NoTopic:
            return None

    def find(self, places: Sequence[Place]) -> dict[Place, Found]:
        """Ask the broker for the partitions' topics. What is not there (any more) is left out. Blocks.

        Raises SourceError for a live topic that grew, ServerAway or StoreError when it cannot be known.
        """
        ids: dict[str, str] = {}
        spans: dict[str, dict[int, tuple[int, int]]] = {}
        for topic in sorted({topic for topic, _ in places}):
            if (topic_id := self.topic_id(topic)) is not None:
                with contextlib.suppress(NoTopic):  # it may go in between
                    ids[topic], spans[topic] = topic_id, partition_offsets(self._settings, topic)
        count = self._settings.kafka.partitions
        if grown := [topic for topic in spans if topic in self._settings.kafka.topics and len(spans[topic]) != count]:
            raise SourceError(
                f"topic {grown[0]} has {len(spans[grown[0]])} partitions instead of {count}, which splits sessions; cut over to a new topic"
            )
        region = self._settings.worker.region
        return {
            (topic, partition): Found(Source(region, topic, ids[topic], partition), *spans[topic][partition])
            for topic, partition in places
            if partition in spans.get(topic, {})
        }

    async def restore(self, found: Found) -> PartitionOwner:
        """The partition as its newest checkpoint has it; nobody owns it yet.

        Raises SourceError or CheckpointError when it cannot be gone on with exactly, ServerAway or StoreError when that cannot be known.
        """
        source = found.source
        begun = await restored(source, self._views, self._checkpoints, self._notes, found.earliest, bookmarks=self._bookmarks)
        state = begun.state
        if state.offset > found.end:
            raise SourceError(
                f"{source}: its checkpoint stands at offset {state.offset} and the log ends at {found.end}; "
                "the log was cut, so nothing is read from it"
            )
        live = source.topic in self._settings.kafka.topics
        now_s = time.monotonic()
        seen_s = 0.0 if state.status().received else now_s  # what a checkpoint has as lacking is stored first; a new source has nothing
        return PartitionOwner(
            source, state, live, durable=begun.durable, cached=begun.cached, lost=begun.lost, clock_moved_s=now_s, store_seen_s=seen_s
        )

    async def fold(self, place: Place, fetched: FetchedBatches, event: Any, seek: Callable[[Place, int], Any]) -> None:
        """Fold one batch in and send its letters. A batch that does not follow its partition's state is passed over; if it ends behind
        where the state stands, the partition is read again from there: the consumer has gone on to that end. After an error the partition
        is owned no more."""
        owner = self._owners.get(place)
        if owner is None:
            return
        if fetched.first_offset != owner.state.offset:
            offset = owner.state.offset
            told = at(owner.source, offset)
            log.info("%s: a batch from %d does not follow the state at %d", owner.source, fetched.first_offset, offset, extra=told)
            if fetched.next_offset > owner.state.offset:
                await seek(place, owner.state.offset)
            return
        try:
            await self._fold(owner, fetched, event)
        except BaseException:  # the state may have half of the batch, or some of its letters be missing: nobody is to store it
            owner.spoiled = True  # for who flushes it already
            self._owners.pop(place, None)
            raise

    async def _fold(self, owner: PartitionOwner, fetched: FetchedBatches, event: Any) -> None:
        block, refused = owner.fold(fetched, time.monotonic())
        event.value = event.message.value = None  # what waits for its ack need not keep what it brought
        owner.await_durable(fetched.next_offset, event, fetched.nbytes)
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


def sources(owners: Mapping[Place, PartitionOwner]) -> str:
    """Their names, for a log line."""
    return ", ".join(sorted(str(owner.source) for owner in owners.values()))
