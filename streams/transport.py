"""The batch transport: one Faust message is a partition's whole fetch, not a record.

`marquee://` under Faust's entry-point group `faust.transports`. It subclasses the aiokafka driver and changes four things: a
fetch is handed on as FetchedBatches; acks are a prefix of batches in order; partitions move incrementally (streams/assignor.py);
and where a partition is read from is the application's word (streams/handover.py), never the group's committed offset.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.assignor import Assignor, Place
from streams.fetched import keep_fetched_bytes, take_batches
from streams.frames import receive_in_place
from streams.records import FetchedBatches
from streams.room import Afloat

FETCH_MAX_WAIT_MS: Final = 100
"""A broker with nothing new answers after so long; what is new it answers at once."""
FETCH_BYTES: Final = 2_097_152
"""A fetch brings at most so much of a partition, compressed; less where many partitions would pass the bound of all together.

A broker cuts it off there, in the midst of a batch, which comes again with the next fetch: of batches of half a MB, as full Arrow ones
are, a third of what came was such pieces at 1 MiB, a tenth at 2.
"""
LEAST_FETCH_BYTES: Final = 16_384
"""However small the bound of all together is; a broker sends a batch that is larger all the same."""
FETCHES_A_PARTITION: Final = 2
"""How many fetches of a partition may be held at once beside the fold's buffer: one in aiokafka, one being handed on."""
IDLE_S: Final = 0.05


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Fetches in a thread of its own, as the driver does; takes fetches whole."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.assignor = Assignor()
        self.afloat = Afloat()
        self.lost: Callable[[Place], None] = lambda _place: None
        """Called in the event loop with a partition whose offset the log does not hold."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        consumer._isolation_level = "read_committed"
        consumer._partition_assignment_strategy = (self.assignor,)
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
            fetched = await _fetched(fetcher, active_partitions, timeout or 0.0, self._out_of_range)
        for tp, batches in fetched.items():
            for batch in batches:
                self.afloat.add((tp.topic, tp.partition), batch)
        return fetched

    def _out_of_range(self, tp: Any) -> None:
        self.parent_loop.call_soon_threadsafe(self.lost, (tp.topic, tp.partition))

    async def seek_if_assigned(self, place: Place, offset: int) -> bool:
        """Read on at `offset`; False if the partition is not assigned (any more). In the consumer's thread, where its fetches are."""
        consumer, tp = self._ensure_consumer(), TopicPartition(*place)
        try:
            consumer.seek(tp, offset)
        except IllegalStateError:
            return False
        if tp in consumer.paused():
            consumer.resume(tp)
        return True

    async def rejoin(self) -> None:
        """Ask the group for a new round."""
        self._ensure_consumer()._coordinator.request_rejoin()

    async def here(self, work: Any) -> Any:
        """Run a coroutine in the consumer's thread and wait for it, past the queue in which fetches wait."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop))


async def _fetched(fetcher: Any, partitions: set[TP], timeout_s: float, lost: Callable[[Any], None]) -> dict[TP, list[FetchedBatches]]:
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
            result = fetcher._records[tp]
            if type(result) is not FetchResult and drained:
                return drained
            fetcher._records.pop(tp)
            fetcher._notify(fetcher._wait_consume_future)
            if type(result) is not FetchResult:
                _raise(result, tp, lost)
                continue
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


def _raise(error: Any, tp: Any, lost: Callable[[Any], None]) -> None:
    """What the broker answered instead of records: a partition whose offset it does not hold is told to `lost`, all else is raised."""
    try:
        error.check_raise()
    except (OffsetOutOfRangeError, NoOffsetForPartitionError):
        lost(tp)


def _take(result: Any, tp: Any) -> FetchedBatches | None:
    if not result.check_assignment(tp) or not result.has_more():
        return None
    taken = take_batches(result._partition_records)
    result._update_position()
    result._partition_records = None
    return taken


class Consumer(driver.Consumer):
    """Faust's consumer, whose messages are fetches. A message's offset is that of the last record it covers."""

    _thread: ConsumerThread

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def assignor(self) -> Assignor:
        return self._thread.assignor

    def on_lost(self, lost: Callable[[Place], None]) -> None:
        """Call `lost` with a partition of which an offset was asked for that the log does not hold."""
        self._thread.lost = lost

    # -- what streams hold of the log ---------------------------------------------------------------------------

    def bound_fetches(self, buffered_bytes: int, buffers: int) -> None:
        """Let all fetches of the partitions assigned now, and `buffers` more that wait for the fold, stay below `buffered_bytes`."""
        consumer = self._thread._ensure_consumer()
        most = max(len(consumer.assignment()), 1) * FETCHES_A_PARTITION + buffers
        consumer._fetcher._max_partition_fetch_bytes = min(FETCH_BYTES, max(LEAST_FETCH_BYTES, buffered_bytes // most))

    def fetched_bytes(self) -> int:
        """Bytes of the log fetched and not yet folded, compressed as they are."""
        return self._thread.afloat.nbytes() + sum(
            _nbytes(result) for result in list(self._thread._ensure_consumer()._fetcher._records.values())
        )

    def waits_for_fold(self, place: Place) -> bool:
        """Whether something of the partition has been handed on and is not folded yet."""
        return self._thread.afloat.has(place)

    def fetching(self, place: Place, offset: int, within_s: float) -> bool:
        """Whether the broker has answered, within the last so many seconds, that it has nothing beyond `offset`, where the state stands."""
        fetcher = self._thread._ensure_consumer()._fetcher
        tp = TopicPartition(*place)
        assignment = fetcher._subscriptions.subscription and fetcher._subscriptions.subscription.assignment
        if assignment is None or tp not in assignment.tps or tp in fetcher._records:
            return False
        state = assignment.state_value(tp)
        answered_s = (state.timestamp or 0) / 1000
        return bool(state.has_valid_position and state.position == offset and time.time() - answered_s < within_s)

    def known_end(self, place: Place) -> int | None:
        """Next offset of the partition's log as the last fetch told it; None where it is not assigned, or nothing was fetched yet.

        aiokafka's own `highwater` asserts that the partition is assigned, which may cease at any time, in another thread.
        """
        subscription = self._thread._ensure_consumer()._subscription.subscription
        assignment = subscription and subscription.assignment
        state = assignment and assignment.state_value(TopicPartition(*place))
        return state.highwater if state else None

    # -- moving -------------------------------------------------------------------------------------------------

    async def read_from(self, place: Place, offset: int) -> bool:
        """Read the partition on at `offset`, whatever was fetched or paused of it; False if it is not assigned (any more)."""
        tp = TP(*place)
        if not await self._thread.here(self._thread.seek_if_assigned(place, offset)):
            return False
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        self._read_offset[tp] = None
        self._committed_offset[tp] = None
        self.resume_partitions({tp})
        return True

    async def rejoin(self) -> None:
        """Ask the group for a new round of assignments."""
        await self._thread.here(self._thread.rejoin())

    async def topics(self) -> set[str]:
        """All topics, as the broker has them now. Raises KafkaError when none answers."""
        found: set[str] = await self._thread.here(self._thread._ensure_consumer().topics())
        return found

    async def perform_seek(self) -> None:
        """Read each partition from where its state stands; those without one yet are read when they have been opened."""
        app: Any = self.app
        held: Mapping[Place, int] = app.take_over()
        self.pause_partitions(self.assignment() - {TP(*place) for place in held})
        for place, offset in held.items():
            await self.read_from(place, offset)

    async def _wait_next_records(self, timeout: float) -> Any:
        """Faust would sleep for a second where no partition is active, which is so while all of them are being opened."""
        if self.flow_active and not self._get_active_partitions():
            await self.sleep(IDLE_S)
            return {}, set()
        return await super()._wait_next_records(timeout)

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

    async def on_task_error(self, exc: BaseException) -> None:
        """The agent raised: the worker ends. Faust would start the agent anew, at the batch behind the one that failed."""
        app: Any = self.app
        await app.crash(exc)

    def on_buffer_full(self, tp: TP) -> None:
        """The buffer is full: the conductor's put waits, and so does fetching."""

    def on_buffer_drop(self, tp: TP) -> None:
        """See on_buffer_full."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust would look for one committed offset a record; streams/watchdog.py looks for what stands still."""


def _nbytes(result: Any) -> int:
    records = getattr(getattr(result, "_partition_records", None), "_records", None)
    return len(records.fetched) if records is not None else 0


class Transport(driver.Transport):
    """Faust's Kafka transport with the batch consumer."""

    Consumer: ClassVar[type[Consumer]] = Consumer

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        keep_fetched_bytes()
        receive_in_place()
