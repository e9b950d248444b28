"""Which registry the settings ask for, and how a process says there what it is."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from cluster.discovery import Member, Registry, Role
from cluster.static_registry import StaticRegistry
from topologies.settings import Settings

LEAVE_S: Final = 1.5
"""A process that ends waits no longer for a ZooKeeper that hangs; its session ends by itself then, later."""


def open_registry(settings: Settings) -> Registry:
    """ZooKeeper where `zookeeper.hosts` names one, else the list of `discovery.members`. Returns at once, whoever is away."""
    if not settings.zookeeper.hosts:
        return StaticRegistry(settings.discovery)
    from cluster.zookeeper_registry import ZooKeeperRegistry  # only here: kazoo is of no use to who has no ZooKeeper
    from connectors.zookeeper import Session

    return ZooKeeperRegistry(Session(settings.zookeeper), settings)


def member_id(settings: Settings) -> str:
    """The name of this process among its like: `worker.name`, which the supervisor gives to all that it starts, or host and pid."""
    return settings.worker.name or f"{socket.gethostname()}-{os.getpid()}"


class Busy:
    """Cores that this process was busy for since it was asked last."""

    def __init__(self, cpu_s: Callable[[], float] = time.process_time, clock: Callable[[], float] = time.monotonic) -> None:
        self._cpu_s, self._clock = cpu_s, clock
        self._last = (cpu_s(), clock())

    def __call__(self) -> float:
        cpu_s, now_s = self._cpu_s(), self._clock()
        (cpu_before_s, before_s), self._last = self._last, (cpu_s, now_s)
        return (cpu_s - cpu_before_s) / max(now_s - before_s, 1e-3)


@contextmanager
def registered(settings: Settings, roles: Sequence[Role], address: str) -> Iterator[None]:
    """Within it, this process is registered in these roles, where there is a ZooKeeper to register in. Neither its beginning nor its end
    waits for one that is away; the session is begun on a thread of its own, since loading the client takes a moment too."""
    if not settings.zookeeper.hosts:
        yield
        return
    opened: list[Registry] = []
    came_ms = time.time_ns() // 1_000_000
    ending, ended = threading.Lock(), threading.Event()

    def begin() -> None:
        with ending:
            if ended.is_set():
                return
            registry = open_registry(settings)
            opened.append(registry)
            for role in roles:
                registry.register(Member(member_id(settings), role, address, version("marquee"), 0.0, came_ms), Busy())

    threading.Thread(target=begin, name="register", daemon=True).start()
    try:
        yield
    finally:
        with ending:
            ended.set()
        for registry in opened:
            leaving = threading.Thread(target=registry.close, name="leave", daemon=True)
            leaving.start()
            leaving.join(LEAVE_S)
