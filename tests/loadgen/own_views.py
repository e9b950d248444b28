"""Views that nobody ships, with every kind of measure: what the auditor has no definition of."""

from __future__ import annotations

from typing import Final

from topologies.view import (
    ANY,
    DAY,
    LIVE,
    MINUTE,
    PLAYBACK_FAILURE,
    START_FAILURE,
    STORED_HOUR,
    Extreme,
    Histogram,
    Measure,
    View,
)

OWN: Final = View(
    name="own",
    summary="every kind of measure",
    groupings=(("kind", "region"), ()),
    windows=(MINUTE, STORED_HOUR),
    measures=(
        Measure("events", "events", count_of=ANY),
        Measure("errors", "errors", count_of="error"),
        Measure("start_failures", "before a first frame", count_of=START_FAILURE),
        Measure("playback_failures", "after it", count_of=PLAYBACK_FAILURE),
        Measure("frames", "frames dropped", sum_of="dropped_frames"),
        Measure("product", "stalls × their time", sum_of="stalls", times="stall_ms"),
        Measure("pauses", "pauses, decayed", count_of="pause", half_life_s=7200),
    ),
    histograms=(Histogram("stalled", "time stalled", of="stall_ms"), Histogram("played", "time played", of="watched_ms", on="stop")),
    extremes=(
        Extreme("best", "greatest bitrate", keep="max", of="bitrate_kbps"),
        Extreme("shortest", "least time played", keep="min", of="watched_ms"),
        Extreme("where", "last position", keep="last", of="position_s"),
    ),
)
OWN_SESSIONS: Final = View(
    name="own_sessions",
    summary="sessions by day",
    groupings=(("device",), ()),
    windows=(DAY,),
    measures=(Measure("sessions", "that are over", sum_of="sessions"), Measure("seconds", "their length", sum_of="length_s", unit="s")),
    histograms=(Histogram("length", "first to last event", of="length_s", unit="s"),),
    of="session",
)
OWN_LIVE: Final = View(
    name="own_live",
    summary="who is live, by CDN",
    groupings=(("cdn", "region"), ()),
    windows=(LIVE, MINUTE),
    measures=(Measure("viewers", "sessions that count"),),
)
