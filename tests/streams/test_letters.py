"""Letters against a producer that fills up, answers late and refuses: none is taken for delivered before Kafka has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException

from streams import letters
from streams.letters import Letters
from topologies.errors import ServerAway, StoreError
from topologies.fold import RecordBlock, Refused
from topologies.settings import KafkaSettings
from topologies.sources import Source

SOURCE = Source("local", "viewing-events", "A" * 22, 0)


class Refusal:
    """A delivery error, as the client gives it."""

    def str(self) -> str:
        return "not now"


class PretendProducer:
    """Queues up to `room` letters; `answer` takes or refuses the oldest, which poll then reports."""

    def __init__(self, _options: dict[str, Any]) -> None:
        self.room = 1_000
        self.queue: list[tuple[bytes, Callable[[Any, Any], None]]] = []
        self.answers: list[Callable[[], None]] = []
        self.taken: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.error: KafkaError | None = None
        """What every letter is answered with at once."""
        self.fatal: KafkaError | None = None
        """What the next poll raises."""

    def produce(
        self,
        _topic: str,
        value: bytes,
        on_delivery: Callable[[Any, Any], None] = lambda _error, _message: None,
        headers: Sequence[tuple[str, str]] = (),
        **_: Any,
    ) -> None:
        if self.error is not None:
            raise KafkaException(self.error)
        if len(self.queue) >= self.room:
            raise BufferError
        self.headers.append(dict(headers))
        self.queue.append((value, on_delivery))

    def answer(self, error: Refusal | None = None) -> None:
        value, report = self.queue.pop(0)
        if error is None:
            self.taken.append(value)
        self.answers.append(lambda: report(error, None))

    def poll(self, _timeout: float) -> None:
        while self.answers:
            self.answers.pop(0)()
        if self.fatal is not None:
            error, self.fatal = self.fatal, None
            raise KafkaException(error)


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> PretendProducer:
    made = PretendProducer({})
    monkeypatch.setattr(letters, "Producer", lambda _options: made)
    return made


DELETED = KafkaError(KafkaError._UNKNOWN_TOPIC, "Local: Unknown topic")
DEAD = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "out of order", fatal=True)
"""As the client tells it, once, out of a poll."""
DEAD_SINCE = KafkaError(KafkaError._FATAL, "Local: Fatal error")
"""As it answers every call after that."""


def block(*values: bytes) -> tuple[RecordBlock, list[Refused]]:
    ends = np.cumsum([len(value) for value in values])
    starts = ends - [len(value) for value in values]
    none = np.full(len(values), -1)
    numbers = np.arange(len(values))
    buffer = np.frombuffer(b"".join(values), dtype=np.uint8)
    rows = [Refused(record, 0, "not_json") for record in range(len(values))]
    return RecordBlock(buffer, starts, ends, none, none, numbers, numbers, 0, len(values)), rows


async def test_a_batch_whose_letters_do_not_all_fit_the_queue_is_not_delivered_half_way(producer: PretendProducer) -> None:
    sender = Letters(KafkaSettings(request_timeout_s=60.0))
    producer.room = 1
    sending = asyncio.create_task(sender.send(SOURCE, *block(b"one", b"two")))
    await asyncio.sleep(0)
    producer.answer()
    delivered = asyncio.create_task(sender.delivered())
    await sending
    assert not delivered.done()
    producer.answer()
    await delivered
    assert producer.taken == [b"one", b"two"]


async def test_letters_sent_meanwhile_are_not_waited_for(producer: PretendProducer) -> None:
    sender = Letters(KafkaSettings(request_timeout_s=60.0))
    await sender.send(SOURCE, *block(b"one"))
    delivered = asyncio.create_task(sender.delivered())
    await asyncio.sleep(0)
    await sender.send(SOURCE, *block(b"two"))
    producer.answer()
    await delivered
    assert producer.taken == [b"one"]


async def test_a_refused_letter_is_told_at_once_and_sent_again(producer: PretendProducer) -> None:
    sender = Letters(KafkaSettings(request_timeout_s=60.0))
    await sender.send(SOURCE, *block(b"one", b"two"))
    producer.answer(Refusal())
    producer.answer()
    with pytest.raises(ServerAway, match="1 letters"):
        await sender.delivered()
    delivered = asyncio.create_task(sender.delivered())
    await asyncio.sleep(0)
    producer.answer()
    await delivered
    assert producer.taken == [b"two", b"one"]


async def test_what_is_too_long_for_a_record_is_cut_and_says_so(producer: PretendProducer) -> None:
    sender = Letters(KafkaSettings(max_record_bytes=65_536 + 3))
    await sender.send(SOURCE, *block(b"four", b"two"))
    assert [value for value, _ in producer.queue] == [b"fou", b"two"]
    assert [headers.get("cut") for headers in producer.headers] == ["4", None]


async def test_the_loop_goes_on_while_a_record_of_many_letters_is_sent(producer: PretendProducer) -> None:
    producer.room = 10_000
    sending = asyncio.create_task(Letters(KafkaSettings()).send(SOURCE, *block(*[b"x"] * 5_000)))
    sent = []
    while not sending.done():
        await asyncio.sleep(0)
        sent.append(len(producer.queue))
    assert max(after - before for before, after in pairwise([0, *sent])) < 500
    assert len(producer.queue) == 5_000


def test_a_tick_to_a_topic_that_was_deleted_ends_nothing_and_is_told_once(
    producer: PretendProducer, caplog: pytest.LogCaptureFixture
) -> None:
    sender = Letters(KafkaSettings())
    producer.error = DELETED
    for _ in range(3):
        sender.tick("viewing-events", 0)
    assert caplog.text.count("no ticks get into viewing-events (Local: Unknown topic)") == 1
    producer.error = None
    sender.tick("viewing-events", 0)
    assert len(producer.queue) == 1
    producer.error = DELETED
    sender.tick("viewing-events", 0)
    assert caplog.text.count("no ticks get into viewing-events") == 2


async def test_letters_whose_topic_was_deleted_are_kept_and_sent_when_it_is_back(producer: PretendProducer) -> None:
    sender = Letters(KafkaSettings(request_timeout_s=60.0))
    producer.error = DELETED
    await sender.send(SOURCE, *block(b"one", b"two"))
    for _ in range(2):
        with pytest.raises(StoreError, match="answered with an error: Local: Unknown topic"):
            await sender.delivered()
    assert sender.waiting_bytes > 0
    producer.error = None
    delivered = asyncio.create_task(sender.delivered())
    await asyncio.sleep(0)
    producer.answer()
    producer.answer()
    await delivered
    assert (producer.taken, sender.waiting_bytes) == ([b"one", b"two"], 0)


async def delivered_by(other: PretendProducer, sender: Letters) -> None:
    """Returns when all letters are delivered: this producer takes whatever it is given."""
    delivered = asyncio.create_task(sender.delivered())
    while not delivered.done():
        await asyncio.sleep(0)
        while other.queue:
            other.answer()
    await delivered


@pytest.mark.parametrize("told", ["by a poll", "by a letter", "by a tick"])
async def test_a_producer_that_takes_nothing_more_is_replaced_and_what_is_open_is_sent_again(
    producer: PretendProducer, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    sender = Letters(KafkaSettings(request_timeout_s=60.0))
    await sender.send(SOURCE, *block(b"one", b"two"))
    producer.answer(Refusal())
    producer.error = DEAD_SINCE
    if told == "by a poll":
        producer.fatal = DEAD
    other = PretendProducer({})
    monkeypatch.setattr(letters, "Producer", lambda _options: other)
    if told == "by a letter":
        await sender.send(SOURCE, *block(b"three"))
    else:
        sender.tick("viewing-events", 0)
        await sender.send(SOURCE, *block(b"three"))
    await delivered_by(other, sender)
    assert producer.taken == []
    assert set(other.taken) - {b'{"v":1,"type":"tick"}'} == {b"one", b"two", b"three"}
    assert sender.waiting_bytes == 0


async def test_a_queue_that_stays_full_since_the_producer_is_dead_is_left(
    producer: PretendProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = Letters(KafkaSettings(request_timeout_s=60.0))
    producer.room = 1
    producer.fatal = DEAD
    other = PretendProducer({})
    monkeypatch.setattr(letters, "Producer", lambda _options: other)
    await sender.send(SOURCE, *block(b"one", b"two"))
    await delivered_by(other, sender)
    assert set(other.taken) == {b"one", b"two"}
    assert sender.waiting_bytes == 0
