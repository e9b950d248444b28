"""Many Cassandra statements from asyncio, a bounded number of them in flight.

The driver answers in a thread of its own. Each answer starts the next statement from there; the event loop is woken once, at the end:
waking it for every statement costs more than the statement does.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from cassandra.cluster import NoHostAvailable, Session
from cassandra.connection import ConnectionBusy

from connectors.cassandra import translated
from topologies.settings import CassandraSettings

IN_FLIGHT: Final = 32
BUSY_PAUSE_S: Final = 0.005


async def executed(
    session: Session,
    settings: CassandraSettings,
    statements: Iterable[Any],
    *,
    in_flight: int = IN_FLIGHT,
    take: Callable[[int, Any], None] | None = None,
) -> None:
    """Executes all statements; returns when each is answered. take(number, rows) gets each answer's first page, in the driver's thread.

    At the first error no further one is started and the error is raised, as ours; those in flight may still succeed.
    """
    flight = _Flight(session, iter(statements), take, asyncio.get_running_loop(), settings.timeout_s)
    flight.start(in_flight)
    error = await asyncio.shield(flight.done)
    if error is not None:
        ours = translated(error, settings)
        raise ours from (None if ours is error else error)


class _Flight:
    def __init__(
        self,
        session: Session,
        statements: Iterator[Any],
        take: Callable[[int, Any], None] | None,
        loop: asyncio.AbstractEventLoop,
        busy_s: float,
    ) -> None:
        self.done: asyncio.Future[Exception | None] = loop.create_future()
        self._session = session
        self._statements = enumerate(statements)
        self._take = take
        self._loop = loop
        self._busy_s = busy_s
        self._lock = threading.Lock()
        self._open = 1  # start itself, so that nothing is over before all that may fly does
        self._error: Exception | None = None

    def start(self, in_flight: int) -> None:
        for _ in range(in_flight):
            if not self._next():
                break
        self._landed(None)

    def _next(self) -> bool:
        """Starts one statement; False when there is none left."""
        with self._lock:
            if self._error is not None:
                return False
            try:
                number, statement = next(self._statements)
            except StopIteration:
                return False
            except Exception as error:  # noqa: BLE001 (the statements' own; whoever waits gets it)
                self._error = error
                return False
            self._open += 1
        self._execute(number, statement, time.monotonic() + self._busy_s)
        return True

    def _execute(self, number: int, statement: Any, deadline: float) -> None:
        try:
            future = self._session.execute_async(statement)
        except Exception as error:  # noqa: BLE001 (whoever waits gets it)
            self._landed(error)
        else:
            future.add_callbacks(self._answered, self._failed, callback_args=(number,), errback_args=(number, statement, deadline))

    def _answered(self, rows: Any, number: int) -> None:
        error = None
        if self._take is not None:
            try:
                self._take(number, rows)
            except Exception as raised:  # noqa: BLE001 (the driver would swallow it; whoever waits gets it)
                error = raised
        if error is None:
            self._next()
        self._landed(error)

    def _failed(self, error: Exception, number: int, statement: Any, deadline: float) -> None:
        if _not_sent(error) and time.monotonic() < deadline:
            self._wake(self._loop.call_later, BUSY_PAUSE_S, self._execute, number, statement, deadline)
        else:
            self._landed(error)

    def _landed(self, error: Exception | None) -> None:
        with self._lock:
            self._error = self._error or error
            self._open -= 1
            over = self._open == 0
        if over:
            self._wake(self._finish)

    def _wake(self, call: Callable[..., object], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(self._error)


def _not_sent(error: Exception) -> bool:
    """Whether the statement never left: the driver refuses new ones while a socket's buffer is full, as large pieces make it."""
    if not isinstance(error, NoHostAvailable) or not isinstance(error.errors, dict) or not error.errors:
        return False
    return all(isinstance(cause, ConnectionBusy) for cause in error.errors.values())
