"""What a worker does when partitions move: keeps what stays, opens what comes, stores what goes before it gives it up.

assignment ─► stays   read on at once, from where its state stands
              comes   restored beside the fold, some at a time, each read as soon as it is ready
              goes    flushed to both stores and checkpointed; then another round gives it to somebody (streams/assignor.py)

What goes with its log is nobody's to replay: it is stored as it is, however long the stores are away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from connectors.logs import at
from streams.assignor import Assignor, Place
from streams.owners import Owners, sources
from streams.partition import PartitionOwner
from topologies.errors import CheckpointError, ServerAway, SourceError, StoreError

log = logging.getLogger(__name__)
OPEN_AT_ONCE: Final = 4
OPEN_AGAIN_S: Final = 1.0
HELD_AGAIN_S: Final = 5.0
REPORT_EVERY_S: Final = 10.0


class Reader(Protocol):
    """The consumer, as far as it is needed here."""

    @property
    def assignor(self) -> Assignor: ...

    async def read_from(self, place: Place, offset: int) -> bool:
        """Read the partition on at `offset`; False if it is not assigned."""

    async def rejoin(self) -> None:
        """Ask the group for a new round of assignments."""


class Handover:
    """The worker's part in a rebalance. For the event loop only."""

    def __init__(
        self,
        owners: Owners,
        settle: Callable[[PartitionOwner], Awaitable[bool]],
        ready: Callable[[Iterable[Place], float], None],
        release_s: float,
    ) -> None:
        """`settle` brings a partition to the stores, False if it could not. `ready` is called whenever all that is assigned is owned and no
        partition of the group waits to be moved: with what is owned, and the CPU seconds of the process before it read its first."""
        self._owners = owners
        self._settle = settle
        self._ready = ready
        self._release_s = release_s
        self._assigned: frozenset[Place] = frozenset()
        self._leaving: dict[Place, PartitionOwner] = {}
        self._doubted: set[PartitionOwner] = set()
        """Owned no more, not stored, and not known yet whether their topic is still there."""
        self._last: set[PartitionOwner] = set()
        """Owned no more, not stored yet, and in no log any more: what is here is all there is of them."""
        self._opening: set[Place] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.held: dict[Place, str] = {}
        """Assigned partitions that cannot be gone on with, and why; they are tried again, and the others are read meanwhile."""
        self._away: dict[object, str] = {}
        self._begun_cpu_s = 0.0
        self._closed = False
        self._reader: Reader
        self._crash: Callable[[BaseException], Coroutine[Any, Any, None]]

    def attach(self, reader: Reader, crash: Callable[[BaseException], Coroutine[Any, Any, None]]) -> None:
        """Where partitions are read, and what ends the worker when one cannot be gone on with."""
        self._reader, self._crash = reader, crash

    @property
    def away(self) -> str:
        """What a server that does not answer is waited for with, and why; empty when none is."""
        return (list(self._away.values()) or [""])[0]  # asked from another thread

    def take_over(self) -> dict[Place, int]:
        """Own exactly what is assigned now. Returns, for the partitions whose state is here, where to read on; the others are opened
        meanwhile and read when they are. The same assignment again changes nothing. After `close` nothing is read any more."""
        if self._closed:
            return {}
        self._assigned, share = self._reader.assignor.current()
        for place in self._assigned & set(self._leaving):  # given back before it was given up
            self._owners.adopt(place, self._leaving.pop(place))
        gone = self._owners.keep(self._assigned)
        going = share.release - set(self._leaving)
        self._leaving |= {place: owner for place, owner in gone.items() if place in going}
        if lost := {place: owner for place, owner in gone.items() if place not in going}:
            self._let_go(lost.values())
        if going:
            self._start(self._release(going))
        held = self._owners.offsets(self._assigned)
        if new := sorted(self._assigned - set(held) - self._opening):
            self._opening.update(new)
            self._start(self._open(new))
        self._tell_if_ready()
        return held

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:  # nobody would end it
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._start(self._crash(error.exceptions[0] if isinstance(error, ExceptionGroup) else error))

    async def close(self) -> None:
        """Stop opening and releasing; what was being released is owned again, so that the worker's last round stores it. What no log has
        any more is left to `finish`."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for place, owner in self._leaving.items():
            self._owners.adopt(place, owner)
        self._leaving.clear()

    async def finish(self) -> None:
        """After `close`: store what no log has any more, for as long as that takes. What is not stored when this ends or is cancelled is
        lost, and said to be."""
        for owner in (each for each in self._doubted if not each.settled):
            told = "%s: given up with offsets %d to %d not stored: if its topic is still there they are replayed, else they are lost"
            log.warning(told, owner.source, owner.lacking, owner.state.offset - 1, extra=at(owner.source, owner.state.offset))
        try:
            await asyncio.gather(*(self._store_last(owner) for owner in self._last))
        finally:
            for owner in self._last:
                offset = owner.state.offset
                lost = "%s: offsets %d to %d were counted and are lost: they are not stored, and its log does not hold them any more"
                log.error(lost, owner.source, owner.lacking, offset - 1, extra=at(owner.source, offset))

    def _tell_if_ready(self) -> None:
        assigned, share = self._reader.assignor.current()
        owned = set(self._owners.offsets(self._assigned))
        if share.settled and assigned == self._assigned and owned | set(self.held) >= self._assigned:
            self._begun_cpu_s = self._begun_cpu_s or time.process_time()
            self._ready(owned, self._begun_cpu_s)

    # -- what goes ----------------------------------------------------------------------------------------------

    async def _release(self, places: Iterable[Place]) -> None:
        leaving = {place: self._leaving[place] for place in places if place in self._leaving}
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._release_s):
                await asyncio.gather(*(self._stored(owner) for owner in leaving.values()))
        except TimeoutError:
            log.warning("%s: not stored within %g s", sources(leaving), self._release_s)
        given_up = [owner for place, owner in leaving.items() if self._leaving.get(place) is owner]
        for owner in given_up:
            del self._leaving[owner.place]
            if owner.settled:
                told = at(owner.source, owner.state.offset)
                log.info("%s: given up at offset %d after %.1f s", owner.source, owner.durable, time.monotonic() - began, extra=told)
        self._let_go(owner for owner in given_up if not owner.settled)
        if self._reader.assignor.released(places):
            await self._reader.rejoin()

    def _let_go(self, lost: Iterable[PartitionOwner]) -> None:
        """These go and are not stored, or may not be: to another worker, which replays; or, with their topic, to nobody."""
        if doubted := list(lost):
            self._doubted.update(doubted)
            self._start(self._decide(doubted))

    async def _decide(self, doubted: Iterable[PartitionOwner]) -> None:
        for owner in doubted:
            topic_id = await self._patiently(
                partial(asyncio.to_thread, self._owners.topic_id, owner.source.topic), "what has gone may have to be stored"
            )
            self._doubted.discard(owner)
            told = at(owner.source, owner.state.offset)
            if topic_id != owner.source.topic_id:
                log.warning("%s: its topic is no more; storing what was folded of it", owner.source, extra=told)
                self.keep_storing(owner)
            elif owner.settled:
                log.info("%s: given up at offset %d", owner.source, owner.durable, extra=told)
            else:
                lacking = "%s: given up at offset %d and durable up to %d: whoever owns it now replays the rest"
                log.warning(lacking, owner.source, owner.state.offset, owner.lacking, extra=told)

    def keep_storing(self, owner: PartitionOwner) -> None:
        """This one is owned no more, and its topic is gone: store it as it is, beside the fold."""
        self._keep_last(owner)
        self._start(self._store_last(owner))

    def _keep_last(self, owner: PartitionOwner) -> None:
        owner.unacked_bytes = 0
        owner.pending.clear()  # else its offsets would be committed in the log that may have the name by then
        self._last.add(owner)

    async def _store_last(self, owner: PartitionOwner) -> None:
        await self._stored(owner)
        if not owner.spoiled:
            self._last.discard(owner)

    async def _stored(self, owner: PartitionOwner) -> None:
        """Returns when cells and checkpoint are durable as the state stands, whatever becomes of the cache; however long that takes, unless
        it is spoiled, or owned again and the cycles' affair."""
        await self._settle(owner)
        while not (owner.settled or owner.spoiled or self._owners.get(owner.place) is owner):
            await asyncio.sleep(OPEN_AGAIN_S)
            await self._settle(owner)

    # -- what comes ---------------------------------------------------------------------------------------------

    async def _open(self, new: Sequence[Place]) -> None:
        gate = asyncio.Semaphore(OPEN_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for place in new:
                group.create_task(self._open_one(place, gate))

    def reopen(self, place: Place) -> None:
        """The log of an owned partition does not hold what comes next, or is another topic's by now: store it as it is, and then see how
        the partition can be gone on with."""
        owner = self._owners.get(place)
        if self._closed or owner is None or place in self._opening:
            return
        self._opening.add(place)
        self._owners.keep(self._owners.places() - {place})
        self._keep_last(owner)
        self._start(self._reopen(place, owner))

    async def _reopen(self, place: Place, owner: PartitionOwner) -> None:
        try:
            await self._store_last(owner)  # first: what is not stored would be gone from the log, too
        except BaseException:
            self._opening.discard(place)
            raise
        await self._open([place])

    async def _open_one(self, place: Place, gate: asyncio.Semaphore) -> None:
        try:
            owner = await self._restored(place, gate)
        finally:
            self._opening.discard(place)  # it may come again while others of its group are still being opened
        if owner is not None and place in self._assigned:
            self._owners.adopt(place, owner)
            self._begun_cpu_s = self._begun_cpu_s or time.process_time()
            await self._reader.read_from(place, owner.state.offset)
            self._tell_if_ready()

    async def _restored(self, place: Place, gate: asyncio.Semaphore) -> PartitionOwner | None:
        """Its owner, as soon as it can be gone on with: an operator may accept what is gone from its log. None when it is not assigned any
        more: so it is soon after its topic was deleted, with the group's next round."""
        try:
            while place in self._assigned:
                async with gate:
                    owner: PartitionOwner | None = await self._patiently(partial(self._begun, place), "partitions cannot be opened yet")
                if owner is not None:
                    return owner
                await asyncio.sleep(HELD_AGAIN_S)
            return None
        finally:
            self.held.pop(place, None)

    async def _begun(self, place: Place) -> PartitionOwner | None:
        """As broker and stores have it now, neither judged by what the other said minutes ago; None, and held, if it cannot be gone on
        with."""
        found = (await asyncio.to_thread(self._owners.find, [place])).get(place)
        if found is None:
            self._hold(place, f"topic {place[0]} has no partition {place[1]} any more", {"topic": place[0], "partition": place[1]})
            return None
        try:
            return await self._owners.restore(found)
        except (SourceError, CheckpointError) as error:
            self._hold(place, str(error), at(found.source, found.earliest))
            return None

    def _hold(self, place: Place, why: str, about: Mapping[str, Any]) -> None:
        if self.held.get(place) != why:
            log.error("%s; until then the partition is not read", why, extra=about)
        self.held[place] = why
        self._tell_if_ready()

    async def _patiently(self, ask: Callable[[], Awaitable[Any]], waiting: str) -> Any:
        """What it returns, as soon as the servers answer; the partitions that are open go on meanwhile. `waiting`: for what."""
        reported_s, me = -REPORT_EVERY_S, object()
        try:
            while True:
                try:
                    return await ask()
                except (ServerAway, StoreError) as error:
                    self._away[me] = f"{waiting}: {error}"
                    if time.monotonic() - reported_s > REPORT_EVERY_S:
                        reported_s = time.monotonic()
                        log.error("%s", self._away[me])
                    await asyncio.sleep(OPEN_AGAIN_S)
        finally:
            self._away.pop(me, None)
