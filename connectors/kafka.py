"""Kafka, the log: its topics, offsets, and letters (events that were not applied). The workers' consuming is streams' own business.

    viewing-events                live: LogAppendTime, P partitions, kept for ever, never compacted
    viewing-events.backfill.RUN   a past span: CreateTime = simulated arrival
    viewing-events.dead, .late    letters: key and value are the original bytes, headers (text)
                                  source, topic, partition, offset, row, reason, record_ts

A topic's partition count is fixed, and its id (Kafka's UUID) is part of every source's name: connectors never change or delete a topic.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from connectors.kafka_login import login_options, raise_refused
from topologies.errors import NoTopic, ServerAway, SourceError, StoreError
from topologies.settings import KafkaSettings, Settings

ANSWER_S: Final = 5.0
"""A broker that has not answered the first request after so long is away."""
_AWAY: Final = frozenset({
    KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE, KafkaError._MSG_TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE, KafkaError.REQUEST_TIMED_OUT, KafkaError.NETWORK_EXCEPTION, KafkaError.BROKER_NOT_AVAILABLE,
})  # fmt: skip
_LEADERLESS: Final = frozenset({
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.FENCED_LEADER_EPOCH,
    KafkaError._NOENT,  # librdkafka's word where it asked who leads, and nobody does
})  # fmt: skip
_SETTLING: Final = _LEADERLESS | {KafkaError.UNKNOWN_TOPIC_OR_PART}
_T = TypeVar("_T")
_Header = tuple[str, bytes]


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """What every librdkafka client is opened with; it says nothing on stderr, for errors come back from the calls."""
    return {
        "bootstrap.servers": kafka.bootstrap,
        "log_level": 0,
        "error_cb": lambda _: None,
        "socket.timeout.ms": int(kafka.request_timeout_s * 1000),
        **login_options(kafka),
    }


def producer_options(kafka: KafkaSettings) -> dict[str, Any]:
    """A producer that loses and doubles nothing on the way to the log, and chooses partitions as Java clients do."""
    return client_options(kafka) | {
        "acks": "all",
        "enable.idempotence": True,
        # With two on their way librdkafka takes the second's acknowledgement for the first's too, and a broker that has no sequence of the
        # producer for the partition yet takes any: a first that was refused, as by a leader that changes, was lost (decision 0065).
        "max.in.flight.requests.per.connection": 1,
        "partitioner": "murmur2_random",
        "compression.type": kafka.compression,
        "message.max.bytes": kafka.max_record_bytes,
    }


def ensure_topic(settings: Settings, name: str, live: bool, partitions: int | None = None) -> None:
    """Creates the topic unless it is there: LogAppendTime if live, else CreateTime. Returns when all its partitions have a leader.

    partitions: kafka.partitions when None. Raises SourceError for an existing topic with another count or another kind of time,
    ServerAway, StoreError. Several processes may do it at once.
    """
    kafka = settings.kafka
    admin, there = _opened(kafka)
    count = kafka.partitions if partitions is None else partitions
    if name not in there:
        _create(kafka, admin, name, live, count)
    found = _led(kafka, admin, name)
    if found != count:
        raise SourceError(
            f"topic {name} has {found} partitions and {count} are asked for; the count of a topic is fixed: "
            f"set kafka.partitions to {found}, or cut over to a new topic"
        )
    kind = _configured(kafka, admin, name, "message.timestamp.type")
    if kind != _time_of(live):
        asked = f"topic {name} has {kind} and {_time_of(live)} is needed"
        raise SourceError(f"{asked}; the times of its records cannot be changed: cut over to a new topic")


def ensure_topics(settings: Settings) -> None:
    """The live topics, and those of dead and late letters. Errors as `ensure_topic`."""
    for name in (*settings.kafka.topics, settings.kafka.dead_topic, settings.kafka.late_topic):
        ensure_topic(settings, name, live=True)


def _create(kafka: KafkaSettings, admin: AdminClient, name: str, live: bool, partitions: int) -> None:
    config = {
        "message.timestamp.type": _time_of(live),
        "max.message.bytes": str(kafka.max_record_bytes),
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "cleanup.policy": "delete",
    }
    topic = NewTopic(name, num_partitions=partitions, replication_factor=kafka.replication, config=config)
    with kafka_errors(kafka):
        try:
            _answer(admin.create_topics([topic], request_timeout=ANSWER_S, operation_timeout=ANSWER_S)[name])
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # else another process was quicker
                raise


def _led(kafka: KafkaSettings, admin: AdminClient, name: str) -> int:
    """How many partitions the topic has, as soon as each of them has a leader."""
    deadline = time.monotonic() + 2 * ANSWER_S
    while True:
        with kafka_errors(kafka):
            topic = admin.list_topics(name, timeout=ANSWER_S).topics[name]
        if topic.error is None and topic.partitions and all(part.leader >= 0 for part in topic.partitions.values()):
            return len(topic.partitions)
        if time.monotonic() >= deadline:
            raise StoreError(f"topic {name} has partitions without a leader; see whether all brokers of {kafka.bootstrap} are up")
        time.sleep(0.02)


def _configured(kafka: KafkaSettings, admin: AdminClient, name: str, entry: str) -> str:
    resource = ConfigResource(ResourceType.TOPIC, name)
    with kafka_errors(kafka):
        return str(_answer(admin.describe_configs([resource], request_timeout=ANSWER_S)[resource])[entry].value)


def _time_of(live: bool) -> str:
    return "LogAppendTime" if live else "CreateTime"


def topic_ids(settings: Settings, names: Sequence[str]) -> dict[str, str]:
    """Kafka's id of each topic, as Kafka writes it: 22 characters of URL-safe base64. Raises NoTopic for one that is not there."""
    kafka = settings.kafka
    admin, there = _opened(kafka)
    for name in names:
        _partitions(kafka, there, name)
    if not names:
        return {}
    with kafka_errors(kafka):
        answers = admin.describe_topics(TopicCollection(list(names)), request_timeout=ANSWER_S)
        ids = {name: _answer(future).topic_id for name, future in answers.items()}
    return {name: _text(found.get_most_significant_bits(), found.get_least_significant_bits()) for name, found in ids.items()}


def _text(most: int, least: int) -> str:
    mask = (1 << 64) - 1
    raw = (most & mask).to_bytes(8, "big") + (least & mask).to_bytes(8, "big")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def matching_topics(settings: Settings) -> list[str]:
    """The topics that workers consume and that exist: the live ones and every backfill, by name."""
    kafka = settings.kafka
    _, there = _opened(kafka)
    return sorted(name for name in there if name in kafka.topics or name.startswith(kafka.backfill_prefix))


def partition_counts(settings: Settings, topics: Sequence[str]) -> dict[str, int]:
    """How many partitions each topic has. Raises NoTopic for one that is not there."""
    _, there = _opened(settings.kafka)
    return {topic: len(_partitions(settings.kafka, there, topic)) for topic in topics}


def partition_offsets(settings: Settings, topic: str) -> dict[int, tuple[int, int]]:
    """First and next offset of each partition, as readers of committed records see them. Raises NoTopic if the topic is not there."""
    kafka = settings.kafka
    admin, there = _opened(kafka)
    places = [TopicPartition(topic, partition) for partition in _partitions(kafka, there, topic)]
    specs: Any = OffsetSpec  # its methods have no types
    bounds: list[dict[int, int]] = []
    for spec in (specs.earliest(), specs.latest()):
        with kafka_errors(kafka):
            bounds.append(_listed(admin, dict.fromkeys(places, spec)))
    return {partition: (bounds[0][partition], bounds[1][partition]) for partition in sorted(bounds[0])}


class LogEnds:
    """Where every partition that workers consume ends; asked again and again, by one client. One thread."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._admin = AdminClient(client_options(settings.kafka))

    def read(self) -> dict[tuple[str, int], int]:
        """The next offset of each, as readers of committed records see it, by topic and partition. Raises ServerAway or StoreError, and
        NoTopic while a live topic is not there: what is missing is never left out."""
        kafka = self._kafka
        specs: Any = OffsetSpec  # its methods have no types
        latest = specs.latest()
        with kafka_errors(kafka):
            there = self._admin.list_topics(timeout=ANSWER_S).topics
            for name in kafka.topics:
                if name not in there or not there[name].partitions:
                    raise NoTopic(f"there is no topic {name} at {kafka.bootstrap}; create it with `marquee up`")
            places = [
                TopicPartition(name, partition)
                for name, topic in there.items()
                if name in kafka.topics or name.startswith(kafka.backfill_prefix)
                for partition in topic.partitions
            ]
            answers = self._admin.list_offsets(
                dict.fromkeys(places, latest), isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ANSWER_S
            )
            return {(place.topic, place.partition): _answer(future).offset for place, future in answers.items()}


def stamp_ms(settings: Settings, topic: str, partition: int, offset: int) -> int:
    """The timestamp of one record, epoch ms: of a live topic when the broker took it. Raises ServerAway when the broker does not give it in
    time, StoreError when it is not in the log."""
    consumer = Consumer({**client_options(settings.kafka), "group.id": "stamps", "enable.auto.commit": False, "auto.offset.reset": "error"})
    try:
        with kafka_errors(settings.kafka):
            consumer.assign([TopicPartition(topic, partition, offset)])
            found = consumer.consume(1, ANSWER_S)
    finally:
        consumer.close()
    if not found:
        raise ServerAway(f"Kafka at {settings.kafka.bootstrap} did not give record {offset} of {topic}/{partition} in {ANSWER_S:g} s")
    if found[0].error() is not None:
        raise StoreError(f"record {offset} of {topic}/{partition} cannot be read: {found[0].error()}")
    return int(found[0].timestamp()[1])


def _listed(admin: AdminClient, asked: dict[TopicPartition, Any]) -> dict[int, int]:
    """Offsets by partition. A broker may know of its leadership of a new topic a little later than the metadata say so; and after it stood
    still it leads nothing for a moment."""
    deadline = time.monotonic() + 2 * ANSWER_S
    while True:
        answers = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ANSWER_S)
        try:
            return {place.partition: _answer(future).offset for place, future in answers.items()}
        except KafkaException as error:
            if error.args[0].code() not in _SETTLING or time.monotonic() >= deadline:
                raise
        time.sleep(0.05)


def produce_bytes(settings: Settings, topic: str, records: Iterable[tuple[bytes | None, bytes | None, Sequence[_Header]]]) -> int:
    """Appends (key, value, headers) records and returns how many, all of them acknowledged. The partition follows from the key.

    Raises NoTopic if the topic is not there, ServerAway or StoreError when one was not acknowledged; earlier ones may stand in the
    log then.
    """
    kafka = settings.kafka
    _, there = _opened(kafka)
    _partitions(kafka, there, topic)
    failed: list[KafkaError] = []
    producer = Producer(producer_options(kafka) | {"delivery.timeout.ms": int(kafka.request_timeout_s * 1000)})
    count = 0

    def delivered(error: KafkaError | None, _: Any) -> None:
        if error is not None:
            failed.append(error)

    with kafka_errors(kafka):
        for key, value, headers in records:
            _produce(producer, topic, key, value, headers, delivered)
            count += 1
        producer.flush()
        if failed:
            raise KafkaException(failed[0])
    return count


def _produce(producer: Producer, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[_Header], delivered: Any) -> None:
    while True:
        producer.poll(0)
        try:
            return producer.produce(topic, value=value, key=key, headers=list(headers), on_delivery=delivered)
        except BufferError:
            producer.poll(0.1)


@contextmanager
def kafka_errors(kafka: KafkaSettings) -> Iterator[None]:
    """Turns the library's errors into ServerAway and StoreError."""
    try:
        yield
    except KafkaException as error:
        cause = error.args[0]
        if isinstance(cause, KafkaError) and cause.code() in _AWAY:
            said = f"Kafka at {kafka.bootstrap} does not answer ({cause.str().rstrip('.')})"
            raise ServerAway(f"{said}; start it, or set kafka.bootstrap") from error
        if isinstance(cause, KafkaError) and cause.code() in _LEADERLESS:
            said = f"Kafka at {kafka.bootstrap} has a partition that nobody leads ({cause.str().rstrip('.')})"
            raise ServerAway(f"{said}; see whether all its brokers are up") from error
        said = cause.str() if isinstance(cause, KafkaError) else str(cause)
        raise StoreError(f"Kafka at {kafka.bootstrap} answered with an error: {said.rstrip('.')}") from error
    except TimeoutError as error:
        raise ServerAway(f"Kafka at {kafka.bootstrap} did not answer in time; start it, or set kafka.bootstrap") from error


def _opened(kafka: KafkaSettings) -> tuple[AdminClient, dict[str, list[int]]]:
    """An admin client whose brokers have answered, and the partitions of every topic."""
    admin, metadata = met(kafka, ANSWER_S)
    return admin, {name: sorted(topic.partitions) for name, topic in metadata.topics.items()}


def met(kafka: KafkaSettings, timeout_s: float) -> tuple[AdminClient, Any]:
    """An admin client whose brokers have answered, and what they told of themselves and their topics. Raises ServerAway, and StoreError
    when they refuse the login or their certificate is not trusted."""
    overheard: list[KafkaError] = []
    options = client_options(kafka) | {"error_cb": overheard.append}
    with kafka_errors(kafka):
        admin = AdminClient(options)
        try:
            return admin, admin.list_topics(timeout=timeout_s)
        except KafkaException:
            admin.poll(0)
            raise_refused(kafka, overheard)
            raise


def _partitions(kafka: KafkaSettings, there: dict[str, list[int]], topic: str) -> list[int]:
    if topic not in there:
        raise NoTopic(f"there is no topic {topic} at {kafka.bootstrap}; create it with `marquee up`")
    return there[topic]


def _answer(future: Future[_T]) -> _T:
    return future.result(timeout=2 * ANSWER_S)
