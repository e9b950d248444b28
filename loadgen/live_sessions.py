"""A log in one partition with exactly N live sessions, for measuring what they cost. Whatever N, every event says the same but for whose
it is, so the cells of windows are the same, and the live ones are by the same keys.

Event i is of place i mod 10,000, which tells title, region and device; N / 10,000 sessions share each place and take turns. In each round
every session has one event, in an order that is another in each round, as viewers' heartbeats come: a table of sessions is read all over,
not from its first row to its last. (Fewer than 10,000 sessions move from place to place.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from confluent_kafka import Producer
from numpy.typing import NDArray

from connectors.kafka import producer_options
from loadgen import catalogue
from loadgen.destination import open_destination
from topologies.errors import StoreError, UsageError
from topologies.settings import Settings

PLACES: Final = 10_000
EVENTS_A_MS: Final = 80
"""Of event time: so of a million sessions each is heard of again within 25 s (last in a round after first in the one before), and is live
for 30."""
MOST: Final = 1_150_000
"""More sessions would not be heard of in time."""
TAG: Final = "live"
_REGIONS: Final = 6
_TITLES: Final = 18_214
_WATCHED_MS: Final = 10_000
_AT_ONCE: Final = 100_000


@dataclass(frozen=True)
class LiveSessions:
    """The log: `events` events of `sessions` sessions from `start_ms` (epoch) on. UsageError where it cannot be."""

    sessions: int
    events: int
    start_ms: int

    def __post_init__(self) -> None:
        if not 0 < self.sessions <= MOST:
            raise UsageError(f"--live-sessions must be between 1 and {MOST:,}")
        if self.events < (least := -(-self.sessions // PLACES) * PLACES):
            raise UsageError(f"{self.sessions:,} live sessions need at least {least:,} --events")

    def sessions_of(self, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The session of each of these events, i64[count], and which of its events it is, from 0."""
        index = np.arange(first, first + count, dtype=np.int64)
        if self.sessions < PLACES:
            return index % self.sessions, index // self.sessions
        visit, place = np.divmod(index, PLACES)
        sharing = (self.sessions - place + PLACES - 1) // PLACES
        rounds, at = np.divmod(visit, sharing)
        turn = (place * 2_654_435_761 + rounds * 320_759_897) >> 16
        return place + PLACES * ((at + turn) % sharing), rounds

    def values(self, first: int, count: int) -> Iterator[tuple[int, bytes, bytes]]:
        """(record's timestamp, key, value) of each of these events."""
        tails = _tails()
        head = b'{"v":1,"type":"heartbeat","session":"%016x","seq":%d,"ts":%d,"account":"%s'
        sessions, numbers = (column.tolist() for column in self.sessions_of(first, count))
        for index, (session, seq) in enumerate(zip(sessions, numbers, strict=True), first):
            at_ms = self.start_ms + index // EVENTS_A_MS
            account = b"%s-%07d" % (TAG.encode(), session)
            yield at_ms, account, head % (_identity(session), seq, at_ms, account) + tails[index % PLACES]


def _identity(session: int) -> int:
    return (session + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF


def _tails() -> list[bytes]:
    """What the events of each place end with: titles by the catalogue's popularity, the rest evenly."""
    chances = (np.arange(PLACES) * 0.618_033_988_749_895) % 1.0
    titles = np.searchsorted(catalogue.popularity(_TITLES), chances).tolist()
    regions = [region for region, *_ in catalogue.places(_REGIONS)]
    tails: list[bytes] = []
    for place, title in enumerate(titles):
        device, _, app, _ = catalogue.PLATFORMS[place * 7 % len(catalogue.PLATFORMS)]
        tails.append(
            f'","profile":"p1","title":"t{title + 1:05d}","region":"{regions[place % len(regions)]}","device":"{device}","app":"{app}",'
            f'"cdn":"akamai","position_s":1234,"watched_ms":{_WATCHED_MS},"bitrate_kbps":3900}}'.encode()
        )
    return tails


def preload(settings: Settings, name: str, log: LiveSessions) -> str:
    """Write the log into partition 0 of a backfill topic of that name; returns the topic. Raises StoreError when Kafka did not take all.

    There is no tick at its end: the sessions are to live on.
    """
    topic = open_destination(settings, name, live=False).topic
    failed: list[str] = []
    producer = Producer({**producer_options(settings.kafka), "linger.ms": 50, "queue.buffering.max.kbytes": 262_144})

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            failed.append(str(error))

    for first in range(0, log.events, _AT_ONCE):
        for at_ms, key, value in log.values(first, min(_AT_ONCE, log.events - first)):
            while True:
                try:
                    producer.produce(topic, value, key, partition=0, timestamp=at_ms, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
    producer.flush()
    if failed:
        raise StoreError(f"Kafka did not take {len(failed):,} of the records ({failed[0]}); see its log")
    return topic
