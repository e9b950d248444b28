"""Handing records to Kafka: one producer a process, and the counters that its parent reads while it works.

Measured on 260-byte records: 2.2 µs of CPU a record, librdkafka's threads included (0.45 M/core-s). `produce_batch` of
confluent-kafka 2.16 costs 3.0 µs (a dict a record) and knows no timestamps, so records go one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any, Final, Protocol

import numpy as np
from confluent_kafka import KafkaException, Producer
from numpy.typing import NDArray

from connectors.kafka import producer_options
from loadgen.measured import add_delays
from topologies.bins import BINS
from topologies.blocks import ARROW_TYPE
from topologies.errors import StoreError
from topologies.settings import KafkaSettings

TICK: Final = b'{"v":1,"type":"tick"}'
FINAL_TICK_MS: Final = 960_000
"""A backfill's last record in each partition comes this long after the span's end: a window is final 15 minutes after its end by the
watermark, which trails the clock by one (design §4)."""
LATE_SEND_MS: Final = 100
"""A record handed over later than this after its intended time counts as a late send."""
PATIENCE_S: Final = 300.0
"""A record that the broker has not confirmed after so long has failed. The queue holds what is due meanwhile, up to 300,000 records."""
ARROW_HEADERS: Final[list[tuple[str, str | bytes | None]]] = [("content-type", ARROW_TYPE.encode())]
SLICE: Final = 5_000
"""Records between two looks at the counters."""
(
    SENT, FAILED, WAITING, LATE_SENDS, MAX_LATENESS_MS, READY, DONE,
    FIRST_MS, STARTUP_CPU_MS, CPU_MS, SENDING_MS, BLOCKED_MS, RSS_KB, MAX_CONFIRMED_MS, HANDED_OVER,
) = range(15)  # fmt: skip
"""A process's counters, int64: handed to Kafka, not delivered, not yet confirmed …

FIRST_MS: when its first record is due, since the span began. STARTUP_CPU_MS, CPU_MS: CPU until it was ready, and after that. SENDING_MS:
for how long it has sent. BLOCKED_MS: of that, waiting for room in the producer's queue. From HANDED_OVER on, BINS each (topologies.bins):
events by how late they were handed over, records by how late they were confirmed; the greatest are in MAX_….
"""
CONFIRMED: Final = HANDED_OVER + BINS
COUNTERS: Final = CONFIRMED + BINS


@dataclass(frozen=True)
class Records:
    """Records in the order in which they are to be sent; all lists are of one length.

    sizes i64[n]: how many events each is; None: they are JSON, one each. Else they are sent as Arrow.
    """

    values: Sequence[bytes | None]
    keys: Sequence[bytes]
    partitions: Sequence[int]
    timestamps_ms: Sequence[int]
    sizes: NDArray[np.int64] | None = None


def load_options(settings: KafkaSettings, on_error: Callable[[Any], None]) -> dict[str, Any]:
    """What a load's producer is opened with."""
    return producer_options(settings) | {
        "linger.ms": 50,
        "batch.size": 1_000_000,
        "batch.num.messages": 10_000,
        "queue.buffering.max.messages": 300_000,
        "queue.buffering.max.kbytes": 262_144,
        "message.timeout.ms": int(PATIENCE_S * 1000),
        # What fails is followed by nothing: the log has the first of a partition's records, without a gap, whatever happens.
        "enable.gapless.guarantee": True,
        "error_cb": on_error,
    }


class Sender:
    """One producer: acks=all, idempotent, so each record is in the log once and in the order sent, or reported as failed.

    `counters` is this process's part of the shared array. A second producer of a run writes to other partitions.
    """

    def __init__(self, settings: KafkaSettings, topic: str, live: bool, counters: Any, *, batches: bool = False) -> None:
        """`batches`: whether records are Arrow, whose events are counted by what is reported of each record.

        Of a live run's JSON records all are reported, which costs a tenth of a microsecond each and tells how late they were confirmed.
        """
        self._batches = batches
        self._each = batches or live
        self.topic = topic
        self.counters = counters
        self._confirmed = np.frombuffer(counters, np.int64)[CONFIRMED : CONFIRMED + BINS]
        self._one = np.ones(1, np.int64)
        self._live = live
        self._lost = ""
        self._open = 0
        """Events in Arrow records that the broker has neither confirmed nor failed."""
        self._producer = Producer(load_options(settings, self._on_error) | {"delivery.report.only.error": not self._each})

    def _on_error(self, error: Any) -> None:
        if error.fatal():
            self._lost = str(error)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Raises StoreError for what librdkafka raises within: where it cannot go on, it does from whatever is called next."""
        try:
            yield
        except (KafkaException, SystemError) as error:  # the latter where it had called a report
            why = self._lost or error.__cause__ or error
            raise StoreError(f"the producer for {self.topic} cannot go on ({why}); look at the broker's log") from error

    def _tick_failed(self, error: Any, _: Any) -> None:
        if error is not None:
            self._lost = str(error)

    def _failed(self, error: Any, _: Any) -> None:
        # Only failures are reported: what is neither failed nor waiting was confirmed by the broker.
        if error is not None:
            self.counters[FAILED] += 1

    def send(self, records: Records, first: int, end: int, stopped: Callable[[], bool]) -> int:
        """Hands over records[first:end], waiting while the queue is full. → the index of the first not handed over: `end` unless stopped.

        Raises StoreError when the broker refuses a record or the producer can go on no more.
        """
        at = first
        if self._live and not self._batches and first < end:
            at = self._hand_over_oldest(records, first)
        while at < end:
            goal = min(at + SLICE, end)
            reached = self._hand_over(records, at, goal) if records.sizes is None else self._hand_over_batches(records, at, goal)
            self.counters[SENT] += reached - at if records.sizes is None else int(records.sizes[at:reached].sum())
            at = reached
            self.note()
            if at < goal:
                full = time.monotonic()
                with self._said():
                    self._producer.poll(0.005)
                self.counters[BLOCKED_MS] += round(1000 * (time.monotonic() - full))
                if stopped():
                    break
        return at

    def _hand_over(self, records: Records, first: int, end: int) -> int:
        """→ the index of the first that the queue had no room for. By position and in one plain loop: names cost 0.2 µs a record."""
        produce, topic, report = self._producer.produce, self.topic, self._failed
        cut = slice(first, end)
        stamps = repeat(0) if self._live else records.timestamps_ms[cut]
        at = first
        try:
            for value, key, partition, stamp in zip(records.values[cut], records.keys[cut], records.partitions[cut], stamps, strict=False):
                # The report stands there twice because the signature has two names for it.
                produce(topic, value, key, partition, report, report, stamp)
                at += 1
        except BufferError:
            return at
        except KafkaException as error:
            raise StoreError(f"Kafka refused a record of {self.topic} ({error}); look at the broker's log") from error
        return at

    def _hand_over_oldest(self, records: Records, at: int) -> int:
        """Hands over one record, of which it is noted when it is confirmed. → the index of the next, or of this if there was no room."""
        oldest = partial(self._oldest_reported, records.timestamps_ms[at])
        try:
            self._producer.produce(self.topic, records.values[at], records.keys[at], records.partitions[at], on_delivery=oldest)
        except BufferError:
            return at
        except KafkaException as error:
            raise StoreError(f"Kafka refused a record of {self.topic} ({error}); look at the broker's log") from error
        self.counters[SENT] += 1
        return at + 1

    def _oldest_reported(self, intended_ms: int, error: Any, message: Any) -> None:
        self._failed(error, message)
        self._note_confirmed(intended_ms, error)

    def _note_confirmed(self, intended_ms: int, error: Any) -> None:
        if self._live and error is None:
            late = max(0, int(time.time() * 1000) - intended_ms)
            add_delays(np.array([float(late)]), self._one, self._confirmed)
            self.counters[MAX_CONFIRMED_MS] = max(self.counters[MAX_CONFIRMED_MS], late)

    def _hand_over_batches(self, records: Records, first: int, end: int) -> int:
        """The same for records of many events."""
        assert records.sizes is not None
        for at, size in enumerate(records.sizes[first:end].tolist(), first):
            stamp = 0 if self._live else records.timestamps_ms[at]
            try:
                self._producer.produce(
                    self.topic, records.values[at], records.keys[at], records.partitions[at],
                    on_delivery=partial(self._reported, size, records.timestamps_ms[at]), timestamp=stamp, headers=ARROW_HEADERS,
                )  # fmt: skip
            except BufferError:
                return at
            except KafkaException as error:
                raise StoreError(f"Kafka refused a record of {self.topic} ({error}); look at the broker's log") from error
            self._open += size
        return end

    def _reported(self, size: int, intended_ms: int, error: Any, _: Any) -> None:
        self._open -= size
        if error is not None:
            self.counters[FAILED] += size
        self._note_confirmed(intended_ms, error)

    def note(self) -> None:
        """Serves the producer's reports and refreshes the counters. StoreError when the producer is lost."""
        with self._said():
            self._producer.poll(0)
        self.counters[WAITING] = self._open if self._batches else len(self._producer)
        if self._lost:
            raise StoreError(f"the producer for {self.topic} cannot go on ({self._lost}); look at the broker's log")

    def flush(self, patience_s: float = PATIENCE_S + 10) -> None:
        """Waits until the broker has confirmed or failed every record. StoreError when it does neither in time."""
        limit = time.monotonic() + patience_s
        while self._flushed():
            self.note()
            if time.monotonic() > limit:
                raise StoreError(
                    f"the broker has not confirmed {len(self._producer)} records of {self.topic} in {patience_s:.0f} s; is it up?"
                )
        self.note()

    def _flushed(self) -> int:
        """How many records are still on their way."""
        with self._said():
            return int(self._producer.flush(0.5))

    def end_with_ticks(self, partitions: Sequence[int], stamp_ms: int) -> None:
        """A backfill's last record in each partition. Call after `flush`; counted nowhere."""
        for partition in partitions:
            with self._said():
                self._producer.produce(self.topic, TICK, None, partition, self._tick_failed, self._tick_failed, stamp_ms)
        self.flush()


class Outlet(Protocol):
    """What a Pace hands records to: Sender, or loadgen.regional's for several logs."""

    counters: Any

    def send(self, records: Records, first: int, end: int, stopped: Callable[[], bool]) -> int: ...


class Pace:
    """The open loop: what is due by the clock is sent, whatever became of what was sent before."""

    def __init__(self, sender: Outlet, stopped: Callable[[], bool]) -> None:
        self._sender = sender
        self._stopped = stopped
        self._handed_over = np.frombuffer(sender.counters, np.int64)[HANDED_OVER : HANDED_OVER + BINS]

    def send(self, records: Records, intended_ms: NDArray[np.int64]) -> int:
        """Sends each record at its intended time (epoch ms, ascending). → how many were handed over, fewer only when stopped."""
        at, count = 0, len(intended_ms)
        counters = self._sender.counters
        while at < count:
            now = time.time() * 1000
            end = int(np.searchsorted(intended_ms, now, side="right"))
            if end > at:
                reached = self._sender.send(records, at, end, self._stopped)
                late = time.time() * 1000 - intended_ms[at:reached]
                sizes = np.ones(reached - at, np.int64) if records.sizes is None else records.sizes[at:reached]
                counters[LATE_SENDS] += int(((late > LATE_SEND_MS) * sizes).sum())
                add_delays(late, sizes, self._handed_over)
                counters[MAX_LATENESS_MS] = max(counters[MAX_LATENESS_MS], int(late[0]) if len(late) else 0)
                at = reached
                if reached < end:
                    return at
            elif self._stopped():
                return at
            else:
                # at least 15 ms: waking for each single event would cost more than making it, and the producer lingers longer
                time.sleep(min(max(float(intended_ms[at]) - now, 15.0), 20.0) / 1000)
        return at
