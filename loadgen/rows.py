"""The shapes that the kernels share: a lane (one viewer's seat), an event, and the world they live in.

Times within a run are milliseconds since the start of its span. Everything is an integer or an index into a table of
loadgen.catalogue; text appears only when an event is written (loadgen.encode).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

(
    PLAY_REQUEST, PLAY_START, HEARTBEAT, PAUSE, RESUME, SEEK, STALL,
    RENDITION, AD_START, AD_END, ERROR, FINISH, STOP, FATAL, NOTHING,
) = range(15)  # fmt: skip
"""Types by their index in topologies.events.TYPES; FATAL is an error that ends the session; NOTHING: no event is planned."""

WAITING, REQUESTED, PREROLL, STARTED, DONE = range(5)
"""Phases of a lane."""
PLAYING, STALLED, PAUSED, ADVERT = range(4)
"""Modes of a started session."""
(
    WELL, NEAR, FAR, AGAIN, MINUTES, HOURS, DAYS, BEHIND, MALFORMED, VERSION, AHEAD, DELAYED, BURST, SKEWED, MOVED, LOST,
) = range(16)  # fmt: skip
"""What is broken about an event: nothing; sent twice, soon, later or with all of half a minute; told late, by how much, or by a clock
that is behind; dead, being mangled, of another version or by a clock that is ahead; held back, alone or with all of half a minute; told
by a clock that is a little off; under another key; never sent. What has one class stands together: NEAR to AGAIN are duplicates, MINUTES
to BEHIND late, MALFORMED to AHEAD dead."""
FAULTS: Final = LOST + 1
CDN_COLUMN: Final = 4
CROWD, CROWD_PEAK, RELEASE, BINGE = range(CDN_COLUMN)
"""The first columns of World.course: shares of the audience that the crowd has now and had at most so far, of new plays that are of the
release, of finished episodes that the next one follows. Then of each CDN its cumulative share of new sessions, of each CDN the chance of
failing, of each region its clock (ms, which goes as fast as viewers come) and when it is back (ms; 0: it is there)."""
WATCHES, WEAKLY, STARTS, STARTS_WEAKLY = range(4)
"""Columns of World.players: what is added to the logarithm of the watch time, the share of weak networks, by what the time to the first
frame is multiplied, and by what besides on a weak network."""

LANE: Final = np.dtype(
    [
        ("key", "u8"), ("draws", "u8"), ("records_left", "i8"), ("at", "i8"), ("last", "i8"), ("mode_until", "i8"), ("beat", "i8"),
        ("hazard_at", "i8"), ("end_played", "i8"), ("played", "i8"), ("position", "i8"), ("account", "i8"), ("skew", "i8"), ("until", "i8"),
        ("fan", "f8"), ("ordinal", "i4"), ("seq", "i4"), ("title", "i4"), ("runtime_s", "i4"), ("startup", "i4"), ("next_title", "i4"),
        ("phase", "u1"), ("mode", "u1"), ("due", "u1"), ("hazard", "u1"), ("kind", "u1"), ("cdn", "u1"), ("profile", "u1"),
        ("rung", "u1"), ("seeks", "u1"), ("place", "u1"), ("platform", "u1"), ("profiles", "u1"),
        ("weak", "u1"), ("vanish", "u1"), ("finishes", "u1"), ("adverts", "u1"), ("wave", "u1"),
        ("region", "u2"), ("episode", "u2"), ("hooked", "u1"), ("clock", "u1"), ("moves", "u1"),
    ],
    align=True,
)  # fmt: skip
"""`fan`: how early the viewer joins a crowd, in [0, 1); `until`: when the crowd leaves; `next_title`: one more than the one that follows,
0 for none; `hooked`: watches to the end, probably; `clock`: SKEWED, BEHIND or AHEAD, by `skew` ms; `moves`: from this event of a session on
the key is another one, 0 for never."""

EVENT: Final = np.dtype(
    [
        ("arrival", "i8"), ("ts", "i8"), ("lane", "i4"), ("ordinal", "i4"), ("seq", "i4"), ("title", "i4"), ("runtime_s", "i4"),
        ("position_s", "i4"), ("watched", "i4"), ("stalled", "i4"), ("startup", "i4"), ("dropped", "i4"), ("chance", "u4"),
        ("type", "u1"), ("stalls", "u1"), ("fatal", "u1"), ("error", "u1"), ("rung", "u1"), ("kind", "u1"), ("cdn", "u1"),
        ("profile", "u1"), ("fault", "u1"), ("copy", "u1"), ("held", "u1"), ("moved", "u1"),
    ],
    align=True,
)  # fmt: skip
"""`chance`: 32 random bits for whoever breaks the event, 0 where nobody does; `copy`: this record is a duplicate's second one; `held`: it
comes when its half minute is over; `moved`: its key is the other one."""


class World(NamedTuple):
    """All that the viewers share. Shares are cumulative, f8.

    players f8[platforms, 4]. zones u2[places]: their regions. faults f8[2, FAULTS] (loadgen.faults.Faults.limits).
    course f8[ticks + 1, …]: what a scenario makes of each of its ticks; tick_ms 0 and no rows without one. The titles of its event and of
    its release's episodes follow those of the catalogue.
    """

    seed: int
    span_ms: int
    live: bool
    popularity: NDArray[np.float64]
    kinds: NDArray[np.uint8]
    runtimes_s: NDArray[np.int32]
    places: NDArray[np.float64]
    platforms: NDArray[np.float64]
    zones: NDArray[np.uint16]
    players: NDArray[np.float64]
    cdns: NDArray[np.float64]
    ladder: int
    errors: int
    first_hour: int
    day: NDArray[np.float64]
    vanish: float
    faults: NDArray[np.float64]
    warp_bin_ms: float
    warp: NDArray[np.float64]
    tick_ms: float
    course: NDArray[np.float64]
    event_title: int
    release_title: int
    episodes: int
