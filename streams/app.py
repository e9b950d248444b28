"""The Faust app: one agent over all topics, on the batch transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import faust
from faust.types import TP

from streams.owners import Owners
from topologies.settings import Settings

BUFFERED_FETCHES: Final = 4
FETCH_BYTES: Final = 1_048_576
"""A fetch brings at most so much of a partition, compressed."""


class App(faust.App):
    """Faust's app, which tells the transport where to read each partition from."""

    positions_of: Callable[[Iterable[TP]], Awaitable[Mapping[TP, int]]]

    async def positions(self, places: Iterable[TP]) -> Mapping[TP, int]:
        """Called by the transport whenever partitions are assigned."""
        return await self.positions_of(places)


def make_app(settings: Settings, topics: Sequence[str], owners: Owners, room: Callable[[], Awaitable[Any]]) -> App:
    """The app for these topics. `room` is awaited before each batch: it returns when the worker may fold on."""
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
    app.positions_of = owners.open
    channel = app.topic(*topics, key_serializer="raw", value_serializer="raw")

    async def seek(place: tuple[str, int], offset: int) -> None:
        await app.consumer.seek(TP(*place), offset)

    @app.agent(channel, concurrency=1, name="fold")
    async def fold(stream: Any) -> None:
        async for event in stream.noack().events():
            await room()
            message = event.message
            await owners.fold((message.topic, message.partition), event.value, event, seek)

    return app
