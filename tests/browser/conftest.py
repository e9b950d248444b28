"""One browser for a module's tests, and one API over stores that they all write to: each shows titles and regions of its own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count

import httpx
import pytest
import pytest_asyncio
from cassandra.cluster import Session
from playwright.async_api import Browser

from cluster.local import LocalCluster
from tests.browser.browser import Visitor, browsing
from tests.conftest import apart, with_all_views
from tests.serving.api.conftest import served, world
from tests.serving.test_answers import Cell, World, world_of

__all__ = ("browser", "shown", "stage", "visitor", "world")


class Stage:
    """What the dashboard shows: one partition's cells, told again and again, by a clock that is a minute behind."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._offsets = count(100, 100)

    @staticmethod
    def clock_ms() -> int:
        """Now, by the partition's clock."""
        return time.time_ns() // 1_000_000 - 60_000

    async def show(self, *cells: Cell) -> None:
        """These cells as of now, in both stores; what was told before and is not among them stays."""
        await self.world.both(self.world.status(0, next(self._offsets), self.clock_ms()), cells)

    async def store_only(self, partition: int, cells: Sequence[Cell] = ()) -> None:
        """Another partition, of which Redis has not heard."""
        await self.world.store(self.world.status(partition, clock_ms=self.clock_ms()), cells)


@pytest.fixture(scope="module")
def stage(cluster: LocalCluster, keyspaces: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with apart(cluster.settings, keyspaces, tmp_path_factory.mktemp("browser")) as own, world_of(with_all_views(own)) as world:
        yield Stage(world)


@pytest.fixture(scope="module")
def shown(stage: Stage) -> Iterator[httpx.Client]:
    """A client of the API of `stage`."""
    with served(stage.world.settings) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(shown: httpx.Client, browser: Browser) -> AsyncIterator[Visitor]:
    """Somebody at the dashboard of `stage`."""
    visitor = Visitor(browser, str(shown.base_url))
    yield visitor
    await visitor.leave()
    assert (visitor.strangers, visitor.complaints) == ([], [])
