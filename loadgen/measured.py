"""What a load cost and how late it was, measured while it ran: rates, CPU, lateness from the intended time, and who held it up.

Lateness is binned in milliseconds (topologies.bins, 1.6 % at most from the truth), so that it takes the same memory however long a run is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.bins import BINS, middle_of

LATE_SHARE: Final = 0.001
"""A run of which a greater share was handed over late was held up by something."""
BUSY: Final = 0.9
"""A process that takes so much of a core while it sends can make no more."""
BLOCKED: Final = 0.05
"""A process that waits for room in its producer's queue for such a share of its time is held up by the broker."""

_MIDDLES: Final = np.array([middle_of(number) for number in range(BINS)])
_EDGES: Final = (_MIDDLES[:-1] + _MIDDLES[1:]) / 2


@dataclass(frozen=True)
class Delays:
    """From the intended time on, milliseconds."""

    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


@dataclass(frozen=True)
class Measured:
    """Of a run's last stretch. CPU is of all threads; `cpu_s` is of planning, making and sending, of all processes."""

    sending_s: float
    """From the first intended time until the broker had confirmed everything."""
    events_per_s: float
    cpu_s: float
    events_per_core_second: float
    startup_cpu_s: float
    """Of starting the processes, before there is anything to make: the interpreter, its libraries, the kernels."""
    broker_cpu_s: float | None
    """The broker's meanwhile; None where it is not known."""
    busiest_core_share: float
    """CPU of the busiest process, of the time in which it sent."""
    blocked_share: float
    """Of its time, how long the process that waited longest waited for room in its producer's queue, which the broker empties."""
    rss_mb: float
    """The greatest resident memory of a process, MiB."""
    handed_over: Delays
    """Of a live run's events, until they were handed to the producer."""
    confirmed: Delays
    """Of the oldest record of each hand-over of a live run, until the broker had confirmed it."""
    late_share: float
    bottleneck: str
    """Who made a live run late: generator (its processes had no CPU left to use), broker (it took no more), machine (neither: somebody
    else had the cores); empty when it was not late."""
    ceiling_events_per_s: float
    """What these processes could make, each with a core of its own as far as there are cores: by the CPU that an event took."""


def add_delays(delays_ms: NDArray[np.floating[Any]], sizes: NDArray[np.int64], bins: NDArray[np.int64]) -> None:
    """Count delays f8[n], of so many events each i8[n], in bins i8[topologies.bins.BINS]; what is early is not late at all."""
    nearest = np.searchsorted(_EDGES, delays_ms)
    bins += np.bincount(nearest, weights=sizes, minlength=BINS).astype(np.int64)


def delays_of(bins: NDArray[np.int64], greatest_ms: float) -> Delays:
    """Quantiles of what was counted; the greatest is known exactly."""
    total = int(bins.sum())
    if not total:
        return Delays()
    reached = np.cumsum(bins)
    p50, p99 = (float(_MIDDLES[np.searchsorted(reached, np.ceil(share * total))]) for share in (0.5, 0.99))
    return Delays(min(p50, greatest_ms), min(p99, greatest_ms), greatest_ms)


def bottleneck(late_share: float, busiest: float, blocked: float) -> str:
    """Who made a run late, by what its processes did meanwhile; see Measured."""
    if late_share <= LATE_SHARE:
        return ""
    return "broker" if blocked >= BLOCKED else "generator" if busiest >= BUSY else "machine"


def ceiling(events: int, cpu_s: Sequence[float], cores: int) -> float:
    """Events a second that as many processes could make, of which each used so much CPU for its share of the events."""
    used = sum(cpu_s)
    return events / used * min(len(cpu_s), cores) if used else 0.0
