"""What a worker looks after beside its partitions, every few seconds: that Redis keeps what it is given, that no live topic has grown,
and that the sources of a topic that was made anew end.

    Redis evicts, or keys are gone      all of ours is taken away there at once, and every owner writes its cells again
    another topic under a source's name the source has ended: noted in Cassandra, its live cells go from Redis
    a live topic has other than its     the worker ends: its sessions are split (design §5)
      number of partitions
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from connectors.kafka import matching_topics, partition_counts, topic_ids
from connectors.redis_cache import CellCache
from connectors.source_notes import SourceNotes
from streams.logs import at
from streams.partition import PartitionOwner
from topologies.errors import ServerAway, SourceError, StoreError
from topologies.settings import Settings
from topologies.sources import Source

log = logging.getLogger(__name__)
CHECK_S: Final = 5.0


class Caretaker:
    """One of a worker. Several workers doing the same at once do no harm: each step does what is left to do."""

    def __init__(self, settings: Settings, owners: Callable[[], Iterable[PartitionOwner]], cache: CellCache, notes: SourceNotes) -> None:
        self._settings = settings
        self._owners = owners
        self._cache = cache
        self._notes = notes
        self._said = ""

    async def run(self) -> None:
        """Until cancelled. Raises SourceError when a live topic has grown. A server that is away is asked again."""
        while True:
            for look in (self._inspect, self._end_sources):
                try:
                    await look()
                except (ServerAway, StoreError) as error:
                    self._say(str(error))
            await asyncio.sleep(CHECK_S)

    async def _inspect(self) -> None:
        for sentence in await self._cache.inspect([owner.source for owner in self._owners()], _now_ms()):
            log.error("%s", sentence)

    async def _end_sources(self) -> None:
        ids = await asyncio.to_thread(self._ids)
        stored = await asyncio.to_thread(self._notes.sources)
        for source, ended in stored:
            if not ended and self._is_over(source, ids):
                log.warning("%s: topic %s was made anew; what it counted stays, its viewers go", source, source.topic, extra=at(source))
                await asyncio.to_thread(self._notes.end, source, _now_ms())
        over = {str(source) for source, ended in stored if ended or self._is_over(source, ids)}
        for source, ended in await self._cache.sources():
            if ended or str(source) in over or self._is_over(source, ids):  # again, should somebody have died while doing it
                await self._cache.conclude(source, _now_ms())

    def _ids(self) -> dict[str, str]:
        topics = matching_topics(self._settings)
        live = [topic for topic in topics if topic in self._settings.kafka.topics]
        wanted = self._settings.kafka.partitions
        for topic, count in partition_counts(self._settings, live).items():
            if count != wanted:
                raise SourceError(
                    f"topic {topic} has {count} partitions instead of {wanted}, which splits sessions; cut over to a new topic"
                )
        return topic_ids(self._settings, topics)

    def _is_over(self, source: Source, ids: dict[str, str]) -> bool:
        """Whether its topic's name is another topic's by now. Another region's topics are not ours to judge."""
        return source.region == self._settings.worker.region and ids.get(source.topic, source.topic_id) != source.topic_id

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            log.warning("looking after the stores: %s", sentence)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
