"""The rules of docs/architecture.md, written down with dicts and loops: slow, plain, and sharing nothing with the kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.topologies.logs import Record
from topologies.events import Malformed, decode_event
from topologies.view import View

Cell = tuple[str, int, bytes, int]
"""Window, start, key and grouping."""


@dataclass
class Life:
    """A session since it was last forgotten."""

    seqs: set[int] = field(default_factory=set)
    greatest_ts: int = -1
    fresh_at: int | None = None
    told: dict[int, str] = field(default_factory=dict)
    """seq → state, of the events that tell one."""
    places: dict[int, dict[str, Any]] = field(default_factory=dict)
    """seq → the event's fields."""

    def state(self) -> str:
        return self.told[max(self.told)] if self.told else "playing"

    def counts_at(self, clock: int) -> bool:
        if self.state() not in ("starting", "playing", "stalled") or self.fresh_at is None:
            return False
        return clock - self.fresh_at < 30_000


def told_by(event: dict[str, Any]) -> str | None:
    """The state that an event tells of its session."""
    kind = event["type"]
    if kind == "play_request":
        return "starting"
    if kind in ("play_start", "resume", "ad_start", "ad_end"):
        return "playing"
    if kind == "stall":
        return "stalled"
    if kind == "pause":
        return "paused"
    if kind in ("finish", "stop") or (kind == "error" and event["fatal"] is True):
        return "ended"
    if kind in ("heartbeat", "seek", "rendition"):
        if (event["watched_ms"] or 0) > 0:
            return "playing"
        if (event["stall_ms"] or 0) > 0:
            return "stalled"
    return None


class Reference:
    """One source, record by record."""

    def __init__(self, views: Sequence[View]) -> None:
        self.views = views
        self.clock = -1
        self.max_ts = -1
        self.lives: dict[tuple[str, str], Life] = {}
        self.classes: Counter[str] = Counter()
        self.refused: list[tuple[int, str]] = []
        self.tumbling: dict[str, dict[Cell, list[int]]] = {view.name: {} for view in views}
        self.samples: dict[Cell, int] = {}
        self._row = -1

    def watermark(self) -> int:
        return max(self.max_ts, self.clock - 60_000, -1)

    def feed(self, record: Record) -> None:
        self._row += 1
        try:
            event = decode_event(record.value)
        except Malformed as malformed:
            self._refuse("dead", malformed.reason)
            return
        clock = max(self.clock, record.rts)
        if event is None:
            self._move_clock(clock)
            return
        watermark = max(self.max_ts, clock - 60_000)
        if event["ts"] > record.rts + 60_000:
            self._refuse("dead", "ahead")
            return
        life = self.lives.get((event["account"], event["session"]))
        if life is not None and watermark - life.greatest_ts > 900_000:
            life = None
        if life is not None and event["seq"] > max(life.seqs) + 10_000:
            self._refuse("dead", "seq_jump")
            return
        self._move_clock(clock)
        if watermark - event["ts"] > 900_000:
            self._refuse("late", "late")
        elif life is not None and event["seq"] in life.seqs:
            self.classes["duplicate"] += 1
        elif life is not None and event["seq"] <= max(life.seqs) - 64:
            self._refuse("late", "late")
        else:
            self._apply(event, record.rts, life)

    def _refuse(self, kind: str, reason: str) -> None:
        self.classes[kind] += 1
        self.refused.append((self._row, reason))

    def _move_clock(self, clock: int) -> None:
        if self.clock >= 0:
            for minute in range((self.clock // 60_000 + 1) * 60_000, clock + 1, 60_000):
                for key, grouping, count in self._live(minute):
                    self.samples["minute", minute, key, grouping] = count
        self.clock = clock

    def _apply(self, event: dict[str, Any], rts: int, life: Life | None) -> None:
        self.classes["applied"] += 1
        self.max_ts = max(self.max_ts, event["ts"])
        if life is None:
            life = self.lives[event["account"], event["session"]] = Life()
        life.seqs.add(event["seq"])
        life.greatest_ts = max(life.greatest_ts, event["ts"])
        life.places[event["seq"]] = event
        state = told_by(event)
        if state is not None:
            life.told[event["seq"]] = state
        if rts - event["ts"] <= 60_000:
            life.fresh_at = rts if life.fresh_at is None else max(life.fresh_at, rts)
        for view in self.views:
            if all(window.length_ms for window in view.windows):
                self._add(view, event)

    def _add(self, view: View, event: dict[str, Any]) -> None:
        amounts = [(event[measure.sum_of] or 0) if measure.sum_of else int(event["type"] == measure.count_of) for measure in view.measures]
        if not any(amounts):
            return
        cells = self.tumbling[view.name]
        for window in view.windows:
            start = event["ts"] // window.length_ms * window.length_ms
            for grouping, dimensions in enumerate(view.groupings):
                cell = cells.setdefault((window.name, start, key_of(event, dimensions), grouping), [0] * len(amounts))
                for at, amount in enumerate(amounts):
                    cell[at] += amount

    def _live(self, clock: int) -> Iterator[tuple[bytes, int, int]]:
        """Key, grouping and count of each live cell at `clock`."""
        for view in self.views:
            if any(not window.length_ms for window in view.windows):
                for grouping, dimensions in enumerate(view.groupings):
                    events = (life.places[max(life.places)] for life in self.lives.values() if life.counts_at(clock))
                    for key, count in Counter(key_of(event, dimensions) for event in events).items():
                        yield key, grouping, count

    def cells(self) -> dict[str, dict[Cell, tuple[int, ...]]]:
        """Every cell of every view."""
        found: dict[str, dict[Cell, tuple[int, ...]]] = {}
        for view in self.views:
            found[view.name] = {cell: tuple(values) for cell, values in self.tumbling[view.name].items()}
            if any(not window.length_ms for window in view.windows):
                found[view.name] |= {cell: (count,) for cell, count in self.samples.items()}
                found[view.name] |= {("live", 0, key, grouping): (count,) for key, grouping, count in self._live(self.clock)}
        return found


def key_of(event: dict[str, Any], dimensions: Sequence[str]) -> bytes:
    return "\x1f".join(event[dimension] or "" for dimension in dimensions).encode()
