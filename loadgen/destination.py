"""Where a run writes: the live topic, or a backfill topic of its own."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.kafka import ensure_topic, partition_offsets, topic_ids
from loadgen.ledger import PartitionSpan
from topologies.errors import UsageError
from topologies.settings import Settings


@dataclass(frozen=True)
class Destination:
    """A topic, Kafka's id of it, and where each of its partitions ended when the run began."""

    topic: str
    topic_id: str
    partitions: tuple[PartitionSpan, ...]


def open_destination(settings: Settings, run: str, live: bool) -> Destination:
    """Makes the topic if need be. UsageError for a backfill topic that holds records: its times must be of one run, in order.

    Raises ServerAway, StoreError, SourceError as connectors.kafka does.
    """
    topic = settings.kafka.topics[0] if live else settings.kafka.backfill_prefix + run
    ensure_topic(settings, topic, live=live)
    ends = {partition: end for partition, (_, end) in partition_offsets(settings, topic).items()}
    if not live and any(ends.values()):
        raise UsageError(f"the topic {topic} holds records already; choose another --run name")
    return Destination(
        topic, topic_ids(settings, [topic])[topic], tuple(PartitionSpan(partition, end, -1) for partition, end in ends.items())
    )
