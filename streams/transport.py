"""The batch transport: one Faust message is a partition's whole fetch, not a record.

`marquee://` under Faust's entry-point group `faust.transports`. It subclasses the aiokafka driver and changes three things: a
fetch is handed on as FetchedBatches; acks are a prefix of batches in order; and where a partition is read from is the
application's word (`App.positions`), never the group's committed offset.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.records import FetchedBatches, keep_fetched_bytes, take_batches
from topologies.errors import ServerAway

FETCH_MAX_WAIT_MS = 100
"""A broker with nothing new answers after so long; what is new it answers at once."""

OPENING_MARGIN_S = 2.0
"""So long before Faust's own patience ends, opening partitions is given up."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Fetches in a thread of its own, as the driver does; takes fetches whole."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        consumer._isolation_level = "read_committed"
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,  # noqa: ARG002  # a fetch is taken whole
    ) -> Mapping[TP, list[FetchedBatches]]:
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            return await _fetched(fetcher, active_partitions, timeout or 0.0)


async def _fetched(fetcher: Any, partitions: set[TP], timeout_s: float) -> dict[TP, list[FetchedBatches]]:
    """What has been fetched of these partitions, one item each; waits up to `timeout_s` for the first."""
    deadline = time.monotonic() + timeout_s
    while True:
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        drained: dict[TP, list[FetchedBatches]] = {}
        for tp in list(fetcher._records):
            if tp not in partitions:
                if not fetcher._subscriptions.is_assigned(tp):
                    fetcher._records.pop(tp, None)
                continue
            result = fetcher._records.get(tp)
            if result is None:  # a seek in the other thread took it away
                continue
            if type(result) is not FetchResult and drained:
                return drained
            fetcher._records.pop(tp, None)
            fetcher._notify(fetcher._wait_consume_future)
            if type(result) is not FetchResult:
                result.check_raise()
            taken = _take(result, tp)
            if taken is not None:
                drained[TP(tp.topic, tp.partition)] = [taken]
        left = deadline - time.monotonic()
        if drained or left <= 0:
            return drained
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=left)
        if not done or fetcher._closed:
            waiter.cancel()
            return {}
        waiter.result()


def _take(result: Any, tp: Any) -> FetchedBatches | None:
    if not result.check_assignment(tp) or not result.has_more():
        return None
    taken = take_batches(result._partition_records)
    result._update_position()
    result._partition_records = None
    return taken


class Consumer(driver.Consumer):
    """Faust's consumer, whose messages are fetches. A message's offset is that of the last record it covers."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: FetchedBatches) -> ConsumerMessage:
        value: Any = record  # Faust's type asks for bytes; the raw codec hands on what it gets
        time_s: Any = None
        return ConsumerMessage(
            tp.topic, tp.partition, record.next_offset - 1, time_s, 0, [], None, value, None, 0, 0, tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit: behind the last batch acked. Acks come in order, so the last is the greatest."""
        acked = self._acked[tp]
        if not acked:
            return None
        newest = max(acked)
        self._acked_index[tp].difference_update(acked)
        acked.clear()
        return newest + 1

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """A batch covers what it skipped, so there is never a gap."""

    async def perform_seek(self) -> None:
        """Read each partition from where its state stands."""
        app: Any = self.app
        patience_s = app.conf.broker_request_timeout - OPENING_MARGIN_S
        positions: Mapping[TP, int] = {}
        try:
            async with asyncio.timeout(patience_s):
                while set(positions) != (assigned := self.assignment()):  # which may change while partitions are restored
                    positions = await app.positions(assigned)
        except TimeoutError as error:  # Faust would end its wait silently and leave a worker that reads nothing
            raise ServerAway(f"the partitions could not be restored within {patience_s:g} s; see whether Cassandra keeps up") from error
        for tp, offset in positions.items():
            self._acked[tp].clear()
            self._acked_index[tp].clear()
            await self.seek(tp, offset)
            self._read_offset[tp] = None
            self._committed_offset[tp] = None

    async def on_task_error(self, exc: BaseException) -> None:
        """The agent raised: the worker ends. Faust would start the agent anew, at the batch behind the one that failed."""
        app: Any = self.app
        await app.crash(exc)

    def on_buffer_full(self, tp: TP) -> None:
        """The buffer is full: the conductor's put waits, and so does fetching."""

    def on_buffer_drop(self, tp: TP) -> None:
        """See on_buffer_full."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust would look for one committed offset a record; `marquee status` shows what stands still."""


class Transport(driver.Transport):
    """Faust's Kafka transport with the batch consumer."""

    Consumer: ClassVar[type[Consumer]] = Consumer

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        keep_fetched_bytes()
