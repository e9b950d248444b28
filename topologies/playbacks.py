"""sessions: how playback sessions went, by title and device, in the hour of their last event (UTC).

A session ends with its `finish`, `stop` or fatal error (its state by greatest seq; CTA-2066 "Playback Ended"), or is closed by silence:
when its partition's watermark is more than 10 minutes past its last event's ts. It counts while it is over, as it stands: if it goes on,
it is taken back, and counts where it is over again. Each of its lives (one ends when it is forgotten) counts for itself.

Its last ts is the greatest of its applied events, its title and device are those of its greatest seq. Completion is the union of the
content seconds (position − watched, position] of its events ÷ the title's runtime, complete at 90 % or more: watched in whole seconds,
rounded down, from content second 0 at the earliest; the runtime of the greatest seq that has one, and none or 0 is never complete. From the
record on at which those seconds are in more than MOST_RUNS runs that do not touch, a session has seen nothing, whatever follows. An exit
before video start is a session that is over without a first frame (CTA-2066 "Exit Before Video Start"). Its length, in whole seconds
rounded down, is from the least ts of its events to the greatest; bins are of a day's milliseconds at most.
"""

from typing import Final

from topologies.view import HOUR, Histogram, Measure, Rate, View

SILENCE_MS: Final = 600_000
"""A session whose last event is more than this behind the watermark is closed (design §4)."""
COMPLETE_PCT: Final = 90
MOST_RUNS: Final = 4096
"""Runs apart from one another that a session's content seconds have at the most: 11 hours of a player that skips a second every 10 s. An
event may have to look at each of them, and each takes 24 bytes of the state."""

SESSIONS: Final = View(
    name="sessions",
    summary="sessions ended, closed by silence, complete, left before video start, and their length, by title and device, hour",
    groupings=(("title", "device"),),
    windows=(HOUR,),
    measures=(
        Measure("sessions", "sessions that are over", sum_of="sessions"),
        Measure("ended", "by finish, stop or a fatal error", sum_of="ended"),
        Measure("closed", "by silence", sum_of="closed"),
        Measure("complete", "that saw 90 % of the title", sum_of="complete"),
        Measure("exits_before_start", "without a first frame", sum_of="exits_before_start"),
    ),
    leaderboard="sessions",
    histograms=(Histogram("length", "first to last event", of="length_s", unit="s"),),
    rates=(
        Rate("completion_pct", "complete ÷ sessions", of=("complete",), over=("sessions",), scale=100, unit="%"),
        Rate("exit_pct", "exits before video start ÷ sessions", of=("exits_before_start",), over=("sessions",), scale=100, unit="%"),
    ),
    of="session",
)
