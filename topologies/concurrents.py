"""concurrents: the sessions starting, playing or stalled now, and at each whole minute.

A session counts while the record of its last event is less than 30 s old by its partition's clock: three
heartbeats of 10 s. So a viewer who vanishes leaves by the clock, with no event needed.
"""

from typing import Final

from topologies.view import LIVE, MINUTE, Measure, View

EXPIRY_MS: Final = 30_000
"""A session is live while its freshest record is younger than this (design §4)."""
STALE_MS: Final = 60_000
"""An event whose record comes more than this after its ts makes nobody live (design §4)."""

CONCURRENTS: Final = View(
    name="concurrents",
    summary="viewers starting, playing or stalled: now, and at each whole minute",
    groupings=(("title",), ("region",), ("device",), ()),
    windows=(LIVE, MINUTE),
    measures=(Measure("viewers", "sessions that count"),),
    leaderboard="viewers",
)
