"""Dead letters and late events, each with where it stood in the log; and the ticks of silent partitions.

A letter keeps the record's key and value, byte for byte, and has the headers source, topic, partition, offset, row, reason,
record_ts. Of an event in an Arrow record it keeps the event alone: an Arrow stream of that row, and says so in `content-type`.
It is delivered before its batch is durable; a replay sends it again, and readers take each (source, offset, row) once. One that
Kafka does not take is kept and sent again, and until it is taken its partition does not go on being durable. What would be too
long for a record, its headers and all, is cut, and a header `cut` tells the length that key and value had.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.kafka import kafka_errors, producer_options
from topologies.errors import ServerAway
from topologies.events import TICK_VALUE
from topologies.fold import RecordBlock, Refused
from topologies.letters import LetterValues
from topologies.settings import KafkaSettings
from topologies.sources import Source

log = logging.getLogger(__name__)
_HEADERS_BYTES: Final = 65_536
"""Room for a letter's headers in its record."""
_QUEUE_FULL_WAIT_S: Final = 0.05
_LETTERS_A_TURN: Final = 128
"""After so many the event loop has its turn: one of an Arrow row takes 0.35 ms to make, and a record may have 65,536 of them."""
_ANSWER_WAIT_S: Final = 0.01
_KEPT_BYTES: Final = 1_600
"""What a letter costs beside its key and value while it waits: its headers, its place here and in librdkafka's queue, about."""


class Letters:
    """The worker's own producer. Idempotent, acks from all replicas. For the event loop's thread only."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._sent = 0
        self._open: dict[int, tuple[str, dict[str, Any]]] = {}
        """Letters that Kafka has not taken yet, by number, oldest first."""
        self.waiting_bytes = 0
        """Keys and values of the letters that Kafka has not taken yet, with what keeping one costs."""
        self._refused: deque[int] = deque()
        self._handing = asyncio.Lock()
        """Held while a batch's letters are handed over, so that nobody takes some of them for all."""
        self._tickless: dict[str, str] = {}
        """Topics whose ticks are refused, and why; so that each is told once."""
        self._untaken = ""
        """Topic and reason of the last letter that was refused, so that many of one kind are told once; empty since one was taken."""
        self._options = {**producer_options(settings), "linger.ms": 20, "queue.buffering.max.kbytes": 131_072}
        self._producer = Producer(self._options)

    async def send(self, source: Source, block: RecordBlock, refused: Iterable[Refused]) -> None:
        """Send the refused rows of a block to the dead or the late topic. What Kafka does not take is kept, and `delivered` says so."""
        async with self._handing:
            for topic, letter in self._written(source, block, refused):
                self._sent += 1
                self._open[self._sent] = (topic, letter)
                self.waiting_bytes += _nbytes(letter)
                try:
                    await self._produce(self._sent)
                except KafkaException as error:  # as if it were refused later
                    self._on_delivery(self._sent, error.args[0], None)
                if self._sent % _LETTERS_A_TURN == 0:
                    await asyncio.sleep(0)
        self._poll()

    def _written(self, source: Source, block: RecordBlock, refused: Iterable[Refused]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The topic of each refused event, and its letter as the producer takes it."""
        values = LetterValues(block)
        for event in refused:
            value, cut, content_type = values.of(event)
            headers = [
                ("source", str(source)),
                ("topic", source.topic),
                ("partition", str(source.partition)),
                ("offset", str(int(block.offsets[event.record]))),
                ("row", str(event.row)),
                ("reason", event.reason),
                ("record_ts", str(int(block.timestamps[event.record]))),
            ]
            if content_type:
                headers.append(("content-type", content_type))
            key = block.key(event.record)
            whole = len(key or b"") + len(value or b"")
            if whole > (most := self._settings.max_record_bytes - _HEADERS_BYTES):
                key = key and key[:most]
                value = value and value[: most - len(key or b"")]
                cut = True
            if cut:
                headers.append(("cut", str(whole)))
            topic = self._settings.late_topic if event.reason == "late" else self._settings.dead_topic
            yield topic, {"value": value, "key": key, "headers": headers}

    def tick(self, topic: str, partition: int) -> None:
        """Append a tick, so that the partition's clock moves. One that does not get through is followed by the next."""
        with contextlib.suppress(BufferError):
            try:
                self._producer.produce(topic, TICK_VALUE, partition=partition)
                self._tickless.pop(topic, None)
            except KafkaException as error:  # its topic was deleted, say
                self._renew_if_dead(error.args[0])
                why = error.args[0].str()
                if self._tickless.get(topic) != why:
                    self._tickless[topic] = why
                    log.warning("no ticks get into %s (%s): the clocks of its silent partitions stand", topic, why)
        self._poll()

    async def delivered(self) -> None:
        """Returns when all letters sent so far are acknowledged, whatever is sent meanwhile. Raises ServerAway or StoreError if one was
        not; it is sent again next time."""
        async with self._handing:
            for _ in range(len(self._refused)):
                if not self._refused:  # another producer goes on, and this was begun anew
                    break
                number = self._refused.popleft()
                if number not in self._open:
                    continue
                try:
                    with kafka_errors(self._settings):
                        await self._produce(number)
                except BaseException:
                    self._refused.appendleft(number)
                    raise
            last = self._sent
        deadline = time.monotonic() + self._settings.request_timeout_s
        while self._waits(last) and not self._refused and time.monotonic() < deadline:
            self._poll()
            await asyncio.sleep(_ANSWER_WAIT_S)
        if self._waits(last):
            waiting = sum(number <= last for number in self._open)
            raise ServerAway(f"Kafka at {self._settings.bootstrap} has not taken {waiting:,} letters; start it, or look at its log")

    def _waits(self, last: int) -> bool:
        return next(iter(self._open), last + 1) <= last

    async def _produce(self, number: int) -> None:
        """Hand over that letter, when there is room for it. Raises KafkaException when it is refused at once."""
        topic, letter = self._open[number]
        while True:
            try:
                self._producer.produce(topic, on_delivery=partial(self._on_delivery, number), **letter)
                return
            except BufferError:
                self._poll()
                await asyncio.sleep(_QUEUE_FULL_WAIT_S)
            except KafkaException as error:
                if not self._renew_if_dead(error.args[0]):
                    raise

    def _poll(self) -> None:
        """Hear what became of what was sent; a fatal error is told here once, and by every `produce` after it."""
        try:
            self._producer.poll(0)
        except KafkaException as error:
            if not self._renew_if_dead(error.args[0]):
                raise

    def _renew_if_dead(self, error: KafkaError) -> bool:
        """A producer that met a fatal error takes nothing more, ever. Another takes its place, and every letter that is open is sent again:
        the old one's answers are heard no more, and readers take a letter once, however often it comes."""
        if not error.fatal() and error.code() != KafkaError._FATAL:
            return False
        log.error("the producer of letters and ticks was given up (%s); another goes on", error.str())
        self._producer = Producer(self._options)
        self._refused = deque(self._open)
        return True

    def _on_delivery(self, number: int, error: KafkaError | None, _message: Any) -> None:
        if number not in self._open:  # sent twice, as after a renewal, and taken before
            return
        if error is None:
            self.waiting_bytes -= _nbytes(self._open.pop(number)[1])
            self._untaken = ""
        else:
            self._refused.append(number)
            topic, letter = self._open[number]
            about = dict(letter["headers"])
            place = {
                "topic": about["topic"],
                "partition": int(about["partition"]),
                "offset": int(about["offset"]),
                "source": about["source"],
            }
            if (why := f"{topic} {error.str()}") != self._untaken:  # with the topic gone it is so of each
                self._untaken = why
                log.error("a letter to %s was not taken (%s); it will be sent again", topic, error.str(), extra=place)


def _nbytes(letter: dict[str, Any]) -> int:
    return len(letter["value"] or b"") + len(letter["key"] or b"") + _KEPT_BYTES
