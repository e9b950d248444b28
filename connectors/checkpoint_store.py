"""The store of checkpoints that the settings name (checkpoints.url): Cassandra, or a bucket, a container or a directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from cassandra.cluster import Session

from connectors.cassandra import driver_cpu_s
from connectors.cassandra_checkpoints import CassandraCheckpoints, offsets_of
from connectors.checkpoints import CheckpointStore
from connectors.object_checkpoints import ObjectCheckpoints, RuntimeCpu
from connectors.objects import Objects
from topologies.settings import IN_CASSANDRA, Settings

_CPU_S: Final = RuntimeCpu()


def object_checkpoints(settings: Settings) -> ObjectCheckpoints:
    """Those in the bucket, container or directory that is named. Raises UsageError for a wrong URL, StoreError for a directory that is not
    there."""
    objects = Objects(settings.checkpoints.url, settings.checkpoints.timeout_s)
    return ObjectCheckpoints(objects, settings.cassandra.keyspace)


def checkpoint_store(settings: Settings, session: Session) -> CheckpointStore:
    """The one. Blocks while statements are prepared; the schema is there (ensure_schema). Raises as `object_checkpoints`, and ServerAway or
    StoreError."""
    if settings.checkpoints.url == IN_CASSANDRA:
        return CassandraCheckpoints(session, settings.cassandra)
    return object_checkpoints(settings)


async def require_checkpoints(settings: Settings) -> None:
    """Returns if where they are kept answers now, where that is another store than the cells'. Raises ServerAway or StoreError."""
    if settings.checkpoints.url != IN_CASSANDRA:
        await Objects(settings.checkpoints.url, settings.checkpoints.timeout_s).require()


def checkpoint_offsets(settings: Settings, session: Session, sources: Iterable[str]) -> dict[str, int]:
    """Of each of these sources that ever had a checkpoint, the offset of the newest, whether it verifies or not. Blocks; not for a thread
    that runs an event loop. Raises as `checkpoint_store`."""
    if settings.checkpoints.url == IN_CASSANDRA:
        return offsets_of(session, settings.cassandra, sources)
    return asyncio.run(object_checkpoints(settings).offsets(sources))


def store_cpu_s(settings: Settings) -> Callable[[], float]:
    """Tells the CPU seconds of the threads that the store works in, whoever they work for."""
    return driver_cpu_s if settings.checkpoints.url == IN_CASSANDRA else _CPU_S
