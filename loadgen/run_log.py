"""A run's records as the log has them, whoever else writes to the topic: by their keys, which begin with the run's tag."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import confluent_kafka as ck

from connectors.kafka import client_options, kafka_errors, partition_offsets
from loadgen.ledger import PartitionSpan, Run
from topologies.errors import ServerAway, SourceError
from topologies.settings import Settings

_AT_ONCE: Final = 10_000
_HASH_BYTES: Final = 16


def records_in_log(settings: Settings, run: Run) -> tuple[PartitionSpan, ...]:
    """Of each partition how many of the run's records the log has, and where the last of them stands.

    Raises ServerAway, StoreError, and SourceError when the topic is gone. Measured: 1 µs a record.
    """
    counted = {span.partition: 0 for span in run.partitions}
    last = {span.partition: span.first - 1 for span in run.partitions}
    for message in records_of_run(settings, run):
        counted[message.partition()] += 1
        last[message.partition()] = message.offset()
    return tuple(PartitionSpan(span.partition, span.first, last[span.partition], counted[span.partition]) for span in run.partitions)


@dataclass(frozen=True)
class Content:
    """What a run's records are, without their places and times in the log."""

    records: int
    keys: int
    digest: str
    """In hexadecimal: of the keys in their order, and of each key's records in the order of the log."""


def content_of(settings: Settings, run: Run) -> Content:
    """A hash of the run's records by key, which two runs share that sent the same. Takes 200 bytes of memory a key. Raises as above."""
    chains: dict[bytes, bytes] = {}
    count = 0
    for message in records_of_run(settings, run):
        key, value = message.key(), message.value()
        chain = hashlib.blake2b(chains.get(key, b""), digest_size=_HASH_BYTES)
        chain.update(b"\0" if value is None else b"\1" + value)
        chains[key] = chain.digest()
        count += 1
    whole = hashlib.blake2b(digest_size=_HASH_BYTES)
    for key in sorted(chains):
        whole.update(len(key).to_bytes(4, "big") + key + chains[key])
    return Content(count, len(chains), whole.hexdigest())


def records_of_run(settings: Settings, run: Run) -> Iterator[Any]:
    """The run's messages up to the log's ends as they are now, each partition's in order."""
    prefix = f"{run.tag}-".encode()
    ends = {partition: end for partition, (_, end) in partition_offsets(settings, run.topic).items()}
    firsts = {span.partition: span.first for span in run.partitions}
    left = {partition: ends[partition] for partition, first in firsts.items() if first < ends[partition]}
    options = {
        "group.id": f"marquee-run-{uuid.uuid4()}",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "fetch.message.max.bytes": settings.kafka.max_record_bytes,
    }
    with kafka_errors(settings.kafka):
        consumer = ck.Consumer(client_options(settings.kafka) | options)
        try:
            consumer.assign([ck.TopicPartition(run.topic, partition, firsts[partition]) for partition in left])
            heard = time.monotonic()
            while left:
                messages = consumer.consume(_AT_ONCE, 0.5)
                heard = _still_heard(settings, heard, messages)
                message: Any  # its fields are None in messages that no consumer gives
                for message in messages:
                    end = left.get(message.partition())
                    if end is None:
                        continue
                    if _reached(message, end):
                        del left[message.partition()]
                    if message.error() is None and message.offset() < end and (message.key() or b"").startswith(prefix):
                        yield message
        finally:
            consumer.close()


def _reached(message: Any, end: int) -> bool:
    """Whether this message, or the end of the partition that it tells of, is the last that is wanted."""
    error = message.error()
    if error is not None and error.code() != ck.KafkaError._PARTITION_EOF:
        raise SourceError(f"partition {message.partition()} of {message.topic()} cannot be read: {error.str()}; look at the broker's log")
    return bool(message.offset() + (error is None) >= end)


def _still_heard(settings: Settings, heard: float, messages: list[Any]) -> float:
    now = time.monotonic()
    if not messages and now - heard > settings.kafka.request_timeout_s:
        raise ServerAway(f"Kafka at {settings.kafka.bootstrap} has sent nothing for {now - heard:.0f} s; see whether all brokers are up")
    return now if messages else heard
