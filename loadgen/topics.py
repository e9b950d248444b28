"""What a run must know of its topic: Kafka's id of it, and where each partition ends."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from confluent_kafka import IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from loadgen.ledger import PartitionSpan
from topologies.errors import ServerAway, StoreError
from topologies.settings import KafkaSettings

SETTLE_S: Final = 15.0
_SETTLING: Final = ("NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE", "UNKNOWN_TOPIC_OR_PART")
_AWAY: Final = ("_TIMED_OUT", "_TRANSPORT", "_ALL_BROKERS_DOWN", "REQUEST_TIMED_OUT")


@dataclass(frozen=True)
class TopicLog:
    """`topic_id` as 22 characters; `ends`: the next offset of partition 0, 1, …"""

    topic_id: str
    ends: tuple[int, ...]

    def spans(self) -> tuple[PartitionSpan, ...]:
        """The spans of a run that starts now."""
        return tuple(PartitionSpan(partition, end, -1) for partition, end in enumerate(self.ends))


def describe_topic(settings: KafkaSettings, topic: str) -> TopicLog:
    """The topic as it is now; waits a few seconds for the leaders of one just made.

    ServerAway when no broker answers, StoreError when there is no such topic or Kafka says no.
    """
    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 3})
    limit = time.monotonic() + min(SETTLE_S, settings.request_timeout_s)
    while True:
        try:
            return _describe(admin, topic, settings.request_timeout_s)
        except KafkaException as error:
            code = error.args[0]
            if code.name() in _SETTLING and time.monotonic() < limit:
                time.sleep(0.1)
            elif code.name() in _AWAY:
                raise ServerAway(f"no Kafka broker answers at {settings.bootstrap} ({code.str()}); start it with `marquee up`") from error
            else:
                raise StoreError(f"Kafka cannot describe the topic {topic} ({code.str()}); look at the broker's log") from error


def _describe(admin: AdminClient, topic: str, timeout_s: float) -> TopicLog:
    description = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)[topic].result()
    wanted = {TopicPartition(topic, part.id): OffsetSpec.latest() for part in description.partitions}
    answers = admin.list_offsets(wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=timeout_s)
    ends = {asked.partition: future.result().offset for asked, future in answers.items()}
    return TopicLog(str(description.topic_id), tuple(ends[partition] for partition in sorted(ends)))
