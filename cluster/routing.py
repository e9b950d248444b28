"""Whom a client asks where there are several regions: its own region's doors first, those of others when none of its own answers or all
are too busy.

    regions in turn   its own, then the others by how busy they are
      doors in turn   of two at random the one that is less busy, and so on (cluster/choice.py)
    spill-over        while the least busy door of its own region is busier than `full`, and one of another region is not, that goes first
    health            who did not answer is not asked for `rest_s`, unless nobody else is left

Pure but for the choice itself and the clock, which are given. cluster/regional_haproxy.py makes HAProxy do the same.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cluster.choice import in_turn
from cluster.discovery import Listed, Member, Role
from topologies.regions import doors_of, regions_of
from topologies.settings import Settings

FULL: Final = 0.85
"""Cores that a door is busy for. It answers on one."""
REST_S: Final = 2.0
"""Then somebody tries it in its turn: so a region that is back is noticed."""


class Router:
    """The doors of all regions, for one client or for many; one thread."""

    def __init__(
        self,
        home: str,
        doors: Mapping[str, Sequence[Listed]],
        drawn: random.Random,
        *,
        full: float = FULL,
        rest_s: float = REST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """home: the client's region. doors: by region, as discovery or the settings list them. full: see above; clock: seconds."""
        self._home = home
        self._doors = dict(doors)
        self._drawn = drawn
        self._full = full
        self._rest_s = rest_s
        self._clock = clock
        self._away_s: dict[str, float] = {}

    @classmethod
    def of(cls, settings: Settings, drawn: random.Random, home: str | None = None) -> Router:
        """Over the doors that the settings name (regions.doors), from their own region unless another one is told."""
        named = doors_of(settings)
        doors = {
            region: [Listed(Member(url, Role.API, url, version="", load=0.0, since_ms=0), None) for url in named.get(region, ())]
            for region in regions_of(settings)
        }
        return cls(home or settings.worker.region, doors, drawn)

    def told(self, region: str, members: Sequence[Listed]) -> None:
        """These are the region's doors from now on, with the loads that they told last."""
        self._doors[region] = members

    def in_turn(self) -> list[tuple[str, str]]:
        """All doors in the order in which they are to be tried: (region, address). Those that rest come last, in the same order."""
        order = [(region, one.member.address) for region in self._regions() for one in in_turn(self._doors[region], self._drawn)]
        resting = [door for door in order if self._rests(door[1])]
        return [door for door in order if door not in resting] + resting

    def missed(self, address: str) -> None:
        """That door did not answer: a connection refused, a time-out, a 502, 503 or 504."""
        self._away_s[address] = self._clock()

    def answered(self, address: str) -> None:
        """It did."""
        self._away_s.pop(address, None)

    def _regions(self) -> list[str]:
        """Home first, unless all of its doors are full and another region's are not."""
        others = sorted((region for region in self._doors if region != self._home), key=self._least_load)
        own = [self._home] if self._home in self._doors else []
        if own and self._least_load(self._home) > self._full:
            free = [region for region in others if self._least_load(region) <= self._full]
            return [*free, *own, *(region for region in others if region not in free)]
        return [*own, *others]

    def _least_load(self, region: str) -> float:
        """Of the doors that do not rest."""
        loads = [one.member.load for one in self._doors[region] if not self._rests(one.member.address)]
        return min(loads, default=float("inf"))

    def _rests(self, address: str) -> bool:
        since_s = self._away_s.get(address)
        return since_s is not None and self._clock() - since_s < self._rest_s
