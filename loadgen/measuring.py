"""From processes' counters (loadgen.produce) to what a load's stretch cost and how late it was."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadgen.measured import Measured, bottleneck, ceiling, delays_of
from loadgen.produce import (
    BLOCKED_MS,
    CONFIRMED,
    CPU_MS,
    HANDED_OVER,
    LATE_SENDS,
    MAX_CONFIRMED_MS,
    MAX_LATENESS_MS,
    RSS_KB,
    SENDING_MS,
    SENT,
    STARTUP_CPU_MS,
)
from topologies.bins import BINS


@dataclass(frozen=True)
class Outside:
    """What no process counts: CPU of the parent's thread that plans and waits, and of the broker (None: not known), seconds; the time that
    it all took."""

    parent_cpu_s: float
    broker_cpu_s: float | None
    sending_s: float


def measured(counters: NDArray[np.int64], outside: Outside) -> Measured:
    """counters i8[processes, COUNTERS]."""
    cpu_s, sent = counters[:, CPU_MS] / 1000, int(counters[:, SENT].sum())
    used = float(cpu_s.sum()) + outside.parent_cpu_s
    busiest, blocked = (greatest_share(counters[:, part], counters[:, SENDING_MS]) for part in (CPU_MS, BLOCKED_MS))
    late = int(counters[:, LATE_SENDS].sum()) / max(1, sent)
    handed_over, confirmed = (counters[:, first : first + BINS].sum(axis=0) for first in (HANDED_OVER, CONFIRMED))
    return Measured(
        sending_s=round(outside.sending_s, 3),
        events_per_s=round(sent / outside.sending_s, 1) if outside.sending_s else 0.0,
        cpu_s=round(used, 3),
        events_per_core_second=round(sent / used, 1) if used else 0.0,
        startup_cpu_s=round(float(counters[:, STARTUP_CPU_MS].sum()) / 1000, 3),
        broker_cpu_s=None if outside.broker_cpu_s is None else round(outside.broker_cpu_s, 3),
        busiest_core_share=round(busiest, 3),
        blocked_share=round(blocked, 3),
        rss_mb=greatest_rss_mb(counters),
        handed_over=delays_of(handed_over, int(counters[:, MAX_LATENESS_MS].max())),
        confirmed=delays_of(confirmed, int(counters[:, MAX_CONFIRMED_MS].max())),
        late_share=round(late, 6),
        bottleneck=bottleneck(late, busiest, blocked),
        ceiling_events_per_s=round(ceiling(sent, cpu_s.tolist(), cores()), 1),
    )


def greatest_rss_mb(counters: NDArray[np.int64]) -> float:
    """The greatest resident memory that a process has had, MiB."""
    return round(int(counters[:, RSS_KB].max()) / 1024, 1)


def greatest_share(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> float:
    """The greatest of parts[i] ÷ wholes[i]; 0 where there is no whole."""
    return float((parts / np.maximum(wholes, 1)).max(initial=0.0))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))
