"""What a scenario does to a viewer: when the next session comes, what it plays and from where, and what cuts it off.

All of it is read from World.course, which loadgen.scenario makes of the scenario's shapes; called only where there is one (tick_ms > 0).
Letters after a figure are loadmodel.md's: M measured, V read in its source, E an engineering choice.
"""

from __future__ import annotations

from typing import Any, Final

from loadgen.draws import draw, draw_exponential
from loadgen.rows import BINGE, CDN_COLUMN, CROWD, CROWD_PEAK, FATAL, FINISH, PLAY_REQUEST, RELEASE, WAITING
from topologies.compiled import lean

EPISODE_KIND: Final = 1
RECONNECT_MS: Final = 20_000.0
"""How long after a lost region is back its viewers come, on average (E)."""
_SEARCHED: Final = 64
"""How far down the catalogue the next episode is looked for."""


@lean
def tick_of(world: Any, t: int) -> int:
    """The row of the course that rules at `t`."""
    return max(0, min(int(t / world.tick_ms), len(world.course) - 2))


@lean
def clock_column(world: Any, region: int) -> int:
    """Where the region's clock stands in the course; behind it, when it is back."""
    return CDN_COLUMN + 2 * len(world.cdns) + 2 * int(region)


@lean
def after(world: Any, region: int, t: int, pause_ms: float) -> int:
    """When `pause_ms` of the region's clock have passed since `t`: it goes as fast as viewers come. The span's end if not before."""
    course, column = world.course, clock_column(world, region)
    tick = tick_of(world, t)
    goal = course[tick, column] + (course[tick + 1, column] - course[tick, column]) * (t / world.tick_ms - tick) + pause_ms
    low, high = tick, len(course) - 1
    if course[high, column] <= goal:
        return int(world.span_ms)
    while high - low > 1:
        middle = (low + high) // 2
        if course[middle, column] <= goal:
            low = middle
        else:
            high = middle
    part = (goal - course[low, column]) / (course[high, column] - course[low, column])
    return int((low + min(max(part, 0.0), 1.0)) * world.tick_ms)


@lean
def join(lane: Any, world: Any) -> bool:
    """Has a viewer of the crowd come when it reaches so far; whether there is a crowd that does."""
    course = world.course
    low, high = 0, len(course) - 1
    if course[high, CROWD_PEAK] <= lane.fan:
        return False
    while low < high:
        middle = (low + high) // 2
        if course[middle, CROWD_PEAK] > lane.fan:
            high = middle
        else:
            low = middle + 1
    lane.wave = 0
    lane.at = int((low + draw(lane)) * world.tick_ms)
    return True


@lean
def _leaving(lane: Any, world: Any, tick: int) -> int:
    """When the crowd has shrunk so far that this viewer has left."""
    last = len(world.course) - 1
    while tick < last and world.course[tick, CROWD] > lane.fan:
        tick += 1
    return int((tick + draw(lane)) * world.tick_ms)


@lean
def direct(lane: Any, world: Any, t: int) -> None:
    """What a new session plays, and from which CDN: the crowd's event, the next episode, the release, or what was chosen already."""
    course, tick = world.course, tick_of(world, t)
    cdns, chance = len(world.cdns), draw(lane)
    lane.cdn = 0
    while lane.cdn < cdns - 1 and course[tick, CDN_COLUMN + int(lane.cdn)] <= chance:
        lane.cdn += 1
    lane.until = 0
    lane.hooked = 0
    if lane.fan < course[tick, CROWD]:
        lane.title = world.event_title
        lane.until = _leaving(lane, world, tick)
    elif lane.next_title > 0:
        lane.title = lane.next_title - 1
        lane.hooked = 1
    elif lane.episode < world.episodes and draw(lane) < course[tick, RELEASE]:
        lane.title = world.release_title + lane.episode
        lane.hooked = 1
    lane.next_title = 0


@lean
def fails(lane: Any, world: Any, t: int) -> bool:
    """Whether the CDN of the lane's session fails it now."""
    chance = world.course[tick_of(world, t), CDN_COLUMN + len(world.cdns) + int(lane.cdn)]
    return bool(chance > 0.0 and draw(lane) < chance)


@lean
def _following(world: Any, title: int) -> int:
    """The episode after this one, −1 if there is none: the release's next, or the next of the catalogue."""
    if title >= world.release_title:
        return title + 1 if title + 1 < world.release_title + world.episodes else -1
    for other in range(title + 1, min(title + _SEARCHED, world.event_title)):
        if world.kinds[other] == EPISODE_KIND:
            return other
    return -1


@lean
def follow(lane: Any, world: Any, t: int, due: int) -> None:
    """What comes after a session that ended by `due`, where it is not the usual pause: the next episode at once, another try."""
    tick = tick_of(world, t)
    if due == FINISH and lane.title >= world.release_title:
        lane.episode = max(lane.episode, lane.title - world.release_title + 1)
    if due == FINISH and lane.kind == EPISODE_KIND and draw(lane) < world.course[tick, BINGE]:
        following = _following(world, lane.title)
        if following >= 0:
            lane.next_title = following + 1
            lane.at = t + 5_000 + int(draw(lane) * 10_000)  # the countdown of a player (E)
    elif due == FATAL and world.course[tick, CDN_COLUMN + len(world.cdns) + int(lane.cdn)] > 0.0:
        lane.at = t + 2_000 + int(draw(lane) * 13_000)  # an impatient viewer (E)


@lean
def cut_off(lane: Any, world: Any, t: int) -> bool:
    """Whether the lane's region is lost: then the session is over without a word, and the viewer comes when the region is back."""
    back = int(world.course[tick_of(world, t), clock_column(world, lane.region) + 1])
    if back <= t:
        return False
    if lane.phase != WAITING:
        lane.ordinal += 1
    lane.phase = WAITING
    lane.due = PLAY_REQUEST
    lane.next_title = 0
    lane.at = back + 1 + int(draw_exponential(lane, RECONNECT_MS))
    return True
