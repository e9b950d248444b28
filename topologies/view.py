"""The View declaration: what a view is by, in which windows, and what it measures.

From a declaration follow the fold's cell tables, the Cassandra table, the Redis keys, the query and the documentation.

    WATCH_TIME = View(
        name="watch_time", summary="…",
        groupings=(("title", "region"),),
        windows=(HOUR, DAY),
        measures=(Measure("watched_ms", "sum of watched_ms", sum_of="watched_ms"),
                  Measure("plays", "first frames", count_of="play_start")),
    )
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from topologies.errors import DeclarationError
from topologies.events import TYPES

DIMENSIONS: Final = ("title", "region", "country", "device", "os", "app", "cdn", "asn", "kind")
SUMMABLE: Final = ("watched_ms", "stall_ms", "stalls", "startup_ms", "bitrate_kbps", "dropped_frames")
MAX_DIMENSIONS: Final = 3
"""So many dimensions fit a cell's key."""
KEY_SEPARATOR: Final = "\x1f"


@dataclass(frozen=True)
class Window:
    """How a view cuts time.

    `length_ms` is 0 for the live window (now). `pack_ms` is the span that shares a stored pack.
    `cached` windows are kept in Redis as well as in Cassandra; `retention_s` counts from the window's end (0: for ever).
    """

    name: str
    length_ms: int
    pack_ms: int
    cached: bool
    retention_s: int

    def start_of(self, ts_ms: int) -> int:
        """Start of the window that holds `ts_ms` (epoch milliseconds, UTC)."""
        return ts_ms - ts_ms % self.length_ms if self.length_ms else 0

    def pack_of(self, start_ms: int) -> int:
        """Start of the pack that holds the window starting at `start_ms`."""
        return start_ms - start_ms % self.pack_ms if self.pack_ms else 0


LIVE: Final = Window("live", 0, 0, cached=True, retention_s=0)
MINUTE: Final = Window("minute", 60_000, 900_000, cached=False, retention_s=0)
HOUR: Final = Window("hour", 3_600_000, 3_600_000, cached=True, retention_s=26 * 3600)
DAY: Final = Window("day", 86_400_000, 86_400_000, cached=True, retention_s=8 * 86_400)


@dataclass(frozen=True)
class Measure:
    """One integer of a cell. Exactly one of: the sum of a field over applied events, the number of applied events of one
    type, or (neither) a value that the view's own fold keeps."""

    name: str
    summary: str
    sum_of: str | None = None
    count_of: str | None = None
    unit: str = ""


@dataclass(frozen=True)
class View:
    """One view. Raises DeclarationError, naming what to change, when it is declared wrongly."""

    name: str
    summary: str
    groupings: tuple[tuple[str, ...], ...]
    windows: tuple[Window, ...]
    measures: tuple[Measure, ...]
    leaderboard: str | None = None
    """The measure whose totals are ranked, for top-K."""
    logic_version: int = 1

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", self.name):
            raise DeclarationError(f"view name {self.name!r}: use lower-case letters, digits and underscores")
        if not self.groupings or len({tuple(sorted(grouping)) for grouping in self.groupings}) != len(self.groupings):
            raise DeclarationError(f"view {self.name}: declare at least one grouping, each once; () is the grand total")
        if not self.windows or len({window.name for window in self.windows}) != len(self.windows):
            raise DeclarationError(f"view {self.name}: declare at least one window, each once")
        for grouping in self.groupings:
            if len(set(grouping)) != len(grouping) or len(grouping) > MAX_DIMENSIONS:
                raise DeclarationError(
                    f"view {self.name}: a grouping is by at most {MAX_DIMENSIONS} dimensions, each once; {grouping} is not"
                )
            for dimension in grouping:
                if dimension not in DIMENSIONS:
                    raise DeclarationError(f"view {self.name}: {dimension!r} is no dimension; choose from {', '.join(DIMENSIONS)}")
        names = [measure.name for measure in self.measures]
        if not names or len(set(names)) != len(names):
            raise DeclarationError(f"view {self.name}: declare at least one measure, each with a name of its own")
        for measure in self.measures:
            if measure.sum_of is not None and measure.count_of is not None:
                raise DeclarationError(f"view {self.name}: {measure.name} is a sum or a count, not both; make two measures of it")
            if measure.count_of is not None and measure.count_of not in TYPES:
                raise DeclarationError(f"view {self.name}: {measure.count_of!r} is no type of event; choose from {', '.join(TYPES)}")
            if measure.sum_of is not None and measure.sum_of not in SUMMABLE:
                raise DeclarationError(f"view {self.name}: {measure.sum_of!r} cannot be summed; choose from {', '.join(SUMMABLE)}")
        if self.leaderboard is not None and self.leaderboard not in names:
            raise DeclarationError(f"view {self.name}: leaderboard {self.leaderboard!r} is none of its measures {', '.join(names)}")

    @property
    def table(self) -> str:
        """Name of the view's table of packs."""
        return f"cells_{self.name}_{self.logic_version}"

    @property
    def ranked(self) -> int | None:
        """Which of its measures, from 0, the leaderboard ranks; None without one."""
        return None if self.leaderboard is None else [measure.name for measure in self.measures].index(self.leaderboard)

    def window(self, name: str) -> Window:
        """The declared window of that name; DeclarationError if there is none."""
        for window in self.windows:
            if window.name == name:
                return window
        raise DeclarationError(f"view {self.name} has no window {name!r}; it has {', '.join(w.name for w in self.windows)}")
