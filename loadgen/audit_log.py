"""The raw log, copied from Kafka into Parquet files that DuckDB reads: one file a source, a row a record, in log order.

    offset int64 · record_ts int64 (ms) · key binary? · value binary?

Arrow records become rows at once, in a second file where there are any (loadgen.audit_arrow.SCHEMA).

Committed records only; nothing is committed, and no group is joined: partitions are assigned by hand. Memory is bounded by what
librdkafka queues (64 MB) and ROWS_A_GROUP rows a source. Measured (one core, 270-byte records, lz4): 0.3-0.4 M records/s.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import confluent_kafka as ck
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.kafka import client_options, kafka_errors, partition_offsets, topic_ids
from loadgen import audit_arrow
from topologies.errors import ServerAway, SourceError
from topologies.settings import Settings
from topologies.sources import Source

ROWS_A_GROUP: Final = 30_000
BYTES_A_GROUP: Final = 16 * 1024 * 1024
SCHEMA: Final = pa.schema([("offset", pa.int64()), ("record_ts", pa.int64()), ("key", pa.binary()), ("value", pa.binary())])

Progress = Callable[[str], None]


@dataclass(frozen=True)
class LogEnd:
    """A source's log as it stands: offsets from `first` to below `end`. `first` > 0: the beginning has been deleted by retention."""

    source: Source
    first: int
    end: int


@dataclass(frozen=True)
class CopiedLog:
    """A source's copied log: its JSON records, and the rows of its Arrow records; that file is only there if there are any."""

    json: Path
    arrow: Path

    def remove(self) -> None:
        """Delete the files."""
        self.json.unlink()
        self.arrow.unlink(missing_ok=True)


def log_ends(settings: Settings, topics: Iterable[str]) -> list[LogEnd]:
    """The sources of these topics in this region, with their offsets now; a topic that is not there has none.

    Raises ServerAway and StoreError.
    """
    ends = []
    for topic in sorted(set(topics)):
        try:
            offsets = partition_offsets(settings, topic)
        except SourceError:
            continue
        topic_id = topic_ids(settings, [topic])[topic]
        for partition, (first, end) in offsets.items():
            ends.append(LogEnd(Source(settings.worker.region, topic, topic_id, partition), first, end))
    return ends


def copy_log(settings: Settings, wanted: dict[Source, int], directory: Path, on_progress: Progress) -> dict[Source, CopiedLog]:
    """Copy each source's records below the wanted offset into a file of `directory`; returns the files.

    Raises ServerAway when the brokers fall silent, SourceError when a partition cannot be read from its beginning.
    """
    files = {
        source: CopiedLog(directory / f"{number:05d}.parquet", directory / f"{number:05d}.arrow.parquet")
        for number, source in enumerate(wanted)
    }
    copies = {(source.topic, source.partition): _Copy(source, offset, files[source]) for source, offset in wanted.items()}
    for copy in copies.values():
        if copy.wanted == 0:
            copy.finish()
    options = {
        "group.id": f"marquee-audit-{uuid.uuid4()}",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "check.crcs": True,
        "fetch.queue.backoff.ms": 5,
        "fetch.message.max.bytes": settings.kafka.max_record_bytes,
    }
    with kafka_errors(settings.kafka):
        consumer = ck.Consumer(client_options(settings.kafka) | options)
        try:
            _read(settings, consumer, {place: copy for place, copy in copies.items() if not copy.done}, on_progress)
        finally:
            consumer.close()
    return files


def _read(settings: Settings, consumer: Any, copies: dict[tuple[str, int], _Copy], on_progress: Progress) -> None:
    total = sum(copy.wanted for copy in copies.values())
    read, told, heard = 0, time.monotonic(), time.monotonic()
    consumer.assign([ck.TopicPartition(topic, partition, ck.OFFSET_BEGINNING) for topic, partition in copies])
    while copies:
        before = read
        for message in consumer.consume(10_000, 0.5):
            copy = copies.get((message.topic(), message.partition()))
            if copy is not None:
                read += copy.take(message)
        for place in [place for place, copy in copies.items() if copy.done]:
            consumer.incremental_unassign([ck.TopicPartition(*place)])
            del copies[place]
        now = time.monotonic()
        heard = now if read > before else heard
        if now - heard > settings.kafka.request_timeout_s:
            raise ServerAway(
                f"Kafka at {settings.kafka.bootstrap} has sent nothing for {now - heard:.0f} s; see whether all brokers are up"
            )
        if now - told > 1:
            told = now
            on_progress(f"reading the log: {read:,} of {total:,} records")


@dataclass
class _Copy:
    """One source being copied: columns of the rows not written yet, and whether all below `wanted` has been seen."""

    source: Source
    wanted: int
    files: CopiedLog
    done: bool = False
    _columns: tuple[list[Any], ...] = field(default_factory=lambda: ([], [], [], []))
    _bytes: int = 0
    _writer: Any = None
    _tables: list[pa.Table] = field(default_factory=list)
    _rows: int = 0
    _row_writer: Any = None

    def take(self, message: Any) -> int:
        """Take one message of the consumer; returns 1 if it is a record below the wanted offset."""
        offset = message.offset()
        error = message.error()
        if error is not None:
            if error.code() != ck.KafkaError._PARTITION_EOF:
                where = f"partition {self.source.partition} of {self.source.topic}"
                raise SourceError(f"{where} cannot be read: {error.str()}; look at the broker's log")
            if offset >= self.wanted:
                self.finish()
            return 0
        if self.done or offset >= self.wanted:
            self.finish()
            return 0
        value = message.value()
        if audit_arrow.is_arrow(value, message.headers()):
            self._take_arrow(message)
        else:
            self._take_json(message, value)
        if offset + 1 >= self.wanted:
            self.finish()
        return 1

    def _take_json(self, message: Any, value: bytes | None) -> None:
        offset = message.offset()
        for column, item in zip(self._columns, (offset, message.timestamp()[1], message.key(), value), strict=True):
            column.append(item)
        self._bytes += len(value or b"")
        if len(self._columns[0]) >= ROWS_A_GROUP or self._bytes >= BYTES_A_GROUP:
            self._write()

    def _take_arrow(self, message: Any) -> None:
        place = {"offset": message.offset(), "record_ts": message.timestamp()[1], "key": message.key()}
        for rows in audit_arrow.expanded(message.value()):
            said = {name: pa.repeat(pa.scalar(item, audit_arrow.SCHEMA.field(name).type), rows.num_rows) for name, item in place.items()}
            whole = {**said, **dict(zip(rows.column_names, rows.columns, strict=True))}
            self._tables.append(pa.table([whole[name] for name in audit_arrow.SCHEMA.names], schema=audit_arrow.SCHEMA))
            self._rows += rows.num_rows
        if self._rows >= ROWS_A_GROUP:
            self._write_rows()

    def finish(self) -> None:
        """Write what is left and close the file. A second call does nothing."""
        if not self.done:
            self._write()
            self._writer.close()
            if self._tables or self._row_writer is not None:
                self._write_rows()
                self._row_writer.close()
            self.done = True

    def _write_rows(self) -> None:
        if self._row_writer is None:
            self._row_writer = pq.ParquetWriter(self.files.arrow, audit_arrow.SCHEMA, compression="lz4", write_statistics=False)
        if self._tables:
            self._row_writer.write_table(pa.concat_tables(self._tables).combine_chunks(), row_group_size=4 * ROWS_A_GROUP)
        self._tables.clear()
        self._rows = 0

    def _write(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.files.json, SCHEMA, compression="lz4", use_dictionary=False, write_statistics=False)
        arrays = [pa.array(column, kind) for column, kind in zip(self._columns, SCHEMA.types, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
        for column in self._columns:
            column.clear()
        self._bytes = 0
