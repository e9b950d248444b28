"""HAProxy's members, kept by discovery: who registers takes requests within a second, who leaves gets no new one.

    registry ──► wanted ─┐
    HAProxy  ──► slots  ─┴─► commands (`told`, pure) ──► runtime API

What HAProxy has is asked anew each time, so one that was restarted, or told otherwise by hand, is told again. A member that vanished with
others (Listed.vanished_s) stays: HAProxy's own checks say whether it answers. Nobody is taken out on the word of a registry that is away.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cluster.discovery import Registry, Role
from cluster.haproxy import BACKENDS, Runtime
from cluster.looking import Looking
from connectors.closing import Closing
from topologies.errors import ServerAway

log = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 1.0
RESOLVE_EVERY_S: Final = 10.0
"""A host's name is looked up so often: a resolver that hangs takes seconds each time, and everybody waits for it."""
EMPTY: Final = ("127.0.0.1", 1)
"""The address of a slot that nobody has."""
Address = tuple[str, int]


_RUNNING: Final = 2
"""srv_op_state of a server that takes requests."""


class Admin(IntFlag):
    """What a slot is told to be (srv_admin_state; management guide, `show servers state`)."""

    MAINTENANCE = 0x01
    DRAIN = 0x08


@dataclass(frozen=True)
class Slot:
    """One server of a backend. open: requests that it has now; running: by its health checks."""

    backend: str
    name: str
    address: Address
    admin: int
    open: int = 0
    running: bool = True

    @property
    def ready(self) -> bool:
        """Whether it is told to take requests."""
        return not self.admin & (Admin.MAINTENANCE | Admin.DRAIN)

    @property
    def free(self) -> bool:
        """Whether it is nobody's."""
        return bool(self.admin & Admin.MAINTENANCE)


def slots_of(states: str, stats: str) -> list[Slot]:
    """Out of `show servers state` and `show stat`."""
    lines = [line.split() for line in states.splitlines()[2:] if line.strip()]
    header = next(line for line in states.splitlines() if line.startswith("#"))[1:].split()
    found = [dict(zip(header, line, strict=False)) for line in lines]
    columns, *rows = [line.lstrip("# ").split(",") for line in stats.splitlines() if line.strip()]
    at, which, number = columns.index("scur"), columns.index("svname"), columns.index("pxname")
    busy = {(row[number], row[which]): int(row[at] or 0) for row in rows}
    return [
        Slot(
            one["be_name"], one["srv_name"], (one["srv_addr"], int(one["srv_port"])), int(one["srv_admin_state"]),
            busy.get((one["be_name"], one["srv_name"]), 0), int(one["srv_op_state"]) == _RUNNING,
        )
        for one in found
    ]  # fmt: skip


def takes(runtime: Runtime, url: str) -> bool:
    """Whether requests are sent to the member at `http://host:port` by every backend. False while HAProxy does not answer, or not whole."""
    address = Names().address(url)
    try:
        slots = slots_of(runtime.say("show servers state"), runtime.say("show stat -1 4 -1"))
    except (ServerAway, LookupError, ValueError, StopIteration):
        return False
    here = {slot.backend for slot in slots if slot.ready and slot.running and slot.address == address}
    return here.issuperset(BACKENDS)


def told(slots: Iterable[Slot], wanted: Mapping[str, Iterable[Address]]) -> list[str]:
    """The commands that bring the slots nearer to the wanted addresses, by backend. One that is new is told its address first, and is ready
    the next time, when HAProxy has it. One that has left drains; once it has no request, its slot is free. Raises nothing: those for whom
    there is no slot are left out."""
    commands: list[str] = []
    slots = list(slots)
    for backend, addresses in wanted.items():
        own = [slot for slot in slots if slot.backend == backend]
        missing = dict.fromkeys(addresses)
        free: list[Slot] = []
        for slot in sorted(own, key=lambda slot: slot.free):
            name = f"{backend}/{slot.name}"
            if slot.address in missing:
                del missing[slot.address]
                if slot.free:
                    commands.append(f"enable health {name}")
                if not slot.ready:
                    commands.append(f"set server {name} state ready")
            elif slot.free:
                free.append(slot)
            elif slot.ready:
                commands.append(f"set server {name} state drain")
            elif not slot.open:
                commands.append(f"set server {name} state maint")
        for (host, port), slot in zip(missing, free, strict=False):
            name = f"{backend}/{slot.name}"
            commands += [f"set server {name} addr {host} port {port}", f"set server {name} check-addr {host} port {port}"]
    return commands


class Names:
    """Where members are, as HAProxy wants it: by IP address. One thread.

    A name's last address stays as long as the resolver has it among its answers, or has no answer.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._known: dict[str, tuple[float, str]] = {}
        """By host: when it was asked for, and its address; none is empty."""
        self._told: set[str] = set()

    def address(self, url: str) -> Address | None:
        """Of `http://host:port`. None, which is logged once, where that is none or does not resolve."""
        try:
            parts = urlsplit(url)
            found, port = self._resolved(parts.hostname or ""), parts.port or 80
        except ValueError as error:
            found, port, why = "", 0, str(error)
        else:
            why = "its host does not resolve"
        if found:
            self._told.discard(url)
            return found, port
        if url not in self._told:
            self._told.add(url)
            log.warning("the member at %s takes nothing: %s", url, why)
        return None

    def _resolved(self, host: str) -> str:
        asked_s, last = self._known.get(host, (float("-inf"), ""))
        if self._clock_s() - asked_s < RESOLVE_EVERY_S:
            return last
        try:
            answers = [str(place[0]) for *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)] if host else []
        except (OSError, UnicodeError):
            answers = []
        found = last if last in answers or not answers else answers[0]
        self._known[host] = self._clock_s(), found
        return found


class Balancer(Closing):
    """Keeps one HAProxy's members, on a thread of its own, from its making to `close`."""

    def __init__(self, registry: Registry, admin: Path) -> None:
        """The registry stays the caller's, and is closed after this. admin: HAProxy's runtime socket."""
        self._registry = registry
        self._runtime = Runtime(admin)
        self._looking = Looking("balancer", self._look, LOOK_EVERY_S)
        self._names = Names()
        self._told = ""
        registry.watch(self._looking.wake)
        self._looking.start()

    def _look(self) -> None:
        try:
            self.reconcile()
            self._told = ""
        except ServerAway as error:
            self._tell(f"members are not told: {error}")
        except (LookupError, ValueError, StopIteration) as error:
            self._tell(f"HAProxy answers what is not understood: {error!r}")

    def _tell(self, why: str) -> None:
        if why != self._told:
            log.warning("%s", why)
        self._told = why

    def reconcile(self) -> None:
        """Once. Raises ServerAway when HAProxy does not answer."""
        wanted = {backend: self._addresses(Role(backend)) for backend in BACKENDS}
        known = {backend: addresses for backend, addresses in wanted.items() if addresses is not None}
        slots: list[Slot] = []
        for _ in ("addresses", "ready with them"):
            slots = slots_of(self._runtime.say("show servers state"), self._runtime.say("show stat -1 4 -1"))
            commands = told(slots, known)
            for command in commands:
                if answer := self._runtime.say(command).strip():
                    log.info("%s: %s", command, answer)
            if not commands:
                break
        for backend, addresses in known.items():
            count = sum(slot.backend == backend for slot in slots)
            if len(addresses) > count:
                log.error("%d %s nodes are registered and HAProxy has %d slots: %d take nothing", len(addresses), backend, count,
                          len(addresses) - count)  # fmt: skip

    def _addresses(self, role: Role) -> list[Address] | None:
        """Of the members that answer somewhere; None while nothing was ever heard of them."""
        known = self._registry.members(role)
        if known.heard_s is None:
            return None
        found = (self._names.address(listed.member.address) for listed in known.members if listed.member.address)
        return sorted(address for address in found if address is not None)

    def close(self) -> None:
        """Tells nothing any more; HAProxy goes on with the members that it has. Twice does nothing more."""
        self._looking.close(timeout_s=10.0)
