"""Who is up, who leads, and how many workers are wanted: one document, which `marquee members` and the API give."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cluster.discovery import Listed, Registry, Role
from cluster.scaling.orders import Order
from cluster.static_registry import StaticRegistry
from connectors.closing import Closing
from topologies.errors import MarqueeError, ServerAway
from topologies.settings import Settings

if TYPE_CHECKING:
    from cluster.leadership import Term
    from connectors.zookeeper import Session

KEPT_S: Final = 1.0
"""Several pages ask at once."""


class Roster(Closing):
    """Asks ZooKeeper where `zookeeper.hosts` names one, else the list of `discovery.members`. Any number of threads; a context manager.

    The document: `members`, each as discovery has it, with `vanished_s` (null while it is registered) and `leader`; `answers` and `heard_s`
    as Known has them, of the role that was heard of the longest ago; `leader`: epoch, id, since_ms, null while nobody leads; `workers`:
    `running` (registered), and of the last order, while an autoscaler leads, `wanted`, `why`, `ordered_ms`, null before the first.
    """

    def __init__(self, settings: Settings) -> None:
        """Returns at once, whoever is away."""
        self._session: Session | None = None
        self._registry: Registry
        if settings.zookeeper.hosts:
            from cluster.zookeeper_registry import ZooKeeperRegistry  # only here: kazoo is of no use to who has no ZooKeeper
            from connectors.zookeeper import Session

            self._session = Session(settings.zookeeper)
            self._registry = ZooKeeperRegistry(self._session, settings)
        else:
            self._registry = StaticRegistry(settings.discovery)
        self._registry.wait_heard(0.0)  # which begins to ask
        self._asking = threading.Lock()
        self._last: tuple[float, dict[str, Any]] | None = None

    def wait_heard(self, patience_s: float) -> bool:
        """Whether it has been told who is up; waits for it so long at the most."""
        return self._registry.wait_heard(patience_s)

    def document(self) -> dict[str, Any]:
        """As of now, or KEPT_S ago. Does not raise because ZooKeeper is away: then it is who was known last, and nobody is known to lead.

        One thread at a time asks; others meanwhile get the last answer, for one that hangs is not to hold up all.
        """
        last = self._last
        if last is not None and time.monotonic() - last[0] < KEPT_S:
            return last[1]
        if not self._asking.acquire(blocking=last is None):
            assert last is not None
            return last[1]
        try:
            found = self._asked()
            self._last = time.monotonic(), found
            return found
        finally:
            self._asking.release()

    def _asked(self) -> dict[str, Any]:
        known = {role: self._registry.members(role) for role in Role}
        term, order = self._led()
        ages_s = [one.heard_s for one in known.values()]
        return {
            "answers": all(one.answers for one in known.values()),
            "heard_s": None if None in ages_s else max(age_s or 0.0 for age_s in ages_s),
            "members": [_told(listed, term) for one in known.values() for listed in one.members],
            "leader": None if term is None else msgspec.to_builtins(term),
            "workers": {
                "running": sum(listed.vanished_s is None for listed in known[Role.WORKER].members),
                "wanted": None if order is None else order.workers,
                "why": None if order is None else order.why,
                "ordered_ms": None if order is None else order.at_ms,
            },
        }

    def _led(self) -> tuple[Term | None, Order | None]:
        if self._session is None:
            return None, None
        from cluster.leadership import AUTOSCALER, last_act, leader

        try:
            term = leader(self._session, AUTOSCALER)
            done = None if term is None else last_act(self._session, AUTOSCALER)  # what nobody stands for any more is not wanted
        except MarqueeError:
            return None, None
        try:
            return term, None if done is None else msgspec.json.decode(done.order, type=Order)
        except msgspec.DecodeError:
            return term, None

    def close(self) -> None:
        """Asks no more. Twice does nothing more."""
        self._registry.close()


def _told(listed: Listed, term: Term | None) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(listed.member)
    leads = term is not None and listed.member.role == Role.AUTOSCALER and listed.member.id == term.id
    return {**told, "leader": leads, "vanished_s": listed.vanished_s}


def roster_of(settings: Settings, patience_s: float) -> dict[str, Any]:
    """The document, once. Raises ServerAway when nobody tells who is up in time."""
    with Roster(settings) as roster:
        if not roster.wait_heard(patience_s):
            raise ServerAway(f"ZooKeeper at {','.join(settings.zookeeper.hosts)} does not answer, so who is up is not known.")
        return roster.document()
