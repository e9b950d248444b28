"""The Faust app: one agent over all topics, on the batch transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import faust
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.owners import Owners, Place
from topologies.errors import SourceError
from topologies.settings import Settings

BUFFERED_FETCHES: Final = 4
FETCH_BYTES: Final = 1_048_576
"""A fetch brings at most so much of a partition, compressed."""


class App(faust.App):
    """Faust's app, which tells the transport where to read each partition from."""

    owners: Owners
    opened: Callable[[Iterable[Place]], None]

    async def positions(self, places: Iterable[TP]) -> dict[TP, int]:
        """Own these partitions; where to read each from. Called by the transport whenever partitions are assigned."""
        found = await self.owners.open((tp.topic, tp.partition) for tp in places)
        self.opened(found)
        return {TP(*place): offset for place, offset in found.items()}

    def _create_directories(self) -> None:
        """There are no tables, so nothing is kept on disk."""


def make_app(
    settings: Settings,
    topics: Sequence[str],
    owners: Owners,
    room: Callable[[], Awaitable[Any]],
    opened: Callable[[Iterable[Place]], None],
) -> App:
    """The app for these topics. `room` is awaited before each batch: it returns when the worker may fold on. `opened` is called with the
    partitions whenever they have been assigned and restored."""
    kafka = settings.kafka
    app = App(
        kafka.group,
        broker=";".join(f"marquee://{address}" for address in kafka.bootstrap.split(",")),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        stream_buffer_maxsize=BUFFERED_FETCHES,
        stream_wait_empty=False,
        broker_commit_interval=1.0,
        broker_session_timeout=kafka.session_timeout_s,
        broker_heartbeat_interval=kafka.session_timeout_s / 4,
        broker_request_timeout=kafka.request_timeout_s,
        broker_rebalance_timeout=kafka.request_timeout_s,
        broker_max_poll_interval=86_400.0,
        consumer_metadata_max_age_ms=30_000,
        producer_acks=-1,
        logging_config=None,
    )
    app.owners = owners
    app.opened = opened
    app.on_rebalance_complete.connect(_idle(app))
    channel = app.topic(*topics, key_serializer="raw", value_serializer="raw")

    async def seek(place: tuple[str, int], offset: int) -> None:
        await _ensure_held(app, TP(*place), offset)
        await app.consumer.seek(TP(*place), offset)

    @app.agent(channel, concurrency=1, name="fold")
    async def fold(stream: Any) -> None:
        async for event in stream.noack().events():
            await room()
            message = event.message
            await owners.fold((message.topic, message.partition), event.value, event, seek)

    return app


async def _ensure_held(app: App, tp: TP, offset: int) -> None:
    """Raises SourceError if the log does not hold `offset` any more: a seek there would end at the log's beginning, again and again."""
    try:
        earliest = (await app.consumer.earliest_offsets(tp))[tp]
    except KafkaError:  # away; the next batch asks again
        return
    if earliest > offset:
        raise SourceError(f"{tp.topic} partition {tp.partition} begins at offset {earliest} now and is computed up to {offset}: it was cut")


def _idle(app: App) -> Any:
    """A worker that gets no partition is ready too, and owns none any more: Faust asks for positions only where there are partitions."""

    async def idle(_app: Any, **_: Any) -> None:
        if not app.consumer.assignment():
            await app.positions(())

    return idle
