"""What a worker writes to, opened and closed together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from cassandra.cluster import Session

from connectors import cassandra
from connectors.bookmark_store import BookmarkStore
from connectors.cassandra_schema import ensure_schema
from connectors.cassandra_store import CellStore
from connectors.checkpoint_store import checkpoint_store, require_checkpoints
from connectors.checkpoints import CheckpointStore
from connectors.redis_cache import CellCache
from connectors.source_notes import SourceNotes
from topologies.errors import ServerAway, StoreError
from topologies.settings import Settings
from topologies.view import View
from topologies.views import every_part

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stores:
    """Redis as `cache`, checkpoints where the settings say, everything else in Cassandra."""

    session: Session
    cache: CellCache
    cells: CellStore
    bookmarks: BookmarkStore
    checkpoints: CheckpointStore
    notes: SourceNotes

    async def close(self) -> None:
        await self.cache.close()
        await asyncio.to_thread(cassandra.close, self.session)


async def open_stores(settings: Settings, views: Sequence[View], address: str) -> Stores:
    """The stores, with tables for these views. address: where this worker serves its metrics.

    Raises ServerAway or StoreError for Cassandra, and for where checkpoints are kept; without Redis the worker goes on.
    """
    session = await asyncio.to_thread(cassandra.connect, settings.cassandra)
    await asyncio.to_thread(ensure_schema, session, settings.cassandra, views)
    cells = await asyncio.to_thread(CellStore, session, settings.cassandra, views)
    bookmarks = await asyncio.to_thread(BookmarkStore, session, settings.cassandra)
    checkpoints = await asyncio.to_thread(checkpoint_store, settings, session)
    await require_checkpoints(settings)
    notes = await asyncio.to_thread(SourceNotes, session, settings.cassandra)
    cache = CellCache(settings.redis, every_part())
    cache.address = address
    try:
        await cache.connect()
    except (ServerAway, StoreError) as error:
        log.error("%s; going on without the cache", error)
    return Stores(session, cache, cells, bookmarks, checkpoints, notes)
