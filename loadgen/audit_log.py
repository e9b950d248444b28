"""The raw log, copied from Kafka into Parquet files that DuckDB reads: one file a source, a row a record, in log order.

    offset int64 · record_ts int64 (ms) · key binary? · value binary?

Committed records only; nothing is committed, and no group is joined: partitions are assigned by hand. Memory is bounded by what
librdkafka queues (64 MB) and ROWS_A_GROUP rows a source. Measured (one core, 270-byte records, lz4): 0.3-0.4 M records/s.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import confluent_kafka as ck
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka.admin import AdminClient

from topologies.errors import ServerAway, SourceError
from topologies.settings import KafkaSettings
from topologies.sources import Source

ROWS_A_GROUP: Final = 30_000
BYTES_A_GROUP: Final = 16 * 1024 * 1024
SCHEMA: Final = pa.schema([("offset", pa.int64()), ("record_ts", pa.int64()), ("key", pa.binary()), ("value", pa.binary())])
_NO_LEADER: Final = (
    ck.KafkaError.LEADER_NOT_AVAILABLE,
    ck.KafkaError.NOT_LEADER_FOR_PARTITION,
    ck.KafkaError.UNKNOWN_TOPIC_OR_PART,
    ck.KafkaError._UNKNOWN_PARTITION,
)
_SILENT: Final = {"log_level": 2}
"""librdkafka writes to stderr by itself; what it has to say comes as errors too."""
_URL_SAFE: Final = str.maketrans("+/", "-_")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class LogEnd:
    """A source's log as it stands: offsets from `first` to below `end`. `first` > 0: the beginning has been deleted by retention."""

    source: Source
    first: int
    end: int


class RawLog:
    """Kafka as the auditor reads it. Raises ServerAway when no broker answers, SourceError when a log cannot be read whole."""

    def __init__(self, settings: KafkaSettings, region: str) -> None:
        self._settings = settings
        self._region = region
        self._admin = AdminClient({"bootstrap.servers": settings.bootstrap, **_SILENT})

    def ends(self, topics: Iterable[str]) -> list[LogEnd]:
        """The sources of these topics with their offsets now; a topic that does not exist is left out."""
        with kafka_errors(self._settings), self._consumer() as consumer:
            there = self._admin.list_topics(timeout=self._settings.request_timeout_s).topics
            names = sorted({name for name in topics if name in there})
            ends = []
            for name, topic_id in self._topic_ids(names).items():
                for partition in sorted(there[name].partitions):
                    place = ck.TopicPartition(name, partition)
                    first, end = self._offsets(consumer, place)
                    ends.append(LogEnd(Source(self._region, name, topic_id, partition), first, end))
            return ends

    def _offsets(self, consumer: Any, place: ck.TopicPartition) -> tuple[int, int]:
        """First offset and end of a partition; waits for a leader while one is being chosen."""
        deadline = time.monotonic() + self._settings.request_timeout_s
        while True:
            try:
                first, end = consumer.get_watermark_offsets(place, timeout=self._settings.request_timeout_s, cached=False)
                return first, end
            except ck.KafkaException as error:
                if error.args[0].code() not in _NO_LEADER or time.monotonic() >= deadline:
                    raise
            time.sleep(0.1)

    def _topic_ids(self, names: list[str]) -> dict[str, str]:
        if not names:
            return {}
        described = self._admin.describe_topics(ck.TopicCollection(names), request_timeout=self._settings.request_timeout_s)
        # The client writes the UUID in base64's standard alphabet, Kafka's own tools in the URL-safe one, which sources are named by.
        return {name: str(answer.result().topic_id).translate(_URL_SAFE) for name, answer in described.items()}

    def backfills(self) -> list[str]:
        """The topics that are backfills by their name."""
        with kafka_errors(self._settings):
            there = self._admin.list_topics(timeout=self._settings.request_timeout_s).topics
        return sorted(name for name in there if name.startswith(self._settings.backfill_prefix))

    def copy(self, wanted: dict[Source, int], directory: Path, on_progress: Progress) -> dict[Source, Path]:
        """Copy each source's records below the wanted offset into a file of `directory`; returns the files."""
        files = {source: directory / f"{number:05d}.parquet" for number, source in enumerate(wanted)}
        copies = {source: _Copy(source, offset, files[source]) for source, offset in wanted.items()}
        for copy in copies.values():
            if copy.wanted == 0:
                copy.finish()
        with kafka_errors(self._settings):
            self._read({(c.source.topic, c.source.partition): c for c in copies.values() if not c.done}, on_progress)
        return files

    def _read(self, copies: dict[tuple[str, int], _Copy], on_progress: Progress) -> None:
        total = sum(copy.wanted for copy in copies.values())
        read, told, heard = 0, time.monotonic(), time.monotonic()
        with self._consumer() as consumer:
            consumer.assign([ck.TopicPartition(topic, partition, ck.OFFSET_BEGINNING) for topic, partition in copies])
            while copies:
                before = read
                for message in consumer.consume(10_000, 0.5):
                    copy = copies.get((message.topic(), message.partition()))
                    if copy is not None:
                        read += copy.take(message)
                now = time.monotonic()
                heard = now if read > before else heard
                if now - heard > self._settings.request_timeout_s:
                    raise ServerAway(f"Kafka at {self._settings.bootstrap} has sent nothing for {now - heard:.0f} s; look at its log")
                for place in [place for place, copy in copies.items() if copy.done]:
                    consumer.incremental_unassign([ck.TopicPartition(*place)])
                    del copies[place]
                if now - told > 1:
                    told = now
                    on_progress(f"reading the log: {read:,} of {total:,} records")

    @contextmanager
    def _consumer(self) -> Iterator[Any]:
        consumer = ck.Consumer(
            {
                **_SILENT,
                "bootstrap.servers": self._settings.bootstrap,
                "group.id": f"marquee-audit-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "check.crcs": True,
                "fetch.queue.backoff.ms": 5,
                "fetch.message.max.bytes": max(1_048_576, self._settings.max_record_bytes),
            }
        )
        try:
            yield consumer
        finally:
            consumer.close()


@dataclass
class _Copy:
    """One source being copied: columns of the rows not written yet, and whether all below `wanted` has been seen."""

    source: Source
    wanted: int
    path: Path
    done: bool = False
    _columns: tuple[list[Any], ...] = field(default_factory=lambda: ([], [], [], []))
    _bytes: int = 0
    _writer: Any = None

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
        for column, item in zip(self._columns, (offset, message.timestamp()[1], message.key(), value), strict=True):
            column.append(item)
        self._bytes += len(value or b"")
        if len(self._columns[0]) >= ROWS_A_GROUP or self._bytes >= BYTES_A_GROUP:
            self._write()
        if offset + 1 >= self.wanted:
            self.finish()
        return 1

    def finish(self) -> None:
        """Write what is left and close the file. A second call does nothing."""
        if not self.done:
            self._write()
            self._writer.close()
            self.done = True

    def _write(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, SCHEMA, compression="lz4", use_dictionary=False, write_statistics=False)
        arrays = [pa.array(column, kind) for column, kind in zip(self._columns, SCHEMA.types, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
        for column in self._columns:
            column.clear()
        self._bytes = 0


@contextmanager
def kafka_errors(settings: KafkaSettings) -> Iterator[None]:
    """Turns the client's errors into ServerAway and SourceError."""
    try:
        yield
    except ck.KafkaException as error:
        cause = error.args[0] if error.args else None
        away = (ck.KafkaError._TRANSPORT, ck.KafkaError._ALL_BROKERS_DOWN, ck.KafkaError._TIMED_OUT, ck.KafkaError._RESOLVE)
        if isinstance(cause, ck.KafkaError) and cause.code() in away:
            raise ServerAway(f"Kafka at {settings.bootstrap} does not answer ({cause.str()}); start it, or set kafka.bootstrap") from error
        raise SourceError(f"Kafka at {settings.bootstrap} answered with an error: {error}; look at its log") from error
