"""A handover over owners without servers: the consumer, the group and the checkpoints are told by the test what to answer."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from connectors.checkpoints import Checkpoint
from streams.assignor import Assignor, Place, Share
from streams.handover import Handover
from streams.letters import Letters
from streams.owners import Found, Owners
from streams.partition import PartitionOwner
from tests.streams.test_restored import Book
from topologies.errors import CheckpointError, NoTopic
from topologies.settings import Settings
from topologies.sources import Source

A, B, C = ("viewing-events", 0), ("viewing-events", 1), ("viewing-events", 2)
SETTINGS = Settings()


class Group(Assignor):
    """An assignor that is told its share by the test."""

    def give(self, assigned: Iterable[Place], release: Iterable[Place] = (), *, settled: bool = True) -> None:
        self._assigned = frozenset(assigned)
        self._claims = type(self._claims)(self._claims.round + 1, self._assigned | frozenset(release))
        self._share = Share(self._claims.round, frozenset(release), settled)


class Reader:
    """A consumer that only writes down what it is told."""

    def __init__(self) -> None:
        self.assignor = Group()
        self.read: list[tuple[Place, int]] = []
        self.rejoined = 0

    async def read_from(self, place: Place, offset: int) -> bool:
        self.read.append((place, offset))
        return True

    async def rejoin(self) -> None:
        self.rejoined += 1


class Checkpoints:
    """A CheckpointStore whose answers wait until `answers` is set, and raise `error` if there is one."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked: list[Source] = []
        self.error: Exception | None = None
        self.broken: set[int] = set()

    async def write(self, *_: Any, **__: Any) -> None:
        raise AssertionError("nothing is written here")

    async def newest(self, source: Source) -> Checkpoint | None:
        self.asked.append(source)
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        if source.partition in self.broken:
            raise CheckpointError("no checkpoint of it can be used")
        return None


class Scene:
    """A handover over owners without servers."""

    def __init__(self) -> None:
        self.checkpoints, self.reader, self.book = Checkpoints(), Reader(), Book()
        self.owners = Owners(SETTINGS, (), self.checkpoints, self.book, Letters(SETTINGS.kafka))
        self.asked: list[int] = []
        self.settled: list[int] = []
        self.storing = asyncio.Event()
        self.storing.set()
        self.refusals = 0
        """So many more times the durable stores take nothing."""
        self.cached = True
        self.ready: list[set[Place]] = []
        self.crashes: list[BaseException] = []
        self.handover = Handover(self.owners, self.settle, lambda places, _: self.ready.append(set(places)), release_s=600.0)
        self.handover.attach(self.reader, self.crash)

    async def settle(self, owner: PartitionOwner) -> bool:
        self.asked.append(owner.source.partition)
        await self.storing.wait()
        if self.refusals:
            self.refusals -= 1
            return False
        self.settled.append(owner.source.partition)
        owner.durable = owner.stored = owner.state.offset
        return self.cached

    async def folded(self, *places: Place) -> list[PartitionOwner]:
        """Their owners, each with records that are not stored."""
        self.give(*places)
        await until(lambda: self.owners.places() == set(places) and not self.handover._tasks)
        owners = self.owners.all()
        for owner in owners:
            owner.state.offset = 7
        return owners

    def cut(self, find: Callable[..., dict[Place, Found]]) -> Callable[..., dict[Place, Found]]:
        """The logs of all partitions begin at 3."""
        return lambda places: {place: dataclasses.replace(found, earliest=3) for place, found in find(places).items()}

    async def crash(self, error: BaseException) -> None:
        self.crashes.append(error)

    def give(self, *assigned: Place, release: Iterable[Place] = (), settled: bool = True) -> dict[Place, int]:
        self.reader.assignor.give(assigned, release, settled=settled)
        return self.handover.take_over()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # of whatever the condition looks at
            await asyncio.sleep(0.001)


def gone(_settings: Settings, topics: list[str]) -> dict[str, str]:
    raise NoTopic(f"there is no topic {topics[0]}")
