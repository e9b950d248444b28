"""The kinds of fault: a row each, with how it is struck and healed.

strike    called once, in the lane's own thread, while the load goes on; may block
heal      called once, `for_s` seconds after the strike began, or at once if the strike took longer; brings back what was taken away,
          and returns when it is. At the end of a run that is given up it is called too, so it may follow a strike at once.

Neither raises for something that is away because another fault struck it; ServerAway when what it struck does not come back.
A new kind is a row here, and two functions.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from marquee.chaos import strays

if TYPE_CHECKING:
    from marquee.chaos.ground import Ground
    from marquee.chaos.plan import Planned

SESSION_TIMEOUT_S: Final = 6.0
"""The workers' in a chaos run."""
RESTART_S: Final = 300.0
"""A server that was killed may take so long to answer again: other servers and workers start at the same time."""
Deed = Callable[["Ground", "Planned"], None]


@dataclass(frozen=True)
class Kind:
    """for_s: shortest and longest time from strike to heal. settle_s: how long its lane is left alone afterwards, so that a server is
    up again when it is struck next. weight: how often it is in the deck from which faults are drawn."""

    name: str
    doc: str
    lane: str
    """kafka | cassandra | redis | worker (any of them) | group | log"""
    for_s: tuple[float, float]
    strike: Deed
    heal: Deed
    settle_s: float = 1.0
    weight: int = 1

    def lanes(self, workers: int) -> tuple[str, ...]:
        """The lanes that it may strike."""
        return tuple(f"worker-{index}" for index in range(workers)) if self.lane == "worker" else (self.lane,)


def _nothing(_ground: Ground, _fault: Planned) -> None:
    """Struck is done."""


def _pause_server(ground: Ground, fault: Planned) -> None:
    ground.cluster.pause(fault.lane)


def _resume_server(ground: Ground, fault: Planned) -> None:
    ground.cluster.resume(fault.lane)


def _kill_server(ground: Ground, fault: Planned) -> None:
    ground.cluster.kill(fault.lane)


def _start_server(ground: Ground, fault: Planned) -> None:
    ground.cluster.restart(fault.lane, patience_s=RESTART_S)


def _kill_worker(ground: Ground, fault: Planned) -> None:
    ground.workers.kill(_worker(fault))


def _drain_worker(ground: Ground, fault: Planned) -> None:
    ground.drain(_worker(fault))


def _start_worker(ground: Ground, fault: Planned) -> None:
    ground.bring_back(_worker(fault))


def _pause_worker(ground: Ground, fault: Planned) -> None:
    ground.workers.pause(_worker(fault))


def _resume_worker(ground: Ground, fault: Planned) -> None:
    ground.workers.resume(_worker(fault))


def _worker(fault: Planned) -> int:
    return int(fault.lane.removeprefix("worker-"))


def _storm(ground: Ground, fault: Planned) -> None:
    """Guests join and leave, some in good order, some not, each on a time-table of its own within `for_s`."""
    chance = random.Random(fault.seed)
    moves: list[tuple[float, int, str]] = []
    for guest in range(chance.randint(2, 3)):
        joins = chance.uniform(0.0, fault.for_s / 3)
        moves += [(joins, guest, "join"), (chance.uniform(joins + 2.0, fault.for_s), guest, chance.choice(["drain", "kill"]))]
    ground.host(sorted(moves))


def _see_guests_off(ground: Ground, _fault: Planned) -> None:
    ground.see_off()


def _flush_redis(ground: Ground, _fault: Planned) -> None:
    ground.empty_redis()


def _forget_in_redis(ground: Ground, fault: Planned) -> None:
    ground.forget_in_redis(random.Random(fault.seed))


def _flood(ground: Ground, fault: Planned) -> None:
    ground.outsider.send(strays.garbage(fault.seed, ground.now_ms()))


def _step_clocks(ground: Ground, fault: Planned) -> None:
    ground.outsider.send(strays.stepping_clocks(fault.seed, ground.now_ms()))


def _burst(ground: Ground, fault: Planned) -> None:
    ground.outsider.send(strays.crowd(fault.seed, ground.now_ms()))


KINDS: Final[tuple[Kind, ...]] = (
    Kind("worker-kill", "SIGKILL of a worker, started again", "worker", (0.0, 6.0), _kill_worker, _start_worker, 4.0, 2),
    Kind("worker-zombie", "SIGSTOP of a worker for longer than the session time-out, then SIGCONT", "worker",
         (SESSION_TIMEOUT_S + 1.5, SESSION_TIMEOUT_S + 6.0), _pause_worker, _resume_worker, 2.0, 2),
    Kind("worker-hiccup", "SIGSTOP of a worker for less than the session time-out, then SIGCONT", "worker",
         (0.5, SESSION_TIMEOUT_S - 2.5), _pause_worker, _resume_worker),
    Kind("worker-drain", "SIGTERM of a worker, which drains; then it joins again", "worker", (0.5, 6.0), _drain_worker, _start_worker, 4.0),
    Kind("rebalance-storm", "two or three more workers join and leave within seconds", "group", (9.0, 14.0), _storm, _see_guests_off, 3.0),
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
BY_NAME: Final = {kind.name: kind for kind in KINDS}
