"""What the simulator takes from this system's own measurements (benchmarks/results): capacity and delays, and the file each is from.

    capacity_per_s     capacity --workers 1..2 of one worker: the most live JSON events a second, all views, with p99 of freshness under
                                               2 s; what `scaling.capacity_per_s` is to be, and never more than was seen to be borne
    join_stands_s      rebalance               the longest of join_moved_s, join_again_moved_s, join_pause_s, join_again_pause_s
    leave_stands_s     rebalance               the longer of leave_moved_s, leave_pause_s
    start_s            rebalance               join_ready_s: from starting a worker until it has partitions
    committed_s        none                    how old what Kafka has as committed is: see COMMITTED_S

The newest file of each counts. Where none is (Marquee installed without its repository), the values of 2026-11-27 stand here.

Not taken: `drain` (610,852 events/s of a core) and `scale` (two workers bear 0.945 of twice one), which are of a preloaded log: far
behind, a worker folds in batches of thousands and flushes more rarely. `recovery` shows the same live: 8 s of a backlog at 50,000
events/s (Arrow) were gone in 2 s. So backlogs go faster than simulated here, whoever scales; what is simulated is the cautious case.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

COMMITTED_S: Final = 3.8
"""Cells and checkpoints reach Cassandra every 5 s (worker.cassandra_flush_s, worker.checkpoint_s), each in its own cycle, and what both
have is acknowledged: of two such cycles the older is on average 2/3 · 5 s old; and half a second until Faust commits (every second)."""


@dataclass(frozen=True)
class Measured:
    """Events a second, and seconds. sources: field → the file that it is from."""

    capacity_per_s: float = 31_560.0
    start_s: float = 3.52
    join_stands_s: float = 2.1
    leave_stands_s: float = 1.22
    committed_s: float = COMMITTED_S
    sources: tuple[tuple[str, str], ...] = ()


def measured(results: Path) -> Measured:
    """What the newest files say."""
    capacity, rebalance = _newest(results, "capacity-workers-1..2"), _newest(results, "rebalance")
    found: dict[str, tuple[float, str]] = {}
    if capacity is not None:
        found["capacity_per_s"] = next(float(one["rate"]) for one in capacity[1]["capacity"] if one["workers"] == 1), capacity[0]
    if rebalance is not None:
        name, figures = rebalance
        joins = ("join_moved_s", "join_again_moved_s", "join_pause_s", "join_again_pause_s")
        found["join_stands_s"] = max(figures[key] for key in joins), name
        found["leave_stands_s"] = max(figures["leave_moved_s"], figures["leave_pause_s"]), name
        found["start_s"] = figures["join_ready_s"], name
    values = {field: value for field, (value, _) in found.items()}
    return replace(Measured(), **values, sources=tuple((field, name) for field, (_, name) in found.items()))


def _newest(results: Path, name: str) -> tuple[str, Mapping[str, Any]] | None:
    """The newest document's file name and what it measured."""
    files = sorted(results.glob(f"????-??-??-{name}.json"))
    return (files[-1].name, json.loads(files[-1].read_bytes())["measured"]) if files else None
