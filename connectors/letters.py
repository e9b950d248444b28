"""Letters: the events that were not applied, as they stand in the dead and late topics (drawing in connectors/kafka.py)."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.kafka import ANSWER_S, client_options, kafka_errors, partition_offsets
from topologies.errors import ServerAway, StoreError
from topologies.settings import Settings

EVER: Final = 2**63 - 1
_Spans = dict[int, tuple[int, int]]
"""By partition, from which offset to below which."""


@dataclass(frozen=True)
class Letter:
    """One event that was not applied: where it stands (source text, topic, partition, offset, row in its record), why, and its bytes.

    content_type: what its value is, where that is said: of an Arrow record's row a stream of that row alone. cut: set where key
    and value, or a text of that row, are not whole: how many bytes key and value had.
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
    cut: int | None = None

    def content_headers(self) -> list[tuple[str, bytes]]:
        """What says how its value is to be read, when it is sent again as an event."""
        return [("content-type", self.content_type.encode())] if self.content_type else []

    def headers(self) -> list[tuple[str, bytes]]:
        """What it is written with."""
        texts = {
            "source": self.source, "topic": self.topic, "partition": self.partition, "offset": self.offset,
            "row": self.row, "reason": self.reason, "record_ts": self.record_ts_ms,
        }  # fmt: skip
        cut = [] if self.cut is None else [("cut", str(self.cut).encode())]
        return [*((name, str(text).encode()) for name, text in texts.items()), *self.content_headers(), *cut]


def read_letters(settings: Settings, topic: str) -> Iterator[Letter]:
    """Every letter that stands in the topic now, each (source, offset, row) once: a replay writes a letter again.

    Raises SourceError when the topic is not there, StoreError for a record that is no letter, ServerAway when nothing comes for a while.
    """
    seen: set[tuple[str, int, int]] = set()
    for letter in every_letter(settings, topic):
        identity = (letter.source, letter.offset, letter.row)
        if identity not in seen:
            seen.add(identity)
            yield letter


def every_letter(settings: Settings, topic: str, sources: Container[bytes] | None = None) -> Iterator[Letter]:
    """Every letter as often as it stands in the topic now, partition by partition in any order; of these sources' texts only, if given.

    Raises as `read_letters`.
    """
    for message in _messages(settings, topic, partition_offsets(settings, topic)):
        headers = dict(message.headers() or {})
        if sources is None or headers.get("source", b"") in sources:
            yield _letter(message, headers)


def gone_before_ms(settings: Settings, topic: str) -> int:
    """A letter that was written up to then (epoch ms, by the broker's clock) may have been deleted from the topic; −1: none has been.

    EVER when a partition that had letters has none any more. Raises as `read_letters`.
    """
    cut = {partition: (first, end) for partition, (first, end) in partition_offsets(settings, topic).items() if first > 0}
    firsts = {partition: (first, min(first + 1, end)) for partition, (first, end) in cut.items()}
    oldest = [message.timestamp()[1] for message in _messages(settings, topic, firsts)]
    if len(oldest) < len(cut):  # one is empty, or more has been deleted since
        return EVER
    return max(oldest, default=-1)


def _messages(settings: Settings, topic: str, spans: _Spans) -> Iterator[Message]:
    """All records of these spans, partition by partition in any order; what is deleted meanwhile is left out."""
    left = {partition: end for partition, (first, end) in spans.items() if end > first}
    if not left:
        return
    options = {"group.id": f"{settings.kafka.group}.letters", "enable.auto.commit": False, "isolation.level": "read_committed"}
    consumer = Consumer(
        client_options(settings.kafka)
        | options
        | {"enable.partition.eof": True, "fetch.message.max.bytes": settings.kafka.max_record_bytes, "auto.offset.reset": "earliest"}
    )
    try:
        with kafka_errors(settings.kafka):
            consumer.assign([TopicPartition(topic, partition, spans[partition][0]) for partition in left])
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


def _letter(message: Message, headers: dict[str, str | bytes | None]) -> Letter:
    where = f"record {message.offset()} of {message.topic()} partition {message.partition()}"
    try:
        told = {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in headers.items()}
        place = (told["source"], told["topic"], int(told["partition"]), int(told["offset"]), int(told["row"]))
        bytes_ = (_bytes(message.key()), _bytes(message.value()))
        cut = int(told["cut"]) if "cut" in told else None
        return Letter(*place, told["reason"], int(told["record_ts"]), *bytes_, told.get("content-type", ""), cut)
    except (KeyError, ValueError) as error:
        raise StoreError(f"{where} is no letter ({error!r}); something else writes to this topic") from error


def _bytes(found: str | bytes | None) -> bytes | None:
    return found.encode() if isinstance(found, str) else found
