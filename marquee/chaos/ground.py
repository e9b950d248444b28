"""What faults strike: the servers, the workers that stay, guests that come and go, and the log. Shared by the lanes' threads."""

from __future__ import annotations

import math
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import redis

from cluster.local import SERVICES, LocalCluster
from cluster.process import Ended
from cluster.supervisor import Workers
from connectors.redis import at_shelves
from marquee.chaos.front import Front
from marquee.chaos.outsider import Outsider
from marquee.chaos.targets import Visit, door_of, is_door, is_worker, worker_of
from topologies.errors import ServerAway
from topologies.settings import RedisSettings, Settings

DRAIN_S: Final = 40.0
"""A worker that drains while a store is away may take so long; then it is killed, as a supervisor would."""
EXCUSE_S: Final = 20.0
"""A worker that waited for a struck server may end so long after that is healed: its time-outs run."""
GUEST_READY_S: Final = 120.0
"""From a guest's start until it has partitions: 10 to 16 s on two quiet cores, 45 s on busy ones, longer while a server is away."""
LOOK_EVERY_S: Final = 0.1
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
    opened_front: Front | None = None
    """What stands in front of the data, if anything does."""
    began_s: float = field(default_factory=time.monotonic)
    ending: threading.Event = field(default_factory=threading.Event)
    """Set when no more is to be struck."""
    exits: list[Exit] = field(default_factory=list)
    struck_until: dict[str, float] = field(default_factory=dict)
    """When each lane that was struck was healed, by elapsed seconds; infinite while it is struck."""
    guests_joined: int = 0
    """How many times a guest got partitions."""
    _starting: threading.Lock = field(default_factory=threading.Lock)
    _guests: dict[int, int] = field(default_factory=dict)
    """The index of each guest, by its number."""
    _asked: dict[int, float] = field(default_factory=dict)
    """When each guest that had partitions and drains was asked to, by elapsed seconds."""
    _killed: set[int] = field(default_factory=set)
    """Guests whose end is as it was meant, or is noted."""

    @staticmethod
    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    def elapsed_s(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self.began_s

    def wait_until(self, condition: Callable[[], bool], patience_s: float) -> bool:
        """Whether the condition held within so long; False at once when no more is to be struck."""
        gives_up_s = self.elapsed_s() + patience_s
        while not condition():
            if self.elapsed_s() > gives_up_s or self.ending.wait(LOOK_EVERY_S):
                return False
        return True

    def stands(self, lane: str) -> bool:
        """Whether there is something in this lane that a fault can hit: a worker that has its partitions, a door that answers, somebody
        who leads. Others always do."""
        if is_door(lane):
            return self.front.up(door_of(lane))
        if lane == "leader":
            return self.front.leads() is not None
        with self._starting:
            return not is_worker(lane) or self.workers.up(worker_of(lane))

    @property
    def front(self) -> Front:
        """What stands in front of the data."""
        assert self.opened_front is not None
        return self.opened_front

    def bring_back(self, index: int) -> None:
        """Start a worker that ended; when it runs, nothing happens."""
        with self._starting:
            self.workers.restart(index)

    def kill(self, index: int) -> bool:
        """SIGKILL. Whether it hit a worker that had its partitions; only then anything happens."""
        with self._starting:
            return self.workers.up(index) and self.workers.kill(index).status == -signal.SIGKILL

    def pause(self, index: int) -> bool:
        """SIGSTOP. Whether it hit a worker that had its partitions; only then anything happens."""
        with self._starting:
            return self.workers.up(index) and self.workers.pause(index)

    def drain(self, index: int) -> bool:
        """SIGTERM, and wait until it is gone. Whether it hit a worker that had its partitions; only then anything happens.

        One that ends by other than 0 is noted.
        """
        began_s = self.elapsed_s()
        hit = self._ask_to_drain(index)
        if hit:
            self._note_drain(index, began_s, self.workers.stop(index, DRAIN_S), begun=True)
        return hit

    def _ask_to_drain(self, index: int, *, unready: bool = False) -> bool:
        """SIGTERM, without waiting, to a worker that has its partitions; `unready`: to one without, too. → whether it had and heard."""
        with self._starting:
            up = self.workers.up(index)
            return (up or unready) and self.workers.ask_to_stop(index) and up

    def _note_drain(self, index: int, began_s: float, ended: Ended, *, begun: bool) -> None:
        if ended.status == 0:
            return
        unstarted = ended.status == -signal.SIGTERM and not begun  # there was nothing to drain yet
        self._note(index, ended.status, excused=unstarted or self._struck_since(began_s))

    def _note(self, index: int, status: int, *, excused: bool) -> Exit:
        worker = self.workers[index]
        words = _last_words(worker.log.read_text(errors="replace"))
        self.exits.append(Exit(worker.name, round(self.elapsed_s(), 2), status, words, excused))
        return self.exits[-1]

    def _struck_since(self, since_s: float) -> bool:
        """Whether a server was struck then or later, or so short before that time-outs still ran."""
        return any(self.struck_until.get(service, -math.inf) > since_s - EXCUSE_S for service in SERVICES)

    def host(self, visits: Sequence[Visit]) -> int:
        """Guests join and leave, each by its own time-table; returns when all were told to leave. → how many had partitions before.

        One that has none within GUEST_READY_S is left to `see_off`. No guest may be told of twice.
        """
        with ThreadPoolExecutor(len(visits), thread_name_prefix="chaos-guest") as pool:
            joined = sum(pool.map(self._visit, visits))
        self.guests_joined += joined
        return joined

    def _visit(self, visit: Visit) -> bool:
        if self.ending.wait(visit.joins_s):
            return False
        index = self._join(visit.guest)
        if not self.wait_until(lambda: self.workers.up(index), GUEST_READY_S):
            return False
        if self.ending.wait(visit.stays_s):
            return True
        asked_s = self.elapsed_s()
        if visit.drains:
            if self._ask_to_drain(index):
                self._asked[visit.guest] = asked_s
        elif self.kill(index):
            self._killed.add(visit.guest)
        return True

    def _join(self, guest: int) -> int:
        with self._starting:
            self._asked.pop(guest, None)
            self._killed.discard(guest)
            if guest in self._guests:
                self.workers.restart(self._guests[guest])
            else:
                self._guests[guest] = self.workers.add()
            return self._guests[guest]

    def see_off(self) -> None:
        """Every guest drains, or is killed if it does not. One that ends by other than 0 is noted, unless it was killed before."""
        for guest, index in self._guests.items():
            begun = guest in self._asked or self._ask_to_drain(index, unready=True)
            began_s = self._asked.pop(guest, self.elapsed_s())
            ended = self.workers.stop(index, DRAIN_S)
            if guest not in self._killed:
                self._killed.add(guest)  # it is gone: seen off again, it is not noted again
                self._note_drain(index, began_s, ended, begun=begun)

    def empty_redis(self) -> bool:
        """All databases, shelves' too. → whether there were keys of Marquee's."""
        with _client(self.settings.redis) as client:
            filled = next(client.scan_iter(match=f"{self.settings.redis.prefix}*", count=1_000), None) is not None
            client.flushall()
        return filled

    def forget_in_redis(self, chance: random.Random) -> bool:
        """Remove a third of Marquee's keys: of the shelves, then of the cells, whose owners miss them. Which ones depends on what is there,
        too. → whether there were some."""
        return sum(_forget(place, chance) for place in (at_shelves(self.settings.redis), self.settings.redis)) > 0

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


def _client(place: RedisSettings) -> redis.Redis:
    return redis.Redis.from_url(place.url, socket_timeout=10.0)


def _forget(place: RedisSettings, chance: random.Random) -> int:
    """How many keys of that database were removed: by chance, a third."""
    with _client(place) as client:
        keys = sorted(client.scan_iter(match=f"{place.prefix}*", count=1_000))
        chosen = [key for key in keys if chance.random() < FORGOTTEN_SHARE]
        return int(client.delete(*chosen)) if chosen else 0


def _last_words(log: str) -> str:
    """Why a worker stopped, as its log says; its last line if it does not say."""
    lines = log.strip().splitlines() or [""]
    return next((line for line in reversed(lines[-200:]) if "the worker stops" in line or line.startswith("marquee:")), lines[-1])
