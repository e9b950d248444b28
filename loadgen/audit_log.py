"""The raw log, copied from Kafka into Parquet files that DuckDB reads: one file a source, a row a record, in log order.

    offset int64 · record_ts int64 (ms) · key binary? · value binary?

Arrow records become rows at once, in a second file where there are any (loadgen.audit_arrow.SCHEMA).

Committed records only; nothing is committed, and no group is joined: partitions are assigned by hand. Memory is bounded by what
librdkafka queues (64 MB) and ROWS_A_GROUP rows.
"""

from __future__ import annotations

import threading
import time
import uuid
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import confluent_kafka as ck
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.kafka import client_options, kafka_errors, partition_offsets, topic_ids
from loadgen import audit_arrow
from topologies.errors import ServerAway, SourceError
from topologies.settings import Settings
from topologies.sources import Source

ROWS_A_GROUP: Final = 30_000
BYTES_A_GROUP: Final = 16 * 1024 * 1024
RECORDS_PLAIN: Final = 2_000_000
"""The records of a source with more are compressed on disk: to a fifth, for 0.7 µs of CPU each."""
_FIRST_ASKED: Final = 100
"""So many records are asked for first, then as many as BYTES_A_GROUP has."""
_ARROW_BEGINS: Final = 0xFF
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


def copy_log(settings: Settings, wanted: dict[Source, int], directory: Path, on_progress: Progress) -> Generator[tuple[Source, CopiedLog]]:
    """Copy each source's records below the wanted offset into files of `directory`, one source after the other, the next one while the
    caller looks at this one; who has seen a source's files removes them, so those of two at the most take up room at a time.

    Raises ServerAway when the brokers fall silent, SourceError when a partition cannot be read from its beginning.
    """
    reader = _Reader(settings, sum(wanted.values()), on_progress)
    ahead: deque[tuple[Source, Future[CopiedLog]]] = deque()
    with ThreadPoolExecutor(1) as pool:
        try:
            for number, (source, offset) in enumerate(wanted.items()):
                files = CopiedLog(directory / f"{number:05d}.parquet", directory / f"{number:05d}.arrow.parquet")
                ahead.append((source, pool.submit(reader.copy, source, offset, files)))
                if len(ahead) > 1:
                    yield _first(ahead)
            while ahead:
                yield _first(ahead)
        finally:
            reader.ending.set()
            pool.submit(reader.close).result()


def _first(ahead: deque[tuple[Source, Future[CopiedLog]]]) -> tuple[Source, CopiedLog]:
    source, files = ahead.popleft()
    return source, files.result()


class _Reader:
    """A consumer that copies one partition after the other, in one thread; `ending` says that nobody wants more."""

    def __init__(self, settings: Settings, total: int, on_progress: Progress) -> None:
        self.ending = threading.Event()
        self._settings = settings
        self._total = total
        self._on_progress = on_progress
        self._read = 0
        self._told = time.monotonic()
        self._consumer: Any = None

    def copy(self, source: Source, wanted: int, files: CopiedLog) -> CopiedLog:
        copy = _Copy(source, wanted, files)
        with kafka_errors(self._settings.kafka):
            if wanted:
                self._opened().assign([ck.TopicPartition(source.topic, source.partition, ck.OFFSET_BEGINNING)])
                self._take_all(copy)
                self._consumer.unassign()
            copy.finish()
        return files

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()

    def _opened(self) -> Any:
        if self._consumer is None:
            options = {
                "group.id": f"marquee-audit-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "check.crcs": True,
                "fetch.queue.backoff.ms": 5,
                "fetch.message.max.bytes": self._settings.kafka.max_record_bytes,
            }
            self._consumer = ck.Consumer(client_options(self._settings.kafka) | options)
        return self._consumer

    def _take_all(self, copy: _Copy) -> None:
        heard, asked, bootstrap = time.monotonic(), _FIRST_ASKED, self._settings.kafka.bootstrap
        while not copy.done and not self.ending.is_set():
            taken, size = copy.take(self._consumer.consume(asked, 0.5))
            now = time.monotonic()
            if taken:
                heard, asked = now, max(1, min(ROWS_A_GROUP, BYTES_A_GROUP * taken // max(1, size)))
            elif now - heard > self._settings.kafka.request_timeout_s:
                raise ServerAway(f"Kafka at {bootstrap} has sent nothing for {now - heard:.0f} s; see whether all brokers are up")
            self._read += taken
            if now - self._told > 1:
                self._told = now
                self._on_progress(f"reading the log: {self._read:,} of {self._total:,} records")


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

    def take(self, messages: list[Any]) -> tuple[int, int]:
        """Take these of the consumer, in order; returns how many are records below the wanted offset, and their values' bytes."""
        for message in messages:
            if message.error() is not None:
                self._heed(message)
        good = [message for message in messages if message.error() is None]
        offsets = [message.offset() for message in good]
        if offsets and offsets[-1] >= self.wanted - 1:
            self.done = True
            good = good[: bisect_left(offsets, self.wanted)]
        values = [message.value() for message in good]
        size = sum(len(value) for value in values if value is not None)
        headers = [message.headers() for message in good]
        arrow = {
            at
            for at, (value, told) in enumerate(zip(values, headers, strict=True))
            if (told or (value and value[0] == _ARROW_BEGINS)) and audit_arrow.is_arrow(value, told)
        }
        for at in sorted(arrow):
            self._take_arrow(good[at])
        if arrow:
            good = [message for at, message in enumerate(good) if at not in arrow]
            values = [value for at, value in enumerate(values) if at not in arrow]
        self._take_json(good, values)
        return len(good) + len(arrow), size

    def _heed(self, message: Any) -> None:
        error = message.error()
        if error.code() != ck.KafkaError._PARTITION_EOF:
            where = f"partition {self.source.partition} of {self.source.topic}"
            raise SourceError(f"{where} cannot be read: {error.str()}; look at the broker's log")
        self.done |= message.offset() >= self.wanted

    def _take_json(self, messages: list[Any], values: list[bytes | None]) -> None:
        offsets, stamps, keys, texts = self._columns
        offsets += [message.offset() for message in messages]
        stamps += [message.timestamp()[1] for message in messages]
        keys += [message.key() for message in messages]
        texts += values
        self._bytes += sum(len(value) for value in values if value is not None)
        if len(offsets) >= ROWS_A_GROUP or self._bytes >= BYTES_A_GROUP:
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
        """Write what is left and close the files."""
        self._write()
        self._writer.close()
        if self._tables or self._row_writer is not None:
            self._write_rows()
            self._row_writer.close()

    def _write_rows(self) -> None:
        if self._row_writer is None:
            self._row_writer = pq.ParquetWriter(self.files.arrow, audit_arrow.SCHEMA, compression="lz4", write_statistics=False)
        if self._tables:
            self._row_writer.write_table(pa.concat_tables(self._tables).combine_chunks(), row_group_size=4 * ROWS_A_GROUP)
        self._tables.clear()
        self._rows = 0

    def _write(self) -> None:
        if self._writer is None:
            packed = "lz4" if self.wanted > RECORDS_PLAIN else "none"
            self._writer = pq.ParquetWriter(self.files.json, SCHEMA, compression=packed, use_dictionary=False, write_statistics=False)
        offsets, stamps, keys, values = self._columns
        arrays = [pa.array(offsets, pa.int64()), pa.array(stamps, pa.int64()), _binary(keys), _binary(values)]
        self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
        for column in self._columns:
            column.clear()
        self._bytes = 0


def _binary(values: list[bytes | None]) -> pa.Array:
    """The column of these; joining them takes a third of the time that Arrow takes for it, and does not know of absent ones."""
    if None in values:
        return pa.array(values, pa.binary())
    ends = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in values if value is not None], out=ends[1:])
    joined = b"".join(value for value in values if value is not None)
    return pa.BinaryArray.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(joined)])
