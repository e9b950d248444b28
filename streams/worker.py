"""One worker process: stores opened, app started, cycles run, drained on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiokafka.errors import KafkaConnectionError

from connectors import cassandra, cell_names
from connectors.allocator import keep_freed_memory
from connectors.checkpoint_store import store_cpu_s
from connectors.kafka import ensure_topics, matching_topics, topic_ids
from connectors.logs import at, set_up
from connectors.sockets import Presence, tell_ready, unannounced
from streams import records
from streams.app import App, make_app
from streams.assignor import Place
from streams.caretaker import Caretaker, live_ids, require_partitions
from streams.checkpointing import CheckpointCycle, CheckpointFlush
from streams.ending import bounded, end_within, unless
from streams.endpoint import Endpoint
from streams.flush import CacheFlush, Cycle, DurableFlush, cache_due, near_end, store_due
from streams.handover import Handover
from streams.health import Health
from streams.historian import Historian, History
from streams.letters import Letters
from streams.observing import Running, log_end, observe
from streams.owners import Owners
from streams.partition import PartitionOwner
from streams.politeness import politely
from streams.room import Room
from streams.stores import Stores, open_stores
from streams.watchdog import Watchdog
from topologies.errors import MarqueeError, ServerAway
from topologies.regions import regions_of
from topologies.settings import Settings
from topologies.view import View, parts_of
from topologies.views import keeps_bookmarks, selected
from topologies.warm import warm

log = logging.getLogger(__name__)
TOPICS_EVERY_S: Final = 3.0
DRAIN_S: Final = 15.0
COMMIT_S: Final = 3.0
LEAVE_S: Final = 5.0
CLOSE_S: Final = 2.0
"""How long each step of ending may take; together less than ending.END_S."""


CACHE_PART: Final = 0.7
"""Of the CPU that flushes may take, for those to Redis, which somebody waits for."""
Settle = Callable[[PartitionOwner], Awaitable[bool]]
"""Brings a partition to the stores; False if one did not take it."""


def run(settings: Settings, ready_file: Path | None, presence: Presence = unannounced) -> int:
    """Work until SIGTERM or SIGINT; returns the exit code. Raises MarqueeError when the servers are away at the start."""
    set_up(settings.worker.log_format, worker_name(settings))
    if not keep_freed_memory():
        log.info("this C library's allocator cannot be told to keep freed memory; the worker costs somewhat more CPU")
    return asyncio.run(Worker(settings, ready_file, end_within, presence).serve())


def worker_name(settings: Settings) -> str:
    return settings.worker.name or f"{socket.gethostname()}-{os.getpid()}"


class Worker:
    """The parts of one worker and how they start and end."""

    def __init__(
        self,
        settings: Settings,
        ready_file: Path | None,
        ending: Callable[[], object] = lambda: None,
        presence: Presence = unannounced,
    ) -> None:
        """`ending` is called when the worker begins to end, whether it was asked to or not: it bounds what cannot be cancelled. presence:
        from when its door answers until it has ended."""
        self._settings = settings
        self._ending = ending
        self._presence = presence
        self._ready_file = ready_file
        self._views: tuple[View, ...] = parts_of(selected(settings.worker.views))
        self._topics: list[str] = []
        self.running: Running | None = None
        """Its parts, from when the app starts."""
        self._health = Health()
        self._address = ""

    async def serve(self) -> int:
        """Until a signal or a crash."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if not stop.is_set():  # a second signal does nothing worse than the first
                self._ending()
                stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        endpoint = Endpoint(self._settings.worker, self._health)
        self._address = endpoint.start()
        beating = asyncio.create_task(self._health.beat())
        try:
            with self._presence(self._address):
                return await self._serve(stop)
        finally:
            beating.cancel()
            endpoint.close()

    async def _serve(self, stop: asyncio.Event) -> int:
        stores = await unless(stop, self._opened())
        if stores is None:
            log.info("asked to stop before the stores were open: nothing was read")
            return 0
        log.info("metrics, health and readiness at %s", self._address)
        try:
            return await self._work(stores, stop)
        finally:
            await bounded("closing the stores", CLOSE_S, stores.close())

    async def _opened(self) -> Stores:
        await asyncio.to_thread(politely, warm_all)
        await asyncio.to_thread(ensure_topics, self._settings)
        self._topics = await asyncio.to_thread(matching_topics, self._settings)
        return await open_stores(self._settings, self._views, self._address)

    async def _work(self, stores: Stores, stop: asyncio.Event) -> int:
        worker = worker_name(self._settings)
        letters = Letters(self._settings.kafka)
        options = self._settings.worker
        bookmarks = keeps_bookmarks(options.views)
        owners = Owners(self._settings, self._views, stores.checkpoints, stores.notes, letters, bookmarks=bookmarks)
        caching = Cycle("Redis", CacheFlush(stores.cache, worker), owners.all, options.redis_flush_s, options, abreast=2, part=CACHE_PART)
        storing = Cycle(
            "Cassandra",
            DurableFlush(stores.cells, stores.bookmarks),
            owners.all,
            options.cassandra_flush_s,
            options,
            abreast=1,
            part=1 - CACHE_PART,
            store_cpu_s=cassandra.driver_cpu_s,
        )
        flush = CheckpointFlush(stores.checkpoints, letters, worker, store_cpu_s(self._settings))
        checkpointing = CheckpointCycle(flush, owners.all, options)
        cycles = (caching, storing, checkpointing)
        room = Room(options, owners.unacked_bytes, lambda: letters.waiting_bytes, (storing, checkpointing))
        settle = _settling(*cycles)
        handover = Handover(owners, settle, self._ready, options.release_s)
        app = make_app(self._settings, self._topics, owners, handover, room)
        caught_up = _caught_up(app)
        caching.due, storing.due = partial(cache_due, caught_up=caught_up), partial(store_due, caught_up=caught_up)
        caching.near_end = storing.near_end = partial(near_end, caught_up=caught_up)
        watchdog = Watchdog(
            app.batches,
            owners,
            lambda: room.open,
            app.moving,
            app.crash,
            stalled_s=options.stalled_s,
            moving_s=2 * self._settings.kafka.request_timeout_s,
        )
        self.running = Running(app, owners, handover, letters, room, watchdog)
        unobserve = observe(self._health, self.running, {"redis": caching, "cassandra": storing, "checkpoints": checkpointing})
        looks = (partial(live_ids, self._settings), partial(require_partitions, self._settings))
        caretaker = Caretaker(self._settings.worker.region, owners.all, stores.cache, stores.notes, *looks, caught_up=caught_up)
        opened = partial(History.opened, stores.session, self._settings.cassandra, self._views, regions=len(regions_of(self._settings)))
        historian = Historian(self._views, opened, worker)
        tasks: list[asyncio.Task[Any]] = []
        try:
            await unless(stop, self._begun(app))
            _keep_what_stands()
            works = (
                *(cycle.run() for cycle in cycles),
                owners.tick(caught_up),
                watchdog.run(),
                self._watch_topics(app, owners, handover),
                caretaker.run(),
                historian.run(),
                app.wait_until_stopped(),
            )
            stopping = asyncio.create_task(stop.wait())
            tasks = [stopping, *(asyncio.create_task(work) for work in works)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if stopping not in done:
                self._ending()
                _report(app, done)
                await handover.close()
                await bounded("storing what no log has any more", DRAIN_S, handover.finish())
                return 1
            for task in tasks:
                task.cancel()
            await self._drain(self.running, cycles)
            return 0
        except Exception:
            self._ending()
            raise
        finally:
            for task in tasks:
                task.cancel()
            await handover.close()
            await bounded("leaving the group", LEAVE_S, app.stop())  # else its threads would keep the process alive
            unobserve()
            if self._ready_file is not None:
                self._ready_file.unlink(missing_ok=True)

    async def _begun(self, app: App) -> None:
        """Starts the app. Raises ServerAway when no broker answers: it may have gone since it was asked for the topics."""
        try:
            await app.start()
        except KafkaConnectionError as error:
            where = self._settings.kafka.bootstrap
            raise ServerAway(f"Kafka at {where} does not answer ({error}); start it, or set kafka.bootstrap") from error

    async def _drain(self, running: Running, cycles: tuple[Cycle, ...]) -> None:
        """Stop reading, store what was folded, commit; within DRAIN_S, whoever is away."""
        log.info("draining")
        self._health.stage = "draining"
        app = running.app
        app.consumer.stop_flow()
        app.flow_control.suspend()
        running.room.end()  # what is stored makes room, and a batch that came into it now would be replayed
        await running.handover.close()
        await bounded("storing what was folded", DRAIN_S, asyncio.gather(running.handover.finish(), final_rounds(*cycles)))
        for owner in running.owners.all():
            if not owner.settled:
                source, offset = owner.source, owner.state.offset
                told = at(source, owner.durable)
                log.warning("%s: offsets %d to %d are not stored and will be replayed", source, owner.durable, offset, extra=told)
        await bounded("committing", COMMIT_S, app.consumer.commit())

    async def _watch_topics(self, app: App, owners: Owners, handover: Handover) -> None:
        """Reads new topics, in place. Another topic under the name of one that is read is another source: the old one is owned no more, and
        stored as it is beside the new one."""
        while True:
            await asyncio.sleep(TOPICS_EVERY_S)
            try:
                topics = await asyncio.to_thread(matching_topics, self._settings)
                ids = await asyncio.to_thread(topic_ids, self._settings, topics)
            except MarqueeError as error:
                log.warning("the topics cannot be listed: %s", error)
                continue
            old = {
                place: owner
                for place in owners.places()
                if (owner := owners.get(place)) and ids.get(place[0], owner.source.topic_id) != owner.source.topic_id
            }
            new = sorted(set(topics) - set(self._topics))
            if app.moving() or not (new or old):
                continue
            log.info("reading new topics %s, made anew %s", new, sorted({topic for topic, _ in old}))
            for owner in owners.keep(owners.places() - set(old)).values():
                handover.keep_storing(owner)
            self._topics = sorted({*topics, *self._topics})
            await app.read(self._topics)

    def _ready(self, places: Iterable[Place], begun_cpu_s: float) -> None:
        """The worker computes, and had cost so much before: say so in the log and in the ready file."""
        names = sorted(f"{topic}/{partition}" for topic, partition in places)
        log.info("ready with %d partitions", len(names))
        self._health.partitions, self._health.stage = tuple(names), "working"
        if self._ready_file is not None:
            about = {"pid": os.getpid(), "http": self._address, "cpu_s": begun_cpu_s}
            tell_ready(self._ready_file, {**about, "topics": self._topics, "partitions": names})


def warm_all() -> None:
    """What the first batch would else wait for."""
    for kernels in (warm, records.warm, cell_names.warm):
        kernels()


def _settling(*cycles: Cycle) -> Settle:
    """Before a partition goes: bring the stores to what was folded, so that whoever gets it goes on from there."""

    async def settle(owner: PartitionOwner) -> bool:
        return all(await asyncio.gather(*(cycle.settle(owner) for cycle in cycles)))

    return settle


async def final_rounds(caching: Cycle, *durable: Cycle) -> None:
    """The last that the stores are given: the cache as far as it takes it, the others until they have taken everything."""
    await asyncio.gather(caching.round(), *(cycle.finish() for cycle in durable))


def _caught_up(app: App) -> Any:
    def caught_up(place: Place, offset: int) -> bool:
        if app.moving():  # it may be another's already; aiokafka knows the end only of what is assigned
            return False
        end = log_end(app, place)
        return end is not None and offset >= end

    return caught_up


def _keep_what_stands() -> None:
    """What is there when work begins stays until it ends, so the garbage collector need not go through it: each time it did, twice a
    minute, everything stood for 0.15 s, and the flush in whose midst that fell paid for it with a pause ten times as long."""
    gc.collect()
    gc.freeze()


def _report(app: App, done: set[asyncio.Task[Any]]) -> None:
    log.error("the worker stops: %s", app.crash_reason or "it was not asked to")
    for task in done:
        if not task.cancelled() and task.exception() is not None:
            log.error("%r", task.exception(), exc_info=task.exception())
