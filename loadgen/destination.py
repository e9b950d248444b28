"""Where a run writes: the live topic, or a backfill topic of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from connectors.kafka import ensure_topic, partition_offsets, topic_ids
from loadgen.ledger import PartitionSpan, RegionLog
from topologies.errors import UsageError
from topologies.regions import in_region, regions_of
from topologies.settings import Settings


@dataclass(frozen=True)
class Destination:
    """A topic, Kafka's id of it, and where each of its partitions ended when the run began."""

    topic: str
    topic_id: str
    partitions: tuple[PartitionSpan, ...]
    logs: tuple[RegionLog, ...] = ()
    """Where there are several regions, each one's; then `partitions` are numbered through (loadgen.homes)."""


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


def open_everywhere(settings: Settings, run: str) -> Destination:
    """The live topic of every region. Raises as `open_destination`, and UsageError when there is one region, or the topics have different
    numbers of partitions."""
    regions = regions_of(settings)
    if len(regions) < 2:
        raise UsageError("there is one region: name all of them in regions.redis and regions.kafka to load into each")
    found = [open_destination(in_region(settings, region), run, live=True) for region in regions]
    count = len(found[0].partitions)
    if any(len(one.partitions) != count for one in found):
        raise UsageError(f"the topic {found[0].topic} has not as many partitions in each region: accounts would change theirs")
    spans = [replace(span, partition=at * count + span.partition) for at, one in enumerate(found) for span in one.partitions]
    logs = tuple(RegionLog(region, one.topic_id) for region, one in zip(regions, found, strict=True))
    return Destination(found[0].topic, found[0].topic_id, tuple(spans), logs)
