"""The metrics of a worker: the one list of their names. `/metrics` serves them, docs/metrics.md is generated from this list.

Counters and histograms tell what this process did: they begin at 0 with it, and what is folded again after a rebalance or a restart
is counted again, as Prometheus' `rate` wants it. Gauges named `marquee_source_…` are read from the sources' states when they are
scraped: they belong to the source, move with it from worker to worker, and are exact as of its offset. docs/decisions/0018.

Labels: topic and partition (as many series as partitions are assigned), store (redis, cassandra, checkpoints), and a few fixed words;
never an account, a session, a title or an error's text.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from prometheus_client import Counter

from connectors.metrics import Metrics
from topologies.sources import SourceStatus

_METRICS: Final = Metrics()
REGISTRY: Final = _METRICS.registry
DECLARED: Final = _METRICS.declared
_counter, _histogram, _read = _METRICS.counter, _METRICS.histogram, _METRICS.read
PLACE: Final = ("topic", "partition")
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RECORDS: Final = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)
_BYTES: Final = (1e3, 1e4, 1e5, 5e5, 1e6, 2.5e6, 5e6, 1e7, 2.5e7, 5e7, 1e8, 2.5e8, 1e9)

# -- events: received = applied + duplicate + late + dead ----------------------------------------------------------------------
RECEIVED: Final = _counter("marquee_events_received", "records folded in by this worker, ticks excepted", *PLACE)
APPLIED: Final = _counter("marquee_events_applied", "of these, those counted in the views", *PLACE)
DUPLICATE: Final = _counter("marquee_events_duplicate", "of these, those seen before", *PLACE)
LATE: Final = _counter("marquee_events_late", "of these, those more than 15 min behind the watermark; each is a letter", *PLACE)
DEAD: Final = _counter("marquee_events_dead", "of these, those not valid; each is a letter with its reason", *PLACE)

# -- the sources that this worker owns, as they stand when they are scraped ----------------------------------------------------
SOURCE_EVENTS: Final = _read(
    "marquee_source_events", "events of the source up to its offset; class: received, applied, duplicate, late, dead", *PLACE, "class"
)
SOURCE_OFFSET: Final = _read("marquee_source_offset", "next offset to fold; all before it is in the state", *PLACE)
SOURCE_STORED_OFFSET: Final = _read(
    "marquee_source_stored_offset",
    "offset up to which the store has the source: its cells (redis, cassandra), its state (checkpoints: a restart goes on from there)",
    *PLACE,
    "store",
)
SOURCE_LAG_RECORDS: Final = _read("marquee_source_lag_records", "records in the log that are not folded; absent until it is known", *PLACE)
SOURCE_LAG_SECONDS: Final = _read(
    "marquee_source_lag_seconds", "now − the source's clock; of live topics only, whose clock moves at least every second", *PLACE
)
SOURCE_CLOCK: Final = _read(
    "marquee_source_clock_timestamp_seconds", "the source's clock, seconds since 1970; absent before it has one", *PLACE
)
SOURCE_WATERMARK: Final = _read(
    "marquee_source_watermark_timestamp_seconds", "the source's watermark, seconds since 1970; absent before it has one", *PLACE
)
SOURCE_STATE_BYTES: Final = _read("marquee_source_state_bytes", "bytes that the source's state takes in memory", *PLACE)
SOURCE_UNACKED: Final = _read("marquee_source_unacked_batches", "batches folded and not durable yet", *PLACE)
SOURCE_LOST: Final = _read("marquee_source_lost_records", "records that were gone from the log before they could be folded, ever", *PLACE)
PARTITIONS: Final = _read("marquee_partitions", "partitions of this worker; state: owned, or held (not read, the log says why)", "state")

# -- a batch: what one fetch of one partition brings ----------------------------------------------------------------------------
BATCH_RECORDS: Final = _histogram("marquee_batch_records", "records of a batch", _RECORDS)
BATCH_BYTES: Final = _histogram("marquee_batch_bytes", "bytes of a batch, decompressed", _BYTES)
FOLD_SECONDS: Final = _histogram("marquee_fold_seconds", "folding a batch in, seconds", _SECONDS)

# -- stores -----------------------------------------------------------------------------------------------------------------------
FLUSH_SECONDS: Final = _histogram("marquee_flush_seconds", "bringing one source's changed cells to the store, seconds", _SECONDS, "store")
CHECKPOINT_SECONDS: Final = _histogram("marquee_checkpoint_seconds", "copying, packing and writing one checkpoint, seconds", _SECONDS)
CHECKPOINT_PAUSE_SECONDS: Final = _histogram(
    "marquee_checkpoint_pause_seconds", "the fold stands still while a checkpoint's copy is taken, seconds", _SECONDS
)
CHECKPOINT_BYTES: Final = _histogram("marquee_checkpoint_bytes", "bytes of a checkpoint", _BYTES)
RESTORE_SECONDS: Final = _histogram("marquee_restore_seconds", "restoring a partition that was assigned, seconds", _SECONDS)
CHECKPOINTS_SKIPPED: Final = _counter("marquee_checkpoints_skipped", "checkpoints that did not verify when they were to be restored")
STORE_ERRORS: Final = _counter("marquee_store_errors", "flushes that failed and are tried again; kind: away, refused", "store", "kind")
STORE_UP: Final = _read("marquee_store_up", "1 while the store takes flushes, 0 while it does not", "store")
CACHE_REWRITES: Final = _counter(
    "marquee_cache_rewrites", "times that Redis had lost something of a source, all of which was written again", *PLACE
)
FINALS_WRITTEN: Final = _counter(
    "marquee_finals_written", "pack spans, each of one part of a view, whose final rows this worker wrote into Cassandra"
)
VOLUMES_WRITTEN: Final = _counter(
    "marquee_volumes_written", "volumes, each of one part of a view, into which this worker bound final rows of Cassandra"
)

# -- the group --------------------------------------------------------------------------------------------------------------------
REBALANCES: Final = _counter("marquee_rebalances", "times that partitions were assigned to this worker anew")
FETCHING: Final = _read("marquee_fetching", "1 while this worker reads, 0 while it waits for a store, or for Kafka, to take what it has")
RECOVERIES: Final = _counter("marquee_recoveries", "times that the watchdog read a partition anew that had brought nothing")

# -- memory, which is bounded (docs/decisions/0017) ---------------------------------------------------------------------------------
HELD_BYTES: Final = _read(
    "marquee_held_bytes",
    "bytes held; kind: fetched (not folded, as fetched), unacked (folded, not durable, as fetched), letters (not taken by Kafka), state",
    "kind",
)


def count(before: SourceStatus, after: SourceStatus, records: int, nbytes: int, seconds: float) -> None:
    """One batch, of so many records and bytes, brought a source's status from `before` to `after` in so many seconds."""
    BATCH_RECORDS.observe(records)
    BATCH_BYTES.observe(nbytes)
    FOLD_SECONDS.observe(seconds)
    grown = (
        after.received - before.received,
        after.applied - before.applied,
        after.duplicate - before.duplicate,
        after.late - before.late,
        after.dead - before.dead,
    )
    for counter, more in zip(_of_place(after.source.topic, after.source.partition), grown, strict=True):
        counter.inc(more)


@cache  # finding a series by its labels costs more than raising it; there are as many places as partitions
def _of_place(topic: str, partition: int) -> tuple[Counter, ...]:
    return tuple(counter.labels(topic, partition) for counter in (RECEIVED, APPLIED, DUPLICATE, LATE, DEAD))
