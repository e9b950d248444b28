"""A producer beside the run's own: it sends what belongs to no run, and goes on over a broker that is away for a while."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import Producer

from connectors.kafka import producer_options
from marquee.chaos.strays import Record
from topologies.errors import StoreError
from topologies.settings import KafkaSettings

PATIENCE_S: Final = 300.0


class Outsider:
    """For one thread at a time."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._topic = topic
        self._undelivered = 0
        self.sent = 0
        options = {"linger.ms": 20, "message.timeout.ms": int(PATIENCE_S * 1000), "queue.buffering.max.kbytes": 262_144}
        self._producer = Producer(producer_options(settings) | options)

    def send(self, records: Iterable[Record]) -> bool:
        """Hand over these records; their partition follows from the key. Waits while there is no room. → whether there were any."""
        before = self.sent
        for key, value in records:
            while True:
                try:
                    self._producer.produce(self._topic, value=value, key=key, on_delivery=self._delivered)
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self.sent += 1
        self._producer.poll(0)
        return self.sent > before

    def _delivered(self, error: Any, _: Any) -> None:
        if error is not None:
            self._undelivered += 1

    def close(self) -> None:
        """Returns when all is in the log. StoreError when it is not: then the broker did not come back."""
        left = self._producer.flush(PATIENCE_S)
        if left or self._undelivered:
            raise StoreError(f"Kafka did not take {left + self._undelivered} stray records in {PATIENCE_S:.0f} s; look at its log")
