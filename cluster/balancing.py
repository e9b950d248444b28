"""HAProxy's members, kept by discovery: who registers takes requests within a second, who leaves gets no new one.

    registry ──► wanted ─┐
    HAProxy  ──► slots  ─┴─► commands (`told`, pure) ──► runtime API

What HAProxy has is asked anew each time, so one that was restarted, or told otherwise by hand, is told again. A member that vanished with
others (Listed.vanished_s) stays: HAProxy's own checks say whether it answers. Nobody is taken out on the word of a registry that is away.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from cluster.discovery import Registry, Role
from cluster.haproxy import BACKENDS, Runtime
from cluster.looking import Looking
from topologies.errors import ServerAway

log = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 1.0
EMPTY: Final = ("127.0.0.1", 1)
"""The address of a slot that nobody has."""
Address = tuple[str, int]


class Admin(IntFlag):
    """What a slot is told to be (srv_admin_state; management guide, `show servers state`)."""

    MAINTENANCE = 0x01
    DRAIN = 0x08


@dataclass(frozen=True)
class Slot:
    """One server of a backend. open: requests that it has now."""

    backend: str
    name: str
    address: Address
    admin: int
    open: int = 0

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
            busy.get((one["be_name"], one["srv_name"]), 0),
        )
        for one in found
    ]  # fmt: skip


def told(slots: Iterable[Slot], wanted: Mapping[str, Iterable[Address]]) -> list[str]:
    """The commands that make the slots those of the wanted addresses, by backend. One that has left drains; once it has no request, its
    slot is free. Raises nothing: those for whom there is no slot are left out."""
    commands: list[str] = []
    slots = list(slots)
    for backend, addresses in wanted.items():
        own = [slot for slot in slots if slot.backend == backend]
        missing = dict.fromkeys(addresses)
        for slot in own:
            name = f"{backend}/{slot.name}"
            if not slot.free and slot.address in missing:
                del missing[slot.address]
                if not slot.ready:
                    commands.append(f"set server {name} state ready")
            elif not slot.free:
                commands.append(f"set server {name} state {'drain' if slot.ready else 'maint'}")
                if not slot.ready and slot.open:
                    commands.pop()
        free = (slot for slot in own if slot.free)
        for (host, port), slot in zip(missing, free, strict=False):
            name = f"{backend}/{slot.name}"
            commands += [
                f"set server {name} addr {host} port {port}", f"set server {name} check-addr {host} port {port}",
                f"enable health {name}", f"set server {name} state ready",
            ]  # fmt: skip
    return commands


class Balancer:
    """Keeps one HAProxy's members, on a thread of its own, from its making to `close`."""

    def __init__(self, registry: Registry, admin: Path) -> None:
        """The registry stays the caller's, and is closed after this. admin: HAProxy's runtime socket."""
        self._registry = registry
        self._runtime = Runtime(admin)
        self._looking = Looking("balancer", self._look, LOOK_EVERY_S)
        self._away = ""
        registry.watch(self._looking.wake)
        self._looking.start()

    def _look(self) -> None:
        try:
            self.reconcile()
            self._away = ""
        except ServerAway as error:
            if not self._away:
                log.warning("members are not told: %s", error)
            self._away = str(error)
        except (KeyError, ValueError, StopIteration) as error:
            log.error("HAProxy answers what is not understood: %r", error)

    def reconcile(self) -> None:
        """Once. Raises ServerAway when HAProxy does not answer."""
        wanted = {backend: _addresses(self._registry, Role(backend)) for backend in BACKENDS}
        slots = slots_of(self._runtime.say("show servers state"), self._runtime.say("show stat -1 4 -1"))
        known = {backend: addresses for backend, addresses in wanted.items() if addresses is not None}
        for command in told(slots, known):
            if answer := self._runtime.say(command).strip():
                log.info("%s: %s", command, answer)
        for backend, addresses in known.items():
            count = sum(slot.backend == backend for slot in slots)
            if len(addresses) > count:
                log.error("%d %s nodes are registered and HAProxy has %d slots: %d take nothing", len(addresses), backend, count,
                          len(addresses) - count)  # fmt: skip

    def close(self) -> None:
        """Tells nothing any more; HAProxy goes on with the members that it has. Twice does nothing more."""
        self._looking.close(timeout_s=10.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _addresses(registry: Registry, role: Role) -> list[Address] | None:
    """Of the members that answer somewhere; None while nothing was ever heard of them."""
    known = registry.members(role)
    if known.heard_s is None:
        return None
    urls = [urlsplit(listed.member.address) for listed in known.members if listed.member.address]
    return sorted((url.hostname, url.port or 80) for url in urls if url.hostname)
