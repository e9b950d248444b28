"""The Faust app: one agent over all topics, on the batch transport."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

import faust
from aiokafka.errors import KafkaError
from faust.types import TP

from connectors.kafka import topic_ids
from connectors.logs import at
from streams.assignor import Place
from streams.credentials import credentials
from streams.handover import Handover
from streams.owners import Owners
from streams.room import MIB
from streams.transport import FETCH_BYTES, Consumer
from topologies.errors import MarqueeError
from topologies.settings import Settings

log = logging.getLogger(__name__)
BUFFERED_FETCHES: Final = 4


class App(faust.App):
    """Faust's app, which tells the transport where to read each partition from."""

    handover: Handover
    buffered_bytes: int
    channel: Any

    @property
    def batches(self) -> Consumer:
        """The consumer, as the one that it is."""
        return cast(Consumer, self.consumer)

    def moving(self) -> bool:
        """Whether a rebalance is under way."""
        return bool(self.rebalancing) or not self.batches.flow_active

    def take_over(self) -> dict[Place, int]:
        """Own what is assigned; of the partitions that are ready, where to read on. Called by the transport at every assignment."""
        self.batches.bound_fetches(self.buffered_bytes, BUFFERED_FETCHES)
        return self.handover.take_over()

    async def read(self, topics: Sequence[str]) -> None:
        """Subscribe to these topics, in place. The flow stops as it does for a rebalance, and goes on with the new assignment."""
        self.consumer.stop_flow()
        self.flow_control.suspend()
        self.consumer.pause_partitions(self.consumer.assignment())
        self.flow_control.clear()
        conductor: Any = self.topics  # Faust's own way to it waits for 45 s, and forgets a change that meets a rebalance
        for channel in list(conductor):  # the agent's stream reads a copy of the app's channel
            channel.topics = list(topics)
        await self.consumer.subscribe(await conductor._update_indices())

    def _create_directories(self) -> None:
        """There are no tables, so nothing is kept on disk."""


def make_app(settings: Settings, topics: Sequence[str], owners: Owners, handover: Handover, room: Callable[[], Awaitable[Any]]) -> App:
    """The app for these topics. `room` is awaited before each batch: it returns when the worker may fold on."""
    kafka = settings.kafka
    app = App(
        kafka.group,
        broker=";".join(f"marquee://{address}" for address in kafka.bootstrap.split(",")),
        broker_credentials=credentials(kafka),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="none",
        consumer_max_fetch_size=FETCH_BYTES,
        stream_buffer_maxsize=BUFFERED_FETCHES,
        stream_wait_empty=False,
        broker_commit_interval=1.0,
        broker_session_timeout=kafka.session_timeout_s,
        broker_heartbeat_interval=min(kafka.heartbeat_s, kafka.session_timeout_s / 4),
        broker_request_timeout=kafka.request_timeout_s,
        broker_rebalance_timeout=kafka.request_timeout_s,
        broker_max_poll_interval=86_400.0,
        consumer_metadata_max_age_ms=30_000,
        producer_acks=-1,
        logging_config=None,
    )
    app.handover = handover
    app.buffered_bytes = round(settings.worker.max_buffered_mb * MIB)
    handover.attach(app.batches, app.crash)
    app.batches.on_lost(_lost(app, owners, settings))
    app.on_rebalance_complete.connect(_idle(app))
    app.channel = app.topic(*topics, key_serializer="raw", value_serializer="raw")

    async def seek(place: Place, offset: int) -> None:
        await app.batches.read_from(place, offset)

    @app.agent(app.channel, concurrency=1, name="fold")
    async def fold(stream: Any) -> None:
        async for event in stream.noack().events():
            await asyncio.sleep(0)  # a stream gives what is buffered without a pause, and flushes wait for their answers in this loop
            await room()
            message = event.message
            await owners.fold((message.topic, message.partition), event.value, event, seek)

    return app


def _lost(app: App, owners: Owners, settings: Settings) -> Callable[[Place], None]:
    """What is done about a partition whose log does not hold the offset that was asked for: it is opened anew, unless a seek is on its
    way. So it is held if its log was cut, and its topic's new log is read from its start if that was made anew.

    Never is it read from where the log begins: what stands there now was counted, or is somebody else's.
    """
    asking: dict[Place, asyncio.Task[None]] = {}  # the loop itself keeps no task alive

    async def judge(place: Place) -> None:
        try:
            owner = owners.get(place)
            if owner is None:  # being opened, which tells it to read where its state stands
                return
            # asked first: as soon as the new log of another topic holds this offset, what stands there is folded into the old source
            ids = await asyncio.to_thread(topic_ids, settings, [place[0]])
            if owners.get(place) is not owner:
                return
            if ids[place[0]] != owner.source.topic_id:
                log.warning("%s: topic %s was made anew", owner.source, place[0], extra=at(owner.source, owner.state.offset))
                app.handover.reopen(place)
                return
            tp = TP(*place)
            earliest, end = (await app.consumer.earliest_offsets(tp))[tp], (await app.consumer.highwaters(tp))[tp]
            if owners.get(place) is not owner:
                return
            offset = owner.state.offset
            if earliest <= offset <= end:
                await app.batches.read_from(place, offset)
                return
            log.error("%s: its log stands from %d to %d now", owner.source, earliest, end, extra=at(owner.source, offset))
            app.handover.reopen(place)
        except (KafkaError, MarqueeError):  # away; the next fetch asks again
            return
        finally:
            asking.pop(place, None)

    def lost(place: Place) -> None:
        if place not in asking:
            asking[place] = app.loop.create_task(judge(place))

    return lost


def _idle(app: App) -> Any:
    """A worker that gets no partition owns none any more: Faust asks for positions only where there are partitions."""

    async def idle(_app: Any, **_: Any) -> None:
        if not app.consumer.assignment():
            app.take_over()

    return idle
