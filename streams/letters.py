"""Dead letters and late events, each with where it stood in the log; and the ticks of silent partitions.

A letter keeps the record's key and value, byte for byte, and has the headers source, topic, partition, offset, row, reason, record_ts. It is delivered
before its batch is durable; a replay sends it again, and readers take each (source, offset, row) once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.kafka import producer_options
from topologies.errors import ServerAway
from topologies.events import TICK_VALUE
from topologies.fold import RecordBlock, Refused
from topologies.settings import KafkaSettings
from topologies.sources import Source

log = logging.getLogger(__name__)
_QUEUE_FULL_WAIT_S: Final = 0.05


class Letters:
    """The worker's own producer. Idempotent, acks from all replicas; failures are kept and raised by `delivered`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._open = 0
        self._failures: list[str] = []
        self._producer = Producer({**producer_options(settings), "linger.ms": 20, "queue.buffering.max.kbytes": 131_072})

    async def send(self, source: Source, block: RecordBlock, refused: Iterable[Refused]) -> None:
        """Send the refused rows of a block to the dead or the late topic."""
        for letter in refused:
            topic = self._settings.late_topic if letter.reason == "late" else self._settings.dead_topic
            headers = [
                ("source", str(source)),
                ("topic", source.topic),
                ("partition", str(source.partition)),
                ("offset", str(int(block.offsets[letter.row]))),
                ("row", "0"),
                ("reason", letter.reason),
                ("record_ts", str(int(block.timestamps[letter.row]))),
            ]
            await self._produce(topic, block.value(letter.row), key=block.key(letter.row), headers=headers)
        self._producer.poll(0)

    async def tick(self, topic: str, partition: int) -> None:
        """Append a tick, so that the partition's clock moves."""
        await self._produce(topic, TICK_VALUE, partition=partition)
        self._producer.poll(0)

    async def delivered(self) -> None:
        """Returns when everything sent so far is acknowledged. Raises ServerAway if something was not."""
        await asyncio.to_thread(self._producer.flush, self._settings.request_timeout_s)
        if self._failures or len(self._producer):
            failures, self._failures = self._failures, []
            raise ServerAway(f"Kafka at {self._settings.bootstrap} did not take {len(failures) or len(self._producer)} letters: {failures[:1]}")

    async def _produce(self, topic: str, value: bytes | None, **place: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, value, on_delivery=self._on_delivery, **place)
                return
            except BufferError:
                self._producer.poll(0)
                await asyncio.sleep(_QUEUE_FULL_WAIT_S)
            except KafkaException as error:
                raise ServerAway(f"Kafka at {self._settings.bootstrap} takes no letters ({error})") from error

    def _on_delivery(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self._failures.append(error.str())
            log.error("a letter was not delivered: %s", error.str())
