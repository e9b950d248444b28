"""Who is up: the contract of a registry of members, and what a member is.

Implementations: cluster/zookeeper_registry.py, and cluster/static_registry.py for a list that the settings give. cluster/registries.py
opens the one that they ask for; tests/cluster/registry_conformance.py holds both to what is written here.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from connectors.closing import Closing


class Role(StrEnum):
    """What a member does. One process may have several."""

    WORKER = "worker"
    API = "api"
    COLLECTOR = "collector"
    AUTOSCALER = "autoscaler"


class Member(msgspec.Struct, frozen=True):
    """One that is up, in one of its roles; role and id together are its own."""

    id: str
    role: Role
    address: str
    """`http://host:port`; empty when it answers nowhere."""
    version: str
    """Of Marquee."""
    load: float
    """Cores that its process was busy for, over the time since it was told last."""
    since_ms: int
    """When it came up, epoch ms. Of two that claim one id the later one has it."""

    @property
    def came(self) -> tuple[str, int]:
        """What tells it from one of the same name before or after it."""
        return self.id, self.since_ms


class Listed(msgspec.Struct, frozen=True):
    """A member as it is listed."""

    member: Member
    vanished_s: float | None
    """For how long it has not been registered any more, seconds: it went together with others, so that the registry may be what failed.
    None while it is registered. Who has a choice takes one that is."""


class Known(msgspec.Struct, frozen=True):
    """The members of a role, by id, and what that knowledge is worth."""

    members: tuple[Listed, ...]
    heard_s: float | None
    """How old it is: since the registry last told all of it, seconds. None when it never has, and then there are no members."""
    answers: bool
    """Whether the registry answered when it was last asked. If not, these are the last known members, and they stay until it does."""


SILENT: Final = Known((), None, False)
"""Of a registry that has never answered."""


class Registry(Closing):
    """The members of this system. Any number of threads; a context manager, which closes it.

    Nothing here raises because a registry is away, and nothing but `wait_heard` and `leave` waits for one: what runs goes on with the
    members that were known last, and is told how old that is.
    """

    @abc.abstractmethod
    def register(self, member: Member, load: Callable[[], float]) -> None:
        """Says that this process is this member, until `leave` or `close`; returns at once.

        It is registered as soon as the registry answers, and by itself again when the registry has forgotten it. `load` is asked again and
        again, on another thread; it must not block or raise. Registered again under the same role and id, the later call counts. Another
        process that registers the same later takes the name over; this one then keeps away until the name is free.
        """

    @abc.abstractmethod
    def leave(self, role: Role, id: str) -> None:  # noqa: A002  # as everywhere
        """This member goes in good order: nobody lists it any more. Waits for the registry, for its time-out at most. What is not
        registered here, or not any more, is left as it is."""

    @abc.abstractmethod
    def members(self, role: Role) -> Known:
        """The members of a role as far as is known here, at once. The first call begins to ask; `wait_heard` waits for its answer."""

    @abc.abstractmethod
    def wait_heard(self, timeout_s: float) -> bool:
        """Begins to ask, and waits until the registry has told who is there. False when it has not, in time."""

    @abc.abstractmethod
    def watch(self, changed: Callable[[], None]) -> None:
        """Calls this after a member has come, gone, or changed what it says of itself, its load apart; and when the registry begins or
        ceases to answer. On any thread; it must not block or raise. A change may be told twice, and several at once."""

    @abc.abstractmethod
    def close(self) -> None:
        """Every member that was registered here leaves. Twice does nothing more. `members` tells what was known last."""
