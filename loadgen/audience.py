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
from loadgen.breaking import HELD_MS, afflict, copy_arrival, decide, records_of, retime
from loadgen.draws import at, mix, pick, unit
from loadgen.reaching import reach_pick
from loadgen.rows import AGAIN, DONE, EVENT, LANE, NEAR, WELL, World
from loadgen.scenario import STEADY, Scenario, course_of
from loadgen.viewer import step
from topologies.compiled import kernel, lean

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


@lean
def _seat(lane: Any, world: Any, number: int) -> None:
    account = account_of(number)
    house = at(mix(world.seed) ^ np.uint64(0xACC0), account)
    lane.key = at(mix(world.seed), number)
    lane.place = pick(world.places, unit(at(house, 1)))
    lane.profiles = 1 + int(unit(at(house, 2)) * 4)
    lane.adverts = unit(at(house, 3)) < 0.35
    lane.region = world.zones[lane.place]
    lane.fan = unit(at(lane.key ^ np.uint64(0xFA4), 1))
    afflict(lane, world)
    sit_down(lane, world, account)


@lean
def seat(lanes: Any, world: Any, numbers: Any) -> None:
    """Fills lanes[i] as the lane numbers[i]."""
    for i in range(len(numbers)):
        _seat(lanes[i], world, numbers[i])


@lean
def _survey(lanes: Any, world: Any, records: Any, bins: Any, bin_ms: float, room: Any) -> None:
    row = room[0]
    for i in range(len(lanes)):
        lane = lanes[i]
        while lane.phase != DONE and lane.at < world.span_ms:
            t = lane.at
            if step(lane, world, row):
                decide(lane, world, row)
                count = records_of(row.fault)
                records[i] += count
                bins[int(t / bin_ms)] += count
                if lane.records_left <= 0:
                    lane.phase = DONE


@lean
def _warped(world: Any, t: int) -> int:
    """Levels the rate: the time at which as many records as come before `t` would have come at a constant rate."""
    if len(world.warp) == 0:
        return t
    place = t / world.warp_bin_ms
    i = min(int(place), len(world.warp) - 2)
    return int(world.warp[i] + (world.warp[i + 1] - world.warp[i]) * (place - i))


@lean
def fill(lanes: Any, lane_bytes: Any, picks: Any, world: Any, until: int, first: int, rows: Any) -> Any:
    """The events that lanes[picks[first:]] have due before `until`, into rows. → (rows filled, pick to go on with, or len(picks))."""
    n = 0
    for pick_at in range(first, len(picks)):
        reach_pick(pick_at, picks, lane_bytes)
        i = picks[pick_at]
        lane = lanes[i]
        while lane.phase != DONE and lane.at < until:
            if n + 2 > len(rows):
                return n, pick_at
            row = rows[n]
            if not step(lane, world, row):
                continue
            decide(lane, world, row)
            if lane.records_left <= 0:
                lane.phase = DONE
            row.lane = i
            over = 0
            if row.held or row.fault == AGAIN:
                # what is held keeps its order, a millisecond for each second
                over = _warped(world, (row.ts // HELD_MS + 1) * HELD_MS) + row.ts % HELD_MS // 1_000
            row.ts = _warped(world, row.ts)
            row.arrival = row.ts
            if not world.live:
                # one delay a session: the network alone does not change a session's order
                row.arrival += 20 + np.int64(mix(lane.key + np.uint64(row.ordinal)) % np.uint64(230))
            if row.fault != WELL or row.held or lane.skew != 0:
                retime(lane, row, over)
            n += 1
            if NEAR <= row.fault <= AGAIN:
                rows[n] = row
                rows[n].copy = 1
                rows[n].arrival = copy_arrival(world, row, over)
                n += 1
                if world.live:
                    rows[n - 1].arrival = min(rows[n - 1].arrival, world.span_ms)
            if world.live:
                row.arrival = min(row.arrival, world.span_ms)
    return n, len(picks)


def horizon(world: World, until: int) -> int:
    """The levelled time of `until`: no event due at or after `until` arrives before it."""
    found: int = _warped(world, until)
    return found


def make_world(
    seed: int,
    span_ms: int,
    live: bool,
    titles: int,
    regions: int,
    vanish: float,
    faults: NDArray[np.float64],
    first_hour: int,
    scenario: Scenario = STEADY,
) -> World:
    """The world of a run. `faults`: loadgen.faults.Faults.limits.

    Without a scenario a span of 6 h or more follows the day's curve, starting at `first_hour` (UTC). UsageError for a scenario that does
    not fit the run.
    """
    places = catalogue.places(regions)
    names = catalogue.regions_of(regions)
    kinds, runtimes = catalogue.kinds_and_runtimes(titles, scenario.episodes, scenario.runtime_s)
    curve = np.array(catalogue.DAY_CURVE) if span_ms >= 21_600_000 else np.ones(24)
    tick_ms, course = course_of(scenario, span_ms, first_hour, names)
    return World(
        seed=seed,
        span_ms=span_ms,
        live=live,
        popularity=catalogue.popularity(titles, len(kinds) - titles),
        kinds=kinds,
        runtimes_s=runtimes,
        places=catalogue.cumulative([place[3] for place in places]),
        platforms=catalogue.cumulative([platform[3] for platform in catalogue.PLATFORMS]),
        zones=np.array([names.index(place[0]) for place in places], np.uint16),
        players=catalogue.players(by_device=scenario.by_device),
        cdns=catalogue.cumulative([share for _, share in catalogue.CDNS]),
        ladder=len(catalogue.LADDER_KBPS),
        errors=len(catalogue.ERRORS),
        first_hour=first_hour,
        day=curve / curve.mean(),
        vanish=vanish,
        faults=faults,
        warp_bin_ms=1.0,
        warp=np.empty(0, np.float64),
        tick_ms=tick_ms,
        course=course,
        event_title=titles,
        release_title=titles + 1,
        episodes=scenario.episodes,
    )


def make_plan(world: World, records: int) -> Plan:
    """As many lanes as send `records` records in the world's span, the last cut short. A live world's rate is made level, unless a scenario
    says how it goes."""
    count = int(max(1, min(world.span_ms // 100, records // BIN_RECORDS)))
    bin_ms = world.span_ms / count
    bins = np.zeros(count + 1, np.int64)
    size = min(_BLOCK, max(16, _BLOCK * 3_600_000 // world.span_ms))
    found, lanes = 0, 0
    while True:
        block = np.zeros(size, LANE)
        seat(block, world, np.arange(lanes, lanes + size))
        sent = np.zeros(size, np.int64)
        _survey(block, world, sent, bins, bin_ms, np.zeros(1, EVENT))
        reached = found + np.cumsum(sent)
        if reached[-1] >= records:
            last = int(np.searchsorted(reached, records))
            before = int(reached[last - 1]) if last else found
            levelled = _level(world, bins, bin_ms) if world.live and world.tick_ms == 0.0 else world
            return Plan(levelled, lanes + last + 1, records - before, records)
        found, lanes = int(reached[-1]), lanes + size


def _level(world: World, bins: NDArray[np.int64], bin_ms: float) -> World:
    total = np.concatenate([[0], np.cumsum(bins[:-1])]).astype(np.float64)
    return world._replace(warp_bin_ms=bin_ms, warp=total / total[-1] * world.span_ms)
