"""Live push: one reading of a question for all who subscribe to it, whenever the stores have changed.

    notice of a flush, or LOOK_S ──► each subscribed question, at most every EACH_S: asked once ──► if it says something new: its event
                                                                                                    ──► every subscriber's next

A subscriber has no queue: who is slow gets the newest event, and none of those in between. An event's id is the tag of what it says, so a
client that comes back with the last one that it has seen gets the answer again only if it is another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Self

from connectors.redis_notices import listen
from serving.refusals import Busy
from topologies.errors import MarqueeError
from topologies.settings import Settings

log = logging.getLogger(__name__)
EACH_S: Final = 0.25
"""A question is asked at most so often: as often as a worker flushes."""
LOOK_S: Final = 5.0
"""A question is asked at least so often: Cassandra tells nobody, and Redis may be away."""
ALIVE_S: Final = 15.0
"""A connection over which nothing went for so long gets a comment, so that nobody on the way takes it for dead."""
COMMENT: Final = b": still here\n\n"
RETRY: Final = b"retry: 1000\n\n"
"""A client that was cut off comes back after so long, milliseconds."""


@dataclass(frozen=True)
class Event:
    """An answer as server-sent events have it (WHATWG HTML §9.2). tag: of what it says."""

    tag: str
    wire: bytes

    @classmethod
    def of(cls, tag: str, document: bytes) -> Event:
        """document: JSON, in one line."""
        return cls(tag, b"id: %b\nevent: answer\ndata: %b\n\n" % (tag.encode(), document))


@dataclass(eq=False)
class Subject:
    """A question that somebody subscribes to. `woken` is set, and replaced by the next one, when subscribers are to look."""

    ask: Callable[[], Awaitable[Event]]
    event: Event
    subscribers: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def tell(self, event: Event) -> bool:
        """The event is for all subscribers, unless it says what the last one did; whether it is."""
        if self.event.tag == event.tag:
            return False
        self.event = event
        self.wake()
        return True

    def wake(self) -> None:
        """All subscribers look. To whom nothing is new it is a sign of life."""
        woken, self.woken = self.woken, asyncio.Event()
        woken.set()


class Hub:
    """The subscriptions of one process. Open it as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._subjects: dict[object, Subject] = {}
        self._firsts: dict[object, asyncio.Future[Event]] = {}
        self._flushed = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._ended = False

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(listen(self._settings.redis, self._on_flush))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()
        tasks = [task for task in (self._listening, *(one.task for one in self._subjects.values())) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def end(self) -> None:
        """Every stream ends, since the process does. Clients come back by themselves, to another one. Twice does nothing more."""
        self._ended = True
        for subject in self._subjects.values():
            subject.wake()

    @property
    def subscribers(self) -> int:
        """Of all questions together."""
        return sum(subject.subscribers for subject in self._subjects.values())

    async def stream(self, key: object, ask: Callable[[], Awaitable[Event]], seen: str | None) -> AsyncIterator[bytes]:
        """The events of the question of that key, as bytes, from the newest on. ask: asks it anew. seen: the tag of the last event that the
        client has. Raises Busy when there are too many streams already, and what `ask` raises when the first answer fails."""
        if self.subscribers >= self._settings.api.most_streams:
            raise Busy(
                f"{self.subscribers:,} streams are open, as many as api.most_streams allows; ask again later, or ask another process"
            )
        subject = self._subjects.get(key)
        first = await self._first(key, ask) if subject is None else subject.event
        return self._events(key, ask, first, seen)

    async def _first(self, key: object, ask: Callable[[], Awaitable[Event]]) -> Event:
        """The first answer, asked once for all who come at the same time."""
        flight = self._firsts.get(key)
        if flight is None:
            flight = self._firsts[key] = asyncio.ensure_future(ask())
            flight.add_done_callback(lambda _: self._firsts.pop(key))
        return await asyncio.shield(flight)

    async def _events(self, key: object, ask: Callable[[], Awaitable[Event]], first: Event, seen: str | None) -> AsyncIterator[bytes]:
        subject = self._joined(key, ask, first)
        try:
            yield RETRY
            while not self._ended:
                woken, event = subject.woken, subject.event
                if event.tag != seen:
                    seen = event.tag
                    yield event.wire
                    continue
                await woken.wait()
                if subject.event is event and not self._ended:
                    yield COMMENT
        finally:
            self._leave(key, subject)

    def _joined(self, key: object, ask: Callable[[], Awaitable[Event]], first: Event) -> Subject:
        subject = self._subjects.get(key)
        if subject is None:
            subject = self._subjects[key] = Subject(ask, first)
            subject.task = asyncio.create_task(self._follow(subject))
        subject.subscribers += 1
        return subject

    def _leave(self, key: object, subject: Subject) -> None:
        subject.subscribers -= 1
        if subject.subscribers == 0:
            del self._subjects[key]
            if subject.task is not None:
                subject.task.cancel()

    def _on_flush(self) -> None:
        flushed, self._flushed = self._flushed, asyncio.Event()
        flushed.set()

    async def _follow(self, subject: Subject) -> None:
        """Asks again and again. A store that does not answer leaves the last event standing: its `as_of` says how old it is."""
        loop = asyncio.get_running_loop()
        told_s, failing = loop.time(), False
        while True:
            flushed = self._flushed
            await asyncio.sleep(EACH_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await flushed.wait()
            try:
                if subject.tell(await subject.ask()):
                    told_s = loop.time()
                failing = False
            except MarqueeError as error:
                if not failing:
                    log.warning("a question with %d subscribers cannot be answered: %s", subject.subscribers, error)
                failing = True
            if loop.time() - told_s >= ALIVE_S:
                told_s = loop.time()
                subject.wake()
