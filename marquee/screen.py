"""What a person sees while events are driven, on stderr: a live picture on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from marquee.output import number
from marquee.watching import Snapshot

PLAIN_EVERY_S: Final = 2.0


@dataclass(frozen=True)
class Driven:
    """How far the generator is: records wanted, handed to Kafka, confirmed by it; the rate intended and the rate of late, events/s."""

    wanted: int
    sent: int
    acknowledged: int
    intended_rate: float
    rate: float
    waiting_for: str = ""
    """Once all is sent: what is still to come, instead of rate and time to go."""
    late_sends: int = 0
    """Records handed over more than 100 ms after their intended time: the generator, not the system, is the bottleneck."""

    @property
    def eta_s(self) -> float | None:
        """Seconds until all is confirmed at the present rate, None while nothing moves."""
        return (self.wanted - self.acknowledged) / self.rate if self.rate > 0 else None

    def line(self) -> str:
        """In one line."""
        if self.waiting_for:
            return f"{number(self.acknowledged)} acknowledged; waiting for {self.waiting_for}"
        share = 100 * self.acknowledged / self.wanted if self.wanted else 0.0
        eta = "" if self.eta_s is None else f", {self.eta_s:.0f} s to go"
        pace = f"{self.rate:,.0f} ev/s" + (f" of {self.intended_rate:,.0f} intended" if self.intended_rate else "")
        late = f", {number(self.late_sends)} sent late" if self.late_sends else ""
        return f"{number(self.acknowledged)} of {number(self.wanted)} acknowledged ({share:.0f} %), {pace}{eta}{late}"


class Screen:
    """Shows what it is given, as often as it is useful. Use as a context manager."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._live = Live(console=self._console, refresh_per_second=5, transient=True) if sys.stderr.isatty() else None
        self._said_at = float("-inf")
        self._said = ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, message: str) -> None:
        """A line that stays."""
        self._console.print(message, soft_wrap=True)

    def show(self, driven: Driven, seen: Snapshot | None = None) -> None:
        """The present state."""
        if self._live is not None:
            self._live.update(picture(self._title, driven, seen))
        elif time.monotonic() - self._said_at >= PLAIN_EVERY_S and (line := _plain(driven, seen)) != self._said:
            self._said_at, self._said = time.monotonic(), line
            self.say(line)


def _plain(driven: Driven, seen: Snapshot | None) -> str:
    if seen is None:
        return driven.line()
    top = f"; top {seen.titles[0][0]} with {number(seen.titles[0][1])}" if seen.titles else ""
    return f"{driven.line()}; lag {number(_lag(driven, seen))}, {_classes(seen)}; {number(seen.viewers)} viewers{top}"


def _classes(seen: Snapshot) -> str:
    return ", ".join(f"{name} {number(seen.total(name))}" for name in ("received", "applied", "duplicate", "late", "dead"))


def _lag(driven: Driven, seen: Snapshot) -> int:
    return max(0, driven.acknowledged - seen.total("received"))


def picture(title: str, driven: Driven, seen: Snapshot | None) -> Group:
    """Progress, lag and accounting, who watches what, most watched."""
    bar = Table.grid(padding=(0, 1))
    done = ProgressBar(total=max(1, driven.wanted), completed=driven.acknowledged, width=40)
    bar.add_row(Text(title, style="bold"), done, Text(driven.line()))
    if seen is None:
        return Group(bar)
    tables = Table.grid(padding=(0, 4))
    tables.add_row(Text(f"watching now: {number(seen.viewers)}", style="bold"), Text("most watched this hour", style="bold"))
    tables.add_row(_watching_now(seen), _watched(seen))
    return Group(bar, Text(f"lag {number(_lag(driven, seen))}   {_classes(seen)}"), Text(""), tables)


def _watching_now(seen: Snapshot) -> Table:
    drawn = Table(box=None, pad_edge=False)
    drawn.add_column("title")
    drawn.add_column("viewers", justify="right")
    for name, viewers in seen.titles:
        drawn.add_row(Text(name), number(viewers))
    return drawn


def _watched(seen: Snapshot) -> Table:
    drawn = Table(box=None, pad_edge=False)
    drawn.add_column("title")
    drawn.add_column("region")
    drawn.add_column("hours", justify="right")
    for key, watched_ms in seen.watched:
        drawn.add_row(*(Text(part) for part in key), f"{watched_ms / 3_600_000:,.1f}")
    return drawn
