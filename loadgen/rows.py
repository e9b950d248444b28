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
WELL, NEAR, FAR, LATE, MALFORMED, DELAYED = range(6)
"""What is broken about an event: nothing, duplicated soon or later, shifted back, mangled, held back."""

LANE: Final = np.dtype(
    [
        ("key", "u8"), ("draws", "u8"), ("records_left", "i8"), ("at", "i8"), ("last", "i8"), ("mode_until", "i8"), ("beat", "i8"),
        ("hazard_at", "i8"), ("end_played", "i8"), ("played", "i8"), ("position", "i8"), ("account", "i8"),
        ("ordinal", "i4"), ("seq", "i4"), ("title", "i4"), ("runtime_s", "i4"), ("startup", "i4"),
        ("phase", "u1"), ("mode", "u1"), ("due", "u1"), ("hazard", "u1"), ("kind", "u1"), ("cdn", "u1"), ("profile", "u1"),
        ("rung", "u1"), ("seeks", "u1"), ("place", "u1"), ("platform", "u1"), ("profiles", "u1"),
        ("weak", "u1"), ("vanish", "u1"), ("finishes", "u1"), ("adverts", "u1"), ("wave", "u1"),
    ],
    align=True,
)  # fmt: skip

EVENT: Final = np.dtype(
    [
        ("arrival", "i8"), ("ts", "i8"), ("lane", "i4"), ("ordinal", "i4"), ("seq", "i4"), ("title", "i4"), ("runtime_s", "i4"),
        ("position_s", "i4"), ("watched", "i4"), ("stalled", "i4"), ("startup", "i4"), ("dropped", "i4"), ("chance", "u4"),
        ("type", "u1"), ("stalls", "u1"), ("fatal", "u1"), ("error", "u1"), ("rung", "u1"), ("kind", "u1"), ("cdn", "u1"),
        ("profile", "u1"), ("fault", "u1"), ("copy", "u1"),
    ],
    align=True,
)  # fmt: skip
"""`chance`: 32 random bits for whoever breaks the event; `copy`: this record is a duplicate's second one."""


class World(NamedTuple):
    """All that the viewers share. Shares are cumulative, f8; fault limits are cumulative too: duplicates, late, malformed, delayed."""

    seed: int
    span_ms: int
    live: bool
    popularity: NDArray[np.float64]
    kinds: NDArray[np.uint8]
    runtimes_s: NDArray[np.int32]
    places: NDArray[np.float64]
    platforms: NDArray[np.float64]
    shifts: NDArray[np.float64]
    cdns: NDArray[np.float64]
    ladder: int
    errors: int
    first_hour: int
    day: NDArray[np.float64]
    vanish: float
    faults: NDArray[np.float64]
    warp_bin_ms: float
    warp: NDArray[np.float64]
