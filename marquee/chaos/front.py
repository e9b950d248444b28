"""What stands in front of the data in a chaos run: APIs and collectors behind HAProxy, and two autoscalers, of which one leads.

readers and a player ──► HAProxy ──► doors        past it, by discovery, when it does not answer
autoscalers ──► control socket ──► `elastic`, workers beside those that stay
"""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

from cluster.balancing import Balancer
from cluster.control import Control
from cluster.discovery import Listed, Registry, Role
from cluster.leadership import AUTOSCALER, leader
from cluster.local import LocalCluster
from cluster.looking import Looking
from cluster.registries import open_registry
from cluster.scaling.asked import answered
from cluster.supervisor import MARQUEE, SERVE, Workers, at_any_port, start_all
from connectors.zookeeper import Session
from marquee.chaos.targets import DOORS
from marquee.config import LOCAL
from topologies.errors import MarqueeError
from topologies.settings import Settings

SCALERS: Final = 2
LIMITS: Final = "1..2"
TAKE_EVERY_S: Final = 0.2


@dataclass
class Front:
    """Started by entering it; gone when it is left. For any thread. ended: doors and autoscalers that ended on their own."""

    settings: Settings
    cluster: LocalCluster
    directory: Path
    ended: list[str] = field(default_factory=list)
    led: set[int] = field(default_factory=set)
    """The epochs in which somebody was seen to lead."""

    def __post_init__(self) -> None:
        self.doors = Workers(at_any_port(self.settings), DOORS, self.directory, command=SERVE, role="door")
        self.elastic = Workers(self.settings, 1, self.directory, role="elastic")
        own = replace(self.settings, local=replace(self.settings.local, directory=str(self.directory)))
        scale = (*MARQUEE, "autoscale", LIMITS, "--local")
        self.scalers = Workers(own, SCALERS, self.directory, command=scale, role="scaler")
        self._starting = threading.Lock()
        self._opened = ExitStack()

    @property
    def url(self) -> str:
        """HAProxy's."""
        return self.cluster.haproxy.url

    def members(self, role: Role) -> tuple[Listed, ...]:
        """Who is known to be up."""
        return self._registry.members(role).members

    def up(self, door: int) -> bool:
        """Whether it answers, as far as its supervisor knows."""
        with self._starting:
            return self.doors.up(door)

    def kill_door(self, door: int) -> bool:
        """SIGKILL. Whether it hit one that answered; only then anything happens."""
        with self._starting:
            return self.doors.up(door) and self.doors.kill(door).status == -signal.SIGKILL

    def pause_door(self, door: int) -> bool:
        """SIGSTOP. Whether it hit one that answered; only then anything happens."""
        with self._starting:
            return self.doors.up(door) and self.doors.pause(door)

    def bring_door_back(self, door: int) -> None:
        """Starts one that ended; when it runs, nothing happens."""
        with self._starting:
            self.doors.restart(door)

    def leads(self) -> int | None:
        """The index of the autoscaler that leads; None while nobody does, or ZooKeeper is away."""
        try:
            term = leader(self._session, AUTOSCALER)
        except MarqueeError:
            return None
        if term is None:
            return None
        self.led.add(term.epoch)
        names = [self.scalers[index].name for index in range(len(self.scalers))]
        return names.index(term.id) if term.id in names else None

    def kill_leader(self) -> bool:
        """SIGKILL of the autoscaler that leads. Whether there was one."""
        index = self.leads()
        if index is None:
            return False
        with self._starting:
            return self.scalers.up(index) and self.scalers.kill(index).status == -signal.SIGKILL

    def bring_scalers_back(self) -> None:
        """Starts those that ended; those that run go on."""
        with self._starting:
            for index in range(len(self.scalers)):
                self.scalers.restart(index)

    def look_after(self) -> None:
        """Notes those that ended without being told to, and starts them again."""
        with self._starting:
            for group in (self.doors, self.scalers, self.elastic):
                for index in group.watch():
                    self.ended.append(group[index].name)
                    group.restart(index)
            self.elastic.reap()

    def _take(self) -> None:
        while (request := self._control.next()) is not None:
            with self._starting:
                if not answered(request, self.elastic):
                    request.end(f"{request.do!r} is nothing that can be asked for")

    def __enter__(self) -> Self:
        try:
            for group in (self.doors, self.elastic, self.scalers):
                self._opened.callback(group.stop_all)
            asked = self.directory / LOCAL
            asked.mkdir(parents=True, exist_ok=True)
            self._control = self._opened.enter_context(Control(asked))
            taking = Looking("front", self._take, TAKE_EVERY_S)
            self._opened.callback(taking.close, 10.0)
            taking.start()
            start_all([self.elastic, self.doors, self.scalers])
            self._registry: Registry = self._opened.enter_context(open_registry(self.settings))
            self._opened.enter_context(Balancer(self._registry, self.cluster.haproxy.admin))
            self._session = Session(self.settings.zookeeper)
            self._opened.callback(self._session.close)
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
