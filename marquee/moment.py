"""How a run stands at one moment: how far the generator is, and what the workers have made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marquee.output import instant, number
from marquee.watching import Snapshot


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


@dataclass(frozen=True)
class Moment:
    """One moment of a run, epoch ms. What is not known is None: of the log while Kafka, of the rest while Redis does not answer.

    counted: the view `accounting` over all partitions, less what it said when the run began. backlog: records that stand in the run's
    topic and not in Redis. behind_ms: the age of what Redis shows of the partition that is furthest behind. p50_ms, p99_ms: how long what
    came to be shown since the moment before had stood in the log. workers: partitions by living worker.
    """

    at_ms: int
    driven: Driven
    counted: Mapping[str, int] = field(default_factory=dict)
    backlog: int | None = None
    behind_ms: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    workers: Mapping[str, int] = field(default_factory=dict)
    viewers: int | None = None
    seen: Snapshot | None = None
    """The views; of the newest moment only."""

    def accounted(self) -> str:
        """What became of the acknowledged events so far, in words."""
        if not self.counted:
            return "not known"
        parts = " + ".join(f"{name} {number(count)}" for name, count in self.counted.items() if name != "received")
        return f"received {number(self.counted['received'])} of {number(self.driven.acknowledged)} acknowledged = {parts}"

    def fresh(self) -> str:
        """How fresh Redis is, in words."""
        old = "" if self.behind_ms is None else f"; what is shown is {self.behind_ms / 1000:.1f} s old"
        if self.p50_ms is None or self.p99_ms is None:
            return f"nothing new{old}"
        return f"p50 {self.p50_ms / 1000:.2f} s, p99 {self.p99_ms / 1000:.2f} s{old}"

    def document(self) -> dict[str, Any]:
        """As JSON has it; what is not known is null."""
        driven = self.driven
        return {
            "at": instant(self.at_ms), "wanted": driven.wanted, "sent": driven.sent, "acknowledged": driven.acknowledged,
            "intended_rate": driven.intended_rate or None, "rate": round(driven.rate, 1), "late_sends": driven.late_sends,
            "waiting_for": driven.waiting_for or None, "backlog": self.backlog, "freshness_p50_ms": self.p50_ms,
            "freshness_p99_ms": self.p99_ms, "behind_ms": self.behind_ms, "workers": dict(self.workers), "viewers": self.viewers,
            **self.counted,
        }  # fmt: skip
