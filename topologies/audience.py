"""audience: how many different viewers each title had in each region, by hour and day (UTC) of the event's own time.

A viewer is an (account, profile). The count is HyperLogLog's (Flajolet et al. 2007; Heule et al., "HyperLogLog in Practice", 2013) with
p = 14, whose standard error is 1.04 ÷ √(2^14) = 0.8 %. Sketches are united over sources, windows and regions, never added.
"""

from typing import Final

from topologies.view import STORED_DAY, STORED_HOUR, Distinct, View

AUDIENCE: Final = View(
    name="audience",
    summary="different viewers of each title in each region, hour and day",
    groupings=(("title", "region"),),
    windows=(STORED_HOUR, STORED_DAY),
    distincts=(Distinct("viewers", "different (account, profile) with an event"),),
)
