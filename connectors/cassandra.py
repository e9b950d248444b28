"""Cassandra, the memory of views: its tables, and how it is reached. Made by cassandra_schema.py, written by cassandra_store.py
and cassandra_checkpoints.py, read by cassandra_reader.py; its final rows are written and read by cassandra_finals.py, which draws them.

    cells_{view}_{logic}   ((window, pack_ms, bucket), source) → upto, pack
                           all cells of a source that share window, pack span and bucket (topologies/packs.py), as of offset `upto`
    spans                  ((view_name, logic, window), pack_ms)
                           which pack spans exist; written before the first pack of a span, so that nobody has to scan
    sources                ((scope), source) → region, topic, topic_id, part, upto, clock_ms, watermark_ms,
                           received, applied, duplicate, late, dead
                           the source's status at the version up to which its packs are complete; written after them; scope is "all"
    bookmarks              ((account, profile), title) → mark
                           where a profile stopped in a title (topologies/marks.py), whichever source told
    ended                  ((scope), source) → at_ms
                           sources whose topic is no more: their live cells do not count, their windows do
    counted                ((scope), source, view_table) → upto
                           below which offset the source's cells in that table are there. A view that came later is counted from the log's
                           beginning, and is behind the source's status until it has got there
    finished               ((scope), source) → upto, at_ms
                           the source's log ended at offset `upto` as a backfill's does: while it stands there, nothing of it is awaited
    gaps                   ((scope), source, first) → upto, reason, at_ms
                           records first … upto − 1 were gone before they were folded; first −1: a loss below `upto` has been accepted,
                           reason telling where the source stood then
    pointers               ((scope), view_name) → edition, logic, declaration, at_ms, by_whom
                           which edition answers for the view ('': the live one), and how that declares it, in JSON (pointers.py)
    tokens                 ((scope), id) → name, scopes, digest, made_ms, revoked_ms, requests_per_s
                           who may ask what by HTTP (tokens.py); digest: SHA-256 of the secret, which stands nowhere
    operations             ((day_ms), at_ms, id) → who, address, method, target, outcome, times
                           the audit log (operations.py): what was operated, by whom, how it ended; gone after ninety days
    checkpoints            ((source), upto DESC, writer) → stamp, pieces, size
                           the manifest, written after the pieces; empty where checkpoints.url names another store
    checkpoint_pieces      ((source, shard), upto DESC, writer, stamp, piece) → checksum, data
                           piece n of a payload stands in shard n % 16, so that no Cassandra partition grows past tens of MB

Cells, spans, sources, counted and finished are written USING TIMESTAMP BASE_US + offset: of two writers the one who has read further
wins, whenever it writes, and equal offsets carry equal values. No row of them, of ended, of gaps, of tokens or of pointers is ever
deleted, none has a TTL. Bookmarks are written USING TIMESTAMP of their event, ts · 2^20 + seq, so that the greatest stands whoever
writes; all of them expire. Of checkpoints, all below the third newest offset are deleted by range; they, tokens, operations and pointers
carry the client's time.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import cassandra.cluster
from cassandra import (
    AuthenticationFailed,
    ConsistencyLevel,
    DriverException,
    OperationTimedOut,
    ProtocolVersion,
    Timeout,
    Unavailable,
    UnresolvableContactPoints,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.policies import DCAwareRoundRobinPolicy, ExponentialReconnectionPolicy, RetryPolicy, TokenAwarePolicy
from cassandra.protocol import ErrorMessage
from cassandra.query import BatchStatement, BatchType, tuple_factory

from connectors.tls import tls_context
from topologies.errors import MarqueeError, ServerAway, StoreError, UsageError
from topologies.settings import CassandraSettings

BASE_US: Final = 1_500_000_000_000_000
"""Write time of offset 0, µs since the epoch (July 2017): below any clock, so that a row can still be deleted by hand. Never change it."""
RETRIES: Final = 2
CONNECT_TIMEOUT_S: Final = 5.0
AGAIN_S: Final = 2.0
"""A kept session that could not be opened is not tried for again before."""
_DRIVER_THREADS: Final = ("event_loop", "asyncore_cassandra_driver_event_loop")
"""As the driver's reactors name the thread in which they send and receive."""
_DRIVERS_OWN: Any = cassandra.cluster.DefaultConnection


class Connection(_DRIVERS_OWN):  # type: ignore[misc]
    """The driver's connection, which sends and receives in pieces of 4 KiB, with room for a whole pack: 15 % less CPU a pack of 10 KB."""

    in_buffer_size = 65_536
    out_buffer_size = 262_144

    def push(self, data: bytes) -> None:
        """Send it, with what waits to be sent where that is not much: small requests one by one cost 6 % more of a worker's CPU and 15 % of
        Cassandra's."""
        lock = getattr(self, "_deque_lock", None)  # libev's reactor has it; the others send as they do
        if lock is not None:
            with lock:
                if self.deque and len(self.deque[-1]) + len(data) <= self.in_buffer_size:
                    self.deque[-1] += data
                    return
        super().push(data)


logging.getLogger("cassandra").addHandler(logging.NullHandler())  # else its warnings reach stderr where nobody has set up logging


class BoundedRetries:
    """Tries a statement again at most twice, all of ours being idempotent; then the error is the answer, never an empty result."""

    def on_read_timeout(self, _query: Any, consistency: int, *, retry_num: int, **_: Any) -> tuple[int, int | None]:
        return self._again(RetryPolicy.RETRY, consistency, retry_num)

    def on_write_timeout(self, _query: Any, consistency: int, *, retry_num: int, **_: Any) -> tuple[int, int | None]:
        return self._again(RetryPolicy.RETRY, consistency, retry_num)

    def on_unavailable(self, _query: Any, consistency: int, *, retry_num: int, **_: Any) -> tuple[int, int | None]:
        return self._again(RetryPolicy.RETRY_NEXT_HOST, consistency, retry_num)

    def on_request_error(self, _query: Any, consistency: int, *, retry_num: int, **_: Any) -> tuple[int, int | None]:
        return self._again(RetryPolicy.RETRY_NEXT_HOST, consistency, retry_num)

    def _again(self, how: int, consistency: int, retry_num: int) -> tuple[int, int | None]:
        return (how, consistency) if retry_num < RETRIES else (RetryPolicy.RETHROW, None)


def connect(settings: CassandraSettings) -> Session:
    """A session, without a keyspace; rows come as tuples, LOCAL_QUORUM both ways. Blocks for up to a request's time-out, and
    5 s at least, where one hangs; end it with `close`.

    Raises ServerAway when no contact point answers, StoreError when the login is refused, UsageError for a data centre that is not there.
    """
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.datacenter)),
        retry_policy=BoundedRetries(),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=settings.timeout_s,
        row_factory=tuple_factory,
    )
    patience_s = max(CONNECT_TIMEOUT_S, settings.timeout_s)
    cluster = Cluster(
        settings.hosts,
        settings.port,
        auth_provider=PlainTextAuthProvider(settings.user, settings.password) if settings.user else None,
        ssl_context=tls_context("cassandra.ca_file", settings.ca_file, names=settings.tls_names) if settings.tls else None,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connection_class=Connection,
        # v5 adds a checksum of every frame, reckoned in Python: 30 % more CPU a write than v4. On loopback lz4 costs and gains nothing.
        protocol_version=ProtocolVersion.V4,
        compression=False,
        # The driver leaves Nagle's algorithm on: few writes in flight then wait for delayed acknowledgements, 11 ms against 0.7 ms each.
        sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        connect_timeout=patience_s,
        control_connection_timeout=patience_s,
        reconnection_policy=ExponentialReconnectionPolicy(0.5, 2.0, max_attempts=None),
        idle_heartbeat_interval=10,
        idle_heartbeat_timeout=10,
    )
    try:
        with cassandra_errors(settings):
            try:
                return cluster.connect()
            except UnresolvableContactPoints as error:
                raise ServerAway(
                    f"no name of cassandra.hosts ({', '.join(settings.hosts)}) leads to an address; see to the name service"
                ) from error
            except NoHostAvailable as error:
                centres = sorted({host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter})
                if not centres or settings.datacenter in centres:
                    raise
                asked = f"Cassandra at {shown(settings)} has no data centre {settings.datacenter!r}"
                raise UsageError(f"{asked}; set cassandra.datacenter to {' or '.join(centres)}") from error
    except BaseException:
        cluster.shutdown()
        raise


def close(session: Session) -> None:
    """Ends the session and its connections. Calling again does nothing."""
    session.cluster.shutdown()


class KeptSession:
    """One session for several threads, opened when one first asks for it. After an attempt that failed, all who ask within AGAIN_S are
    told the same at once: each attempt takes up to CONNECT_TIMEOUT_S."""

    def __init__(self, settings: CassandraSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._opening = threading.Lock()
        self._session: Session | None = None
        self._failed: tuple[float, MarqueeError] | None = None
        self._closed = False

    def __call__(self) -> Session:
        """The session; raises as `connect`, and ServerAway after `close`."""
        with self._opening:
            if self._session is None:
                if self._closed:
                    raise ServerAway("the session with Cassandra has been closed: this process is ending")
                if self._failed is not None and self._clock() - self._failed[0] < AGAIN_S:
                    error = self._failed[1]
                    raise type(error)(*error.args)
                try:
                    self._session = connect(self._settings)
                except MarqueeError as refusal:
                    self._failed = self._clock(), refusal
                    raise
            return self._session

    def close(self) -> None:
        """Ends it for good. Calling again does nothing."""
        with self._opening:
            session, self._session, self._closed = self._session, None, True
        if session is not None:
            close(session)


def asked(session: Session, settings: CassandraSettings, statement: Any, *values: Any) -> Callable[[], list[Any]]:
    """Sends a statement; what is returned waits for its rows, and raises our errors. So several are waited for side by side."""
    with cassandra_errors(settings):
        answer = session.execute_async(statement, values)

    def rows() -> list[Any]:
        with cassandra_errors(settings):
            return list(answer.result())

    return rows


def across(session: Session, timeout_s: float) -> ExecutionProfile:
    """The session's ways, but for EACH_QUORUM: what is read so has all that was written at LOCAL_QUORUM in whichever data centre, and what
    is written so is seen at LOCAL_QUORUM from all. ServerAway when one of them has not answered after timeout_s."""
    changed = {"consistency_level": ConsistencyLevel.EACH_QUORUM, "request_timeout": timeout_s}
    return session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, **changed)


def prepared(session: Session, text: str) -> Any:
    """The statement, which may be tried again: all of ours are idempotent. Raises the driver's errors."""
    statement = session.prepare(text)
    statement.is_idempotent = True
    return statement


def unlogged_batch() -> BatchStatement:
    """An empty batch of idempotent statements, each of which may be applied without the others."""
    batch = BatchStatement(BatchType.UNLOGGED)
    batch.is_idempotent = True
    return batch


def driver_cpu_s() -> float:
    """CPU seconds that the driver's thread has taken so far, for whatever the process has sent and received."""
    loops = [thread.ident for thread in threading.enumerate() if thread.name in _DRIVER_THREADS and thread.ident is not None]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in loops)


def shown(settings: CassandraSettings) -> str:
    """The contact points, for messages."""
    return f"{','.join(settings.hosts)}:{settings.port}"


@contextmanager
def cassandra_errors(settings: CassandraSettings) -> Iterator[None]:
    """Turns the driver's errors into ours."""
    try:
        yield
    except MarqueeError:
        raise
    except Exception as error:
        ours = translated(error, settings)
        if ours is error:
            raise
        raise ours from error


def translated(error: Exception, settings: CassandraSettings) -> Exception:
    """Our error for one of the driver's; an error that is not the driver's comes back as it is."""
    where = f"Cassandra at {shown(settings)}"
    if isinstance(error, NoHostAvailable):
        told = error.errors if isinstance(error.errors, dict) else {}
        causes = [cause for cause in told.values() if isinstance(cause, Exception)]
        refused = [cause for cause in causes if isinstance(cause, AuthenticationFailed)]
        if refused:
            return StoreError(f"{where} refused the login ({_line(refused[0])}); set cassandra.user and cassandra.password")
        if untrusted := [cause for cause in causes if isinstance(cause, ssl.SSLError) or "[SSL" in str(cause)]:  # the driver words it anew
            said = f"{where} and this client do not trust each other ({_line(untrusted[0])})"
            return StoreError(f"{said}; set cassandra.tls and cassandra.ca_file to what its nodes have")
        cause = _line(causes[0] if causes else error)
        return ServerAway(f"{where} does not answer ({cause}); start it, or set cassandra.hosts and cassandra.port")
    if isinstance(error, AuthenticationFailed):
        return StoreError(f"{where} refused the login ({_line(error)}); set cassandra.user and cassandra.password")
    if isinstance(error, OperationTimedOut | Timeout | Unavailable | ConnectionException):
        return ServerAway(f"{where} did not answer in time ({_line(error)}); see whether its nodes are up and not overloaded")
    if isinstance(error, DriverException | ErrorMessage):
        return StoreError(f"{where} answered with an error: {_line(error)}")
    return error


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
