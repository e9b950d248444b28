"""The members that the settings list (discovery.members), for a system without ZooKeeper; and those that this process is itself.

It answers always, and knows nothing: who is listed is taken to be there. What other processes register it does not see.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from cluster.discovery import SILENT, Known, Listed, Member, Registry, Role
from topologies.settings import DiscoverySettings


def listed_members(settings: DiscoverySettings) -> tuple[Member, ...]:
    """Those of the settings. Their address is their id; of their version, load and age nothing is known."""
    found = []
    for text in settings.members:
        role, _, address = text.partition("=")
        found.append(Member(address, Role(role), address, version="", load=0.0, since_ms=0))
    return tuple(found)


class StaticRegistry(Registry):
    """A registered member stands in for a listed one of the same role and address."""

    def __init__(self, settings: DiscoverySettings) -> None:
        self._listed = listed_members(settings)
        self._own: dict[tuple[Role, str], tuple[Member, Callable[[], float]]] = {}
        self._watchers: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._closed = False

    def register(self, member: Member, load: Callable[[], float]) -> None:
        with self._lock:
            self._own[member.role, member.id] = (member, load)
        self._changed()

    def leave(self, role: Role, id: str) -> None:  # noqa: A002  # as in the contract
        with self._lock:
            left = self._own.pop((role, id), None)
        if left is not None:
            self._changed()

    def members(self, role: Role) -> Known:
        with self._lock:
            own = [msgspec.structs.replace(member, load=load()) for member, load in self._own.values() if member.role == role]
        addresses = {member.address for member in own}
        found = own + [member for member in self._listed if member.role == role and member.address not in addresses]
        known = sorted((Listed(member, None) for member in found), key=lambda one: one.member.id)
        return msgspec.structs.replace(SILENT, members=tuple(known), heard_s=0.0, answers=not self._closed)

    def wait_heard(self, timeout_s: float) -> bool:  # noqa: ARG002  # it has been heard
        return not self._closed

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)

    def close(self) -> None:
        with self._lock:
            self._own.clear()
        self._closed = True

    def _changed(self) -> None:
        for watcher in list(self._watchers):
            watcher()
