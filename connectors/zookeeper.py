"""ZooKeeper, which knows who is up and who leads: its nodes, and this process' session with it.

    {root}/members/{role}/{id}              a member: JSON (cluster/discovery.py). Ephemeral: it goes with its session
    {root}/left/{role}                      JSON: [[id, since_ms], …] of the last members that left in good order, written with their going
    {root}/elections/{name}/{token}-{n}     a candidate, its id. Ephemeral and numbered: the one with the least n leads
    {root}/leaders/{name}                   JSON: who leads, or led last, with the epoch (cluster/leadership.py). Epochs only grow
    {root}/acts/{name}                      JSON: what was done last under the leader's epoch

Everything in it is small and made again by who runs: nothing that is counted is here, and no worker needs it for its work.

A session is kept up by kazoo's threads: it connects in the background, for ever, and after a lost session begins a new one; what was
ephemeral in the lost one is then for its owner to make again. A server that has lost its data refuses whoever has seen newer ones, so a
session that could not connect for AFRESH of its time-outs is given up for one that has seen nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from kazoo.client import KazooClient, TransactionRequest
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    RolledBackError,
    RuntimeInconsistency,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState, WatchedEvent
from kazoo.retry import KazooRetry

from connectors.znodes import Change, Check, Create, Delete, Node, Write
from topologies.errors import Conflict, ServerAway, StoreError
from topologies.settings import ZooKeeperSettings

log = logging.getLogger(__name__)
AFRESH: Final = 3
MOST_DELAY_S: Final = 2.0
"""Between two attempts to connect, and a quarter of a session at most: who finds the server back must be there before his session ends."""
CLOSE_S: Final = 0.5
"""Taking leave of a server that hangs is not waited for any longer; it ends the session by itself, later."""
_AWAY: Final = (
    AuthFailedError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooTimeoutError,
    OperationTimeoutError,
    SessionExpiredError,
)
_CONFLICTS: Final = (BadVersionError, NodeExistsError, NoNodeError)
_silent = logging.getLogger(f"{__name__}.kazoo")
_silent.setLevel(logging.ERROR)  # it tells of each attempt to connect; that a server is away is said here, once


class Session:
    """One session with ZooKeeper, and the next when it is lost. Any number of threads; close it at the end.

    Calls raise ServerAway at once while there is no connection, or when no answer came within `zookeeper.timeout_s`: then what was to be
    changed may have been changed all the same. They raise Conflict where a node is not as it was said to be, else StoreError.
    """

    def __init__(self, settings: ZooKeeperSettings, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds. Begins to connect and returns at once."""
        self.settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._said_away = False
        self._closed = False
        self._away_since_s: float | None = clock()
        self._client = self._connecting()

    def _connecting(self) -> KazooClient:
        timeout_s = self.settings.session_timeout_s
        retry = KazooRetry(max_tries=-1, delay=0.05, max_delay=min(MOST_DELAY_S, timeout_s / 4))
        client = KazooClient(",".join(self.settings.hosts), timeout=timeout_s, connection_retry=retry, logger=_silent)
        client.add_listener(lambda state: self._heard(client, state))
        client.start_async()
        return client

    def _heard(self, client: KazooClient, state: KazooState) -> None:
        """On kazoo's thread."""
        with self._lock:
            if self._closed or client is not self.__dict__.get("_client", client):
                return
            if state == KazooState.CONNECTED:
                self._away_since_s = None
                if self._said_away:
                    log.warning("ZooKeeper answers again")
                    self._said_away = False
            elif self._away_since_s is None:
                self._away_since_s = self._clock()
        for listener in list(self._listeners):
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Calls it whenever a connection has come, or gone, or a session is lost. It must not block."""
        self._listeners.append(listener)

    @property
    def where(self) -> str:
        """For sentences."""
        return f"ZooKeeper at {','.join(self.settings.hosts)}"

    def path(self, *names: str) -> str:
        """That of a node below the root."""
        return "/".join((self.settings.root, *names))

    def session_id(self) -> int:
        """The session's number; 0 while there is no connection."""
        if self._client.state != KazooState.CONNECTED or self._client.client_id is None:
            return 0
        number: int = self._client.client_id[0]
        return number

    def require(self) -> None:
        """Raises ServerAway while there is no connection; says so in the log once in each absence."""
        with self._lock:
            if self._away_since_s is None and not self._closed:
                return
            away_s = 0.0 if self._away_since_s is None else self._clock() - self._away_since_s
            if not self._closed and away_s > AFRESH * self.settings.session_timeout_s:
                _retire(self._client)
                self._away_since_s = self._clock()
                self._client = self._connecting()
        raise ServerAway(f"{self.where} does not answer")

    def say_away(self, consequence: str) -> None:
        """One line in the log for an absence, with what follows from it; none for one that is shorter than a call's time-out."""
        with self._lock:
            away_s = 0.0 if self._away_since_s is None else self._clock() - self._away_since_s
            if self._said_away or self._closed or away_s < self.settings.timeout_s:
                return
            self._said_away = True
        log.warning("%s does not answer: %s", self.where, consequence)

    def read(self, path: str, watch: Callable[[], None] | None = None) -> Node | None:
        """A node; None when it is not there. watch: called at its next change; given again while it waits it is called once."""
        return self.read_all([path], watch)[0]

    def read_all(self, paths: Sequence[str], watch: Callable[[], None] | None = None) -> list[Node | None]:
        """Nodes, asked for together, as `read` does."""
        self.require()
        given = None if watch is None else _Watcher(watch)
        asked = [self._client.get_async(path, given) for path in paths]
        return [self._read(one) for one in asked]

    def _read(self, asked: Any) -> Node | None:
        try:
            with self._errors():
                data, stat = asked.get(timeout=self.settings.timeout_s)
        except Conflict:
            return None
        return Node(data, stat.version, stat.ephemeralOwner)

    def children(self, path: str, watch: Callable[[], None] | None = None) -> list[str] | None:
        """The names below a node, sorted; None when it is not there, and then nothing is watched."""
        self.require()
        asked = self._client.get_children_async(path, None if watch is None else _Watcher(watch))
        try:
            with self._errors():
                return sorted(asked.get(timeout=self.settings.timeout_s))
        except Conflict:
            return None

    def ensure(self, path: str) -> None:
        """Makes a node, and those above it, where they are not there."""
        self.require()
        with self._errors():
            self._client.ensure_path_async(path).get(timeout=self.settings.timeout_s)

    def create(self, path: str, data: bytes, *, ephemeral: bool = False, numbered: bool = False) -> str:
        """Makes a node, and those above it; its path, with a number at its end when it is to be numbered. Conflict when it is there."""
        self.require()
        with self._errors():
            asked = self._client.create_async(path, data, ephemeral=ephemeral, sequence=numbered, makepath=True)
            made: str = asked.get(timeout=self.settings.timeout_s)
        return made

    def write(self, path: str, data: bytes, version: int) -> int:
        """Writes a node that has this version; its new one."""
        self.require()
        with self._errors():
            stat = self._client.set_async(path, data, version).get(timeout=self.settings.timeout_s)
        new: int = stat.version
        return new

    def delete(self, path: str, version: int = -1) -> None:
        """Takes a node away that has this version; −1: any."""
        self.require()
        with self._errors():
            self._client.delete_async(path, version).get(timeout=self.settings.timeout_s)

    def commit(self, *changes: Change) -> None:
        """All of them, or none and Conflict."""
        self.require()
        transaction: TransactionRequest = self._client.transaction()
        for change in changes:
            match change:
                case Create():
                    transaction.create(change.path, change.data, ephemeral=change.ephemeral)
                case Write():
                    transaction.set_data(change.path, change.data, change.version)
                case Delete():
                    transaction.delete(change.path, change.version)
                case Check():
                    transaction.check(change.path, change.version)
        with self._errors():
            outcomes = transaction.commit_async().get(timeout=self.settings.timeout_s)
            for outcome in outcomes:
                # The one that failed says why, those beside it only that they were not done.
                if isinstance(outcome, Exception) and not isinstance(outcome, RolledBackError | RuntimeInconsistency):
                    raise outcome

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except _AWAY as error:
            raise ServerAway(f"{self.where} did not answer ({type(error).__name__})") from error
        except _CONFLICTS as error:
            raise Conflict(f"{self.where}: {type(error).__name__}") from error
        except KazooException as error:
            raise StoreError(f"{self.where} refused: {type(error).__name__} {error}".rstrip()) from error

    def close(self) -> None:
        """Ends the session, and with it what is ephemeral in it; within CLOSE_S. Twice does nothing more."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        _retire(self._client).join(CLOSE_S)


@contextmanager
def opened(settings: ZooKeeperSettings, timeout_s: float) -> Iterator[Session]:
    """A session that is connected, for who asks once. Raises ServerAway when it is not in time."""
    session, connected = Session(settings), threading.Event()
    try:
        session.listen(connected.set)
        if not session.session_id():
            connected.wait(timeout_s)
        session.require()
        yield session
    finally:
        session.close()


def _retire(client: KazooClient) -> threading.Thread:
    """Stops a client, on a thread of its own: it may wait for an answer for ten seconds."""

    def stop() -> None:
        try:
            client.stop()
            client.close()
        except (KazooException, OSError) as error:  # its sockets may be closed already, and a hanging server keeps its writer
            log.info("ZooKeeper's client did not end in good order: %r", error)

    thread = threading.Thread(target=stop, name="zookeeper-retired", daemon=True)
    thread.start()
    return thread


class _Watcher:
    """What kazoo calls once; equal for the same function, so that kazoo keeps one of them however often it is given."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def __call__(self, _event: WatchedEvent) -> None:
        self._function()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Watcher) and other._function == self._function

    def __hash__(self) -> int:
        return hash(self._function)
