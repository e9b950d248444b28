"""When viewers come: the first session of a lane, and the pauses between its sessions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loadgen.course import after, clock_column, join
from loadgen.draws import draw, draw_exponential, draw_lognormal, pick
from loadgen.rows import DONE, PLAY_REQUEST, WAITING
from topologies.compiled import lean


@lean
def gap(lane: Any, world: Any, t: int) -> int:
    """To the viewer's next session, ms: browsing, or gone for a while (E). A day's curve stretches and shortens it."""
    pause_s = draw_lognormal(lane, 3.6, 0.8) if draw(lane) < 0.6 else draw_exponential(lane, 2_400.0)
    if world.tick_ms > 0.0:
        return after(world, lane.region, t, 1000 * pause_s) - t + 1
    hour = (world.first_hour + t // 3_600_000) % 24
    return int(1000 * pause_s / world.day[hour]) + 1


@lean
def _there(lane: Any, world: Any) -> float:
    """The share of viewers that are there when a scenario begins: more where more come then."""
    column = clock_column(world, lane.region)
    return float(min(0.65 * (world.course[1, column] - world.course[0, column]) / world.tick_ms, 0.95))


@lean
def sit_down(lane: Any, world: Any, account: int) -> None:
    """Fills a lane whose key is set: who sits there, with what, and when the first session is requested.

    Most are there early, spread exponentially over about 22 s: an arrival brings 2.2 events at once and 0.1/s after,
    so that the rate of events is level from the start. The others come when they come.
    """
    lane.account = account
    lane.phase = WAITING
    lane.due = PLAY_REQUEST
    lane.records_left = np.int64(1) << 62
    lane.platform = pick(world.platforms, draw(lane))
    tau = 22_000.0
    lane.wave = draw(lane) < (0.65 if world.tick_ms == 0.0 else _there(lane, world))
    if lane.wave:
        reach = 1.0 - math.exp(-world.span_ms / tau)
        lane.at = int(-tau * math.log(1.0 - draw(lane) * reach))
    else:
        wait = draw_exponential(lane, 2_400_000.0)
        lane.at = int(wait) if world.tick_ms == 0.0 else after(world, lane.region, 0, wait)
    if world.tick_ms > 0.0:
        join(lane, world)
    if lane.at >= world.span_ms:
        lane.phase = DONE
