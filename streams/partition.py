"""One partition as its worker owns it: the state, the batches not yet durable, and how far each store has got."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from streams import metrics
from streams.assignor import Place
from streams.records import FetchedBatches
from topologies.fold import PartitionState, RecordBlock, Refused
from topologies.sources import LATENESS_MS, Source

log = logging.getLogger(__name__)
FOREIGN: Final = 2**53 - 1
"""No log gets so far. A cache that must hold at least this version has something else, is emptied of the source and written anew."""


@dataclass(frozen=True)
class CheckpointFigures:
    """What a checkpoint took: the fold stood still for `pause_s`; `cpu_s` is of all threads; `bytes` were written."""

    pause_s: float
    cpu_s: float
    bytes: int


@dataclass(eq=False)
class PartitionOwner:
    """`pending`: (next offset, Faust event, bytes as fetched) of batches folded and not durable, oldest first."""

    source: Source
    state: PartitionState
    live: bool
    """Whether the topic's time is the broker's (LogAppendTime), so that silence is answered with ticks."""
    durable: int
    """Offset of the newest checkpoint: from here a restart goes on."""
    cached: int | None
    """Version that the cache must hold at least; None when it is to get every cell."""
    stored: int | None = None
    """Offset up to which the cells are in the durable store; None when that is to be found out by storing what is marked."""
    storing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while cells are on their way to the durable store: what is taken then is marked neither as lacking nor yet there."""
    pending: deque[tuple[int, Any, int]] = field(default_factory=deque)
    unacked_bytes: int = 0
    """Of the pending batches, as fetched."""
    clock_moved_s: float = 0.0
    """When (monotonic) the clock last moved or a tick was sent."""
    folded_s: float = 0.0
    lost: int = 0
    """Records that were gone from the log before they could be folded, ever."""
    cache_seen_s: float = 0.0
    """When (monotonic) the cache was last written or asked whether it still has what it was given."""
    store_seen_s: float = 0.0
    """When (monotonic) cells were last brought to the durable store."""
    checkpointed_s: float = 0.0
    """When (monotonic) the last checkpoint was begun."""
    checkpoint: CheckpointFigures | None = None
    """What the last one took."""
    spoiled: bool = False
    """The state has half of a batch, or some of its letters are missing: nothing more of it is stored."""

    def fold(self, fetched: FetchedBatches, now_s: float) -> tuple[RecordBlock, list[Refused]]:
        """Fold the next batch in. Raises SourceError when it does not follow the state."""
        before = self.state.status()
        block = fetched.block()
        refused = self.state.apply(block)
        self.folded_s = now_s
        after = self.state.status()
        if after.clock_ms > before.clock_ms:
            self.clock_moved_s = now_s
        metrics.count(before, after, len(block), block.buffer.nbytes, time.monotonic() - now_s)
        return block, refused

    @property
    def settled(self) -> bool:
        """Whether cells and checkpoint are durable as the state stands: who gets the partition replays nothing."""
        return self.unread or self.durable == self.stored == self.state.offset

    @property
    def over(self) -> bool:
        """Whether its log is one that ends, and has ended where the state stands, if there it goes on no further; all of it being stored.
        A backfill ends with a tick that takes the clock 15 min or more beyond its events. Where none was applied that tells nothing, but of
        a log that has had ticks only."""
        durable, status = self.stored == self.state.offset and not self.spoiled, self.state.status()
        told = status.applied > 0 or not status.received
        return durable and not self.live and told and self.state.sessions.silence_ms() >= LATENESS_MS

    @property
    def lacking(self) -> int:
        """The first offset of which cells or checkpoint may not be durable."""
        return min(self.durable, self.durable if self.stored is None else self.stored)

    @property
    def place(self) -> Place:
        """Where its log is."""
        return self.source.topic, self.source.partition

    @property
    def unread(self) -> bool:
        """Whether nothing ever was in it, so that there is nothing to store either."""
        status = self.state.status()
        return self.stored is None and self.durable == self.state.offset and status.clock_ms < 0 and not status.received

    def await_durable(self, next_offset: int, event: Any, nbytes: int) -> None:
        """The batch of this event has been folded: it is acknowledged when everything below `next_offset` is durable."""
        self.pending.append((next_offset, event, nbytes))
        self.unacked_bytes += nbytes

    def acknowledge(self) -> None:
        """Tell Faust, which commits it, of everything of which cells and checkpoint are durable."""
        upto = min(self.durable, self.stored or 0)
        while self.pending and self.pending[0][0] <= upto:
            _, event, nbytes = self.pending.popleft()
            self.unacked_bytes -= nbytes
            event.ack()
