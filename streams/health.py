"""Whether this worker lives, and whether it does its job: what `/healthz` and `/readyz` say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

BEAT_S: Final = 0.25
STUCK_S: Final = 15.0
"""An event loop that has not turned for so long is stuck: a batch holds it for 50 ms, a great state's copy for a second."""


@dataclass
class Health:
    """One worker's. Written on the event loop, read from any thread.

    stores: by name, why the store does not take what it is given; empty while it does. held: by `topic/partition`, why that partition
    is not read. waits: what reading waits for; empty while it goes on. away: why partitions wait to be opened; empty while none waits for
    a server.
    """

    stores: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    waits: Callable[[], str] = str
    held: Callable[[], Mapping[str, str]] = dict
    away: Callable[[], str] = str
    stage: str = "starting"
    """starting, working or draining."""
    partitions: tuple[str, ...] = ()
    beat_at_s: float = field(default_factory=time.monotonic)

    async def beat(self) -> None:
        """Until cancelled: say that the event loop turns."""
        while True:
            self.beat_at_s = time.monotonic()
            await asyncio.sleep(BEAT_S)

    def alive(self) -> tuple[bool, dict[str, Any]]:
        """Whether the event loop turns, and the document that says so."""
        still_s = time.monotonic() - self.beat_at_s
        if still_s > STUCK_S:
            return False, {"alive": False, "reason": f"the worker's loop has not turned for {still_s:.0f} s; restart it"}
        return True, {"alive": True}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether the worker reads its partitions and both stores take what it gives them, and the document that says why not."""
        stores = {name: why() for name, why in self.stores.items()}
        held = self.held()
        document = {
            "stage": self.stage,
            "partitions": list(self.partitions),
            "held": dict(held),
            "stores": {name: why or "up" for name, why in stores.items()},
        }
        reason = self._reason(stores, held)
        return not reason, {"ready": not reason, **({"reason": reason} if reason else {}), **document}

    def _reason(self, stores: Mapping[str, str], held: Mapping[str, str]) -> str:
        if self.stage == "starting":
            return self.away() or "starting: the partitions are not opened yet"
        if self.stage == "draining":
            return "draining: no more is read, what was folded is being stored"
        away = "; ".join(why for why in stores.values() if why)
        if waits := self.waits():
            return "; ".join(filter(None, (f"reading is held back: {waits}", away)))
        if unopened := self.away():
            return unopened
        if held:
            return "; ".join(held.values())
        return away
