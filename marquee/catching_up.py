"""Waiting until the workers have applied all that stands in a topic now, in Redis and in Cassandra, and checkpointed it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from connectors.kafka import partition_offsets, topic_ids
from serving.stores import Stores
from topologies.errors import MarqueeError, ServerAway
from topologies.regions import in_region, regions_of
from topologies.settings import Settings
from topologies.sources import Source

STUCK_S: Final = 180.0
"""Workers that have applied nothing for so long, with records left, have failed. A busy worker's flushes to Cassandra come up to a
minute apart (streams/flush.py), its checkpoints of a million sessions a partition as well, and one is to be seen after the last record."""
LOOK_EVERY_S: Final = 0.25


def catch_up(settings: Settings, topic: str, on_wait: Callable[[str], None], stuck_s: float = STUCK_S) -> None:
    """Returns when both stores have every partition of the topic, in every region, up to its end as of the call, and so have checkpoints:
    from then on every letter has to be there, and an audit misses none. `on_wait` is told what is still to come, four times a second.
    Raises MarqueeError when nothing has moved for `stuck_s` seconds, ServerAway for a server that is away."""
    ends = _ends(settings, topic)
    with Stores(settings) as stores:
        _until_none(lambda: _not_stored(stores, ends), on_wait, stuck_s)
        _until_none(lambda: _not_checkpointed(stores, ends), on_wait, stuck_s)


def _until_none(left: Callable[[], tuple[int, str]], on_wait: Callable[[str], None], stuck_s: float) -> None:
    """Returns when `left` says 0; it says how many records, and what they are waited for with."""
    count, waiting_for = left()
    least, moved_at = count, time.monotonic()
    while count:
        if count < least:
            least, moved_at = count, time.monotonic()
        elif time.monotonic() - moved_at > stuck_s:
            raise MarqueeError(f"nothing has moved for {stuck_s:.0f} s while waiting for {waiting_for}; see the workers' logs")
        on_wait(waiting_for)
        time.sleep(LOOK_EVERY_S)
        count, waiting_for = left()


def _not_stored(stores: Stores, ends: Mapping[str, int]) -> tuple[int, str]:
    known = stores.known()
    in_redis = _left({name: status.offset for name, status in known.cached.items()}, ends)
    in_cassandra = _left({name: status.offset for name, status in known.stored.items()}, ends)
    return in_redis + in_cassandra, f"{in_redis:,} records to reach Redis, {in_cassandra:,} Cassandra"


def _not_checkpointed(stores: Stores, ends: Mapping[str, int]) -> tuple[int, str]:
    try:
        reached = stores.checkpoints(ends)
    except ServerAway:  # it answered a moment ago: not yet
        reached = {}
    left = _left(reached, ends)
    return left, f"{left:,} records to be checkpointed"


def _ends(settings: Settings, topic: str) -> dict[str, int]:
    """The next offset of each source of the topic."""
    found: dict[str, int] = {}
    for region in regions_of(settings):
        there = in_region(settings, region)
        identity = topic_ids(there, [topic])[topic]
        offsets = partition_offsets(there, topic)
        found |= {str(Source(region, topic, identity, partition)): end for partition, (_, end) in offsets.items()}
    return found


def _left(reached: Mapping[str, int], ends: Mapping[str, int]) -> int:
    """Records at or above the offsets reached."""
    return sum(max(0, end - reached.get(name, 0)) for name, end in ends.items())
