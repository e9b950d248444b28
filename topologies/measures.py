"""What a View is declared of: the dimensions it may be by, windows of time, and what can be measured in them (topologies.view has all)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from topologies.events import TYPES

DIMENSIONS: Final = ("title", "region", "country", "device", "os", "app", "cdn", "asn", "kind")
SUMMABLE: Final = ("watched_ms", "stall_ms", "stalls", "startup_ms", "bitrate_kbps", "dropped_frames")
ANY: Final = "any"
START_FAILURE: Final = "start_failure"
PLAYBACK_FAILURE: Final = "playback_failure"
COUNTABLE: Final = (*TYPES, ANY, START_FAILURE, PLAYBACK_FAILURE)
"""What of an event can be counted: its type, that it is one, or what it makes of its session (topologies.admission.OUTCOMES)."""
SESSION_FACTS: Final = ("sessions", "ended", "closed", "complete", "exits_before_start", "length_s")
"""What a session that has ended, or was closed by silence, adds to a view of sessions (topologies.spells)."""
SESSION_DIMENSIONS: Final = ("title", "device")
"""A session stands under those of its event of the greatest sequence number."""
IDENTITIES: Final = (("account", "profile"), ("account",), ("account", "session"))
"""What a distinct count may be of."""
MAX_DIMENSIONS: Final = 4
"""So many dimensions, and a bin, fit a cell's key."""
KEY_SEPARATOR: Final = "\x1f"
MOST: Final = 2**63 - 1
"""A sum stops here, in a cell of a source and in a final row: whatever is added then, in whatever order, it stays. Events whose fields are
as great as they may be get there: 10,676 of them a sum of bitrate_kbps × watched_ms, 10^11 of them a sum of milliseconds."""
BIN_MARK: Final = "~"
"""Behind a field's name: the dimension of its bins."""


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
RECENT_MINUTE: Final = Window("minute", 60_000, 900_000, cached=True, retention_s=2 * 3600)
"""A minute that is asked for while it is recent."""
HOUR: Final = Window("hour", 3_600_000, 3_600_000, cached=True, retention_s=26 * 3600)
DAY: Final = Window("day", 86_400_000, 86_400_000, cached=True, retention_s=8 * 86_400)
STORED_HOUR: Final = replace(HOUR, cached=False)
STORED_DAY: Final = replace(DAY, cached=False)
"""Windows that are read from Cassandra alone."""


@dataclass(frozen=True)
class Measure:
    """One integer of a cell, which adds up over events, sources and windows, to MOST at the most.

    Exactly one of: the sum of a field over applied events (times another field, if `times` names one); the number of those that
    `count_of` names (COUNTABLE); or neither, a value that the view's own fold keeps. With a half-life, each event counts
    2^16 · 2^(minutes from the window's start ÷ half-life): forward decay (Cormode et al., ICDE 2009, §III), which stays additive; readers
    divide by how old it has become. Of a view of sessions `sum_of` names one of SESSION_FACTS.
    """

    name: str
    summary: str
    sum_of: str | None = None
    count_of: str | None = None
    unit: str = ""
    times: str | None = None
    half_life_s: int = 0


@dataclass(frozen=True)
class Histogram:
    """How often each value of a field came, in bins of at most 1/64 from their middle (topologies.bins), so quantiles are as near.

    on: only of events of this type. An event without the field is in no bin.
    """

    name: str
    summary: str
    of: str
    on: str | None = None
    unit: str = ""
    quantiles: tuple[float, ...] = (0.5, 0.95, 0.99)

    @property
    def columns(self) -> tuple[str, ...]:
        """What an answer calls it: how many values there are, and each quantile of them."""
        return f"{self.name}_count", *(f"{self.name}_{quantile_name(quantile)}" for quantile in self.quantiles)


def quantile_name(quantile: float) -> str:
    """How a quantile is called: p50, p99, p99_9."""
    return f"p{100 * quantile:g}".replace(".", "_")


@dataclass(frozen=True)
class Distinct:
    """How many different values there are of these texts together, estimated by HyperLogLog with p = 14 (topologies.sketches)."""

    name: str
    summary: str
    of: tuple[str, ...] = ("account", "profile")


@dataclass(frozen=True)
class Extreme:
    """The least, the greatest or the last (by ts, then seq) value of a field; events without it do not count."""

    name: str
    summary: str
    keep: Literal["min", "max", "last"]
    of: str
    unit: str = ""


@dataclass(frozen=True)
class Rate:
    """`scale` × the sum of the measures `of` ÷ the sum of the measures `over`, reckoned where it is read; null when that is 0."""

    name: str
    summary: str
    of: tuple[str, ...]
    over: tuple[str, ...]
    scale: float = 1.0
    unit: str = ""


@dataclass(frozen=True)
class Trend:
    """Ranks what is counted by `count` against its own decayed past, `baseline` (a measure with a half-life), over each of `spans_s`:
    the count in the span ÷ max(floor, what the baseline leads to expect in so long a span)."""

    count: str
    baseline: str
    spans_s: tuple[int, ...] = (300, 3600)
    floor: float = 10.0
