"""The gauges that are read when they are scraped, from the owned partitions' states and the stores' cycles: the fold pays nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from connectors.metrics import Declared
from streams import metrics
from streams.partition import FOREIGN, PartitionOwner
from streams.room import Held

Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True, eq=False)
class SourceCollector(Collector):
    """What it reads. To be collected on the event loop's thread, so that every source is seen between two batches.

    end: next offset of the log of (topic, partition), None while it is not known. up: by store, whether it takes flushes.
    """

    owners: Callable[[], Iterable[PartitionOwner]]
    held: Callable[[], Iterable[tuple[str, int]]]
    end: Callable[[tuple[str, int]], int | None]
    up: Mapping[str, Callable[[], bool]]
    fetching: Callable[[], bool]
    held_bytes: Callable[[], Held]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every gauge that streams/metrics.py declares as read."""
        owners = list(self.owners())
        found: dict[str, list[Sample]] = {}
        for owner in owners:
            self._read(owner, found)
        put(found, metrics.PARTITIONS, ("owned",), len(owners))
        put(found, metrics.PARTITIONS, ("held",), len(list(self.held())))
        for store, up in self.up.items():
            put(found, metrics.STORE_UP, (store,), up())
        put(found, metrics.FETCHING, (), self.fetching())
        held = self.held_bytes()
        for kind in ("fetched", "unacked", "letters", "state"):
            put(found, metrics.HELD_BYTES, (kind,), getattr(held, f"{kind}_bytes"))
        for declared in metrics.DECLARED:
            if declared.kind == "gauge":
                family = GaugeMetricFamily(declared.name, declared.meaning, labels=declared.labels)
                for labels, value in found.get(declared.name, ()):
                    family.add_metric(labels, value)
                yield family

    def _read(self, owner: PartitionOwner, found: dict[str, list[Sample]]) -> None:
        status = owner.state.status()
        topic, partition = status.source.topic, str(status.source.partition)
        place = (topic, partition)
        for name in ("received", "applied", "duplicate", "late", "dead"):
            put(found, metrics.SOURCE_EVENTS, (*place, name), getattr(status, name))
        put(found, metrics.SOURCE_OFFSET, place, status.offset)
        if owner.stored is not None:  # else it is not known yet: nothing was stored since the partition came
            put(found, metrics.SOURCE_STORED_OFFSET, (*place, "cassandra"), owner.stored)
        put(found, metrics.SOURCE_STORED_OFFSET, (*place, "checkpoints"), owner.durable)
        put(found, metrics.SOURCE_STORED_OFFSET, (*place, "redis"), _cached(owner))
        end = self.end((topic, status.source.partition))
        if end is not None:
            put(found, metrics.SOURCE_LAG_RECORDS, place, max(0, end - status.offset))
        if status.clock_ms >= 0:
            put(found, metrics.SOURCE_CLOCK, place, status.clock_ms / 1000)
            put(found, metrics.SOURCE_WATERMARK, place, status.watermark_ms / 1000)
            if owner.live:
                put(found, metrics.SOURCE_LAG_SECONDS, place, max(0.0, time.time() - status.clock_ms / 1000))
        put(found, metrics.SOURCE_STATE_BYTES, place, owner.state.nbytes)
        put(found, metrics.SOURCE_UNACKED, place, len(owner.pending))
        put(found, metrics.SOURCE_LOST, place, owner.lost)


def _cached(owner: PartitionOwner) -> int:
    return owner.cached if owner.cached is not None and owner.cached < FOREIGN else 0


def put(found: dict[str, list[Sample]], declared: Declared, labels: tuple[str, ...], value: float) -> None:
    """One sample of that gauge."""
    found.setdefault(declared.name, []).append((labels, float(value)))
