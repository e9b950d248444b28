"""What becomes of a request: read, judged, appended, and answered when Kafka has acknowledged. Knows no HTTP framework."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from connectors.appending import Appender, AppendingSettings
from connectors.kafka import ensure_topic
from serving.collector.bodies import MIB, inflated, media_type, read_body
from serving.collector.clock import AS_SENT, correction_of
from serving.collector.cmcd import Given
from serving.collector.judging import judge
from serving.limits import Buckets
from serving.metrics import EVENTS, REFUSED
from serving.refusals import Busy, Limited, TooLarge
from topologies.errors import MarqueeError, ServerAway
from topologies.events import TICK_VALUE
from topologies.settings import Settings

LOOK_AGAIN_S: Final = 1.0
"""Kafka that was away when the collector was opened is asked for the topic again at the earliest after this."""


class Rejected(msgspec.Struct, frozen=True):
    """An event of the body that is not in the log: which, counted from 0, and the reason of docs/collector.md."""

    index: int
    reason: str


class Answer(msgspec.Struct, frozen=True):
    """`accepted` events stand in the log; `ignored` CMCD reports say nothing about a playback."""

    accepted: int
    rejected: list[Rejected]
    ignored: int = 0


@dataclass(frozen=True)
class Said:
    """What the request says beside its body. client: whose limit counts. sent_at_ms: on the player's clock. given: for CMCD."""

    client: str
    content_type: str
    content_encoding: str = ""
    sent_at_ms: int | None = None
    given: Given = field(default_factory=lambda: Given({}))


class Collector:
    """Open with `open_collector`; used from that event loop. `now_ms`: epoch, what a player's clock is set right by."""

    def __init__(self, settings: Settings, now_ms: Callable[[], int]) -> None:
        own = settings.collector
        self.settings = own
        self._all = settings
        self._topic = settings.kafka.topics[0]
        self._now_ms = now_ms
        self._buckets = Buckets(own.events_per_s, own.events_per_s * own.burst_s, time.monotonic)
        self._appender = Appender(
            settings.kafka, self._topic, AppendingSettings(own.ack_timeout_s, own.linger_ms, int(own.max_in_flight_mb * MIB))
        )
        self._ready = False
        self._look: asyncio.Task[None] | None = None
        self._look_after = 0.0
        self._reason = ""

    @property
    def max_body_bytes(self) -> int:
        """A body's, as it was sent."""
        return int(self.settings.max_body_mb * MIB)

    @property
    def bytes_in_flight(self) -> int:
        """Of events that Kafka has not acknowledged."""
        return self._appender.bytes_in_flight

    def receipt_ms(self) -> int:
        """The time of receipt of what begins to come in now."""
        return self._now_ms()

    async def accept(self, body: bytes, said: Said, receipt_ms: int) -> Answer:
        """Puts the body's events into the log. Raises the errors of serving/refusals.py, ServerAway while Kafka is away or slow: then
        nothing of the request counts as accepted, whether or not it stands in the log. Called again with the same body, it adds
        duplicates at the most, which the workers know."""
        kind = media_type(said.content_type)
        if len(body) > self.max_body_bytes:
            raise TooLarge(self.too_big())
        await self._be_ready()
        self._refuse_when_stalled()
        self._take(said.client, 0)
        batch = read_body(inflated(body, said.content_encoding, self.settings), kind, said.given, self.settings)
        self._take(said.client, len(batch))
        sent_at_ms = said.sent_at_ms if said.sent_at_ms is not None else batch.sent_at_ms
        judged = judge(batch.values, correction_of(sent_at_ms, receipt_ms, self._now_ms(), self.settings))
        await self._append(judged.values, judged.keys)
        rejected = batch.rejected + [(batch.places[place], reason) for place, reason in judged.rejected]
        answer = Answer(len(judged.values), [Rejected(index, reason) for index, reason in sorted(rejected)], batch.ignored)
        _count(answer)
        return answer

    def _take(self, client: str, events: int) -> None:
        wait_s = self._buckets.take(client, events)
        if wait_s:
            raise Limited(f"more than {self.settings.events_per_s:,.0f} events a second came from this client; wait {wait_s} s", wait_s)

    def too_big(self) -> str:
        """What to say of a body that is."""
        return f"the body has more than {self.settings.max_body_mb:g} MiB; send fewer events a request, or compress it"

    def _refuse_when_stalled(self) -> None:
        owed_s = self._appender.owed_s()
        if owed_s > self.settings.stalled_s:
            raise ServerAway(f"Kafka has not acknowledged anything for {owed_s:.1f} s; send this again later")

    async def _append(self, values: list[bytes], keys: list[bytes]) -> None:
        if not self._appender.has_room(values):
            raise Busy(f"{self.settings.max_in_flight_mb:g} MiB of events wait for Kafka already; send this again")
        try:
            await self._appender.append(values, keys)
        except MarqueeError as error:
            raise ServerAway(f"{error}; nothing of this is accepted: send it again") from error

    async def open(self) -> None:
        """Ready to decode; begins to look for the topic, and makes it where it is missing, when Kafka is there."""
        await asyncio.to_thread(judge, [TICK_VALUE], AS_SENT)  # compiles the scanner, or loads what was compiled
        self._look = asyncio.create_task(self._look_again())

    async def ready(self) -> None:
        """Returns when an event would be taken. Raises ServerAway with what stands against it."""
        if not self._ready:
            await self._look_if_due()
        if not self._ready:
            raise ServerAway(self._reason)
        owed_s = self._appender.owed_s()
        if owed_s > self.settings.stalled_s:
            raise ServerAway(f"Kafka has not acknowledged anything for {owed_s:.1f} s")

    async def _be_ready(self) -> None:
        """Nothing is appended before the topic is known to be there and to be a live one. Raises ServerAway until it is so."""
        if self._ready:
            return
        await self._look_if_due()
        if not self._ready:
            raise ServerAway(self._reason)

    async def _look_if_due(self) -> None:
        if self._look is None and time.monotonic() >= self._look_after:
            self._look = asyncio.create_task(self._look_again())
        if self._look is not None:
            await asyncio.shield(self._look)

    async def _look_again(self) -> None:
        try:
            await self._look_once()
        except MarqueeError as error:
            self._reason = str(error)
        finally:
            self._look_after = time.monotonic() + LOOK_AGAIN_S
            self._look = None

    async def _look_once(self) -> None:
        await asyncio.to_thread(ensure_topic, self._all, self._topic, True)
        self._ready = True

    def refused(self, status: int) -> None:
        """Counts a request that was."""
        REFUSED.labels(str(status)).inc()

    async def close(self) -> None:
        """Waits for what Kafka owes, as long as its time-out lasts."""
        if self._look is not None:
            self._look.cancel()
        await self._appender.close()


@asynccontextmanager
async def open_collector(settings: Settings, now_ms: Callable[[], int] | None = None) -> AsyncIterator[Collector]:
    """A collector for the first live topic, ready to decode. Kafka may be away, or the topic no live one, or of another count of partitions
    than kafka.partitions: requests are refused (503) until that is set right."""
    collector = Collector(settings, now_ms or _now_ms)
    try:
        await collector.open()
        yield collector
    finally:
        await collector.close()


def _count(answer: Answer) -> None:
    EVENTS.labels("accepted").inc(answer.accepted)
    EVENTS.labels("rejected").inc(len(answer.rejected))
    EVENTS.labels("ignored").inc(answer.ignored)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
