"""What faults strike: the servers, the workers that stay, guests that come and go, and the log. Shared by the lanes' threads."""

from __future__ import annotations

import math
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Final

import redis

from cluster.local import SERVICES, LocalCluster
from cluster.process import Ended
from cluster.supervisor import Workers
from marquee.chaos.outsider import Outsider
from topologies.errors import ServerAway
from topologies.settings import Settings

DRAIN_S: Final = 40.0
"""A worker that drains while a store is away may take so long; then it is killed, as a supervisor would."""
EXCUSE_S: Final = 20.0
"""A worker that waited for a struck server may end so long after that is healed: its time-outs run."""
AWAY: Final = ("Kafka at ", "Cassandra at ")
"""What the last words of a worker have in them that gave up on a server."""
FORGOTTEN_SHARE: Final = 1 / 3


@dataclass(frozen=True)
class Exit:
    """A worker that ended without being told to, or that was told to drain and did not end well.

    `status`: its exit code, negative for a signal's number.
    """

    worker: str
    at_s: float
    status: int
    last_words: str
    excused: bool
    """Whether it may: it gave up on a server that it cannot start, or open partitions, without, and that is struck or was just now; or a
    server was struck while it drained, or it had not begun."""


@dataclass
class Ground:
    """`workers` has those that stay, which the harness started, and guests, which are started when they are first wanted."""

    settings: Settings
    cluster: LocalCluster
    workers: Workers
    outsider: Outsider
    began_s: float = field(default_factory=time.monotonic)
    ending: threading.Event = field(default_factory=threading.Event)
    """Set when no more is to be struck."""
    exits: list[Exit] = field(default_factory=list)
    struck_until: dict[str, float] = field(default_factory=dict)
    """When each lane that was struck was healed, by elapsed seconds; infinite while it is struck."""
    _starting: threading.Lock = field(default_factory=threading.Lock)
    _guests: dict[int, int] = field(default_factory=dict)
    """The index of each guest, by its number."""
    _asked: dict[int, float] = field(default_factory=dict)
    """When each guest that drains was asked to, by elapsed seconds."""
    _killed: set[int] = field(default_factory=set)
    """Guests whose end is as it was meant, or is noted."""

    @staticmethod
    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    def elapsed_s(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self.began_s

    def bring_back(self, index: int) -> None:
        """Start a worker that ended; when it runs, nothing happens."""
        with self._starting:
            self.workers.restart(index)

    def drain(self, index: int) -> None:
        """SIGTERM, and wait until it is gone. One that ends by other than 0 is noted."""
        began_s = self.elapsed_s()
        self._note_drain(index, began_s, self.workers.stop(index, DRAIN_S))

    def _note_drain(self, index: int, began_s: float, ended: Ended) -> None:
        if ended.status == 0:
            return
        unstarted = ended.status == -signal.SIGTERM and self.workers.ready(index) is None  # there was nothing to drain yet
        self._note(index, ended.status, excused=unstarted or self._struck_since(began_s))

    def _note(self, index: int, status: int, *, excused: bool) -> Exit:
        worker = self.workers[index]
        words = _last_words(worker.log.read_text(errors="replace"))
        self.exits.append(Exit(worker.name, round(self.elapsed_s(), 2), status, words, excused))
        return self.exits[-1]

    def _struck_since(self, since_s: float) -> bool:
        """Whether a server was struck then or later, or so short before that time-outs still ran."""
        return any(self.struck_until.get(service, -math.inf) > since_s - EXCUSE_S for service in SERVICES)

    def host(self, moves: list[tuple[float, int, str]]) -> None:
        """Guests join and leave: (seconds from now, guest, join | drain | kill), in the order of time."""
        began = time.monotonic()
        for after_s, guest, how in moves:
            if self.ending.wait(max(0.0, began + after_s - time.monotonic())):
                return
            if how == "join":
                self._join(guest)
            elif how == "kill":
                self._asked.pop(guest, None)
                self._killed.add(guest)
                self.workers.kill(self._guests[guest])
            else:
                worker = self.workers[self._guests[guest]]
                worker.meant_down = True
                self._asked[guest] = self.elapsed_s()
                worker.process.ask_to_stop()

    def _join(self, guest: int) -> None:
        with self._starting:
            self._asked.pop(guest, None)
            self._killed.discard(guest)
            if guest in self._guests:
                self.workers.restart(self._guests[guest])
            else:
                self._guests[guest] = self.workers.add()

    def see_off(self) -> None:
        """Every guest drains, or is killed if it does not. One that ends by other than 0 is noted, unless it was killed before."""
        for guest, index in self._guests.items():
            began_s = self._asked.pop(guest, self.elapsed_s())
            ended = self.workers.stop(index, DRAIN_S)
            if guest not in self._killed:
                self._killed.add(guest)  # it is gone: seen off again, it is not noted again
                self._note_drain(index, began_s, ended)

    def empty_redis(self) -> None:
        with self._redis() as client:
            client.flushall()

    def forget_in_redis(self, chance: random.Random) -> None:
        """Remove a third of Marquee's keys. Which ones depends on what is there, too."""
        prefix = self.settings.redis.prefix
        with self._redis() as client:
            keys = sorted(client.scan_iter(match=f"{prefix}*", count=1_000))
            chosen = [key for key in keys if chance.random() < FORGOTTEN_SHARE]
            if chosen:
                client.delete(*chosen)

    def _redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.settings.redis.url, socket_timeout=10.0)

    def look_after_workers(self) -> list[Exit]:
        """Note the workers that ended without being told to and start them again; those of this look."""
        found: list[Exit] = []
        with self._starting:
            for index in self.workers.watch():
                worker = self.workers[index]
                ended = worker.process.ended(5.0)
                words = _last_words(worker.log.read_text(errors="replace"))
                healed_s = max(self.struck_until.get(service, -EXCUSE_S) for service in ("kafka", "cassandra"))
                excused = self.elapsed_s() - healed_s < EXCUSE_S and any(said in words for said in AWAY)
                found.append(self._note(index, ended.status if ended else 0, excused=excused))
                self.workers.restart(index)
        return found

    def require_servers(self) -> None:
        """ServerAway when a server ended on its own."""
        if dead := self.cluster.watch():
            raise ServerAway(f"{dead[0]} ended on its own; {self.cluster.server(dead[0]).log} says why")


def _last_words(log: str) -> str:
    """Why a worker stopped, as its log says; its last line if it does not say."""
    lines = log.strip().splitlines() or [""]
    return next((line for line in reversed(lines[-200:]) if "the worker stops" in line or line.startswith("marquee:")), lines[-1])
