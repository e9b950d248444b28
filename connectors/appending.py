"""Appending to the log from an event loop, answered when Kafka has acknowledged: acks=all, idempotent.

Delivery reports are called from `poll`, which the loop itself calls every POLL_S while something is on its way: no thread, and
nothing to hand over between threads. A report a record tells exactly which append has failed. With it a record of 260 bytes costs
2.9 µs of CPU, librdkafka's threads included; with a report for the last of 100 alone 1.8, but that says nothing of other partitions.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.kafka import kafka_errors, producer_options
from topologies.settings import KafkaSettings

POLL_S: Final = 0.002
_RECORD_BYTES: Final = 200
"""What librdkafka and the report add to a record, about: the room in flight counts it."""


@dataclass(frozen=True)
class AppendingSettings:
    """timeout_s: from the append to its acknowledgement. linger_ms: how long a record waits for others. max_bytes: in flight."""

    timeout_s: float
    linger_ms: float
    max_bytes: int


class _Append:
    """One call's records, and how many of them are still out."""

    __slots__ = ("answer", "bytes", "failed", "left", "since")

    def __init__(self, left: int, size: int, answer: asyncio.Future[None], since: float) -> None:
        self.left = left
        self.bytes = size
        self.answer = answer
        self.since = since
        self.failed: KafkaError | None = None

    def reported(self, error: KafkaError | None, _: Any) -> None:
        self.left -= 1
        if error is not None:
            self.failed = error


class Appender:
    """One topic's. Used from one event loop, which `append` is called in first; `close` it there."""

    def __init__(self, kafka: KafkaSettings, topic: str, settings: AppendingSettings) -> None:
        self._kafka = kafka
        self._topic = topic
        self._settings = settings
        self._open: deque[_Append] = deque()
        self._pump: asyncio.TimerHandle | None = None
        self._lost = False
        self._producer = self._made()
        self.bytes_in_flight = 0
        """Of all appends that are not answered."""

    def _made(self) -> Producer:
        settings = self._settings
        return Producer(
            producer_options(self._kafka)
            | {
                "linger.ms": settings.linger_ms,
                "delivery.timeout.ms": int(settings.timeout_s * 1000),
                "batch.size": 1_000_000,
                "batch.num.messages": 10_000,
                # the bound is this object's own: of appends, which go as a whole or not at all
                "queue.buffering.max.messages": 0,
                "queue.buffering.max.kbytes": 2_097_151,
                "error_cb": self._on_error,
            }
        )

    def _on_error(self, error: KafkaError) -> None:
        self._lost = self._lost or error.fatal()

    def has_room(self, values: Sequence[bytes]) -> bool:
        """Whether these may be appended now. One append always may, however big, when nothing is in flight."""
        return not self.bytes_in_flight or self.bytes_in_flight + _size(values) <= self._settings.max_bytes

    def owed_s(self) -> float:
        """For how long the oldest append has not been acknowledged; 0 when none is out."""
        return time.monotonic() - self._open[0].since if self._open else 0.0

    async def append(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        """Appends each value under its key, from which its partition follows; returns when all replicas in sync have acknowledged all.

        Raises ServerAway or StoreError if one was not acknowledged within the time-out: any of them may stand in the log then.
        A caller that is cancelled changes nothing for the records.
        """
        if not values:
            return
        if self._lost:
            self._renew()
        size = _size(values)
        append = _Append(len(values), size, asyncio.get_running_loop().create_future(), time.monotonic())
        self._open.append(append)
        self.bytes_in_flight += size
        self._hand_over(append, values, keys)
        self._serve()
        try:
            await append.answer
        finally:
            failed = append.failed
        if failed is not None:
            with kafka_errors(self._kafka):
                raise KafkaException(failed)

    def _hand_over(self, append: _Append, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        produce, topic, report = self._producer.produce, self._topic, append.reported
        handed = 0
        try:
            for value, key in zip(values, keys, strict=True):
                # by position: names cost 0.2 µs a record; the report stands there twice because the signature has two names for it
                produce(topic, value, key, -1, report, report)
                handed += 1
        except BufferError:
            append.failed = KafkaError(KafkaError._QUEUE_FULL)
        except KafkaException as error:
            failed: KafkaError = error.args[0]
            append.failed = failed
            self._lost = self._lost or failed.fatal()
        append.left -= len(values) - handed

    def _serve(self) -> None:
        """Calls the reports that have come, answers what is done, and comes again while anything is out."""
        self._producer.poll(0)
        done = [append for append in self._open if not append.left]
        if done:
            self._open = deque(append for append in self._open if append.left)
            for append in done:
                self.bytes_in_flight -= append.bytes
                if not append.answer.done():
                    append.answer.set_result(None)
        if self._open and self._pump is None:
            self._pump = asyncio.get_running_loop().call_later(POLL_S, self._pumped)

    def _pumped(self) -> None:
        self._pump = None
        self._serve()

    def _renew(self) -> None:
        """Another producer for one that can go on no more. What it held has failed."""
        self._producer.purge()
        self._producer.flush(self._settings.timeout_s)
        self._lost = False
        self._producer = self._made()

    async def close(self) -> None:
        """Waits until all that was appended is answered, which the time-out bounds. Appending afterwards is an error of the caller's."""
        while self._open:
            await asyncio.wait([append.answer for append in self._open])
        if self._pump is not None:
            self._pump.cancel()
        self._producer.flush(0)


def _size(values: Sequence[bytes]) -> int:
    return sum(map(len, values)) + _RECORD_BYTES * len(values)
