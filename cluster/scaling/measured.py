"""What the simulator takes from this system's own measurements (benchmarks/results): capacity and delays, and the file each is from.

    capacity_per_s     freshness --share 0.7   sustained_rate: live JSON events a second of one worker, all views, fresh within a second
    join_stands_s      rebalance               the longest of join_moved_s, join_again_moved_s, join_pause_s, join_again_pause_s
    leave_stands_s     rebalance               the longer of leave_moved_s, leave_pause_s
    start_s            rebalance               join_ready_s: from starting a worker until it has partitions; START_S until that is measured
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

START_S: Final = 20.0
"""Workers that tests start beside each other on two busy cores have partitions after 13 to 23 s (2026-11-26). On a core of its own it is
3.7 s until kernels are loaded, and joining."""
COMMITTED_S: Final = 3.8
"""Cells and checkpoints reach Cassandra every 5 s (worker.cassandra_flush_s, worker.checkpoint_s), each in its own cycle, and what both
have is acknowledged: of two such cycles the older is on average 2/3 · 5 s old; and half a second until Faust commits (every second)."""


@dataclass(frozen=True)
class Measured:
    """Events a second, and seconds. sources: field → the file that it is from."""

    capacity_per_s: float = 33_130.0
    start_s: float = START_S
    join_stands_s: float = 2.94
    leave_stands_s: float = 1.14
    committed_s: float = COMMITTED_S
    sources: tuple[tuple[str, str], ...] = ()


def measured(results: Path) -> Measured:
    """What the newest files say."""
    freshness, rebalance = _newest(results, "freshness-share-0.7"), _newest(results, "rebalance")
    found: dict[str, tuple[float, str]] = {}
    if freshness is not None:
        found["capacity_per_s"] = freshness[1]["sustained_rate"], freshness[0]
    if rebalance is not None:
        name, figures = rebalance
        joins = ("join_moved_s", "join_again_moved_s", "join_pause_s", "join_again_pause_s")
        found["join_stands_s"] = max(figures[key] for key in joins), name
        found["leave_stands_s"] = max(figures["leave_moved_s"], figures["leave_pause_s"]), name
        if "join_ready_s" in figures:
            found["start_s"] = figures["join_ready_s"], name
    values = {field: value for field, (value, _) in found.items()}
    return replace(Measured(), **values, sources=tuple((field, name) for field, (_, name) in found.items()))


def _newest(results: Path, name: str) -> tuple[str, Mapping[str, Any]] | None:
    """The newest document's file name and what it measured."""
    files = sorted(results.glob(f"????-??-??-{name}.json"))
    return (files[-1].name, json.loads(files[-1].read_bytes())["measured"]) if files else None
