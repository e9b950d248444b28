"""trending: what is played more now than it used to be, in all and in each region.

A play has a first frame (CTA-2066 "Play"). A title's score is its plays in the last 5 minutes, or hour, ÷ max(floor, expectation); the
expectation is its own plays, decayed with a half-life of 6 hours (Cormode et al., "Forward Decay", ICDE 2009), over as long a span. The
floor keeps a title with 3 plays from winning. The answer has both numbers.
"""

from typing import Final

from topologies.view import DAY, RECENT_MINUTE, Measure, Trend, View

TRENDING: Final = View(
    name="trending",
    summary="plays now against what the title's own decayed past leads to expect",
    groupings=(("title",), ("region", "title")),
    windows=(RECENT_MINUTE, DAY),
    measures=(
        Measure("plays", "playbacks with a first frame", count_of="play_start"),
        Measure("baseline", "plays, decayed", count_of="play_start", half_life_s=6 * 3600),
    ),
    trend=Trend(count="plays", baseline="baseline", spans_s=(300, 3600), floor=10.0),
)
