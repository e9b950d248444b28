"""One worker process: stores opened, app started, cycles run, drained on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cassandra.cluster import Session
from faust.types import TP

from connectors import cassandra
from connectors.cassandra_schema import ensure_schema
from connectors.cassandra_store import CellStore
from connectors.checkpoints import CassandraCheckpoints
from connectors.kafka import ensure_topics, matching_topics, topic_ids
from connectors.redis_cache import CellCache
from streams.app import App, make_app
from streams.checkpointing import CheckpointCycle, CheckpointFlush
from streams.flush import CacheFlush, Cycle, DurableFlush
from streams.letters import Letters
from streams.owners import Owners, Place
from topologies.errors import MarqueeError, ServerAway, StoreError
from topologies.settings import Settings
from topologies.view import View
from topologies.views import VIEWS, selected
from topologies.warm import warm

log = logging.getLogger(__name__)
TOPICS_EVERY_S: Final = 3.0
DRAIN_S: Final = 20.0
AGAIN: Final = 75
"""What `serve` returns when the worker should begin anew: there is a topic that it does not read yet."""


@dataclass(frozen=True)
class Stores:
    """What a worker writes to."""

    session: Session
    cache: CellCache
    cells: CellStore
    checkpoints: CassandraCheckpoints


def run(settings: Settings, ready_file: Path | None) -> int:
    """Work until SIGTERM or SIGINT; returns the exit code. Raises MarqueeError when the servers are away at the start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr, force=True)
    for noisy in ("aiokafka", "faust", "mode", "cassandra"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    code = asyncio.run(Worker(settings, ready_file).serve())
    if code == AGAIN:
        logging.shutdown()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return code


def worker_name(settings: Settings) -> str:
    return settings.worker.name or f"{socket.gethostname()}-{os.getpid()}"


class Worker:
    """The parts of one worker and how they start and end."""

    def __init__(self, settings: Settings, ready_file: Path | None) -> None:
        self._settings = settings
        self._ready_file = ready_file
        self._views: tuple[View, ...] = selected(settings.worker.views)
        self._topics: list[str] = []

    async def serve(self) -> int:
        """Until a signal, a crash, or a new topic."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await asyncio.to_thread(warm)
        stores = await self._open_stores()
        try:
            return await self._work(stores, stop)
        finally:
            await stores.cache.close()
            cassandra.close(stores.session)

    async def _open_stores(self) -> Stores:
        await asyncio.to_thread(ensure_topics, self._settings)
        self._topics = await asyncio.to_thread(matching_topics, self._settings)
        session = await asyncio.to_thread(cassandra.connect, self._settings.cassandra)
        await asyncio.to_thread(ensure_schema, session, self._settings.cassandra, self._views)
        cells = await asyncio.to_thread(CellStore, session, self._settings.cassandra, self._views)
        checkpoints = await asyncio.to_thread(CassandraCheckpoints, session, self._settings.cassandra)
        cache = CellCache(self._settings.redis, tuple(VIEWS.values()))
        try:
            await cache.connect()
        except (ServerAway, StoreError) as error:
            log.error("%s; going on without the cache", error)
        return Stores(session, cache, cells, checkpoints)

    async def _work(self, stores: Stores, stop: asyncio.Event) -> int:
        worker = worker_name(self._settings)
        letters = Letters(self._settings.kafka)
        owners = Owners(self._settings, self._views, stores.checkpoints, letters)
        options = self._settings.worker
        caching = Cycle("Redis", CacheFlush(stores.cache, worker), owners.all, options.redis_flush_s, options, at_once=True)
        storing = Cycle("Cassandra", DurableFlush(stores.cells), owners.all, options.cassandra_flush_s, options, at_once=False)
        flush = CheckpointFlush(stores.checkpoints, letters, worker, cassandra.driver_cpu_s)
        checkpointing = CheckpointCycle(flush, owners.all, options)
        app = make_app(self._settings, self._topics, owners, _all_working(storing, checkpointing), self._ready)
        app.on_partitions_revoked.connect(_settling(caching, storing, checkpointing))
        again = asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []
        try:
            await app.start()
            works = (
                caching.run(),
                storing.run(),
                checkpointing.run(),
                owners.tick(_caught_up(app)),
                self._watch_topics(owners, again),
                app.wait_until_stopped(),
            )
            ends = [asyncio.create_task(stop.wait()), asyncio.create_task(again.wait())]
            tasks = [*ends, *(asyncio.create_task(work) for work in works)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not any(end in done for end in ends):
                _report(app, done)
                return 1
            await self._drain(app, caching, storing, checkpointing)
            return 0 if stop.is_set() else AGAIN
        finally:
            for task in tasks:
                task.cancel()
            await app.stop()  # else its threads would keep the process alive
            if self._ready_file is not None:
                self._ready_file.unlink(missing_ok=True)

    async def _drain(self, app: App, *cycles: Cycle) -> None:
        """Stop reading, store what was folded, commit."""
        log.info("draining")
        app.consumer.stop_flow()
        app.flow_control.suspend()
        await _final_rounds(*cycles)
        await app.consumer.commit()

    async def _watch_topics(self, owners: Owners, again: asyncio.Event) -> None:
        """Sets `again` when there is a topic that is not read yet, or another one under the name of one that is."""
        while True:
            await asyncio.sleep(TOPICS_EVERY_S)
            try:
                topics = await asyncio.to_thread(matching_topics, self._settings)
                ids = await asyncio.to_thread(topic_ids, self._settings, topics)
            except MarqueeError as error:
                log.warning("the topics cannot be listed: %s", error)
                continue
            sources = [owner.source for owner in owners.all()]
            replaced = {source.topic for source in sources if ids.get(source.topic, source.topic_id) != source.topic_id}
            if changed := sorted(set(topics) - set(self._topics) | replaced):
                log.info("new topics %s: beginning anew with them", changed)
                again.set()

    def _ready(self, places: Iterable[Place]) -> None:
        """The worker computes: say so in the log and in the ready file."""
        names = sorted(f"{topic}/{partition}" for topic, partition in places)
        log.info("ready with %d partitions", len(names))
        if self._ready_file is not None:
            partial = self._ready_file.with_suffix(".partial")
            partial.write_text(json.dumps({"pid": os.getpid(), "topics": self._topics, "partitions": names, "cpu_s": time.process_time()}))
            partial.rename(self._ready_file)


def _all_working(*cycles: Cycle) -> Callable[[], Awaitable[None]]:
    """Returns, awaited, when the stores take what these cycles bring: until then nothing is acknowledged, so nothing is to be folded."""

    async def working() -> None:
        for cycle in cycles:
            await cycle.working.wait()

    return working


def _settling(*cycles: Cycle) -> Any:
    """Before partitions move: bring the stores to what was folded, so that whoever gets them goes on from there."""

    async def settle(_app: Any, _revoked: Any, **_: Any) -> None:
        await _final_rounds(*cycles)

    return settle


async def _final_rounds(*cycles: Cycle) -> None:
    for cycle in cycles:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S / len(cycles)):
                await cycle.round()


def _caught_up(app: App) -> Any:
    def caught_up(place: tuple[str, int], offset: int) -> bool:
        if app.rebalancing:  # the partition may be another worker's already; aiokafka knows the end only of what is assigned
            return False
        end: int | None = app.consumer.highwater(TP(*place))
        return end is not None and offset >= end

    return caught_up


def _report(app: App, done: set[asyncio.Task[Any]]) -> None:
    log.error("the worker stops: %s", app.crash_reason or "it was not asked to")
    for task in done:
        if not task.cancelled() and task.exception() is not None:
            log.error("%r", task.exception(), exc_info=task.exception())
