"""Who is taken to be there, out of what a registry tells again and again. Pure: the clock is given.

A member that has left in good order goes from the list at once, and so does one that alone is not registered any more. When many go at
once, the registry is likelier to have failed than they: its server stood still for longer than a session, or the network between it and
them was cut, and all sessions ended while everybody works on. Who then took its word would send nobody anything. Eureka keeps all
registrations while fewer than 85 % of the heartbeats it expects come in a minute (self-preservation, renewal-percent-threshold 0.85).

The rule, for the members of one role:

    lost    those that went without leaving in the last `window_s`, unless they are shown to be gone since
    mass    lost is more than LOST_SHARE of (lost + registered), and at least LOST_LEAST of them; or nobody is registered any more; or the
            registry itself did not answer in the last `window_s`: some of a mass are back before they are missed, others after

In a mass all that are lost are kept and marked, those too that went before it was one: sessions that end together are taken away over
seconds. A marked member is unmarked when it registers again, and goes when it is shown to be gone (its address refuses connections), when
it is found to have left, or after `keep_s`. The time in which the registry itself did not answer is not counted.

LOST_SHARE is Eureka's. LOST_LEAST: of two to six members one is more than that share already, and one that dies must go at once. Nobody
at all is never told of where somebody was before: an empty list is of no use to who needs one of them, and a wrong one costs a refused
connection. What the rule costs: when many do die together, on a host that is gone, who takes one of them waits in vain for up to `keep_s`;
marks tell which to try last.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cluster.discovery import Listed, Member

LOST_SHARE: Final = 0.15
LOST_LEAST: Final = 2


@dataclass
class _Lost:
    member: Member
    at_s: float
    kept: bool = False


class Membership:
    """The members of one role. One thread at a time."""

    def __init__(self, window_s: float, keep_s: float) -> None:
        """window_s: sessions that end for one reason are gone within so long. keep_s: what is kept is kept for so long at most."""
        self._window_s = window_s
        self._keep_s = keep_s
        self._registered: dict[str, Member] = {}
        self._lost: dict[str, _Lost] = {}
        self._heard_s: float | None = None
        self._silent = False
        self._doubted_until_s = -math.inf

    def silent(self) -> None:
        """The registry has been asked and has not answered. Before it ever has, that says nothing."""
        self._silent = self._heard_s is not None

    def heard(self, registered: Mapping[str, Member], left: Collection[tuple[str, int]], now_s: float) -> None:
        """The registry has told who is registered, by id, and some of those that left in good order (Member.came)."""
        if self._heard_s is not None and (silence_s := now_s - self._heard_s) > self._window_s:
            for lost in self._lost.values():
                lost.at_s += silence_s
        self._heard_s = now_s
        if self._silent:
            self._silent = False
            self._doubted_until_s = now_s + self._window_s
        for id_, member in self._registered.items():
            if id_ not in registered:
                self._lost[id_] = _Lost(member, now_s)
        self._registered = dict(registered)
        self._lost = {id_: lost for id_, lost in self._lost.items() if id_ not in registered and lost.member.came not in left}
        self._judge(now_s)

    def _judge(self, now_s: float) -> None:
        recent = [lost for lost in self._lost.values() if now_s - lost.at_s <= self._window_s]
        many = len(recent) >= LOST_LEAST and len(recent) > LOST_SHARE * (len(recent) + len(self._registered))
        if many or not self._registered or now_s <= self._doubted_until_s:
            for lost in recent:
                lost.kept = True
        self._lost = {id_: lost for id_, lost in self._lost.items() if now_s - lost.at_s <= (self._keep_s if lost.kept else self._window_s)}

    def kept(self) -> list[Member]:
        """Those that are marked: who finds that one is gone says so."""
        return [lost.member for lost in self._lost.values() if lost.kept]

    def gone(self, members: Iterable[Member]) -> None:
        """These are shown to be gone."""
        for member in members:
            if (lost := self._lost.get(member.id)) is not None and lost.member.came == member.came:
                del self._lost[member.id]

    def listed(self, now_s: float) -> tuple[Listed, ...]:
        """Who is taken to be there, by id."""
        found = [Listed(member, None) for member in self._registered.values()]
        found += [Listed(lost.member, now_s - lost.at_s) for lost in self._lost.values() if lost.kept]
        return tuple(sorted(found, key=lambda one: one.member.id))
