"""Watching how far Redis and the log have got, many times a second, for benchmarks that ask when something was fresh."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any, Final, Self

import redis
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from redis.backoff import NoBackoff
from redis.retry import Retry

from connectors.kafka import client_options, kafka_errors, partition_offsets, topic_ids
from connectors.redis import RedisKeys, connection_options, redis_errors
from topologies.errors import ServerAway
from topologies.settings import Settings
from topologies.sources import Source

POLL_S: Final = 0.01
ENDS_EVERY_S: Final = 0.1
AWAY_S: Final = 60.0
"""A server that was struck may be away so long; a watch that has seen nothing for longer has failed."""


@dataclass
class Course:
    """One partition over time: `offsets[i]` was first seen at `seen_ms[i]` (epoch ms); both rise.

    Of what was applied then: `clocks_ms` has the log's time of its newest record, `intended_ms` the newest event's own, which a generator
    sets to the time at which it was to be sent; −1 where that is not known. `workers`: from when on who had applied it.
    """

    offsets: list[int] = field(default_factory=list)
    seen_ms: list[float] = field(default_factory=list)
    clocks_ms: list[int] = field(default_factory=list)
    intended_ms: list[int] = field(default_factory=list)
    workers: list[tuple[float, str]] = field(default_factory=list)

    def note(self, offset: int, now_ms: float, worker: str = "", *, clock_ms: int = -1, intended_ms: int = -1) -> None:
        """The partition stands at `offset` now; kept where it moved."""
        if not self.offsets or offset > self.offsets[-1]:
            self.offsets.append(offset)
            self.seen_ms.append(now_ms)
            self.clocks_ms.append(clock_ms)
            self.intended_ms.append(intended_ms)
            if worker and (not self.workers or self.workers[-1][1] != worker):
                self.workers.append((now_ms, worker))

    def forget_before(self, when_ms: float) -> None:
        """Keeps where it stood then and all that came after."""
        gone = max(0, bisect_right(self.seen_ms, when_ms) - 1)
        for kept in (self.offsets, self.seen_ms, self.clocks_ms, self.intended_ms):
            del kept[:gone]

    def at(self, when_ms: float) -> int:
        """The offset at that time; 0 before the first."""
        place = bisect_right(self.seen_ms, when_ms)
        return self.offsets[place - 1] if place else 0

    def worker_at(self, when_ms: float) -> str:
        """Who had applied last at that time."""
        return next((worker for since, worker in reversed(self.workers) if since <= when_ms), "")

    def longest_pause_s(self, from_ms: float, to_ms: float) -> float:
        """The longest time without progress within the span, seconds."""
        inside = [seen for seen in self.seen_ms if from_ms <= seen <= to_ms]
        edges = [from_ms, *inside, to_ms]
        return max(after - before for before, after in pairwise(edges)) / 1000


class Watch(threading.Thread, ABC):
    """Looks every `every_s` seconds until `end`. A server that is away is asked again for AWAY_S; any other error ends it.

    As a context manager it looks within, and what it ended by is raised at the end unless something else is being raised. `lock` is held
    while a course is written: whoever reads one before the end holds it too.
    """

    def __init__(self, every_s: float) -> None:
        super().__init__(daemon=True)
        self.lock = threading.Lock()
        self._every_s = every_s
        self._ending = threading.Event()
        self._error: Exception | None = None

    @abstractmethod
    def look(self) -> None:
        """Once. Raises ServerAway when the server does not answer."""

    def run(self) -> None:
        answered_s = time.monotonic()
        while not self._ending.wait(self._every_s):
            try:
                self.look()
            except ServerAway as error:
                if time.monotonic() - answered_s > AWAY_S:
                    self._error = error
                    return
            except Exception as error:  # noqa: BLE001  # raised in `end`
                self._error = error
                return
            else:
                answered_s = time.monotonic()

    def end(self) -> None:
        """Looks no more. Raises what it ended by before: what it has seen says nothing then. Twice is once."""
        self._ending.set()
        self.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.end()
        else:
            self._ending.set()
            self.join()


class AppliedWatch(Watch):
    """Reads, a hundred times a second unless told otherwise, up to which offset Redis holds each source's cells and who wrote them."""

    def __init__(self, settings: Settings, sources: list[str], every_s: float = POLL_S) -> None:
        super().__init__(every_s)
        self._settings = settings.redis
        self._client = redis.Redis.from_url(settings.redis.url, retry=Retry(NoBackoff(), 1), **connection_options(settings.redis))
        self._keys = [RedisKeys(settings.redis.prefix).status(source) for source in sources]
        self.courses = [Course() for _ in sources]

    @classmethod
    def of(cls, settings: Settings, topic: str, every_s: float = POLL_S) -> AppliedWatch:
        """Of a topic's partitions, in their order."""
        identity = topic_ids(settings, [topic])[topic]
        partitions = sorted(partition_offsets(settings, topic))
        return cls(settings, [str(Source(settings.worker.region, topic, identity, number)) for number in partitions], every_s)

    def look(self) -> None:
        pipe = self._client.pipeline(transaction=False)
        for key in self._keys:
            pipe.hmget(key, "applied", "worker", "clock_ms", "watermark_ms")
        with redis_errors(self._settings):
            answers = pipe.execute()
        now_ms = time.time() * 1000
        with self.lock:
            for course, (applied, worker, clock_ms, watermark_ms) in zip(self.courses, answers, strict=True):
                clock, newest = int(clock_ms or -1), int(watermark_ms or -1)
                course.note(int(applied or 0), now_ms, (worker or b"").decode(), clock_ms=clock, intended_ms=min(clock, newest))


class EndsWatch(Watch):
    """Reads, ten times a second unless told otherwise, where each partition of a topic ends. A reading counts from when it was
    asked for."""

    def __init__(self, settings: Settings, topic: str, every_s: float = ENDS_EVERY_S) -> None:
        super().__init__(every_s)
        self._settings = settings.kafka
        self._admin = AdminClient(client_options(settings.kafka))
        self._asked: dict[TopicPartition, Any] = {
            TopicPartition(topic, number): OffsetSpec.latest() for number in sorted(partition_offsets(settings, topic))
        }
        self.courses = [Course() for _ in self._asked]

    def look(self) -> None:
        now_ms = time.time() * 1000
        for place, answer in self._admin.list_offsets(self._asked).items():
            with kafka_errors(self._settings):
                end = answer.result().offset
            with self.lock:
                self.courses[place.partition].note(end, now_ms)


def stale_until_ms(applied: Course, ends: Course, from_ms: float, to_ms: float, fresh_ms: float) -> float:
    """The last time within the span at which Redis lacked something that had stood in the log for `fresh_ms`; `from_ms` if it never did."""
    stale = from_ms
    for number, seen_ms in enumerate(ends.seen_ms):
        due_ms = seen_ms + fresh_ms
        place = bisect_right(applied.offsets, ends.offsets[number] - 1)
        had_ms = applied.seen_ms[place] if place < len(applied.offsets) else float("inf")
        if from_ms <= seen_ms + fresh_ms <= to_ms and had_ms > due_ms:
            stale = max(stale, min(had_ms, to_ms))
    return stale
