"""What a worker looks after beside its partitions, every few seconds: that Redis keeps what it is given, that no live topic has grown,
that the sources of a topic that was made anew end, and that nobody waits for those of a backfill that is done.

    Redis evicts, or keys are gone      all of ours is taken away there at once, and every owner writes its cells again
    another topic under a source's name the source has ended: noted in Cassandra, its live cells go from Redis
    a live topic has other than its     the worker ends: its sessions are split (design §5)
      number of partitions
    a backfill's log has ended, and     the source has finished there: noted in Cassandra, and void as soon as it goes on
      all of it is stored
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from connectors.kafka import matching_topics, partition_counts, topic_ids
from connectors.logs import at
from streams.assignor import Place
from streams.partition import PartitionOwner
from topologies.errors import NoTopic, ServerAway, SourceError, StoreError
from topologies.settings import Settings
from topologies.sources import Finish, Source

log = logging.getLogger(__name__)
CHECK_S: Final = 5.0


class Notes(Protocol):
    """connectors.source_notes.SourceNotes, as far as it is needed here."""

    def sources(self) -> list[tuple[Source, bool]]: ...
    def end(self, source: Source, at_ms: int) -> None: ...
    def finish(self, source: Source, finish: Finish) -> None: ...
    def finished(self) -> Mapping[str, Finish]: ...


class Cache(Protocol):
    """connectors.redis_cache.CellCache, as far as it is needed here."""

    async def inspect(self, sources: Iterable[Source]) -> list[str]: ...
    async def sources(self) -> list[tuple[Source, bool]]: ...
    async def conclude(self, source: Source, at_ms: int) -> None: ...


def live_ids(settings: Settings) -> dict[str, str]:
    """The id of each topic that is consumed, by name; blocks."""
    return topic_ids(settings, matching_topics(settings))


def require_partitions(settings: Settings) -> None:
    """SourceError when a live topic has other than its number of partitions; blocks."""
    live = [topic for topic in matching_topics(settings) if topic in settings.kafka.topics]
    wanted = settings.kafka.partitions
    for topic, count in partition_counts(settings, live).items():
        if count != wanted:
            raise SourceError(f"topic {topic} has {count} partitions instead of {wanted}, which splits sessions; cut over to a new topic")


class Caretaker:
    """One of a worker. Several workers doing the same at once do no harm: each step does what is left to do."""

    def __init__(
        self,
        region: str,
        owners: Callable[[], Iterable[PartitionOwner]],
        cache: Cache,
        notes: Notes,
        ids: Callable[[], Mapping[str, str]],
        require: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        caught_up: Callable[[Place, int], bool],
    ) -> None:
        """ids, require: `live_ids` and `require_partitions` of the worker's settings. clock: seconds. caught_up: whether a partition's log
        goes on no further than that."""
        self._region = region
        self._owners = owners
        self._cache = cache
        self._notes = notes
        self._ids = ids
        self._require = require
        self._clock = clock
        self._caught_up = caught_up
        self._said = ""
        self._finished: dict[str, int] = {}
        """Where each source that has finished stands by the notes."""
        self._suspected: dict[Source, str] = {}
        """Of each source that was over at the last look, the id of the topic that has its name now."""

    async def run(self) -> None:
        """Until cancelled. Raises SourceError when a live topic has grown. A server that is away is asked again, and so is one that named a
        topic and had none of that name a moment later."""
        while True:
            for look in (self._inspect, self._check_partitions, self.end_sources, self.finish_sources):
                try:
                    await look()
                except (ServerAway, StoreError, NoTopic) as error:
                    self._say(str(error))
            await asyncio.sleep(CHECK_S)

    async def _inspect(self) -> None:
        for sentence in await self._cache.inspect([owner.source for owner in self._owners()]):
            log.error("%s", sentence)

    async def _check_partitions(self) -> None:
        await asyncio.to_thread(self._require)

    async def end_sources(self) -> None:
        """End each source whose topic's name is another topic's by now, as two looks in a row have found.

        The ids are read last: whatever source is known was begun before, so an id other than its own is a later topic's. The other way
        round a worker that is held up in between would take a source that has just begun for one that is over, and end it for ever.
        """
        suspected, self._suspected = self._suspected, {}
        begun_s = self._clock()
        stored = await asyncio.to_thread(self._notes.sources)
        cached = await self._cache.sources()
        ids = await asyncio.to_thread(self._ids)
        if self._clock() - begun_s > CHECK_S:
            self._say(f"a look at the sources took more than {CHECK_S:.0f} s, and nothing follows from it")
            return
        for source, _ in [*stored, *cached]:
            # another region's topics are not ours to judge
            if source.region == self._region and ids.get(source.topic, source.topic_id) != source.topic_id:
                self._suspected[source] = ids[source.topic]
        over = {source for source, topic_id in self._suspected.items() if suspected.get(source) == topic_id}
        for source, ended in stored:
            if not ended and source in over:
                log.warning("%s: topic %s was made anew; what it counted stays, its viewers go", source, source.topic, extra=at(source))
                await asyncio.to_thread(self._notes.end, source, _now_ms())
        noted = {source for source, ended in stored if ended}
        for source, ended in cached:
            if ended or source in over or source in noted:  # again, should somebody have died while doing it
                await self._cache.conclude(source, _now_ms())

    async def finish_sources(self) -> None:
        """Note of each source that has finished where it has, once."""
        stands = {owner.source: owner.state.offset for owner in self._owners() if owner.over}
        new = {
            source: offset
            for source, offset in stands.items()
            if self._finished.get(str(source)) != offset and self._caught_up((source.topic, source.partition), offset)
        }
        if not new:
            return
        noted = await asyncio.to_thread(self._notes.finished)
        self._finished = {text: finish.upto for text, finish in noted.items()}
        for source, offset in new.items():
            if self._finished.get(str(source)) != offset:
                log.info("%s: the log of this backfill has ended: nothing of it is awaited", source, extra=at(source, offset))
                await asyncio.to_thread(self._notes.finish, source, Finish(offset, _now_ms()))
                self._finished[str(source)] = offset

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            log.warning("looking after the stores: %s", sentence)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
