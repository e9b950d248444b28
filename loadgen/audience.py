"""The audience: which lanes there are, how many records each will send, and the events of a stretch of time.

A plan is made first by letting every lane live through the span without keeping its events: that gives the number of lanes
whose records add up to the wanted number, exactly (the last lane is cut short), and how they lie in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen import catalogue
from loadgen.arrivals import sit_down
from loadgen.draws import at, mix, pick, unit
from loadgen.rows import DELAYED, DONE, EVENT, FAR, LANE, LATE, MALFORMED, NEAR, WELL, World
from loadgen.viewer import step
from topologies.compiled import kernel

DAY_CURVE: Final = (
    0.7, 0.5, 0.35, 0.25, 0.22, 0.25, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6,
    0.65, 0.7, 0.8, 0.95, 1.2, 1.9, 2.2, 2.35, 2.1, 1.65, 1.45, 1.1,
)  # fmt: skip
"""Viewers by hour of the day, mean 1 (Puffer, measured on one day; smoothed)."""
BIN_RECORDS: Final = 200
"""The rate is levelled in bins of so many records, at least 100 ms long."""
_BLOCK: Final = 2_048
"""Lanes that are planned in one call, of an hour; fewer of a longer span, so that Ctrl-C is heard within a second or so."""


@dataclass(frozen=True)
class Plan:
    """What every process must know to make the same events. `records` == the sum over all lanes, exactly."""

    world: World
    lanes: int
    last_lane_records: int
    records: int


@kernel
def account_of(number: Any) -> Any:
    """Whose seat a lane is: every third household watches on two screens. Of one number or of many."""
    return number * 3 // 4


@kernel
def _seat(lane: Any, world: Any, number: int) -> None:
    account = account_of(number)
    house = at(mix(world.seed) ^ np.uint64(0xACC0), account)
    lane.key = at(mix(world.seed), number)
    lane.place = pick(world.places, unit(at(house, 1)))
    lane.profiles = 1 + int(unit(at(house, 2)) * 4)
    lane.adverts = unit(at(house, 3)) < 0.35
    sit_down(lane, world, account)


@kernel
def seat(lanes: Any, world: Any, numbers: Any) -> None:
    """Fills lanes[i] as the lane numbers[i]."""
    for i in range(len(numbers)):
        _seat(lanes[i], world, numbers[i])


@kernel
def _break(lane: Any, world: Any, row: Any) -> None:
    """Decides what is broken about an event, by the event's identity."""
    name = (np.uint64(row.ordinal) << np.uint64(32)) | np.uint64(row.seq)
    bits = at(lane.key ^ np.uint64(0xFA017), name)
    chance = unit(bits)
    row.chance = np.uint32(mix(bits) & np.uint64(0xFFFFFFFF))
    row.fault = WELL
    row.copy = 0
    if chance < world.faults[0]:
        row.fault = NEAR if row.chance & np.uint32(1) else FAR
        if lane.records_left == 1:
            row.fault = WELL
    elif chance < world.faults[1]:
        row.fault = LATE
    elif chance < world.faults[2]:
        row.fault = MALFORMED
    elif chance < world.faults[3]:
        row.fault = DELAYED
    lane.records_left -= 2 if row.fault == NEAR or row.fault == FAR else 1
    if lane.records_left <= 0:
        lane.phase = DONE


@kernel
def _survey(lanes: Any, world: Any, records: Any, bins: Any, bin_ms: float) -> None:
    row = np.zeros(1, EVENT)[0]
    for i in range(len(lanes)):
        lane = lanes[i]
        while lane.phase != DONE and lane.at < world.span_ms:
            t = lane.at
            if step(lane, world, row):
                _break(lane, world, row)
                count = 2 if row.fault == NEAR or row.fault == FAR else 1
                records[i] += count
                bins[int(t / bin_ms)] += count


@kernel
def _warped(world: Any, t: int) -> int:
    """Levels the rate: the time at which as many records as come before `t` would have come at a constant rate."""
    if len(world.warp) == 0:
        return t
    place = t / world.warp_bin_ms
    i = min(int(place), len(world.warp) - 2)
    return int(world.warp[i] + (world.warp[i + 1] - world.warp[i]) * (place - i))


@kernel
def fill(lanes: Any, picks: Any, world: Any, until: int, first: int, rows: Any) -> Any:
    """The events that lanes[picks[first:]] have due before `until`, into rows. → (rows filled, pick to go on with, or len(picks))."""
    n = 0
    for pick_at in range(first, len(picks)):
        i = picks[pick_at]
        lane = lanes[i]
        while lane.phase != DONE and lane.at < until:
            if n + 2 > len(rows):
                return n, pick_at
            row = rows[n]
            if not step(lane, world, row):
                continue
            _break(lane, world, row)
            row.lane = i
            row.ts = _warped(world, row.ts)
            row.arrival = row.ts
            if not world.live:
                # one delay a session: the network alone does not change a session's order
                row.arrival += 20 + np.int64(mix(lane.key + np.uint64(row.ordinal)) % np.uint64(230))
            n += 1
            if row.fault == DELAYED:
                row.arrival += 1_000 + np.int64(row.chance % np.uint32(29_000))
            elif row.fault == LATE:
                row.ts -= 1_200_000 + np.int64(row.chance % np.uint32(1_500_000))
            elif row.fault == NEAR or row.fault == FAR:
                rows[n] = row
                copy = rows[n]
                copy.copy = 1
                if row.fault == NEAR:
                    copy.arrival += 1 + np.int64(row.chance % np.uint32(50))
                else:
                    copy.arrival += 2_000 + np.int64(row.chance % np.uint32(18_000 if world.live else 298_000))
                if world.live:
                    copy.arrival = min(copy.arrival, world.span_ms)
                n += 1
            if world.live:
                row.arrival = min(row.arrival, world.span_ms)
    return n, len(picks)


def horizon(world: World, until: int) -> int:
    """The levelled time of `until`: no event due at or after `until` arrives before it."""
    found: int = _warped(world, until)
    return found


def make_world(
    seed: int, span_ms: int, live: bool, titles: int, regions: int, vanish: float, faults: NDArray[np.float64], first_hour: int
) -> World:
    """The world of a run. `faults` f8[4], cumulative. A span of 6 h or more follows the day's curve, starting at `first_hour` (UTC)."""
    kinds, runtimes = catalogue.kinds_and_runtimes(titles)
    curve = np.array(DAY_CURVE) if span_ms >= 21_600_000 else np.ones(24)
    return World(
        seed=seed,
        span_ms=span_ms,
        live=live,
        popularity=catalogue.popularity(titles),
        kinds=kinds,
        runtimes_s=runtimes,
        places=catalogue.cumulative([place[3] for place in catalogue.places(regions)]),
        platforms=catalogue.cumulative([platform[3] for platform in catalogue.PLATFORMS]),
        shifts=np.array([catalogue.PLATFORM_SHIFT[platform[0]] for platform in catalogue.PLATFORMS]),
        cdns=catalogue.cumulative([share for _, share in catalogue.CDNS]),
        ladder=len(catalogue.LADDER_KBPS),
        errors=len(catalogue.ERRORS),
        first_hour=first_hour,
        day=curve / curve.mean(),
        vanish=vanish,
        faults=faults,
        warp_bin_ms=1.0,
        warp=np.empty(0, np.float64),
    )


def make_plan(world: World, records: int) -> Plan:
    """As many lanes as send `records` records in the world's span, the last cut short. A live world's rate is made level."""
    count = int(max(1, min(world.span_ms // 100, records // BIN_RECORDS)))
    bin_ms = world.span_ms / count
    bins = np.zeros(count + 1, np.int64)
    size = min(_BLOCK, max(16, _BLOCK * 3_600_000 // world.span_ms))
    found, lanes = 0, 0
    while True:
        block = np.zeros(size, LANE)
        seat(block, world, np.arange(lanes, lanes + size))
        sent = np.zeros(size, np.int64)
        _survey(block, world, sent, bins, bin_ms)
        reached = found + np.cumsum(sent)
        if reached[-1] >= records:
            last = int(np.searchsorted(reached, records))
            before = int(reached[last - 1]) if last else found
            levelled = _level(world, bins, bin_ms) if world.live else world
            return Plan(levelled, lanes + last + 1, records - before, records)
        found, lanes = int(reached[-1]), lanes + size


def _level(world: World, bins: NDArray[np.int64], bin_ms: float) -> World:
    total = np.concatenate([[0], np.cumsum(bins[:-1])]).astype(np.float64)
    return world._replace(warp_bin_ms=bin_ms, warp=total / total[-1] * world.span_ms)
