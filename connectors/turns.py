"""Turns of those who ask one server: a few at a time, so that who else asks it does not wait for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Of one event loop."""

    def __init__(self, at_once: int, patience_s: float) -> None:
        """patience_s: who has waited for so long goes on all the same: of a server that hangs each learns by itself, and all together."""
        self._free = asyncio.Semaphore(at_once)
        self._patience_s = patience_s

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Within, it is one's turn."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._free.acquire()
            mine = True
        except TimeoutError:
            mine = False
        try:
            yield
        finally:
            if mine:
                self._free.release()
