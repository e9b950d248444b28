"""A rolling restart: what runs is replaced process by process, by the version that is installed now, and nothing is missing meanwhile.

    a worker more, a spare door ──► an old worker drains, a new one comes, … ──► each door: drains, starts, takes ──► the spare door goes

What comes first is the new version's trial: when it does not start, nothing has been replaced. From then on a new worker is always there
before an old one goes, and the spare door, for a door comes back at its own address, bears what the one that is away would. One that does
not come up later on ends the roll; those that were replaced stay so, and the spare stays in the place of its door.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from cluster.forkserver import put_back, set_aside
from cluster.supervisor import DRAIN_S, READY_S, Workers
from topologies.errors import MarqueeError


@dataclass(frozen=True)
class Fleet:
    """What is rolled. spare_doors: a group of doors that are started for the time of a roll only."""

    workers: Workers
    doors: Workers
    spare_doors: Workers
    takes: Callable[[str], bool]
    """Whether requests are sent to the door at this address, `http://host:port`."""

    @property
    def groups(self) -> tuple[Workers, ...]:
        return self.workers, self.doors, self.spare_doors


class Roll:
    """One rolling restart. Its caller steps it on the thread that looks after these processes, and leaves to it the one that comes up."""

    def __init__(self, fleet: Fleet, say: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._say = say
        self._coming: tuple[Workers, int] | None = None
        self._steps = self._rolled()

    def step(self) -> bool:
        """Goes on as far as it can without waiting. Whether it is over. Raises MarqueeError when it cannot go on; then it is over too."""
        return next(self._steps, True) is True

    def coming(self, group: Workers, index: int) -> bool:
        """Whether this process is only now coming up: that it ended, the roll will see."""
        return self._coming is not None and self._coming[0] is group and self._coming[1] == index

    def _rolled(self) -> Iterator[bool]:
        fleet = self._fleet
        workers, doors = fleet.workers.meant(), range(len(fleet.doors))
        yield from self._tried(bool(workers), bool(doors))
        for place, old in enumerate(workers):
            if place:  # the first's successor was the trial
                yield from self._another(fleet.workers, "works")
            yield from self._stopped(fleet.workers, old)
            self._say(f"{fleet.workers[old].name}: gone, its place is taken")
        for index in doors:
            yield from self._borne()
            yield from self._replaced(fleet.doors, index)
        for index in range(len(fleet.spare_doors)):  # those that an earlier roll has left in a door's place, too
            yield from self._stopped(fleet.spare_doors, index)

    def _tried(self, worker: bool, door: bool) -> Iterator[bool]:
        """Brings the first ones up, the new version's trial. When one does not come up, both go, and workers and doors are forked from the
        old version again."""
        tried = [
            (group, does)
            for there, group, does in ((worker, self._fleet.workers, "works"), (door, self._fleet.spare_doors, "takes requests"))
            if there
        ]
        up: list[tuple[Workers, int]] = []
        aside = set_aside()
        try:
            for group, does in tried:
                up.append((group, (yield from self._another(group, does))))
        except BaseException:
            for group, index in up:
                group.ask_to_stop(index)
            put_back(aside)
            raise
        if aside is not None:
            aside.close()

    def _another(self, group: Workers, does: str) -> Generator[bool, None, int]:
        prepared, ends_s = group.prepare(), time.monotonic() + READY_S
        while not prepared() and time.monotonic() < ends_s:
            yield False
        index = group.another()
        yield from self._up(group, index)
        self._say(f"{group[index].name}: {does}")
        return index

    def _replaced(self, group: Workers, index: int) -> Iterator[bool]:
        yield from self._stopped(group, index)
        group.restart(index)
        yield from self._up(group, index)
        self._say(f"{group[index].name}: replaced")

    def _borne(self) -> Iterator[bool]:
        """Until a spare door takes requests: it may have ended meanwhile, and be starting again."""
        spare, ends_s = self._fleet.spare_doors, time.monotonic() + READY_S
        while not any(spare[index].process.alive() and self._does(spare, index) for index in spare.meant()):
            if time.monotonic() > ends_s:
                raise MarqueeError(f"no spare API takes requests after {READY_S:.0f} s. Who was not replaced runs on as it was")
            yield False

    def _does(self, group: Workers, index: int) -> bool:
        """Whether it has its partitions, or requests are sent to it."""
        told = group.ready(index)
        return told is not None and (group is self._fleet.workers or self._fleet.takes(told["http"]))

    def _stopped(self, group: Workers, index: int) -> Iterator[bool]:
        """Asks it to stop, until it has ended; one that does not drain is killed."""
        group.ask_to_stop(index)
        ends_s = time.monotonic() + DRAIN_S
        while group[index].process.alive():
            if time.monotonic() > ends_s:
                group.kill(index)
            yield False

    def _up(self, group: Workers, index: int) -> Iterator[bool]:
        """Until it does what it is for."""
        name = group[index].name
        self._coming = group, index
        ends_s = time.monotonic() + READY_S
        while True:
            alive = group[index].process.alive()
            if alive and self._does(group, index):
                break
            if not alive or time.monotonic() > ends_s:
                group.kill(index)
                self._coming = None
                raise MarqueeError(f"{name} {self._why(group, index, alive)}. Who was not replaced runs on as it was")
            yield False
        self._coming = None

    @staticmethod
    def _why(group: Workers, index: int, alive: bool) -> str:
        if not alive:
            return f"ended before it was ready; {group[index].log} says why"
        if group.ready(index) is not None:
            return f"is ready, but no request is sent to it after {READY_S:.0f} s: HAProxy or ZooKeeper does not answer"
        return f"is not ready after {READY_S:.0f} s; {group[index].log} says why"
