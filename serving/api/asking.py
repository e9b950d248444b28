"""Questions from an event loop: answered on threads, each with stores of its own, over one session with Cassandra.

Equal questions at the same time are read once, and the answer is given again while it is fresh: a thousand who look at one number cost one
reading. An answer says as of when it is, so it stays true; nothing is kept of a question that failed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from cassandra.cluster import Session

from connectors.memcached import Memcached
from connectors.read_through import ReadThrough
from serving.answers import Answer, ask, ask_accounting
from serving.histories import Histories
from serving.metrics import HISTORY, READINGS
from serving.overview import Overview, look
from serving.questions import Question
from serving.refusals import Busy
from serving.regions import Links
from serving.shelves import Shelf, Shelves
from serving.stores import Stores
from topologies import accounting
from topologies.settings import Settings

OVERVIEW_S: Final = 1.0
MOST_KEPT: Final = 256
MOST_ROWS_KEPT: Final = 10_000
"""A greater answer is given to those who wait for it, and not kept."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Kept:
    until_s: float
    found: Any


class Asker:
    """What the API knows, from asyncio. Its methods raise as serving's functions do, and Busy when too many wait."""

    def __init__(self, settings: Settings, session: Callable[[], Session], clock: Callable[[], float] = time.monotonic) -> None:
        """session: with Cassandra, which stays its owner's; asked for on a thread. clock: seconds."""
        api = settings.api
        self._settings = settings
        self._most = api.threads + api.most_waiting
        self._fresh_s = api.fresh_s
        self._clock = clock
        self._session = session
        self._memcached = Memcached(self._settings.memcached)
        self._through = ReadThrough(self._memcached)
        self._links = Links(settings)
        self._pool = ThreadPoolExecutor(api.threads, thread_name_prefix="asking")
        self._histories = Histories(clock)
        self._own = threading.local()
        self._opened: list[Stores | Shelves] = []
        self._under_way = 0
        self._flights: dict[object, asyncio.Future[Any]] = {}
        self._kept: OrderedDict[object, _Kept] = OrderedDict()

    async def answer(self, question: Question) -> Answer:
        """The answer, at most `api.fresh_s` old."""
        key = _key(question)
        answer = await self._once(key, self._fresh_s, lambda: self._ask(question))
        if len(answer.rows) > MOST_ROWS_KEPT:
            self._kept.pop(key, None)
        return answer

    async def anew(self, question: Question) -> Answer:
        """The answer, read after this was called."""
        now_s = self._histories.now_s()
        return await self._on_thread(lambda: self._ask(question, now_s))

    async def shelf(self, account: str, profile: str) -> Shelf:
        """The profile's shelf, as it is now."""
        return await self._on_thread(lambda: self._shelves().shelf(account, profile))

    async def overview(self) -> Overview:
        """How everything stands, at most a second old."""
        return await self._once("overview", OVERVIEW_S, lambda: look(self._settings, self._session))

    async def ready(self) -> None:
        """Returns when questions can be answered; else raises ServerAway or StoreError."""
        await self._once("ready", OVERVIEW_S, lambda: self._stores().known())

    @property
    def under_way(self) -> int:
        """How many questions are being answered or wait for a thread."""
        return self._under_way

    async def close(self) -> None:
        """Ends what was opened, when the answers under way are there."""
        await asyncio.to_thread(self._pool.shutdown)
        await asyncio.to_thread(self._histories.close)
        while self._opened:
            self._opened.pop().close()
        self._links.close()
        self._memcached.close()

    async def _once(self, key: object, fresh_s: float, read: Callable[[], _T]) -> _T:
        kept = self._kept.get(key)
        if kept is not None and self._clock() < kept.until_s:
            return kept.found  # type: ignore[no-any-return]
        flight: asyncio.Future[_T] | None = self._flights.get(key)
        if flight is None:
            flight = asyncio.ensure_future(self._on_thread(read))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, fresh_s, done))
        return await asyncio.shield(flight)

    def _landed(self, key: object, fresh_s: float, flight: asyncio.Future[Any]) -> None:
        del self._flights[key]
        self._kept.pop(key, None)
        if flight.cancelled() or flight.exception() is not None:
            return
        self._kept[key] = _Kept(self._clock() + fresh_s, flight.result())
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    async def _on_thread(self, read: Callable[[], _T]) -> _T:
        if self._under_way >= self._most:
            raise Busy(f"{self._under_way:,} questions are being answered or wait; ask again in a moment, or start more of these processes")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, read)
        finally:
            self._under_way -= 1

    def _ask(self, question: Question, since_s: float | None = None) -> Answer:
        READINGS.inc()
        stores = self._stores()
        if question.view == accounting.NAME:
            return ask_accounting(stores)
        answer = ask(stores, question, since_s=since_s)
        HISTORY.labels("memcached").inc(answer.memcached)
        HISTORY.labels("cassandra").inc(max(0, answer.read["final"] + answer.read["cassandra"] - answer.memcached))
        return answer

    def _stores(self) -> Stores:
        found: Stores | None = getattr(self._own, "stores", None)
        if found is None:
            found = self._own.stores = Stores(
                self._settings, lent=self._session, histories=self._histories, through=self._through, links=self._links
            )
            self._opened.append(found)
        return found

    def _shelves(self) -> Shelves:
        found: Shelves | None = getattr(self._own, "shelves", None)
        if found is None:
            found = self._own.shelves = Shelves(self._settings, self._session, self._links)
            self._opened.append(found)
        return found


def _key(question: Question) -> tuple[object, ...]:
    by = tuple(sorted(question.by.items(), key=str))
    return question.view, by, question.top, question.window, question.from_ms, question.to_ms
