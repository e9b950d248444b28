"""The live topic as it stands, and events to put into it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from connectors.kafka import client_options, partition_offsets
from marquee.log_blocks import block_of
from topologies.fold import PartitionState
from topologies.settings import Settings
from topologies.sources import Source
from topologies.views import every_part

TS: Final = 1_767_225_600_000


@dataclass(frozen=True)
class Logged:
    """A record of the log."""

    partition: int
    timestamp_ms: int
    key: bytes
    value: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.value)
        return found


def log_of(settings: Settings) -> list[Logged]:
    """All records of the live topic, each partition's in order."""
    topic = settings.kafka.topics[0]
    ends = {partition: end for partition, (_, end) in partition_offsets(settings, topic).items()}
    consumer = Consumer(client_options(settings.kafka) | {"group.id": "marquee-test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
    found: list[Logged] = []
    while len(found) < sum(ends.values()):
        found += [Logged(m.partition() or 0, m.timestamp()[1], m.key(), m.value()) for m in consumer.consume(1_000, 1.0)]  # type: ignore[arg-type]
    consumer.close()
    return found


def admitted(log: list[Logged]) -> tuple[int, int]:
    """How many events of the log a worker applies, and how many are duplicates to it."""
    applied = duplicate = 0
    for partition in {record.partition for record in log}:
        records = [record for record in log if record.partition == partition]
        state = PartitionState(Source("", "", "", partition), every_part())
        state.apply(block_of([record.value for record in records], [record.timestamp_ms for record in records], 0))
        applied, duplicate = applied + state.status().applied, duplicate + state.status().duplicate
    return applied, duplicate


def event(seq: int = 0, **fields: Any) -> dict[str, Any]:
    """A valid event."""
    required = {
        "v": 1, "type": "heartbeat", "session": "s-1", "seq": seq, "ts": TS, "account": "a-1", "profile": "p", "title": "t", "region": "eu",
        "device": "tv",
    }  # fmt: skip
    return required | fields


def written(document: object) -> bytes:
    """As compact JSON."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
