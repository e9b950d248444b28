"""A walk through one partition's log that keeps every session and looks at each whole minute: what the views are, sentence by sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from loadgen import audit_sequence
from topologies.bins import bin_of

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
    cdn: str | None = None
    app: str | None = None
    startup_ms: int | None = None
    bitrate_kbps: int | None = None
    stalls: int | None = None
    position_s: int | None = None
    runtime_s: int | None = None
    kind: str | None = None
    dropped_frames: int | None = None


@dataclass
class Session:
    """One life of a session."""

    latest: Record
    first_ts: int
    greatest_ts: int
    told: tuple[int, str] = (-1, "playing")
    fresh_at: int | None = None
    started: bool = False
    runtime: tuple[int, int] = (-1, 0)
    seen: set[int] = field(default_factory=set)
    """Content seconds that were played, by their end."""

    def facts(self) -> tuple[int, ...]:
        """Of a session that is over: sessions, ended, closed, complete, left before the first frame."""
        ended, runtime_s = self.told[1] == "ended", self.runtime[1]
        return 1, ended, not ended, runtime_s > 0 and len(self.seen) * 100 >= 90 * runtime_s, not self.started


@dataclass
class Walk:
    """The walk: state of one partition, sentence by sentence."""

    clock: int = -1
    max_ts: int = -1
    sessions: dict[int, Session] = field(default_factory=dict)
    lives: list[Session] = field(default_factory=list)
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
            session = self.sessions[record.sid] = Session(record, ts, ts)
            self.lives.append(session)
        self.max_ts = max(self.max_ts, ts)
        session.first_ts, session.greatest_ts = min(session.first_ts, ts), max(session.greatest_ts, ts)
        session.started |= record.type == "play_start"
        if record.runtime_s is not None:
            session.runtime = max(session.runtime, (record.seq, record.runtime_s))
        if record.position_s is not None:
            session.seen.update(range(max(0, record.position_s - (record.watched_ms or 0) // 1000) + 1, record.position_s + 1))
        if record.seq > session.latest.seq:
            session.latest = record
        state = told_by(record)
        if state is not None and record.seq > session.told[0]:
            session.told = (record.seq, state)
        if record.rts - ts <= 60_000:
            session.fresh_at = max(session.fresh_at or 0, record.rts)
        self.count(record, ts, session)

    def count(self, record: Record, ts: int, session: Session) -> None:
        """What an applied event adds to the views of events."""
        play, weight = record.type == "play_start", round(65_536 * 2 ** (ts // 60_000 % 1440 / 360))
        for window, length in (("hour", 3_600_000), ("day", 86_400_000)):
            cell = ("watch_time", window, ts - ts % length, 0, f"{record.title}\x1f{record.region}")
            self.add(cell, record.watched_ms or 0, play, record.type == "play_request")
        for window, length in (("minute", 60_000), ("day", 86_400_000)):
            self.add(("trending", window, ts - ts % length, 0, record.title), play, play * weight)
            self.add(("trending", window, ts - ts % length, 1, f"{record.region}\x1f{record.title}"), play, play * weight)
        failed = record.type == "error" and record.fatal is True
        place = "\x1f".join((record.cdn or "", record.region, record.device, record.app or ""))
        self.add(
            ("quality", "minute", ts - ts % 60_000, 0, place), record.type == "play_request", play, failed and not session.started,
            failed and session.started, record.watched_ms or 0, record.stall_ms or 0, record.stalls or 0,
            (record.bitrate_kbps or 0) * (record.watched_ms or 0),
        )  # fmt: skip
        if play and record.startup_ms is not None:
            self.add(("quality.startup", "minute", ts - ts % 60_000, 0, f"{place}\x1f{bin_of(record.startup_ms)}"), 1)

    def add(self, cell: Cell, *amounts: int) -> None:
        for measure, amount in enumerate(amounts):
            self.cells[cell, measure] += amount

    def sample(self, window: str, start_ms: int, at: int) -> None:
        for session in self.sessions.values():
            if session.told[1] in ("starting", "playing", "stalled") and session.fresh_at is not None and at - session.fresh_at < 30_000:
                latest = session.latest
                for grouping, key in enumerate((latest.title, latest.region, latest.device, "")):
                    self.cells[("concurrents", window, start_ms, grouping, key), 0] += 1

    def close(self) -> None:
        """Count the sessions that are over: ended, or silent for 10 minutes."""
        watermark = max(self.max_ts, self.clock - 60_000)
        for session in self.lives:
            ts, latest = session.greatest_ts, session.latest
            if session.told[1] == "ended" or watermark - ts > 600_000:
                key = f"{latest.title}\x1f{latest.device}"
                self.add(("sessions", "hour", ts - ts % 3_600_000, 0, key), *session.facts())
                length_s = (ts - session.first_ts) // 1000
                self.add(("sessions.length", "hour", ts - ts % 3_600_000, 0, f"{key}\x1f{bin_of(length_s)}"), 1)

    def answer(self) -> dict[Cell, list[int]]:
        """Every cell that is not zero, at the end of the walk."""
        self.sample("live", 0, self.clock)
        self.close()
        found: dict[Cell, list[int]] = {}
        for (cell, measure), value in sorted(self.cells.items()):
            assert len(found.setdefault(cell, [])) == measure
            found[cell].append(value)
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
