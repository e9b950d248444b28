"""Streams over the real stores: what changes is told by itself, once for all, and to who comes back only what is new to them."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
import redis

from cluster.process import wait_until
from connectors.redis import RedisKeys
from serving.api.push import RETRY, Event, Hub
from serving.refusals import Busy
from tests.serving.test_answers import World, live
from topologies.settings import Settings

STREAM = "/v1/views/concurrents/stream?by=title"


class Listener:
    """One subscriber: the events that it was sent, in a thread of its own until it leaves."""

    def __init__(self, api: httpx.Client, headers: dict[str, str] | None = None) -> None:
        self.events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.tags: list[str] = []
        self._base, self._headers = str(api.base_url), headers or {}
        self._leaving = threading.Event()
        self.opened = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        with httpx.Client(base_url=self._base, timeout=120) as client, client.stream("GET", STREAM, headers=self._headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            tag = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "retry":
                    self.opened.set()
                if name == "id":
                    tag = value
                    self.tags.append(tag)
                if name == "data":
                    self.events.put((tag, json.loads(value)))
                if self._leaving.is_set():
                    return

    def next(self) -> tuple[str, dict[str, int]]:
        """The next event's tag, and viewers by title."""
        tag, document = self.events.get(timeout=60)
        return tag, {cell["title"]: cell["viewers"] for cell in document["cells"]}

    def until(self, viewers: dict[str, int]) -> None:
        """Returns with the next event that says so."""
        while self.next()[1] != viewers:
            pass

    def leave(self) -> None:
        """To be called before an event, or it waits for one."""
        self._leaving.set()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


@contextmanager
def listening(world: World, listeners: list[Listener]) -> Iterator[None]:
    """Afterwards one more flush lets all of them go."""
    try:
        yield
    finally:
        for listener in listeners:
            listener.leave()
        asyncio.run(world.both(world.status(0, 10_000), [live("bye", 1)]))
        for listener in listeners:
            listener.join()


def test_a_change_is_told_to_all_who_listen_for_one_reading(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [live("a", 3)]))
    listeners = [Listener(api) for _ in range(40)]
    with listening(world, listeners):
        assert {tuple(listener.next()[1].items()) for listener in listeners} == {(("a", 3),)}
        before = _readings(api)
        asyncio.run(world.both(world.status(0, 200), [live("a", 4), live("b", 1)]))
        for listener in listeners:
            listener.until({"a": 4, "b": 1})
        assert _readings(api) - before < len(listeners)
        assert "marquee_http_subscribers 40.0" in api.get("/metrics").text
    assert wait_until(lambda: "marquee_http_subscribers 0.0" in api.get("/metrics").text, 60)


def test_who_comes_back_is_told_what_is_new_and_nothing_twice(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [live("a", 3)]))
    first = Listener(api)
    with listening(world, [first]):
        tag, _ = first.next()
        again = Listener(api, {"Last-Event-ID": tag})
        with listening(world, [again]):
            assert again.opened.wait(60)
            asyncio.run(world.both(world.status(0, 200), [live("a", 5)]))
            again.until({"a": 5})
            assert tag not in again.tags
    late = Listener(api, {"Last-Event-ID": again.tags[0]})
    with listening(world, [late]):
        late.until({"a": 5, "bye": 1})


def test_a_stream_takes_no_cursor_and_needs_a_view(api: httpx.Client) -> None:
    assert "no format and no cursor" in api.get(f"{STREAM}&cursor=WzBd").json()["detail"]
    assert api.get("/v1/views/nonsense/stream").status_code == 404
    assert api.get("/v1/views/concurrents/stream?by=colour").status_code == 400


@dataclass
class Box:
    """A question whose answer is a number; `asked` is what was answered last."""

    number: int = 0
    asked: int = -1

    async def ask(self) -> Event:
        self.asked = self.number
        return Event(str(self.number), str(self.number).encode())


async def test_who_is_slow_gets_the_newest_and_none_in_between(settings: Settings) -> None:
    box = Box()
    async with Hub(settings) as hub, asyncio.timeout(120):
        events = await hub.stream("it", box.ask, None)
        assert [await anext(events), await anext(events)] == [RETRY, b"0"]
        for number in (1, 2, 3):
            box.number = number
            while box.asked != number:
                await asyncio.to_thread(tell, settings)
        assert await anext(events) == b"3"
        box.number = 4
        waiting = asyncio.ensure_future(anext(events))
        while not waiting.done():
            await asyncio.to_thread(tell, settings)
        assert waiting.result() == b"4"


def tell(settings: Settings) -> None:
    """As a flush of some source does."""
    with redis.Redis.from_url(settings.redis.url) as client:
        client.publish(RedisKeys(settings.redis.prefix).flushed, "some source")


async def test_streams_are_bounded_and_end_with_the_process(settings: Settings) -> None:
    few = 3
    box = Box()
    async with Hub(replace(settings, api=replace(settings.api, most_streams=few))) as hub:
        streams = [await hub.stream("it", box.ask, None) for _ in range(few)]
        for stream in streams:
            assert [await anext(stream), await anext(stream)] == [RETRY, b"0"]
        with pytest.raises(Busy, match="most_streams"):
            await hub.stream("it", box.ask, None)
        hub.end()
        assert [[event async for event in stream] for stream in streams] == [[]] * few
        assert hub.subscribers == 0


def _readings(api: httpx.Client) -> float:
    lines = api.get("/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("marquee_http_readings_total")))
