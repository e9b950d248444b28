"""The audit log: every request for an address of scope `operate`, admitted or refused, by whom it was and how it ended.

    a response begins ──► a line of the logger `marquee.audit` ──► the queue ──► Cassandra (connectors/operations.py), in the background

Neither delays an answer, and neither makes one fail. The queue is bounded: what finds no room in it, or is still in it when the process
ends, is counted (marquee_operations_unkept) and told; its line stands in the log.

A dashboard asks for /v1/status every few seconds. So of reads that are equal in who, whence, what and status the first is told at once,
and what comes within a minute behind it as one, with their number; their `times` add up to all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Final, Self

from cassandra.cluster import Session
from litestar.types import Message, Scope

from connectors.cassandra_schema import require_schema
from connectors.operations import Operation, Operations
from serving.answers import wall_clock_ms
from serving.metrics import OPERATIONS_KEPT, OPERATIONS_UNKEPT
from topologies.errors import MarqueeError
from topologies.settings import Settings

log = logging.getLogger(__name__)
audit_log = logging.getLogger("marquee.audit")
SCOPE: Final = "operate"
READS: Final = ("GET", "HEAD")
MINUTE_S: Final = 60.0
LOOK_S: Final = 1.0
"""What Cassandra did not take is tried again, and minutes that are over are looked for, so often."""
LAST_S: Final = 3.0
"""A process that ends waits so long at the most for what it has not kept."""
MOST_WAITING: Final = 2_000
MOST_REPEATED: Final = 1_000
"""So many different reads are counted together at a time; another one is told each time."""
_BATCH: Final = 100
_MOST_TARGET: Final = 1_000


@dataclass
class _Repeats:
    """Equal reads: when their minute is over, the last of them, and how many there were behind what was told."""

    until_s: float
    last: Operation
    times: int = 0


class Audit:
    """Of one process. Open it as a context manager; used from its event loop. session: with Cassandra, which stays its owner's, asked for
    on a thread. clock: seconds."""

    def __init__(self, settings: Settings, session: Callable[[], Session], clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings.cassandra
        self._session = session
        self._clock = clock
        self._repeated: dict[tuple[str, ...], _Repeats] = {}
        self._waiting: deque[Operation] = deque()
        self._woken = asyncio.Event()
        self._operations: Operations | None = None
        self._behind = False
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        self._tell_minutes(everything=True)
        with contextlib.suppress(TimeoutError, MarqueeError):
            async with asyncio.timeout(LAST_S):
                await self._drain()
        if self._waiting:
            OPERATIONS_UNKEPT.inc(len(self._waiting))
            log.warning("%d entries of the audit log stand in this log alone: Cassandra did not take them", len(self._waiting))

    def note(self, operation: Operation) -> None:
        """It is told and will be kept; a read that is like one before it with the others of its minute."""
        if operation.method in READS:
            status, _, _ = operation.outcome.partition(":")
            key = (operation.who, operation.address, operation.method, operation.target, status)
            if (repeats := self._repeated.get(key)) is not None:
                repeats.last, repeats.times = operation, repeats.times + 1
                return
            if len(self._repeated) < MOST_REPEATED:
                self._repeated[key] = _Repeats(self._clock() + MINUTE_S, operation)
        self._tell(operation)

    def _tell(self, operation: Operation) -> None:
        about = {name: value for name, value in asdict(operation).items() if name not in ("id", "at_ms")}
        line = "%s from %s: %s %s → %s%s"
        times = f" ({operation.times} times)" if operation.times > 1 else ""
        audit_log.info(line, operation.who, operation.address, operation.method, operation.target, operation.outcome, times, extra=about)
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(operation)
            self._woken.set()
        else:
            OPERATIONS_UNKEPT.inc()
            self._fall_behind(f"{MOST_WAITING:,} entries wait already")

    def _tell_minutes(self, *, everything: bool = False) -> None:
        """What was repeated in a minute that is over; who goes on repeating is told of once a minute."""
        now_s = self._clock()
        for key, repeats in list(self._repeated.items()):
            if not everything and now_s < repeats.until_s:
                continue
            if repeats.times:
                self._tell(replace(repeats.last, times=repeats.times))
                repeats.until_s, repeats.times = now_s + MINUTE_S, 0
            else:
                del self._repeated[key]

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            self._woken.clear()
            self._tell_minutes()
            try:
                await self._drain()
                self._behind = False
            except MarqueeError as error:
                self._fall_behind(str(error))

    async def _drain(self) -> None:
        """Until nothing waits, or Cassandra does not take it: then raises ServerAway or StoreError, and all of it still waits."""
        while self._waiting:
            some = list(islice(self._waiting, _BATCH))
            await asyncio.to_thread(self._put, some)
            for _ in some:
                self._waiting.popleft()
            OPERATIONS_KEPT.inc(len(some))

    def _put(self, some: list[Operation]) -> None:
        session = self._session()
        if self._operations is None:
            require_schema(session, self._settings)
            self._operations = Operations(session, self._settings)
        self._operations.put(some)

    def _fall_behind(self, reason: str) -> None:
        if not self._behind:
            log.warning("the audit log is not kept at the moment, but in this log alone: %s", reason)
        self._behind = True


async def audited(message: Message, scope: Scope) -> None:
    """Litestar's hook for what is sent: notes each response for an address of scope `operate` when it begins."""
    if message["type"] == "http.response.start" and _scope_of(scope) == SCOPE:
        audit: Audit = scope["litestar_app"].state.audit
        audit.note(_operation(scope, message["status"]))


def _scope_of(scope: Any) -> str | None:
    """What the address is for; None for one that is for all, or leads nowhere."""
    handler = scope.get("route_handler")
    return handler.opt.get("scope") if handler is not None else None


def _operation(scope: Any, status: int) -> Operation:
    state = scope.get("state", {})
    client = scope.get("client")
    caller, refusal = state.get("caller"), state.get("refusal")
    target: str = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
    if query := scope.get("query_string", b"").decode("ascii", "backslashreplace"):
        target = f"{target}?{query}"
    return Operation(
        wall_clock_ms(),
        caller.name if caller is not None else "somebody unknown",
        client[0] if client else "",
        scope["method"],
        target[:_MOST_TARGET],
        f"{status}: {refusal}" if refusal else str(status),
    )
