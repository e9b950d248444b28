"""Sees a partition that has stopped fetching, and recovers it.

Partitions have been seen to stop: fetch positions lost in a rebalance, a partition that stays paused, or that is missing among
those asked for. One is stalled when it is behind the broker's end, nothing of it waits for the fold, the fold has room, and the
broker has not just answered that there is nothing new beyond the state. It is then read anew from its state; if that does not
help, the group is asked for a new assignment; if that does not help, the worker ends, so that its supervisor starts another.
The same, without the first step, is done where a rebalance does not end though the broker answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError
from faust.types import TP

from streams import metrics
from streams.assignor import Place
from streams.ending import bounded
from streams.owners import Owners
from topologies.errors import SourceError

log = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 0.5
SLEPT_S: Final = 5.0
"""A process that has not looked for so long since its last look ended was stopped; a busy one looks late, but not so late."""
ANSWERED_S: Final = 2.0
"""A partition whose last fetch was answered so recently is being fetched."""
ANSWER_S: Final = 5.0
"""A broker that has not answered after so long is away, and nothing can be said of its partitions."""
SEEK_S: Final = 5.0
"""A consumer that has not taken a word after so long is told the next one."""


class Fetching(Protocol):
    """The consumer, as far as it is watched."""

    def assignment(self) -> set[TP]: ...

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Where the partitions end, as the broker has it now."""

    async def topics(self) -> Collection[str]:
        """All topics, as the broker has them now."""

    def waits_for_fold(self, place: Place) -> bool: ...

    def fetching(self, place: Place, offset: int, within_s: float) -> bool: ...

    async def read_from(self, place: Place, offset: int) -> bool: ...

    async def rejoin(self) -> None: ...


@dataclass
class Doubt:
    """A partition that has stood at `offset` since `since_s` (monotonic), and what has been tried."""

    offset: int
    since_s: float
    tried: int = 0


class Watchdog:
    """Looks at every assigned partition twice a second."""

    def __init__(
        self,
        consumer: Fetching,
        owners: Owners,
        has_room: Callable[[], bool],
        moving: Callable[[], bool],
        crash: Callable[[BaseException], Awaitable[Any]],
        *,
        stalled_s: float,
        moving_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`has_room` tells whether the fold goes on, `moving` whether a rebalance is under way, which may take `moving_s`."""
        self._consumer = consumer
        self._owners = owners
        self._has_room = has_room
        self._moving = moving
        self._crash = crash
        self._stalled_s = stalled_s
        self._moving_s = moving_s
        self._clock = clock
        self._doubts: dict[Place, Doubt] = {}
        self._move: Doubt | None = None
        self._looked_s = 0.0
        self.recoveries = 0
        """How often a partition was read anew."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Judge every partition once."""
        now_s = self._clock()
        slept = now_s - self._looked_s > SLEPT_S
        if slept or not self._has_room() or self._moving():  # a process that was stopped has not looked, and nothing stood still meanwhile
            self._doubts.clear()
        if slept or not self._moving():
            self._move = None
        if self._moving():
            await self._look_at_move(now_s)
        elif self._has_room():
            await self._look_at_partitions(now_s)
        self._looked_s = self._clock()  # a look that waited for an answer was no sleep

    async def _look_at_move(self, now_s: float) -> None:
        if self._move is None:
            self._move = Doubt(0, now_s)
        if now_s - self._move.since_s < self._moving_s or not await self._answers():
            return
        self._move.since_s, self._move.tried = now_s, self._move.tried + 1
        if self._move.tried == 1:
            log.error("a rebalance has not ended for %.0f s: asking for a new assignment", self._moving_s)
            await bounded("asking for a new assignment", SEEK_S, self._consumer.rejoin())
        else:
            await self._crash(SourceError("a rebalance does not end, and another did not help; the worker ends to be started again"))

    async def _look_at_partitions(self, now_s: float) -> None:
        assigned = {(tp.topic, tp.partition) for tp in self._consumer.assignment()}
        quiet = [place for place in assigned if self._is_quiet(place, now_s)]
        self._doubts = {place: doubt for place, doubt in self._doubts.items() if place in quiet}
        long_quiet = [place for place in quiet if now_s - self._doubts[place].since_s >= self._stalled_s]
        for place, end in (await self._ends(long_quiet)).items():
            doubt = self._doubts.get(place)
            if doubt is None or self._moving() or not self._is_quiet(place, now_s):
                continue
            if end > doubt.offset:
                await self._recover(place, end, doubt, now_s)
            else:
                del self._doubts[place]  # there is nothing new; it is given its time again

    def _is_quiet(self, place: Place, now_s: float) -> bool:
        """Whether nothing comes of it, though it might; from when on stands in `_doubts`."""
        owner = self._owners.get(place)
        if owner is None:  # being opened
            return False
        offset = owner.state.offset
        if self._consumer.waits_for_fold(place) or self._consumer.fetching(place, offset, ANSWERED_S):
            return False
        if (doubt := self._doubts.get(place)) is None or doubt.offset != offset:
            self._doubts[place] = Doubt(offset, now_s)
        return True

    async def _answers(self) -> bool:
        """Whether the broker is there: also a worker that owns nothing can tell."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._consumer.topics()
        except (KafkaError, TimeoutError):
            return False
        return True

    async def _ends(self, places: Iterable[Place]) -> dict[Place, int]:
        asked = [TP(*place) for place in places]
        if not asked:
            return {}
        try:
            async with asyncio.timeout(ANSWER_S):
                ends = await self._consumer.highwaters(*asked)
        except (KafkaError, TimeoutError):
            return {}
        return {(tp.topic, tp.partition): end for tp, end in ends.items()}

    async def _recover(self, place: Place, end: int, doubt: Doubt, now_s: float) -> None:
        stood = f"has brought nothing for {now_s - doubt.since_s:.0f} s at offset {doubt.offset}; its log ends at {end}"
        where = f"{place[0]} partition {place[1]} {stood}"
        about = {"topic": place[0], "partition": place[1], "offset": doubt.offset}
        doubt.since_s, doubt.tried = now_s, doubt.tried + 1
        self.recoveries += 1
        metrics.RECOVERIES.inc()
        if doubt.tried == 1:
            log.error("%s: reading it anew", where, extra=about)
            await bounded(f"reading {place[0]} partition {place[1]} anew", SEEK_S, self._consumer.read_from(place, doubt.offset))
        elif doubt.tried == 2:
            log.error("%s, and reading it anew did not help: asking for a new assignment", where, extra=about)
            await bounded("asking for a new assignment", SEEK_S, self._consumer.rejoin())
        else:
            await self._crash(
                SourceError(f"{where}, and neither reading it anew nor a new assignment helped; the worker ends to be started again")
            )
