"""The schedule of a chaos run: a pure function of its seed. Nothing that happens while it is carried out changes it.

A *lane* is what can be struck by one fault at a time: a server, a worker, the group, the log. Faults of different lanes overlap.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from marquee.chaos import MOST_FAULTS
from marquee.chaos.kinds import KINDS, Kind
from marquee.chaos.targets import is_door
from topologies.errors import UsageError

FIRST_S: Final = 4.0
"""The first fault comes so long after the load began: there is something to be lost then."""
GAP_S: Final = 2.0
"""From one fault to the next, on average. A lane that is not free yet makes it longer."""
GAP_LIMITS_S: Final = (0.2, 6.0)
TAIL_S: Final = 4.0
"""The load goes on so long after the last fault has been healed."""
OVERTIME_S: Final = 420.0
"""The load goes on so much longer than planned at the most, for faults that had to wait for what they strike."""
LEAST_S: Final = 35.0
"""A viewer is live for 30 s after the last event, so a longer load has a whole minute with viewers in it: something to audit."""
SEEDS: Final = 2**31


@dataclass(frozen=True)
class Planned:
    """One fault: struck `at_s` seconds after the load began, healed `for_s` seconds later. `seed` decides what is left of it."""

    number: int
    kind: str
    lane: str
    at_s: float
    for_s: float
    seed: int


@dataclass(frozen=True)
class Plan:
    """The faults of a run, in the order of their times, and how long the load goes on at least, seconds: longer when what is to be struck
    is not there in time, so that each fault is struck under load."""

    seed: int
    workers: int
    faults: tuple[Planned, ...]
    load_s: float

    def by_lane(self) -> dict[str, list[Planned]]:
        """Each lane's faults in their order."""
        found: dict[str, list[Planned]] = {}
        for fault in self.faults:
            found.setdefault(fault.lane, []).append(fault)
        return found

    @property
    def has_doors(self) -> bool:
        """Whether it strikes what stands in front of the data."""
        return any(is_door(fault.lane) for fault in self.faults)

    def counts(self) -> dict[str, int]:
        """How many of each kind; kinds that do not occur are left out."""
        names = [fault.kind for fault in self.faults]
        return {kind: names.count(kind) for kind in sorted(set(names))}

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {"seed": self.seed, "workers": self.workers, "load_s": self.load_s, "faults": [asdict(fault) for fault in self.faults]}


def make_plan(seed: int, workers: int, *, faults: int | None = None, seconds: float | None = None, kinds: tuple[Kind, ...] = KINDS) -> Plan:
    """Exactly so many faults, or as many as are healed within so many seconds. The first faults are one of each kind.

    UsageError unless exactly one of the two is given and there is room for one fault.
    """
    if (faults is None) == (seconds is None):
        raise UsageError("say either how long (--minutes M) or how many (--faults N)")
    if workers < 1:
        raise UsageError("--workers must be at least 1")
    chosen: list[Planned] = []
    for planned in _endless(seed, workers, kinds):
        if seconds is not None and planned.at_s + planned.for_s + TAIL_S > seconds:
            break
        chosen.append(planned)
        if len(chosen) == faults or len(chosen) == MOST_FAULTS:
            break
    if not chosen:
        raise UsageError(f"{seconds:g} s have no room for a fault; give it more minutes")
    healed = max(fault.at_s + fault.for_s for fault in chosen)
    return Plan(seed, workers, tuple(chosen), round(max(LEAST_S, seconds or 0.0, healed + TAIL_S), 3))


def _endless(seed: int, workers: int, kinds: tuple[Kind, ...]) -> Iterator[Planned]:
    """Faults without end, in the order of their times."""
    chance = random.Random(f"marquee chaos {seed}")
    free = {lane: 0.0 for kind in kinds for lane in kind.lanes(workers)}
    deck: list[Kind] = _shuffled(chance, [*kinds])
    at, number = FIRST_S, 0
    while True:
        kind, lane = _drawn(chance, deck, free, workers, at)
        at = max(at, free[lane])
        planned = Planned(number, kind.name, lane, round(at, 2), round(chance.uniform(*kind.for_s), 2), chance.randrange(SEEDS))
        yield planned
        free[lane] = at + planned.for_s + kind.settle_s
        at += min(max(chance.expovariate(1 / GAP_S), GAP_LIMITS_S[0]), GAP_LIMITS_S[1])
        number += 1
        if not deck:
            deck = _shuffled(chance, [kind for kind in kinds for _ in range(kind.weight)])


def _shuffled(chance: random.Random, kinds: list[Kind]) -> list[Kind]:
    chance.shuffle(kinds)
    return kinds


def _drawn(chance: random.Random, deck: list[Kind], free: dict[str, float], workers: int, at: float) -> tuple[Kind, str]:
    """The first card that has a free lane, and one of those; if none has, the card and lane that are free first. Taken off the deck."""
    for place, kind in enumerate(deck):
        if lanes := [lane for lane in kind.lanes(workers) if free[lane] <= at]:
            return deck.pop(place), chance.choice(lanes)
    soonest = min(((free[lane], place, lane) for place, kind in enumerate(deck) for lane in kind.lanes(workers)))
    return deck.pop(soonest[1]), soonest[2]
