"""Dead letters and late events, each with where it stood in the log; and the ticks of silent partitions.

A letter keeps the record's key and value, byte for byte, and has the headers source, topic, partition, offset, row, reason,
record_ts. It is delivered before its batch is durable; a replay sends it again, and readers take each (source,
offset, row) once. One that Kafka does not take is kept and sent again, and until it is taken its partition does not go on being durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, Producer

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
        self._refused: list[tuple[str, dict[str, Any]]] = []
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
            await self._produce(topic, value=block.value(letter.row), key=block.key(letter.row), headers=headers)
        self._producer.poll(0)

    def tick(self, topic: str, partition: int) -> None:
        """Append a tick, so that the partition's clock moves. One that does not get through is followed by the next."""
        with contextlib.suppress(BufferError):
            self._producer.produce(topic, TICK_VALUE, partition=partition)
        self._producer.poll(0)

    async def delivered(self) -> None:
        """Returns when everything sent so far is acknowledged. Raises ServerAway if something was not; it is sent again next time."""
        refused, self._refused = self._refused, []
        for topic, letter in refused:
            await self._produce(topic, **letter)
        await asyncio.to_thread(self._producer.flush, self._settings.request_timeout_s)
        waiting = len(self._refused) + len(self._producer)
        if waiting:
            raise ServerAway(f"Kafka at {self._settings.bootstrap} has not taken {waiting:,} letters; start it, or look at its log")

    async def _produce(self, topic: str, **letter: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, on_delivery=partial(self._on_delivery, topic, letter), **letter)
                return
            except BufferError:
                self._producer.poll(0)
                await asyncio.sleep(_QUEUE_FULL_WAIT_S)

    def _on_delivery(self, topic: str, letter: dict[str, Any], error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self._refused.append((topic, letter))
            log.error("a letter to %s was not taken (%s); it will be sent again", topic, error.str())
