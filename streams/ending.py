"""How a worker ends in bounded time, whatever it is waiting for."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, TypeVar

from aiokafka.errors import KafkaError

log = logging.getLogger(__name__)
_T = TypeVar("_T")
END_S: Final = 27.0
"""From the signal to the end of the process, at most. Supervisors wait for 30 s."""


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, _T]) -> _T | None:
    """What the work returns; None, with the work cancelled, when `stop` is set first. Raises what the work raises."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        stopping.cancel()
        working.cancel()


async def bounded(what: str, seconds: float, work: Awaitable[Any]) -> None:
    """Await the work, for so many seconds at most; says so when it does not end well. Work that does not let itself be cancelled, as the
    end of a Faust app does not, is awaited however long it takes: `end_within` bounds that."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        log.warning("%s was given up after %g s", what, seconds)
    except KafkaError as error:
        log.warning("%s failed: %s", what, error)


def end_within(seconds: float = END_S) -> None:
    """End the process after so long, should it still run then: a thread that waits for a server cannot be cancelled."""

    def end() -> None:
        log.error("not ended %g s after it began to; what is not stored will be replayed", seconds)
        logging.shutdown()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
