"""Letters: the events that were not applied, as they stand in the dead and late topics (drawing in connectors/kafka.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.kafka import ANSWER_S, client_options, kafka_errors, partition_offsets
from topologies.errors import ServerAway, StoreError
from topologies.settings import Settings


@dataclass(frozen=True)
class Letter:
    """One event that was not applied: where it stands (source text, topic, partition, offset, row in its record), why, and its bytes.

    content_type: what its value is, where that is said: of an Arrow record's row a stream of that row alone.
    """

    source: str
    topic: str
    partition: int
    offset: int
    row: int
    reason: str
    record_ts_ms: int
    key: bytes | None
    value: bytes | None
    content_type: str = ""

    def content_headers(self) -> list[tuple[str, bytes]]:
        """What says how its value is to be read, when it is sent again as an event."""
        return [("content-type", self.content_type.encode())] if self.content_type else []

    def headers(self) -> list[tuple[str, bytes]]:
        """What it is written with."""
        texts = {
            "source": self.source, "topic": self.topic, "partition": self.partition, "offset": self.offset,
            "row": self.row, "reason": self.reason, "record_ts": self.record_ts_ms,
        }  # fmt: skip
        return [*((name, str(text).encode()) for name, text in texts.items()), *self.content_headers()]


def read_letters(settings: Settings, topic: str) -> Iterator[Letter]:
    """Every letter that stands in the topic now, each (source, offset, row) once: a replay writes a letter again.

    Raises SourceError when the topic is not there, StoreError for a record that is no letter, ServerAway when nothing comes for a while.
    """
    seen: set[tuple[str, int, int]] = set()
    for message in _messages(settings, topic):
        letter = _letter(message)
        identity = (letter.source, letter.offset, letter.row)
        if identity not in seen:
            seen.add(identity)
            yield letter


def _messages(settings: Settings, topic: str) -> Iterator[Message]:
    """All records below today's end, partition by partition in any order."""
    left = {partition: end for partition, (first, end) in partition_offsets(settings, topic).items() if end > first}
    options = {"group.id": f"{settings.kafka.group}.letters", "enable.auto.commit": False, "isolation.level": "read_committed"}
    consumer = Consumer(
        client_options(settings.kafka)
        | options
        | {"enable.partition.eof": True, "fetch.message.max.bytes": settings.kafka.max_record_bytes}
    )
    try:
        with kafka_errors(settings.kafka):
            consumer.assign([TopicPartition(topic, partition, 0) for partition in left])
            while left:
                message = _polled(settings, consumer)
                partition, offset, error = message.partition(), message.offset(), message.error()
                if partition is None or offset is None or partition not in left:
                    continue
                if error is None and offset < left[partition]:
                    yield message
                if error is not None or offset + 1 >= left[partition]:
                    del left[partition]
    finally:
        consumer.close()


def _polled(settings: Settings, consumer: Consumer) -> Message:
    """The next record, or the end of a partition."""
    message = consumer.poll(2 * ANSWER_S)
    if message is None:
        raise ServerAway(f"Kafka at {settings.kafka.bootstrap} sends nothing more; see whether it is up, or set kafka.bootstrap")
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return message


def _letter(message: Message) -> Letter:
    where = f"record {message.offset()} of {message.topic()} partition {message.partition()}"
    headers = dict(message.headers() or {})
    try:
        told = {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in headers.items()}
        place = (told["source"], told["topic"], int(told["partition"]), int(told["offset"]), int(told["row"]))
        bytes_ = (_bytes(message.key()), _bytes(message.value()))
        return Letter(*place, told["reason"], int(told["record_ts"]), *bytes_, told.get("content-type", ""))
    except (KeyError, ValueError) as error:
        raise StoreError(f"{where} is no letter ({error!r}); something else writes to this topic") from error


def _bytes(found: str | bytes | None) -> bytes | None:
    return found.encode() if isinstance(found, str) else found
