"""What an append promises: all of it is in the log when it returns; and what cannot go on is replaced."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import KafkaError

from connectors.appending import Appender, AppendingSettings
from connectors.kafka import ensure_topic, partition_offsets
from topologies.errors import MarqueeError
from topologies.settings import Settings

SMALL = AppendingSettings(timeout_s=30.0, linger_ms=5.0, max_bytes=10_000)


def opened(settings: Settings) -> Appender:
    topic = settings.kafka.topics[0]
    ensure_topic(settings, topic, live=True)
    return Appender(settings.kafka, topic, SMALL)


def logged(settings: Settings) -> int:
    return sum(end for _, end in partition_offsets(settings, settings.kafka.topics[0]).values())


async def test_when_an_append_returns_all_of_it_is_in_the_log(settings: Settings) -> None:
    appender = opened(settings)
    await asyncio.gather(*(appender.append([b"value"] * 100, [b"%d" % number] * 100) for number in range(10)))
    assert logged(settings) == 1_000
    assert appender.bytes_in_flight == 0
    assert appender.owed_s() == 0
    await appender.close()


async def test_one_append_has_room_however_big_and_a_second_only_as_far_as_it_goes(settings: Settings) -> None:
    appender = opened(settings)
    big = [bytes(20_000)]
    assert appender.has_room(big)
    first = asyncio.create_task(appender.append(big, [b"k"]))
    await asyncio.sleep(0)
    assert appender.bytes_in_flight > 20_000
    assert not appender.has_room([b"v"])
    await first
    assert appender.has_room([b"v"])
    await appender.close()


async def test_a_caller_that_is_cancelled_leaves_its_records_on_their_way(settings: Settings) -> None:
    appender = opened(settings)
    task = asyncio.create_task(appender.append([b"value"], [b"k"]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await appender.close()
    assert logged(settings) == 1
    assert appender.bytes_in_flight == 0


async def test_a_producer_that_can_go_on_no_more_is_replaced(settings: Settings) -> None:
    appender = opened(settings)
    held = asyncio.create_task(appender.append([b"held"], [b"k"]))
    await asyncio.sleep(0)
    appender._on_error(KafkaError(KafkaError._FATAL, "fenced", fatal=True))
    await appender.append([b"value"], [b"k"])
    with_first = 2
    try:
        await held
    except MarqueeError:
        with_first = 1
    assert logged(settings) >= with_first
    await appender.append([b"more"], [b"k"])
    await appender.close()
    assert logged(settings) >= with_first + 1
