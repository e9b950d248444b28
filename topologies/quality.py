"""quality: how good the picture was, by CDN, region, device and application, minute by minute of the event's own time.

Definitions of CTA-2066 (Streaming Quality of Experience Events, Properties and Metrics): startup time from the request to the first
frame ("Video Startup Time"); the rebuffering percentage is stalled ÷ (stalled + played) ("Rebuffering Percentage", stalls after the first
frame); a video start failure is a fatal error before the first frame, a playback failure one after it; the average bitrate is weighted
by the time played at it (CMCD br).

An event adds at most 8.64 · 10^14 bits (a day at 10 Gbit/s): bits stop at 2^63 − 1 in a cell, which 10,676 such events in one minute of one
cell reach, or a source of 7 · 10^9 viewers at 20 Mbit/s. Stopped bits make bitrate_kbps too low, and nothing else.
"""

from typing import Final

from topologies.view import MINUTE, PLAYBACK_FAILURE, START_FAILURE, Histogram, Measure, Rate, View

QUALITY: Final = View(
    name="quality",
    summary="startup time, rebuffering, bitrate and failures by CDN, region, device and application, by the minute",
    groupings=(("cdn", "region", "device", "app"),),
    windows=(MINUTE,),
    measures=(
        Measure("attempts", "requests to play", count_of="play_request"),
        Measure("plays", "playbacks with a first frame", count_of="play_start"),
        Measure("start_failures", "fatal errors before a first frame", count_of=START_FAILURE),
        Measure("playback_failures", "fatal errors after it", count_of=PLAYBACK_FAILURE),
        Measure("watched_ms", "time played", sum_of="watched_ms", unit="ms"),
        Measure("stall_ms", "time stalled", sum_of="stall_ms", unit="ms"),
        Measure("stalls", "how often it stalled", sum_of="stalls"),
        Measure("bits", "bitrate × time played", sum_of="bitrate_kbps", times="watched_ms", unit="bit"),
    ),
    histograms=(Histogram("startup", "request to first frame", of="startup_ms", on="play_start", unit="ms"),),
    rates=(
        Rate("rebuffer_pct", "stalled ÷ (stalled + played)", of=("stall_ms",), over=("stall_ms", "watched_ms"), scale=100, unit="%"),
        Rate("bitrate_kbps", "average bitrate while playing", of=("bits",), over=("watched_ms",), unit="kbit/s"),
        Rate("start_failure_pct", "start failures ÷ attempts", of=("start_failures",), over=("attempts",), scale=100, unit="%"),
        Rate("playback_failure_pct", "playback failures ÷ plays", of=("playback_failures",), over=("plays",), scale=100, unit="%"),
    ),
)
