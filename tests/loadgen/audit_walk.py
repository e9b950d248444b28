"""A walk through one partition's log that keeps every session and looks at each whole minute: what the views are, sentence by sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from loadgen import audit_sequence

T0 = 1_760_000_000_000 - 1_760_000_000_000 % 3_600_000
Cell = tuple[str, str, int, int, str]


@dataclass(frozen=True)
class Record:
    rts: int
    ts: int | None
    sid: int = 0
    seq: int = 0
    type: str = "heartbeat"
    title: str = "tt1"
    region: str = "eu"
    device: str = "tv"
    watched_ms: int | None = None
    stall_ms: int | None = None
    fatal: bool | None = None


@dataclass
class Session:
    latest: Record
    greatest_ts: int
    told: tuple[int, str] = (-1, "playing")
    fresh_at: int | None = None


@dataclass
class Walk:
    """The walk: state of one partition, sentence by sentence."""

    clock: int = -1
    max_ts: int = -1
    sessions: dict[int, Session] = field(default_factory=dict)
    cells: Counter[tuple[Cell, int]] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)

    def take(self, record: Record, name: str) -> None:
        if name != "tick":
            self.classes[name] += 1
        if name == "dead":
            return
        now = max(self.clock, record.rts)
        if self.clock >= 0:
            for minute in range(self.clock // 60_000 + 1, now // 60_000 + 1):
                self.sample("minute", minute * 60_000, minute * 60_000)
        self.clock = now
        if name == "applied" and record.ts is not None:
            self.apply(record, record.ts)

    def apply(self, record: Record, ts: int) -> None:
        session = self.sessions.get(record.sid)
        watermark = max(self.max_ts, self.clock - 60_000)
        if session is None or watermark - session.greatest_ts > 900_000:
            session = self.sessions[record.sid] = Session(record, ts)
        self.max_ts = max(self.max_ts, ts)
        session.greatest_ts = max(session.greatest_ts, ts)
        if record.seq > session.latest.seq:
            session.latest = record
        state = told_by(record)
        if state is not None and record.seq > session.told[0]:
            session.told = (record.seq, state)
        if record.rts - ts <= 60_000:
            session.fresh_at = max(session.fresh_at or 0, record.rts)
        for window, length in (("hour", 3_600_000), ("day", 86_400_000)):
            cell = ("watch_time", window, ts - ts % length, 0, f"{record.title}\x1f{record.region}")
            self.cells[cell, 0] += record.watched_ms or 0
            self.cells[cell, 1] += record.type == "play_start"
            self.cells[cell, 2] += record.type == "play_request"

    def sample(self, window: str, start_ms: int, at: int) -> None:
        for session in self.sessions.values():
            if session.told[1] in ("starting", "playing", "stalled") and session.fresh_at is not None and at - session.fresh_at < 30_000:
                latest = session.latest
                for grouping, key in enumerate((latest.title, latest.region, latest.device, "")):
                    self.cells[("concurrents", window, start_ms, grouping, key), 0] += 1

    def answer(self) -> dict[Cell, list[int]]:
        self.sample("live", 0, self.clock)
        found: dict[Cell, list[int]] = {}
        for (cell, measure), value in self.cells.items():
            found.setdefault(cell, [0] * (3 if cell[0] == "watch_time" else 1))[measure] += value
        return {cell: values for cell, values in found.items() if any(values)}


def told_by(record: Record) -> str | None:
    if record.type in ("heartbeat", "seek", "rendition"):
        return "playing" if record.watched_ms else "stalled" if record.stall_ms else None
    if record.type == "error":
        return "ended" if record.fatal else None
    others = {"play_request": "starting", "stall": "stalled", "pause": "paused", "finish": "ended", "stop": "ended"}
    return others.get(record.type, "playing")


def walked(records: Iterable[Record], offset: int) -> Walk:
    """The walk up to `offset`, records having the offsets 0, 1, 2 …"""
    walk, taken = Walk(), list(records)
    classes = audit_sequence.classes((r.rts, r.ts, r.sid, None if r.ts is None else r.seq) for r in taken)
    for record, name in list(zip(taken, classes, strict=True))[:offset]:
        walk.take(record, name)
    return walk
