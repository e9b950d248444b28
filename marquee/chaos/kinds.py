"""The kinds of fault: a row each, with how it is struck and healed.

strike    called in the lane's own thread, while the load goes on, when what it strikes stands (Ground.stands); may block. → whether it
          hit something: if not, it counts for nothing and is called again, after the heal, as long as the lane has patience
heal      called after each strike: `for_s` seconds after the strike began, or at once if the strike took longer or hit nothing; brings
          back what was taken away, and returns when it is. At the end of a run that is given up it is called too, so it may follow a
          strike at once.

Neither raises for something that is away because another fault struck it; ServerAway when what it struck does not come back.
A new kind is a row here, and two functions.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from marquee.chaos import strays
from marquee.chaos.targets import DOORS, Visit, door_lane, door_of, lane_of, worker_of

if TYPE_CHECKING:
    from marquee.chaos.ground import Ground
    from marquee.chaos.plan import Planned

SESSION_TIMEOUT_S: Final = 6.0
"""The workers' in a chaos run."""
RESTART_S: Final = 300.0
"""A server that was killed may take so long to answer again: other servers and workers start at the same time."""
STAYS_S: Final = (0.5, 6.0)
"""How long a guest has partitions before it ends."""
Strike = Callable[["Ground", "Planned"], bool]
Heal = Callable[["Ground", "Planned"], None]


@dataclass(frozen=True)
class Kind:
    """for_s: shortest and longest time from strike to heal. settle_s: how long its lane is left alone afterwards, so that a server is
    up again when it is struck next. weight: how often it is in the deck from which faults are drawn."""

    name: str
    doc: str
    lane: str
    """kafka | cassandra | redis | zookeeper | haproxy | worker, door (any of them) | leader | group | log"""
    for_s: tuple[float, float]
    strike: Strike
    heal: Heal
    settle_s: float = 1.0
    weight: int = 1

    def lanes(self, workers: int) -> tuple[str, ...]:
        """The lanes that it may strike."""
        several = {"worker": (lane_of, workers), "door": (door_lane, DOORS)}
        if self.lane not in several:
            return (self.lane,)
        named, count = several[self.lane]
        return tuple(map(named, range(count)))


def _nothing(_ground: Ground, _fault: Planned) -> None:
    """Struck is done."""


def _pause_server(ground: Ground, fault: Planned) -> bool:
    ground.require_servers()
    return ground.cluster.pause(fault.lane)


def _resume_server(ground: Ground, fault: Planned) -> None:
    ground.cluster.resume(fault.lane)


def _kill_server(ground: Ground, fault: Planned) -> bool:
    ground.require_servers()
    ground.cluster.kill(fault.lane)
    return True


def _start_server(ground: Ground, fault: Planned) -> None:
    ground.cluster.restart(fault.lane, patience_s=RESTART_S)


def _kill_worker(ground: Ground, fault: Planned) -> bool:
    return ground.kill(worker_of(fault.lane))


def _drain_worker(ground: Ground, fault: Planned) -> bool:
    return ground.drain(worker_of(fault.lane))


def _start_worker(ground: Ground, fault: Planned) -> None:
    ground.bring_back(worker_of(fault.lane))


def _pause_worker(ground: Ground, fault: Planned) -> bool:
    return ground.pause(worker_of(fault.lane))


def _resume_worker(ground: Ground, fault: Planned) -> None:
    ground.workers.resume(worker_of(fault.lane))


def _kill_door(ground: Ground, fault: Planned) -> bool:
    return ground.front.kill_door(door_of(fault.lane))


def _start_door(ground: Ground, fault: Planned) -> None:
    ground.front.bring_door_back(door_of(fault.lane))


def _pause_door(ground: Ground, fault: Planned) -> bool:
    return ground.front.pause_door(door_of(fault.lane))


def _resume_door(ground: Ground, fault: Planned) -> None:
    ground.front.doors.resume(door_of(fault.lane))


def _kill_leader(ground: Ground, _fault: Planned) -> bool:
    return ground.front.kill_leader()


def _start_leader(ground: Ground, _fault: Planned) -> None:
    ground.front.bring_scalers_back()


def _storm(ground: Ground, fault: Planned) -> bool:
    """Guests join and leave, some in good order, some not, each by a time-table of its own."""
    chance = random.Random(fault.seed)
    visits = [
        Visit(guest, chance.uniform(0.0, fault.for_s / 3), chance.uniform(*STAYS_S), chance.choice([True, False]))
        for guest in range(chance.randint(2, 3))
    ]
    return ground.host(visits) > 0


def _see_guests_off(ground: Ground, _fault: Planned) -> None:
    ground.see_off()


def _flush_redis(ground: Ground, _fault: Planned) -> bool:
    return ground.empty_redis()


def _forget_in_redis(ground: Ground, fault: Planned) -> bool:
    return ground.forget_in_redis(random.Random(fault.seed))


def _flood(ground: Ground, fault: Planned) -> bool:
    return ground.outsider.send(strays.garbage(fault.seed, ground.now_ms()))


def _step_clocks(ground: Ground, fault: Planned) -> bool:
    return ground.outsider.send(strays.stepping_clocks(fault.seed, ground.now_ms()))


def _burst(ground: Ground, fault: Planned) -> bool:
    return ground.outsider.send(strays.crowd(fault.seed, ground.now_ms()))


KINDS: Final[tuple[Kind, ...]] = (
    Kind("worker-kill", "SIGKILL of a worker, started again", "worker", (0.0, 6.0), _kill_worker, _start_worker, 9.0, 2),
    Kind("worker-zombie", "SIGSTOP of a worker for longer than the session time-out, then SIGCONT", "worker",
         (SESSION_TIMEOUT_S + 1.5, SESSION_TIMEOUT_S + 6.0), _pause_worker, _resume_worker, 2.0, 2),
    Kind("worker-hiccup", "SIGSTOP of a worker for less than the session time-out, then SIGCONT", "worker",
         (0.5, SESSION_TIMEOUT_S - 2.5), _pause_worker, _resume_worker),
    Kind("worker-drain", "SIGTERM of a worker, which drains; it joins again", "worker", (0.5, 6.0), _drain_worker, _start_worker, 9.0),
    Kind("rebalance-storm", "two or three more workers join, leave within seconds", "group", (20.0, 30.0), _storm, _see_guests_off, 3.0),
    Kind("cassandra-pause", "SIGSTOP of Cassandra, then SIGCONT", "cassandra", (2.0, 12.0), _pause_server, _resume_server, 2.0),
    Kind("cassandra-restart", "SIGKILL of Cassandra, started again", "cassandra", (0.0, 4.0), _kill_server, _start_server, 14.0),
    Kind("kafka-pause", "SIGSTOP of the broker, then SIGCONT", "kafka", (1.0, 9.0), _pause_server, _resume_server, 2.0),
    Kind("kafka-restart", "SIGKILL of the broker, started again", "kafka", (0.0, 3.0), _kill_server, _start_server, 8.0),
    Kind("redis-pause", "SIGSTOP of Redis, then SIGCONT", "redis", (1.0, 10.0), _pause_server, _resume_server, 1.0),
    Kind("redis-restart", "SIGKILL of Redis, started again empty", "redis", (0.0, 4.0), _kill_server, _start_server, 2.0),
    Kind("redis-flush", "FLUSHALL", "redis", (0.0, 0.0), _flush_redis, _nothing, 1.0),
    Kind("redis-forget", "DEL of a third of Marquee's keys, by chance", "redis", (0.0, 0.0), _forget_in_redis, _nothing, 1.0),
    Kind("malformed-flood", "thousands of records that are no events, into the topic", "log", (0.0, 0.0), _flood, _nothing, 0.5),
    Kind("clock-steps", "players whose clocks jump by seconds to hours, ahead and back", "log", (0.0, 0.0), _step_clocks, _nothing, 0.5),
    Kind("crowd", "a burst of events of other viewers", "log", (0.0, 0.0), _burst, _nothing, 0.5),
)  # fmt: skip
FRONT: Final[tuple[Kind, ...]] = (
    *(kind for kind in KINDS if kind.name in ("worker-kill", "worker-drain", "rebalance-storm")),
    Kind("door-kill", "SIGKILL of an API and collector, started again", "door", (0.0, 4.0), _kill_door, _start_door, 2.0, 4),
    Kind("door-hiccup", "SIGSTOP of an API and collector, then SIGCONT", "door", (0.5, 5.0), _pause_door, _resume_door, 1.0),
    Kind("haproxy-restart", "SIGKILL of HAProxy, started again", "haproxy", (0.0, 2.0), _kill_server, _start_server, 2.0, 3),
    Kind("zookeeper-restart", "SIGKILL of ZooKeeper, started again with its data", "zookeeper",
         (0.0, 3.0), _kill_server, _start_server, 5.0, 3),
    Kind("zookeeper-partition", "SIGSTOP of ZooKeeper for longer than a session, then SIGCONT: every session is lost", "zookeeper",
         (SESSION_TIMEOUT_S + 2.0, SESSION_TIMEOUT_S + 6.0), _pause_server, _resume_server, 4.0),
    Kind("leader-kill", "SIGKILL of the autoscaler that leads, started again", "leader", (0.0, 3.0), _kill_leader, _start_leader, 3.0, 3),
)  # fmt: skip
"""What stands in front of the data, and who looks after it: no store is struck, so every question has its answer."""
SETS: Final = {"data": KINDS, "front": FRONT}
BY_NAME: Final = {kind.name: kind for kinds in SETS.values() for kind in kinds}
