"""One viewer, step by step: a seat in which sessions follow each other, each a little state machine.

    waiting ─play_request→ requested ─(ad_start, ad_end)→ preroll ─play_start→ started ─finish | stop | error→ waiting …

A started session sends a heartbeat every 10 s of its time. At each one chance decides what else happens before the next:
a stall, a pause, a seek, another rendition, an advert, an error. Measures are increments since the session's previous event.
All is drawn from the lane's own counter, so a lane's events depend on nothing but (seed, lane).
Letters after a figure are loadmodel.md's: M measured, V read in its source, E an engineering choice.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from loadgen.arrivals import gap
from loadgen.course import cut_off, direct, fails, follow
from loadgen.draws import draw, draw_lognormal, pick
from loadgen.rows import (
    AD_END,
    AD_START,
    ADVERT,
    ERROR,
    FATAL,
    FINISH,
    HEARTBEAT,
    NOTHING,
    PAUSE,
    PAUSED,
    PLAY_REQUEST,
    PLAY_START,
    PLAYING,
    PREROLL,
    RENDITION,
    REQUESTED,
    RESUME,
    SEEK,
    STALL,
    STALLED,
    STARTED,
    STARTS,
    STARTS_WEAKLY,
    STOP,
    WAITING,
    WATCHES,
    WEAKLY,
)  # fmt: skip
from topologies.compiled import lean

HEARTBEAT_MS: Final = 10_000
"""V (Adobe, customer.io)."""
LIVE_KIND: Final = 2
START_FAILURE: Final = 0.015
"""Share of attempts that end before the first frame (V, E)."""
COMPLETES: Final = 0.20
"""Share of views watched to the end (Chen et al. 2013, V)."""
HOOKED: Final = 0.70
"""The same of who goes on with a series, or came for a release: Netflix calls an episode the one that hooks from this share on (V)."""
STAYS: Final = 0.88
"""Share of a crowd that stays to the end (E)."""
LONGEST_MS: Final = 72_000_000
"""20 h: where the watch time's lognormal is cut (M)."""

_STALL, _STALL_WEAK = 0.0008, 0.04
_RENDITION, _RENDITION_WEAK = 0.01, 0.12
_PAUSE, _SEEK, _ERROR, _FATAL, _ADVERT = 0.003, 0.0025, 0.0003, 0.0001, 0.008
"""Chances in 10 s of play: 17 % of views have a pause (M), a view has 0.5-1 seeks in bursts (E),
14.7 % of steps switch on weak networks (M)."""


@lean
def _measure(lane: Any, t: int, row: Any) -> None:
    """What was watched and stalled since the last event."""
    watched = np.int64(0)
    stalled = np.int64(0)
    if lane.phase == STARTED:
        if lane.mode == PLAYING:
            watched = t - lane.last
        elif lane.mode == STALLED:
            stalled = max(min(t, lane.mode_until) - lane.last, np.int64(0))
            watched = max(t - max(lane.mode_until, lane.last), np.int64(0))
            if t >= lane.mode_until:
                lane.mode = PLAYING
    lane.last = t
    lane.played += watched
    lane.position += watched
    row.watched = watched
    row.stalled = stalled
    row.position_s = lane.position // 1000
    row.rung = lane.rung


@lean
def _plan(lane: Any, t: int) -> None:
    """The next event: the heartbeat, unless something comes before it."""
    lane.at = lane.beat
    lane.due = HEARTBEAT
    if lane.hazard != NOTHING and lane.hazard_at < lane.at:
        lane.at = lane.hazard_at
        lane.due = lane.hazard
    if lane.mode == PAUSED or lane.mode == ADVERT:
        if lane.mode_until < lane.at:
            lane.at = lane.mode_until
            lane.due = AD_END if lane.mode == ADVERT else STOP if draw(lane) < 0.1 else RESUME
    else:
        end = max(lane.last, lane.mode_until if lane.mode == STALLED else lane.last) + lane.end_played - lane.played
        if lane.until > 0:
            end = min(end, lane.until)  # the crowd goes, whatever they have seen of it
        if end <= lane.at:
            lane.at = end
            lane.due = FINISH if lane.finishes else STOP
    lane.at = max(lane.at, t + 1)


@lean
def _chance(lane: Any, t: int) -> None:
    """Whether something happens before the next heartbeat, what and when."""
    limit = 0.0
    chance = draw(lane)
    lane.hazard_at = t + 300 + int(draw(lane) * 9_000)
    for hazard, share in (
        (RENDITION, _RENDITION_WEAK if lane.weak else _RENDITION),
        (STALL, _STALL_WEAK if lane.weak else _STALL),
        (PAUSE, _PAUSE),
        (SEEK, 0.0 if lane.kind == LIVE_KIND else _SEEK),
        (AD_START, _ADVERT if lane.adverts else 0.0),
        (ERROR, _ERROR),
        (FATAL, _FATAL),
    ):
        limit += share
        if chance < limit:
            lane.hazard = hazard
            if hazard == SEEK:
                lane.seeks = 1 + int(draw(lane) * 5)
            return


@lean
def _seek(lane: Any, t: int) -> None:
    """A jump of 10 s to 2 min either way, within the title; a burst goes on."""
    jump = int((draw(lane) * 2 - 1) * 120_000)
    jump += 10_000 if jump >= 0 else -10_000
    left = lane.end_played - lane.played
    lane.position = max(0, min(lane.position + jump, lane.runtime_s * 1000 - left))
    lane.seeks -= 1
    if lane.seeks > 0:
        lane.hazard = SEEK
        lane.hazard_at = t + 1_000 + int(draw(lane) * 2_000)


@lean
def _begin(lane: Any, world: Any, t: int) -> None:
    """Chooses what is watched, for how long, and how the start goes."""
    lane.title = pick(world.popularity, draw(lane))
    lane.cdn = pick(world.cdns, draw(lane))
    if world.tick_ms > 0.0:
        direct(lane, world, t)
    lane.kind = world.kinds[lane.title]
    lane.runtime_s = world.runtimes_s[lane.title]
    lane.profile = int(draw(lane) * lane.profiles)
    lane.weak = draw(lane) < world.players[lane.platform, WEAKLY]
    lane.vanish = draw(lane) < world.vanish
    lane.rung = int(draw(lane) * 4) if lane.weak else 3 + int(draw(lane) * (world.ladder - 3))
    lane.phase = REQUESTED
    lane.mode = PLAYING
    lane.hazard = NOTHING
    lane.seeks = 0
    lane.seq = 0
    lane.played = 0
    lane.position = 0
    lane.finishes = 0
    # Startup: Puffer's lognormal (M), times 5 for ordinary OTT (E).
    slower = world.players[lane.platform, STARTS] * (world.players[lane.platform, STARTS_WEAKLY] if lane.weak else 1.0)
    lane.startup = int(min(1000 * draw_lognormal(lane, 0.3, 1.0) * slower, 60_000.0))
    watch = min(1000 * draw_lognormal(lane, 5.20 + world.players[lane.platform, WATCHES], 2.49), float(LONGEST_MS))
    if lane.kind == LIVE_KIND:
        lane.end_played = int(draw(lane) * LONGEST_MS) if lane.wave else int(watch)
        lane.wave = 0
        if lane.until > t and draw(lane) < STAYS:
            lane.end_played = LONGEST_MS
        return
    runtime = lane.runtime_s * 1000
    if lane.wave or draw(lane) < 0.15:
        # The first session of those who are there from the start, and some others, go on where they had stopped.
        lane.position = int(draw(lane) * 0.9 * runtime)
    left = runtime - lane.position
    if draw(lane) < (0.5 if lane.wave else HOOKED if lane.hooked else COMPLETES):
        lane.finishes = 1
        lane.end_played = left
    else:
        lane.end_played = int(draw(lane) * left) if lane.wave else min(int(watch), int(left * 0.95))
    lane.wave = 0


@lean
def _start_up(lane: Any, world: Any, t: int, due: int, row: Any) -> None:
    """From the request to the first frame, or to a start that fails or is given up."""
    if due == PLAY_REQUEST:
        slow_s = lane.startup / 1000 - 2
        chance = draw(lane)
        if chance < START_FAILURE:
            lane.due = FATAL
            lane.at = t + lane.startup
        elif world.tick_ms > 0.0 and fails(lane, world, t):
            lane.due = FATAL
            lane.at = t + 5_000 + int(draw(lane) * 10_000)
        elif slow_s > 0 and draw(lane) < min(0.058 * slow_s, 0.9):
            # 5.8 % more give up with each second after two (Krishnan and Sitaraman 2012, V).
            lane.due = STOP
            lane.at = t + 2000 + int(draw(lane) * slow_s * 1000)
        elif lane.adverts and draw(lane) < 0.7:
            lane.due = AD_START
            lane.at = t + 200 + int(draw(lane) * 600)
        else:
            lane.due = PLAY_START
            lane.at = t + lane.startup
    elif due == AD_START:
        lane.phase = PREROLL
        lane.due = AD_END
        lane.at = t + (10_000 if draw(lane) < 0.5 else 15_000)
    elif due == AD_END:
        lane.due = PLAY_START
        lane.at = t + lane.startup
    else:
        lane.phase = STARTED
        row.startup = lane.startup
        lane.beat = t + HEARTBEAT_MS
        _plan(lane, t)


@lean
def _play_on(lane: Any, world: Any, t: int, due: int, row: Any) -> None:
    """An event of a started session: what it changes."""
    if due == HEARTBEAT:
        lane.beat = t + HEARTBEAT_MS
        if lane.mode == PLAYING and lane.hazard == NOTHING:
            _chance(lane, t)
            if world.tick_ms > 0.0 and fails(lane, world, t):
                lane.hazard = FATAL if draw(lane) < 0.5 else STALL
        if lane.weak and draw(lane) < 0.2:
            row.dropped = 1 + int(draw(lane) * 30)
    elif due == RESUME or due == AD_END:
        lane.mode = PLAYING
    else:
        lane.hazard = NOTHING
        if due == STALL:
            row.stalls = 1
            lane.mode = STALLED
            lane.mode_until = t + int(min(1000 * draw_lognormal(lane, 0.4, 1.0), 60_000.0)) + 1
        elif due == PAUSE:
            lane.mode = PAUSED
            lane.mode_until = t + int(min(1000 * draw_lognormal(lane, 3.8, 1.3), 7_200_000.0)) + 1
        elif due == AD_START:
            lane.mode = ADVERT
            lane.mode_until = t + 15_000 + 15_000 * int(draw(lane) * 4)
        elif due == SEEK:
            _seek(lane, t)
        elif due == RENDITION:
            up = draw(lane) < 0.5
            lane.rung = min(lane.rung + 1, world.ladder - 1) if up else max(lane.rung - 1, 0)
        elif due == ERROR:
            row.error = 1 + int(draw(lane) * world.errors)
    _plan(lane, t)


@lean
def _end(lane: Any, world: Any, t: int, due: int, row: Any) -> bool:
    """The session's last event, unless the viewer vanishes; then the pause before the next session."""
    sent = due == FATAL or not lane.vanish
    if due == FATAL:
        row.fatal = 1
        row.error = 1 + int(draw(lane) * world.errors)
    lane.phase = WAITING
    lane.ordinal += 1
    lane.due = PLAY_REQUEST
    lane.at = t + gap(lane, world, t)
    if world.tick_ms > 0.0:
        follow(lane, world, t, due)
    return sent


@lean
def step(lane: Any, world: Any, row: Any) -> bool:
    """Makes the lane's next event, which is due at lane.at, in `row`, and plans the one after. False: nothing is sent for it."""
    t = lane.at
    due = lane.due
    if world.tick_ms > 0.0 and cut_off(lane, world, t):
        return False
    if due == PLAY_REQUEST:
        _begin(lane, world, t)
    row.ts = t
    row.type = ERROR if due == FATAL else due
    row.ordinal = lane.ordinal
    row.seq = lane.seq
    row.title = lane.title
    row.runtime_s = lane.runtime_s
    row.kind = lane.kind
    row.cdn = lane.cdn
    row.profile = lane.profile
    row.stalls = 0
    row.startup = 0
    row.dropped = 0
    row.fatal = 0
    row.error = 0
    _measure(lane, t, row)
    if due == FINISH or due == STOP or due == FATAL:
        return _end(lane, world, t, due, row)
    lane.seq += 1
    if lane.phase == STARTED:
        _play_on(lane, world, t, due, row)
    else:
        _start_up(lane, world, t, due, row)
    row.position_s = lane.position // 1000
    row.rung = lane.rung
    return True
