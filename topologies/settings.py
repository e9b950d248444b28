"""The settings: one frozen value, a line a setting with its default, unit and meaning.

Where values come from is `marquee.config`'s business; this module only says which there are.
A field's `metadata["doc"]` is what the generated page and `marquee config` print.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Any, Final


@dataclass(frozen=True)
class Form:
    """What a text, or each of a list of texts, must be: a regular expression that all of it matches, and the same in words."""

    pattern: str
    words: str

    def fits(self, text: str) -> bool:
        """Whether it is so."""
        return re.fullmatch(self.pattern, text) is not None


NAME: Final = Form(r"[A-Za-z0-9._-]{1,200}", "letters, digits, '.', '_' and '-'")
NAME_OR_NONE: Final = Form(r"[A-Za-z0-9._-]{0,200}", "letters, digits, '.', '_' and '-', or empty")
TABLES: Final = Form(r"[a-z][a-z0-9_]{0,47}", "at most 48 small letters, digits and '_', a letter first")
GIVEN: Final = Form(r"(?s).*\S.*", "not empty")
CODECS: Final = Form(r"none|gzip|snappy|lz4|zstd", "none, gzip, snappy, lz4 or zstd")
ACCESS: Final = Form(r"loopback|tokens|open", "loopback, tokens or open")
LOGINS: Final = Form(
    r"none|plain|scram-sha-256|scram-sha-512|token-file|msk-iam|entra",
    "none, plain, scram-sha-256, scram-sha-512, token-file, msk-iam or entra",
)
LOG_FORMS: Final = Form(r"text|json", "text or json")
PORT: Final = r"([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
ADDRESS: Final = Form(rf"(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]]+):{PORT}", "host:port")
ZNODE: Final = Form(r"(/[A-Za-z0-9._-]{1,60}){1,5}", "/ and a name of letters, digits, '.', '_' and '-', one to five times")
MEMBER: Final = Form(rf"(worker|api|collector|autoscaler)=https?://(\[[0-9A-Fa-f:.]+\]|[^\s:,/\[\]]+):{PORT}", "role=http://host:port")
KEYS: Final = Form(r"[!-~]{1,60}", "1 to 60 characters of ASCII without a space")
REGION: Final = Form(r"[A-Za-z0-9._-]{1,200}=[^\s=]\S*", "NAME=address, of several addresses separated by ;")
IN_CASSANDRA: Final = "cassandra:"
OBJECTS: Final = r"(s3|az)://\S+|file:///\S*"
CHECKPOINTS_URL: Final = Form(rf"{IN_CASSANDRA}|{OBJECTS}", "cassandra:, s3://bucket/prefix, az://container/prefix or file:///directory")
HISTORY_URL: Final = Form(rf"({OBJECTS})?", "s3://bucket/prefix, az://container/prefix or file:///directory, or empty")
REDIS_URL: Final = Form(r"rediss?://\S*|unix://\S+", "redis://host:port/database, rediss:// for TLS, or unix:// with a socket's path")


def setting(
    default: Any,
    doc: str,
    *,
    secret: bool = False,
    least: float = 0,
    most: float | None = None,
    form: Form | None = None,
    some: bool = False,
) -> Any:
    """A setting's default and meaning. A secret is masked wherever settings are shown. least, most: of a number; form: of a text or of
    each text of a list; some: whether a list has to have one."""
    return field(default=default, metadata={"doc": doc, "secret": secret, "least": least, "most": most, "form": form, "some": some})


@dataclass(frozen=True)
class KafkaSettings:
    bootstrap: str = setting("127.0.0.1:9092", "brokers, host:port separated by commas", form=GIVEN)
    topics: tuple[str, ...] = setting(("viewing-events",), "live topics that workers consume (LogAppendTime)", form=NAME, some=True)
    backfill_prefix: str = setting(
        "viewing-events.backfill.", "topics whose name starts so are backfills (CreateTime); workers consume them too", form=NAME
    )
    dead_topic: str = setting("viewing-events.dead", "where dead letters go", form=NAME)
    late_topic: str = setting("viewing-events.late", "where late events go", form=NAME)
    partitions: int = setting(8, "partitions of a topic that Marquee creates", least=1)
    replication: int = setting(1, "replicas of a topic that Marquee creates", least=1, most=32_767)
    max_record_bytes: int = setting(8_388_608, "greatest record that Marquee's topics accept, bytes", least=131_072, most=1_000_000_000)
    compression: str = setting("lz4", "producer compression: none, gzip, snappy, lz4, zstd", form=CODECS)
    group: str = setting("marquee", "consumer group of the workers", form=GIVEN)
    session_timeout_s: float = setting(10.0, "a worker not heard of for so long loses its partitions, seconds", least=1, most=1_800)
    heartbeat_s: float = setting(0.5, "a worker asks the group so often whether partitions are to move, seconds", least=0.01, most=60)
    request_timeout_s: float = setting(40.0, "a request to a broker gives up after, seconds", least=0.01, most=300)
    tls: bool = setting(False, "the brokers are spoken to over TLS; their certificates and names are always verified")
    ca_file: str = setting("", "what the brokers' certificates are signed by, a PEM file; what this system trusts when empty")
    login: str = setting(
        "none",
        "how to sign in: none; with user and password: plain, scram-sha-256, scram-sha-512; with a token (OAUTHBEARER): "
        "token-file, kafka.token_file's, msk-iam, one that AWS' credentials sign, entra, one that Azure's give",
        form=LOGINS,
    )
    user: str = setting("", "user, where the login takes one; Event Hubs takes $ConnectionString")
    password: str = setting("", "password, where the login takes one; Event Hubs takes the connection string", secret=True)
    token_file: str = setting("", "a file with a JSON web token, which is read anew before the token ends")
    aws_region: str = setting("", "AWS region of the brokers, for msk-iam; as their names tell when empty")


@dataclass(frozen=True)
class RedisSettings:
    url: str = setting(
        "redis://127.0.0.1:6379/0",
        "the cache of live views; profiles' shelves are in the database after this one, or in redis.shelves_db",
        form=REDIS_URL,
    )
    user: str = setting("", "user, when the URL has none; the server's default one when empty")
    password: str = setting("", "password, when the URL has none", secret=True)
    ca_file: str = setting("", "of rediss://, what the server's certificate is signed by, a PEM file; what this system trusts when empty")
    prefix: str = setting("mq:", "every key starts so", form=GIVEN)
    shelves_db: int = setting(
        -1, "number of the server's database that profiles' shelves stand in, and no cells; the one after redis.url's when -1", least=-1
    )
    timeout_s: float = setting(5.0, "a call gives up after, seconds", least=0.01, most=3_600)


@dataclass(frozen=True)
class CassandraSettings:
    hosts: tuple[str, ...] = setting(("127.0.0.1",), "contact points", form=GIVEN, some=True)
    port: int = setting(9042, "native protocol port", least=1, most=65_535)
    datacenter: str = setting("datacenter1", "local data centre")
    keyspace: str = setting("marquee", "keyspace; created when absent", form=TABLES)
    replication: int = setting(1, "replicas of a row in each data centre, when the keyspace is created", least=1)
    user: str = setting("", "user, if the cluster asks for one")
    password: str = setting("", "password", secret=True)
    tls: bool = setting(False, "the nodes are spoken to over TLS; their certificates are always verified")
    ca_file: str = setting("", "what the nodes' certificates are signed by, a PEM file; what this system trusts when empty")
    tls_names: bool = setting(
        True, "a node's certificate has to name the address that the node is reached at; false where certificates name no node"
    )
    timeout_s: float = setting(10.0, "a request gives up after, seconds", least=0.01, most=3_600)


@dataclass(frozen=True)
class CheckpointSettings:
    url: str = setting(
        IN_CASSANDRA,
        "where checkpoints are kept; its options stand in docs/objects.md, and what they do not say comes from the environment",
        form=CHECKPOINTS_URL,
    )
    timeout_s: float = setting(30.0, "a request to an object store gives up after, seconds", least=0.1, most=3_600)


@dataclass(frozen=True)
class HistorySettings:
    url: str = setting("", "where `marquee history export` writes what is final, as Parquet; as checkpoints.url", form=HISTORY_URL)


@dataclass(frozen=True)
class MemcachedSettings:
    servers: tuple[str, ...] = setting(
        (), "where what history's readers got out of Cassandra is remembered for the next ones; nowhere when empty", form=ADDRESS
    )
    prefix: str = setting("mq:", "every key starts so", form=KEYS)
    timeout_s: float = setting(0.1, "a call gives up after, seconds; then the server is left alone for five", least=0.001, most=60)
    tls: bool = setting(False, "the servers are spoken to over TLS; their certificates and names are always verified")
    ca_file: str = setting("", "what the servers' certificates are signed by, a PEM file; what this system trusts when empty")
    finals_ttl_s: int = setting(86_400, "what is final is remembered for at most, seconds", least=1, most=604_800)
    provisional_ttl_s: int = setting(1, "what can still change is remembered for at most, seconds", least=1, most=60)


@dataclass(frozen=True)
class ZooKeeperSettings:
    hosts: tuple[str, ...] = setting(
        (), "where workers, APIs and collectors say that they are up, and where they are found; nowhere when empty", form=ADDRESS
    )
    root: str = setting("/marquee", "every node is below this one", form=ZNODE)
    session_timeout_s: float = setting(10.0, "a member not heard of for so long is gone from there, seconds", least=1, most=60)
    timeout_s: float = setting(2.0, "a call gives up after, seconds", least=0.01, most=60)


@dataclass(frozen=True)
class DiscoverySettings:
    members: tuple[str, ...] = setting((), "who is there, where no ZooKeeper tells: addresses with their roles", form=MEMBER)
    renew_s: float = setting(3.0, "a member tells its load, and looks who is there, at least so often, seconds", least=0.05, most=60)
    keep_vanished_s: float = setting(
        90.0, "members that vanished together with others are kept, and marked, for so long at most, seconds", most=86_400
    )


@dataclass(frozen=True)
class ScalingSettings:
    capacity_per_s: float = setting(
        30_000.0, "what one worker sustains with events fresh within a second, events a second: `marquee capacity` measures it", least=1
    )
    start_s: float = setting(20.0, "a worker that is asked for has its partitions after, seconds", least=0, most=3_600)
    hold_s: float = setting(
        0.0, "fewer workers only when for so long none more was needed, seconds; 0 for nine times start_s, at least a minute", most=86_400
    )
    cool_s: float = setting(60.0, "fewer workers at the earliest so long after any change, seconds", least=0, most=86_400)


@dataclass(frozen=True)
class WorkerSettings:
    region: str = setting("local", "the region that this worker's sources belong to", form=NAME)
    name: str = setting("", "this worker's name; host and process id when empty", form=NAME_OR_NONE)
    redis_flush_s: float = setting(0.25, "changed cells reach Redis at the earliest after, seconds", least=0.01)
    cassandra_flush_s: float = setting(5.0, "changed cells reach Cassandra at the earliest after, seconds", least=0.01)
    checkpoint_s: float = setting(5.0, "a partition's checkpoint is written at the earliest after, seconds")
    checkpoint_share: float = setting(0.05, "checkpoints may take at most this share of the worker's CPU", least=0.001, most=1)
    flush_share: float = setting(0.2, "flushing may take at most this share of the worker's CPU", least=0.001, most=1)
    tick_after_s: float = setting(1.0, "a live partition whose clock has stood for so long gets a tick, seconds", least=0.1)
    max_unacked_s: float = setting(60.0, "a partition whose cells could not be stored for so long stops fetching, seconds")
    max_unacked_mb: float = setting(
        2048.0, "so much of the log, as it was fetched, may be folded and not yet durable; then fetching stops until Cassandra has it, MiB"
    )
    max_buffered_mb: float = setting(
        256.0, "fetches that wait for the fold take at most so much, and letters that wait for Kafka too; then fetching stops, MiB", least=1
    )
    release_s: float = setting(10.0, "a partition that another worker is to get is stored within, or given up as it is, seconds")
    stalled_s: float = setting(
        10.0, "a partition behind its log's end that has brought nothing for so long is read anew, seconds", least=0.1
    )
    views: tuple[str, ...] = setting((), "views to compute; all that are declared when empty")
    http_host: str = setting("127.0.0.1", "address that /metrics, /healthz and /readyz are served on", form=GIVEN)
    http_port: int = setting(0, "port that they are served on; 0 for any free one, which the log and the ready file tell", most=65_535)
    log_format: str = setting("text", "the worker's log: text, lines for people, or json, an object a line", form=LOG_FORMS)


@dataclass(frozen=True)
class RegionsSettings:
    redis: tuple[str, ...] = setting(
        (), "each region's Redis, this one's too: NAME=redis://host:port/0; none where there is one region", form=REGION
    )
    kafka: tuple[str, ...] = setting((), "each region's brokers: NAME=host:port;host:port", form=REGION)
    doors: tuple[str, ...] = setting((), "each region's APIs: NAME=http://host:port;http://host:port", form=REGION)
    timeout_s: float = setting(1.0, "what another region has not answered for so long is taken for away, seconds", least=0.01, most=60)
    retry_s: float = setting(1.0, "a region that is away is asked again so often, seconds", least=0.05, most=3_600)


@dataclass(frozen=True)
class ApiSettings:
    http_host: str = setting("127.0.0.1", "address that the API listens on", form=GIVEN)
    http_port: int = setting(8080, "port that it listens on; 0 for any free one, which the log and the ready file tell", most=65_535)
    access: str = setting(
        "loopback",
        "who needs a token: tokens, everybody; open, nobody; loopback, nobody while the API listens on a loopback address, else everybody",
        form=ACCESS,
    )
    requests_per_s: float = setting(
        0.0, "requests a second that one token, or without tokens one address, may make on average; no limit when 0", least=0
    )
    cors_origins: tuple[str, ...] = setting((), "origins whose pages may ask, https://example.org; none when empty", form=GIVEN)
    threads: int = setting(8, "so many questions are answered at the same time by one process", least=1, most=256)
    most_waiting: int = setting(1_000, "so many more may wait; then it answers 503", least=1)
    most_streams: int = setting(5_000, "so many subscribers of live pushes may be connected to one process", least=1)
    fresh_s: float = setting(0.1, "an answer is given again to the same question for so long, seconds", most=60)
    timeout_s: float = setting(3.0, "a store that has not answered an API's question for so long is taken for away, seconds", least=0.01)
    drain_s: float = setting(10.0, "answers that were begun may take so long when the API is asked to stop, seconds")
    log_format: str = setting("text", "its log: text, lines for people, or json, an object a line", form=LOG_FORMS)


@dataclass(frozen=True)
class CollectorSettings:
    max_body_mb: float = setting(4.0, "a request's body has at most so much, as it was sent, MiB", least=0.001, most=1_024)
    max_inflated_mb: float = setting(16.0, "and so much when it is not compressed any more, MiB", least=0.001, most=4_096)
    max_events: int = setting(10_000, "events of one request at most", least=1)
    max_in_flight_mb: float = setting(
        64.0,
        "events that Kafka has not acknowledged take at most so much; then requests are sent away for a second (503), MiB",
        least=0.001,
    )
    ack_timeout_s: float = setting(
        10.0, "a request whose events Kafka has not acknowledged after so long is answered 503, seconds", least=1, most=30
    )
    stalled_s: float = setting(
        2.0, "while Kafka has owed an acknowledgement for so long, requests are sent away at once (503), seconds", least=0.01, most=30
    )
    linger_ms: float = setting(5.0, "events wait so long for others of their partition before they go to Kafka, ms", most=1_000)
    events_per_s: float = setting(
        100_000.0, "events a second that one client may send, on average; what is above is sent away (429); no limit when 0"
    )
    burst_s: float = setting(2.0, "a client that was silent may send what it may in so long at once, seconds", least=0.1, most=3_600)
    clock_tolerance_s: float = setting(
        1.0, "a player's clock that is off by no more than this is believed: its events go into the log as they came, seconds", most=60
    )
    max_clock_error_s: float = setting(
        86_400.0, "a request whose sent_at is off by more than this is refused (400), seconds; see docs/collector.md before changing it"
    )
    max_age_s: float = setting(
        600.0, "of a request with a sent_at, events that are older than this are refused: docs/collector.md says why, seconds", most=600
    )


@dataclass(frozen=True)
class LocalSettings:
    directory: str = setting("var", "where local clusters, runs and logs are kept", form=GIVEN)
    traces: str = setting("../shared/data", "where the recorded playback traces are")
    jars: str = setting("var/jars", "where the servers' jars are")


@dataclass(frozen=True)
class Settings:
    """All settings. Sections are the `SECTION` of `MARQUEE_SECTION__KEY`."""

    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    cassandra: CassandraSettings = field(default_factory=CassandraSettings)
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    memcached: MemcachedSettings = field(default_factory=MemcachedSettings)
    zookeeper: ZooKeeperSettings = field(default_factory=ZooKeeperSettings)
    discovery: DiscoverySettings = field(default_factory=DiscoverySettings)
    scaling: ScalingSettings = field(default_factory=ScalingSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    regions: RegionsSettings = field(default_factory=RegionsSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    collector: CollectorSettings = field(default_factory=CollectorSettings)
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
