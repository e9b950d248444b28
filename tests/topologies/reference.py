"""The rules of docs/architecture.md, written down with dicts and loops: slow, plain, and sharing nothing with the kernels."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.topologies.logs import SOURCE, Record, apply
from topologies.bins import bin_of
from topologies.events import DAY_MS, Malformed, decode_event
from topologies.fold import PartitionState
from topologies.playbacks import MOST_RUNS
from topologies.view import Extreme, View

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

    def is_over(self, watermark: int) -> bool:
        return self.state() == "ended" or watermark - self.greatest_ts > 600_000

    def spell(self) -> dict[str, Any]:
        """What it adds to views of sessions while it is over."""
        events = [self.places[seq] for seq in sorted(self.places)]
        seen = set() if self.is_scattered() else {second for event in events for second in content_of(event)}
        runtime_s = ([event["runtime_s"] for event in events if event["runtime_s"] is not None] or [0])[-1]
        ended = self.state() == "ended"
        return {
            "title": events[-1]["title"],
            "device": events[-1]["device"],
            "ts": self.greatest_ts,
            "sessions": 1,
            "ended": int(ended),
            "closed": int(not ended),
            "complete": int(runtime_s > 0 and len(seen) * 100 >= 90 * runtime_s),
            "exits_before_start": int(all(event["type"] != "play_start" for event in events)),
            "length_s": (self.greatest_ts - min(event["ts"] for event in events)) // 1000,
        }

    def is_scattered(self) -> bool:
        """Whether what was seen was ever in too many runs, as the events came."""
        seen: set[int] = set()
        for pieces, event in enumerate(filter(content_of, self.places.values()), 1):
            seen.update(content_of(event))
            if pieces > MOST_RUNS and sum(second + 1 not in seen for second in seen) > MOST_RUNS:
                return True
        return False

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


def content_of(event: dict[str, Any]) -> range:
    """The content seconds that were played since the session's previous event; second s is (s, s + 1]."""
    watched_s, position_s = (event["watched_ms"] or 0) // 1000, event["position_s"] or 0
    return range(max(0, position_s - watched_s), position_s)


def amounts_of(view: View, event: dict[str, Any]) -> list[int]:
    """What an applied event, or a session that is over, adds to each of the view's measures."""
    amounts: list[int] = []
    for measure in view.measures:
        if measure.sum_of is not None:
            amount = event[measure.sum_of] or 0
            amounts.append(amount * (event[measure.times] or 0) if measure.times else amount)
        elif measure.count_of is not None and measure.count_of in ("any", event["type"], event["outcome"]):
            minute = event["ts"] // 60_000 % 1440
            amounts.append(round(65_536 * 2 ** (minute * 60 / measure.half_life_s)) if measure.half_life_s else 1)
        else:
            amounts.append(0)
    return amounts


def kept_of(extreme: Extreme, event: dict[str, Any]) -> list[int]:
    """What is kept of an event in an extreme's cell, each value + 1; zeros for nothing."""
    fields = ("ts", "seq", extreme.of) if extreme.keep == "last" else (extreme.of,)
    return [event[field] + 1 for field in fields] if event[extreme.of] is not None else [0] * len(fields)


class Reference:
    """One source, record by record."""

    def __init__(self, views: Sequence[View]) -> None:
        self.views = [view for view in views if view.distinct is None]
        """tests/topologies/test_sketch_cells.py has the others."""
        self.clock = -1
        self.max_ts = -1
        self.lives: dict[tuple[str, str], Life] = {}
        self.forgotten: list[Life] = []
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
            who = event["account"], event["session"]
            self.forgotten += [self.lives[who]] if who in self.lives else []
            life = self.lives[who] = Life()
        life.seqs.add(event["seq"])
        life.greatest_ts = max(life.greatest_ts, event["ts"])
        event["outcome"] = None
        if event["type"] == "error" and event["fatal"] is True:
            started = any(before["type"] == "play_start" for before in life.places.values())
            event["outcome"] = "playback_failure" if started else "start_failure"
        life.places[event["seq"]] = event
        state = told_by(event)
        if state is not None:
            life.told[event["seq"]] = state
        if rts - event["ts"] <= 60_000:
            life.fresh_at = rts if life.fresh_at is None else max(life.fresh_at, rts)
        for view in self.views:
            if view.of == "event" and all(window.length_ms for window in view.windows):
                self._add(view, event, self.tumbling[view.name])

    def _add(self, view: View, event: dict[str, Any], cells: dict[Cell, list[int]]) -> None:
        amounts = amounts_of(view, event) if view.extreme is None else kept_of(view.extreme, event)
        histogram = view.histogram
        if histogram is not None and (event[histogram.of] is None or (histogram.on and histogram.on != event["type"])):
            return
        if not any(amounts):
            return
        for window in view.windows:
            start = event["ts"] // window.length_ms * window.length_ms
            for grouping, dimensions in enumerate(view.groupings):
                cell = cells.setdefault((window.name, start, key_of(event, dimensions), grouping), [0] * len(amounts))
                if view.extreme is None:
                    cell[:] = [value + amount for value, amount in zip(cell, amounts, strict=True)]
                elif not any(cell) or (amounts[:2] < cell[:2] if view.extreme.keep == "min" else amounts[:2] > cell[:2]):
                    cell[:] = amounts

    def _live(self, clock: int) -> Iterator[tuple[bytes, int, int]]:
        """Key, grouping and count of each live cell at `clock`."""
        for view in self.views:
            if any(not window.length_ms for window in view.windows):
                for grouping, dimensions in enumerate(view.groupings):
                    events = [life.places[max(life.places)] for life in self.lives.values() if life.counts_at(clock)]
                    for key, count in Counter(key_of(event, dimensions) for event in events).items():
                        yield key, grouping, count

    def cells(self) -> dict[str, dict[Cell, tuple[int, ...]]]:
        """Every cell of every view."""
        found: dict[str, dict[Cell, tuple[int, ...]]] = {}
        for view in self.views:
            cells = self.tumbling[view.name]
            if view.of == "session":
                cells = {}
                for life in (*self.forgotten, *self.lives.values()):
                    if life.is_over(self.watermark()):
                        self._add(view, life.spell(), cells)
            found[view.name] = {cell: tuple(values) for cell, values in cells.items()}
            if any(not window.length_ms for window in view.windows):
                found[view.name] |= {cell: (count,) for cell, count in self.samples.items()}
                found[view.name] |= {("live", 0, key, grouping): (count,) for key, grouping, count in self._live(self.clock)}
        return found


def key_of(event: dict[str, Any], dimensions: Sequence[str]) -> bytes:
    return "\x1f".join(text_of(event, dimension) for dimension in dimensions).encode()


def text_of(event: dict[str, Any], dimension: str) -> str:
    """The event's text of a dimension; of a field's bins, the bin."""
    if dimension.endswith("~"):
        return str(bin_of(min(event[dimension[:-1]], DAY_MS)))
    return event[dimension] or ""


def agrees(views: Sequence[View], records: Sequence[Record], cuts: Sequence[int] = ()) -> PartitionState:
    """Fold and reference give the same classes, refusals, counters and cells."""
    reference = Reference(views)
    for record in records:
        reference.feed(record)
    state = PartitionState(SOURCE, views)
    refused: list[tuple[int, str]] = []
    bounds = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    for low, high in itertools.pairwise(bounds):
        refused += [(low + letter.record, letter.reason) for letter in apply(state, records[low:high])]
    status = state.status()
    assert refused == reference.refused
    assert (status.clock_ms, status.watermark_ms) == (reference.clock, reference.watermark())
    counted = {name: getattr(status, name) for name in ("applied", "duplicate", "late", "dead")}
    assert counted == {name: reference.classes[name] for name in counted}
    assert status.received == sum(counted.values())
    cells: dict[str, dict[Any, Any]] = {view.name: {} for view in reference.views}
    for name, found in state.canonical()["cells"].items():
        if (part := name.partition(":")[0]) in cells:
            cells[part] |= found
    assert cells == reference.cells()
    return state
