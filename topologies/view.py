"""The View declaration: what a view is by, in which windows, and what it measures.

From a declaration follow the fold's cell tables, the Cassandra tables, the Redis keys, the query, the audit and the documentation.
A view is folded and stored in parts, which are views themselves (`View.parts`): its integers, each histogram with the bin as one more
dimension, each kept extreme, each distinct count.

    WATCH_TIME = View(
        name="watch_time", summary="…",
        groupings=(("title", "region"),),
        windows=(HOUR, DAY),
        measures=(Measure("watched_ms", "sum of watched_ms", sum_of="watched_ms"),
                  Measure("plays", "first frames", count_of="play_start")),
    )

docs/own-view.md has a worked example.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal

from topologies.declaring import check
from topologies.errors import DeclarationError
from topologies.measures import (
    ANY,
    BIN_MARK,
    COUNTABLE,
    DAY,
    DIMENSIONS,
    HOUR,
    IDENTITIES,
    KEY_SEPARATOR,
    LIVE,
    MAX_DIMENSIONS,
    MINUTE,
    MOST,
    PLAYBACK_FAILURE,
    RECENT_MINUTE,
    SESSION_DIMENSIONS,
    SESSION_FACTS,
    START_FAILURE,
    STORED_DAY,
    STORED_HOUR,
    SUMMABLE,
    Distinct,
    Extreme,
    Histogram,
    Measure,
    Rate,
    Trend,
    Window,
)

__all__ = (
    "ANY", "BIN_MARK", "COUNTABLE", "DAY", "DIMENSIONS", "HOUR", "IDENTITIES", "KEY_SEPARATOR", "LIVE", "MAX_DIMENSIONS", "MINUTE", "MOST",
    "PLAYBACK_FAILURE", "RECENT_MINUTE", "SESSION_DIMENSIONS", "SESSION_FACTS", "START_FAILURE", "STORED_DAY", "STORED_HOUR",
    "SUMMABLE", "Distinct", "Extreme", "Histogram", "Measure", "Rate", "Trend", "View", "Window", "parts_of",
)  # fmt: skip
"""What a declaration needs comes from here."""


@dataclass(frozen=True)
class View:
    """One view. Raises DeclarationError, naming what to change, when it is declared wrongly."""

    name: str
    summary: str
    groupings: tuple[tuple[str, ...], ...]
    windows: tuple[Window, ...]
    measures: tuple[Measure, ...] = ()
    leaderboard: str | None = None
    """The measure whose totals are ranked, for top-K."""
    logic_version: int = 1
    histograms: tuple[Histogram, ...] = ()
    distincts: tuple[Distinct, ...] = ()
    extremes: tuple[Extreme, ...] = ()
    rates: tuple[Rate, ...] = ()
    trend: Trend | None = None
    of: Literal["event", "session"] = "event"
    """What is folded: applied events, or sessions when they end or close."""
    histogram: Histogram | None = None
    """Of a part: the histogram that it is."""
    distinct: Distinct | None = None
    """Of a part: the distinct count that it is."""
    extreme: Extreme | None = None
    """Of a part: the extreme that it is."""

    def __post_init__(self) -> None:
        if not self.is_part:
            check(self)

    @property
    def is_part(self) -> bool:
        """Whether it is a part of another view, beside that one's integers."""
        return self.histogram is not None or self.distinct is not None or self.extreme is not None

    @property
    def family(self) -> str:
        """Name of the view that it is, or is a part of."""
        return self.name.partition(".")[0]

    @cached_property
    def parts(self) -> tuple[View, ...]:
        """The views that it is folded and stored as. Its own integers come first, under its own name; of the others the name is
        `view.measure`."""
        if self.is_part:
            return (self,)
        bare = replace(self, **_NOTHING) if self.measures else self
        parts = [bare] if self.measures else []
        for histogram in self.histograms:
            by = tuple((*grouping, histogram.of + BIN_MARK) for grouping in self.groupings)
            counted = Measure(histogram.name, histogram.summary, count_of=histogram.on or ANY)
            if self.of == "session":
                counted = Measure(histogram.name, histogram.summary, sum_of="sessions")
            parts.append(self._part(bare, histogram.name, groupings=by, measures=(counted,), histogram=histogram))
        for extreme in self.extremes:
            kept: tuple[Measure, ...] = (Measure(extreme.name, extreme.summary, sum_of=extreme.of, unit=extreme.unit),)
            if extreme.keep == "last":
                kept = (Measure("ts", "its time"), Measure("seq", "its place in the session"), *kept)
            parts.append(self._part(bare, extreme.name, measures=kept, extreme=extreme))
        parts += [self._part(bare, distinct.name, measures=(), distinct=distinct) for distinct in self.distincts]
        return tuple(parts)

    def _part(self, bare: View, name: str, **fields: object) -> View:
        windows = tuple(replace(window, cached=False) for window in self.windows)
        return replace(bare, name=f"{self.name}.{name}", windows=windows, leaderboard=None, **{**_NOTHING, **fields})

    def part(self, name: str) -> View:
        """The part of that measure's name."""
        return next(part for part in self.parts if part.name == f"{self.name}.{name}")

    @property
    def table(self) -> str:
        """Name of its table of packs, one of its parts'."""
        return f"cells_{self.name.replace('.', '__')}_{self.logic_version}"

    @property
    def final_table(self) -> str:
        """Name of its table of final packs, one of its parts'."""
        return f"final_{self.name.replace('.', '__')}_{self.logic_version}"

    @property
    def ranked(self) -> int | None:
        """Which of its measures, from 0, the leaderboard ranks; None without one."""
        return None if self.leaderboard is None else [measure.name for measure in self.measures].index(self.leaderboard)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """All dimensions of its groupings, in their order there."""
        return tuple(dict.fromkeys(dimension for grouping in self.groupings for dimension in grouping))

    def window(self, name: str) -> Window:
        """The declared window of that name; DeclarationError if there is none."""
        for window in self.windows:
            if window.name == name:
                return window
        raise DeclarationError(f"view {self.name} has no window {name!r}; it has {', '.join(w.name for w in self.windows)}")


_NOTHING: Final[dict[str, Any]] = {"histograms": (), "distincts": (), "extremes": (), "rates": (), "trend": None}
"""What a part has none of."""


def parts_of(views: Iterable[View]) -> tuple[View, ...]:
    """What these views are folded and stored as."""
    return tuple(part for view in views for part in view.parts)
