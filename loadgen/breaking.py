"""Breaking events on purpose, as kernels: which event is broken and how, and what that does to its times.

Who is broken is decided by identity, so it does not depend on who makes the event: an event by its session and number, half a minute of
a viewer by its number, a player by its lane. An event is broken in one way at the most; being held, under another key or told by
a clock that is a little off changes no class, so that may come on top of another, which then is the one that counts.
What World.faults holds: loadgen.faults.Faults.limits.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from loadgen.draws import at, mix, unit
from loadgen.rows import (
    AGAIN,
    AHEAD,
    BEHIND,
    BURST,
    DAYS,
    DELAYED,
    FAR,
    FINISH,
    HOURS,
    LOST,
    MALFORMED,
    MINUTES,
    MOVED,
    NEAR,
    SKEWED,
    STOP,
    WELL,
)  # fmt: skip
from topologies.compiled import lean

HELD_MS: Final = 30_000
"""What is held and sent again is of so much of a viewer's time: live sessions stay so, and nothing is late."""
MOST_SKEW_MS: Final = 45_000
"""Of a clock that is a little off: an event a minute ahead would be dead."""


@lean
def afflict(lane: Any, world: Any) -> None:
    """What is wrong with the lane's player itself: its clock, by how much, and whether its sessions change their key."""
    chance, size = unit(at(lane.key ^ np.uint64(0xC10C), 1)), unit(at(lane.key ^ np.uint64(0xC10C), 2))
    skewed, behind, ahead = world.faults[1, SKEWED], world.faults[1, BEHIND], world.faults[1, AHEAD]
    lane.clock = WELL
    lane.skew = 0
    if chance < skewed:
        lane.clock = SKEWED
        lane.skew = int((2 * size - 1) * MOST_SKEW_MS)
    elif chance < skewed + behind:
        lane.clock = BEHIND
        lane.skew = -1_200_000 - int(size * 6_000_000)
    elif chance < skewed + behind + ahead:
        lane.clock = AHEAD
        lane.skew = 3_600_000 + int(size * 82_800_000)
    lane.moves = 0
    if unit(at(lane.key ^ np.uint64(0x5E4), 1)) < world.faults[1, MOVED]:
        lane.moves = 3 + int(20 * unit(at(lane.key ^ np.uint64(0x5E4), 2)))


@lean
def _alone(world: Any, chance: float) -> int:
    """What befalls an event by itself."""
    if chance >= world.faults[0, DELAYED]:
        return WELL
    fault = NEAR
    while chance >= world.faults[0, fault]:
        fault += 1
    return fault


@lean
def decide(lane: Any, world: Any, row: Any) -> None:
    """What is broken about an event, and how many records of the lane's it takes: two, one, or none."""
    name = (np.uint64(row.ordinal) << np.uint64(32)) | np.uint64(row.seq)
    row.chance = np.uint32(0)
    row.copy = 0
    row.held = 0
    row.moved = 1 if 0 < lane.moves <= row.seq else 0
    fault = WELL
    if world.faults[0, DELAYED] > 0.0:
        bits = at(lane.key ^ np.uint64(0xFA017), name)
        row.chance = np.uint32(mix(bits) & np.uint64(0xFFFFFFFF))
        fault = _alone(world, unit(bits))
    if fault == MALFORMED and row.moved:
        fault = WELL  # there the session may not be known yet, so one way of mangling would do nothing
    repeated, silent, again = world.faults[1, AGAIN], world.faults[1, BURST], False
    if repeated + silent > 0.0:
        chance = unit(at(lane.key ^ np.uint64(0xB0257), row.ts // HELD_MS))
        again = chance < repeated
        row.held = 1 if not again and chance < repeated + silent else 0
    if lane.clock == BEHIND or lane.clock == AHEAD:
        fault = int(lane.clock)
    elif fault == WELL:
        if (row.type == FINISH or row.type == STOP) and unit(at(lane.key ^ np.uint64(0x105), name)) < world.faults[1, LOST]:
            fault = LOST
        elif again:
            fault = AGAIN
        elif row.held:
            fault = BURST
        elif row.moved:
            fault = MOVED
        elif lane.clock == SKEWED:
            fault = SKEWED
    if NEAR <= fault <= AGAIN and lane.records_left == 1:
        fault = WELL
    row.fault = fault
    lane.records_left -= records_of(fault)


@lean
def records_of(fault: int) -> int:
    """How many records an event makes that is broken so."""
    return 2 if NEAR <= fault <= AGAIN else 0 if fault == LOST else 1


@lean
def retime(lane: Any, row: Any, over: int) -> None:
    """Moves what the event says of its time, and when it arrives. `over`: when what is held with its half minute arrives."""
    chance = row.chance
    row.ts += lane.skew
    if row.held:
        row.arrival = max(row.arrival, over)
    if row.fault == DELAYED:
        row.arrival += 1_000 + np.int64(chance % np.uint32(29_000))
    elif row.fault == MINUTES:
        row.ts -= 1_200_000 + np.int64(chance % np.uint32(1_500_000))
    elif row.fault == HOURS:
        row.ts -= 3_600_000 + np.int64(chance % np.uint32(79_200_000))
    elif row.fault == DAYS:
        row.ts -= 86_400_000 + np.int64(chance % np.uint32(2_505_600_000))


@lean
def copy_arrival(world: Any, row: Any, over: int) -> int:
    """When the second record of a duplicated event arrives."""
    if row.fault == NEAR:
        return int(row.arrival + 1 + np.int64(row.chance % np.uint32(50)))
    if row.fault == FAR:
        return int(row.arrival + 2_000 + np.int64(row.chance % np.uint32(18_000 if world.live else 298_000)))
    return int(max(row.arrival, over) + 1_000)
