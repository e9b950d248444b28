"""watch_time: how long each title was watched in each region, by hour and day (UTC) of the event's own time.

A play has a first frame (CTA-2066 "Play"): play_start. An attempt is a request to play (CTA-2066 "Play Attempt"): play_request.
"""

from typing import Final

from topologies.view import DAY, HOUR, Measure, View

WATCH_TIME: Final = View(
    name="watch_time",
    summary="time watched, plays and attempts by title and region, hour and day",
    groupings=(("title", "region"),),
    windows=(HOUR, DAY),
    measures=(
        Measure("watched_ms", "time played", sum_of="watched_ms", unit="ms"),
        Measure("plays", "playbacks with a first frame", count_of="play_start"),
        Measure("attempts", "requests to play", count_of="play_request"),
    ),
    leaderboard="watched_ms",
)
