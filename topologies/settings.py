"""The settings: one frozen value, a line a setting with its default, unit and meaning.

Where values come from is `marquee.config`'s business; this module only says which there are.
A field's `metadata["doc"]` is what the generated page and `marquee config` print.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def setting(default: Any, doc: str, *, secret: bool = False) -> Any:
    """A setting's default and meaning. A secret is masked wherever settings are shown."""
    return field(default=default, metadata={"doc": doc, "secret": secret})


@dataclass(frozen=True)
class KafkaSettings:
    bootstrap: str = setting("127.0.0.1:9092", "brokers, host:port separated by commas")
    topics: tuple[str, ...] = setting(("viewing-events",), "live topics that workers consume (LogAppendTime)")
    backfill_prefix: str = setting(
        "viewing-events.backfill.", "topics whose name starts so are backfills (CreateTime); workers consume them too"
    )
    dead_topic: str = setting("viewing-events.dead", "where dead letters go")
    late_topic: str = setting("viewing-events.late", "where late events go")
    partitions: int = setting(8, "partitions of a topic that Marquee creates")
    replication: int = setting(1, "replicas of a topic that Marquee creates")
    max_record_bytes: int = setting(8_388_608, "greatest record that Marquee's topics accept, bytes")
    compression: str = setting("lz4", "producer compression: none, gzip, snappy, lz4, zstd")
    group: str = setting("marquee", "consumer group of the workers")
    session_timeout_s: float = setting(10.0, "a worker not heard of for so long loses its partitions, seconds")
    heartbeat_s: float = setting(0.5, "a worker asks the group so often whether partitions are to move, seconds")
    request_timeout_s: float = setting(40.0, "a request to a broker gives up after, seconds")


@dataclass(frozen=True)
class RedisSettings:
    url: str = setting("redis://127.0.0.1:6379/0", "the cache of live views", secret=False)
    password: str = setting("", "password, when the URL has none", secret=True)
    prefix: str = setting("mq:", "every key starts so")
    timeout_s: float = setting(5.0, "a call gives up after, seconds")


@dataclass(frozen=True)
class CassandraSettings:
    hosts: tuple[str, ...] = setting(("127.0.0.1",), "contact points")
    port: int = setting(9042, "native protocol port")
    datacenter: str = setting("datacenter1", "local data centre")
    keyspace: str = setting("marquee", "keyspace; created when absent")
    replication: int = setting(1, "replicas of a row in each data centre, when the keyspace is created")
    user: str = setting("", "user, if the cluster asks for one")
    password: str = setting("", "password", secret=True)
    timeout_s: float = setting(10.0, "a request gives up after, seconds")


@dataclass(frozen=True)
class WorkerSettings:
    region: str = setting("local", "the region that this worker's sources belong to")
    name: str = setting("", "this worker's name; host and process id when empty")
    redis_flush_s: float = setting(0.25, "changed cells reach Redis at the earliest after, seconds")
    cassandra_flush_s: float = setting(5.0, "changed cells reach Cassandra at the earliest after, seconds")
    checkpoint_s: float = setting(5.0, "a partition's checkpoint is written at the earliest after, seconds")
    checkpoint_share: float = setting(0.05, "checkpoints may take at most this share of the worker's CPU")
    flush_share: float = setting(0.2, "flushing may take at most this share of the worker's CPU")
    tick_after_s: float = setting(1.0, "a live partition whose clock has stood for so long gets a tick, seconds")
    max_unacked_s: float = setting(60.0, "a partition whose cells could not be stored for so long stops fetching, seconds")
    max_unacked_mb: float = setting(
        2048.0, "so much of the log, as it was fetched, may be folded and not yet durable; then fetching stops until Cassandra has it, MiB"
    )
    max_buffered_mb: float = setting(
        256.0, "fetches that wait for the fold take at most so much, and letters that wait for Kafka too; then fetching stops, MiB"
    )
    release_s: float = setting(10.0, "a partition that another worker is to get is stored within, or given up as it is, seconds")
    stalled_s: float = setting(10.0, "a partition behind its log's end that has brought nothing for so long is read anew, seconds")
    views: tuple[str, ...] = setting((), "views to compute; all that are declared when empty")
    http_host: str = setting("127.0.0.1", "address that /metrics, /healthz and /readyz are served on")
    http_port: int = setting(0, "port that they are served on; 0 for any free one, which the log and the ready file tell")
    log_format: str = setting("text", "the worker's log: text, lines for people, or json, an object a line")


@dataclass(frozen=True)
class LocalSettings:
    directory: str = setting("var", "where local clusters, runs and logs are kept")
    traces: str = setting("../shared/data", "where the recorded playback traces are")
    jars: str = setting("var/jars", "where the servers' jars are")


@dataclass(frozen=True)
class Settings:
    """All settings. Sections are the `SECTION` of `MARQUEE_SECTION__KEY`."""

    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    cassandra: CassandraSettings = field(default_factory=CassandraSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    local: LocalSettings = field(default_factory=LocalSettings)

    def environment(self) -> dict[str, str]:
        """The `MARQUEE_SECTION__KEY` variables that make another process see these settings."""
        found: dict[str, str] = {}
        for section in fields(self):
            values = getattr(self, section.name)
            for key in fields(values):
                value = getattr(values, key.name)
                text = ",".join(value) if isinstance(value, tuple) else str(value)
                found[f"MARQUEE_{section.name.upper()}__{key.name.upper()}"] = text
        return found
