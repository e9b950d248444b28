"""Waiting until the workers have applied all that stands in a topic now, in Redis and in Cassandra, and checkpointed it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from connectors.kafka import partition_offsets, topic_ids
from serving.stores import Stores
from topologies.errors import MarqueeError
from topologies.settings import Settings
from topologies.sources import Source

STUCK_S: Final = 180.0
"""Workers that have applied nothing for so long, with records left, have failed. A busy worker's flushes to Cassandra come up to a
minute apart (streams/flush.py), and one is to be seen after the last record."""
LOOK_EVERY_S: Final = 0.25


def catch_up(settings: Settings, topic: str, on_wait: Callable[[str], None], stuck_s: float = STUCK_S) -> None:
    """Returns when both stores have every partition of the topic up to its end as of the call, and so have checkpoints: from then on
    every letter has to be there, and an audit misses none. `on_wait` is told what is still to come, four times a second. Raises
    MarqueeError when nothing has moved for `stuck_s` seconds, ServerAway for a server that is away."""
    ends = _ends(settings, topic)
    least, moved_at = sum(ends.values()) * 3 + 1, time.monotonic()
    with Stores(settings) as stores:
        while True:
            known = stores.known()
            in_redis, in_cassandra, in_checkpoints = (
                _left(found, ends)
                for found in (
                    {name: status.offset for name, status in known.cached.items()},
                    {name: status.offset for name, status in known.stored.items()},
                    {} if known.away else stores.checkpoints(ends),
                )
            )
            left = in_redis + in_cassandra + in_checkpoints
            if not left:
                return
            waiting_for = f"{in_redis:,} records to reach Redis, {in_cassandra:,} Cassandra, {in_checkpoints:,} a checkpoint"
            if left < least:
                least, moved_at = left, time.monotonic()
            elif time.monotonic() - moved_at > stuck_s:
                raise MarqueeError(f"nothing has moved for {stuck_s:.0f} s while waiting for {waiting_for}; see the workers' logs")
            on_wait(waiting_for)
            time.sleep(LOOK_EVERY_S)


def _ends(settings: Settings, topic: str) -> dict[str, int]:
    """The next offset of each source of the topic."""
    identity = topic_ids(settings, [topic])[topic]
    offsets = partition_offsets(settings, topic)
    return {str(Source(settings.worker.region, topic, identity, partition)): end for partition, (_, end) in offsets.items()}


def _left(reached: Mapping[str, int], ends: Mapping[str, int]) -> int:
    """Records at or above the offsets reached."""
    return sum(max(0, end - reached.get(name, 0)) for name, end in ends.items())
