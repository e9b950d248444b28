"""Notices of the cache: that some source's cells have just changed. They wake who waits; what changed is then read from the cells."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from connectors.redis import RedisKeys, connection_options, shown
from topologies.settings import RedisSettings

log = logging.getLogger(__name__)
AGAIN_S: Final = 1.0
"""After the connection was lost it is tried for again."""


async def listen(settings: RedisSettings, on_flush: Callable[[], None]) -> None:
    """Calls on_flush for each flush that has ended, and once whenever it begins to listen, until cancelled. A Redis that is away is tried
    for again and again: what is missed then has to be looked for by the clock."""
    away = False
    while True:
        client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            settings.url, retry=Retry(NoBackoff(), 0), **{**connection_options(settings), "socket_timeout": None}
        )
        try:
            async with client.pubsub() as channel:
                await channel.subscribe(RedisKeys(settings.prefix).flushed)
                async for message in channel.listen():
                    if message["type"] in ("subscribe", "message"):
                        on_flush()
                        away = False
        except (redis.exceptions.RedisError, OSError) as error:
            if not away:
                log.warning("Redis at %s tells nothing of flushes: %s", shown(settings.url), error)
            away = True
        finally:
            await client.aclose()
        await asyncio.sleep(AGAIN_S)
