"""`marquee replay`: a recorded trace, mapped to events (loadgen.mapping), moved to now or played at its own times.

Moved to now: the first event is sent at once, the others after their recorded intervals ÷ speed, into the live topic. At its own
times: into a backfill topic of its own, CreateTime = ts + DELAY_MS, in order, ended by a tick; as fast as it goes.
One process does it, so a partition's records are in the order of their arrival.
"""

from __future__ import annotations

import math
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from loadgen.crew import LEAD_MS, LoadProgress, finish_run, stop_signals
from loadgen.destination import open_destination
from loadgen.draws import partitions_of
from loadgen.ledger import Run, create_run, refuse_taken, runs_directory, save_run, write_part
from loadgen.load import run_name, tag_of
from loadgen.mapping import load_mapping, mapping_for
from loadgen.produce import COUNTERS, FAILED, FINAL_TICK_MS, LATE_SENDS, MAX_LATENESS_MS, SENT, WAITING, Pace, Records, Sender
from loadgen.trace import Trace, open_trace
from topologies.errors import UsageError
from topologies.settings import Settings

DELAY_MS: Final = 50
"""From a replayed event's own time to its simulated arrival."""
DEFAULT_PLAY_S: Final = 60.0
"""How long a trace is played when no speed is given."""


@dataclass(frozen=True)
class ReplayOptions:
    """What `marquee replay` was asked for."""

    file: Path
    map: Path | None = None
    """The mapping; a shipped one, by the file's name, when None."""
    speed: float | None = None
    """Recorded time ÷ played time; such that the trace takes DEFAULT_PLAY_S when None."""
    keep_time: bool = False
    run: str | None = None
    tag: str | None = None


@dataclass(frozen=True)
class Mapped:
    """What a trace is by its mapping, before anything is sent: its rows, how many of them make no event, and why the first of those does
    not; from when to when it was recorded (epoch ms); the fields of its first events, with their own times."""

    rows: int
    unmapped: int
    why: str
    events: int
    first_ms: int
    last_ms: int
    begins: list[dict[str, Any]]


def map_replay(settings: Settings, options: ReplayOptions, shown: int = 10) -> Mapped:
    """Maps the trace and sends nothing; so many of its first events are told. Raises UsageError (file, mapping)."""
    with _mapped(settings, options) as trace:
        begins = next(trace.pages(options.tag or "tag"), [])[:shown]
        return Mapped(trace.rows, trace.unmapped, trace.why, trace.events, trace.first_ms, trace.last_ms, begins)


@contextmanager
def _mapped(settings: Settings, options: ReplayOptions) -> Iterator[Trace]:
    mapping = load_mapping(options.map) if options.map else mapping_for(options.file)
    Path(settings.local.directory).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.local.directory) as scratch, open_trace(options.file, mapping, Path(scratch)) as trace:
        yield trace


def run_replay(settings: Settings, options: ReplayOptions, on_progress: Callable[[LoadProgress], None]) -> Run:
    """Plays the trace and returns the run; `unmapped` rows are counted in it. SIGINT and SIGTERM stop it with the ledger complete.

    Raises UsageError (file, mapping, options), ServerAway and StoreError (Kafka; the ledger then says `failed`).
    """
    if options.speed is not None and (not 0 < options.speed < math.inf or options.keep_time):
        raise UsageError("--speed must be a number more than 0, and goes without --keep-time")
    name = run_name(options.run, "replay")
    refuse_taken(runs_directory(settings) / name)
    live = not options.keep_time
    on_progress(LoadProgress("planning"))
    with _mapped(settings, options) as trace:
        if not trace.events:
            raise UsageError(f"{options.file.name} makes no event of its {trace.rows} rows: {trace.why}")
        run = _new_run(settings, options, name, live, trace)
        create_run(run)
        return _Replay(settings, run, trace, _speed(options, trace), on_progress).play()


def _speed(options: ReplayOptions, trace: Trace) -> float:
    if options.keep_time:
        return 1.0
    return options.speed or max(1.0, (trace.last_ms - trace.first_ms) / (DEFAULT_PLAY_S * 1000))


def _new_run(settings: Settings, options: ReplayOptions, name: str, live: bool, trace: Trace) -> Run:
    target = open_destination(settings, name, live)
    now = time.time_ns() // 1_000_000
    first = now if live else trace.first_ms
    last = now + round((trace.last_ms - trace.first_ms) / _speed(options, trace)) if live else trace.last_ms
    return Run(
        name=name,
        path=runs_directory(settings) / name,
        tag=options.tag or tag_of(name),
        kind="replay",
        state="running",
        live=live,
        topic=target.topic,
        topic_id=target.topic_id,
        seed=0,
        options=asdict(options) | {"file": str(options.file), "map": str(options.map) if options.map else None},
        started_ms=now,
        ended_ms=0,
        span_start_ms=first,
        span_end_ms=last,
        partitions=target.partitions,
        unmapped=trace.unmapped,
    )


class _Replay:
    """One replay: its sender, its counters, and what it says of itself."""

    def __init__(self, settings: Settings, run: Run, trace: Trace, speed: float, on_progress: Callable[[LoadProgress], None]) -> None:
        self._settings = settings
        self._run = run
        self._trace = trace
        self._speed = speed
        self._on_progress = on_progress
        self._counters = array("q", [0] * COUNTERS)
        self._stop = False
        self._began = self._noted = self._saved = time.monotonic()
        span_s = max(run.span_end_ms - run.span_start_ms, 1) / 1000
        self._last = LoadProgress("sending", total=trace.events, intended_rate=trace.events / span_s if run.live else 0.0)

    def play(self) -> Run:
        with stop_signals(self._ask_to_stop):
            try:
                sender = Sender(self._settings.kafka, self._run.topic, self._run.live, self._counters)
                self._send_all(sender)
                sender.flush()
                if not self._run.live:
                    sender.end_with_ticks(range(len(self._run.partitions)), self._run.span_end_ms + FINAL_TICK_MS)
                return self._finish()
            except BaseException as error:
                save_run(replace(self._counted(), state="failed", error=str(error), ended_ms=time.time_ns() // 1_000_000))
                raise

    def _send_all(self, sender: Sender) -> None:
        pace = Pace(sender, self._stopped)
        pages = self._trace.pages(self._run.tag)
        first = next(pages)  # sorting and compiling take their time before the first event is due
        partitions_of([event["account"].encode() for event in first], 1)
        self._start_now()
        for page in chain([first], pages):
            for event in page:
                event["ts"] = self._moved(event["ts"])
            keys = [event["account"].encode() for event in page]
            stamps = [event["ts"] + (0 if self._run.live else DELAY_MS) for event in page]
            records = Records(
                values=[orjson.dumps({"v": 1, **event}) for event in page],
                keys=keys,
                partitions=partitions_of(keys, len(self._run.partitions)).tolist(),
                timestamps_ms=stamps,
            )
            count = len(page)
            sent = pace.send(records, np.array(stamps)) if self._run.live else sender.send(records, 0, count, self._stopped)
            if sent < count or self._stopped():
                return

    def _start_now(self) -> None:
        self._began = self._noted = time.monotonic()
        if self._run.live:
            span = self._run.span_end_ms - self._run.span_start_ms
            start = time.time_ns() // 1_000_000 + LEAD_MS
            self._run = replace(self._run, span_start_ms=start, span_end_ms=start + span)

    def _moved(self, ts: int) -> int:
        if not self._run.live:
            return ts
        return self._run.span_start_ms + round((ts - self._trace.first_ms) / self._speed)

    def _ask_to_stop(self) -> None:
        self._stop = True

    def _stopped(self) -> bool:
        """Asked for between records: whether to stop. Also says how far it is, four times a second."""
        now = time.monotonic()
        if now - self._noted >= 0.25:
            self._note("sending", now)
        return self._stop

    def _note(self, phase: str, now: float) -> None:
        run = self._counted()
        self._last = replace(
            self._last,
            phase=phase,
            sent=run.generated,
            acknowledged=run.acknowledged,
            failed=run.failed,
            rate=(run.generated - self._last.sent) / max(now - self._noted, 0.001),
            late_sends=run.late_sends,
            max_lateness_ms=run.max_lateness_ms,
            elapsed_s=now - self._began,
        )
        self._noted = now
        self._on_progress(self._last)
        if phase == "sending" and now - self._saved >= 1:  # a run that is done was saved so, and stays so
            self._saved = now
            save_run(run)

    def _counted(self) -> Run:
        counters = self._counters
        return replace(
            self._run,
            generated=counters[SENT],
            failed=counters[FAILED],
            acknowledged=max(0, counters[SENT] - counters[FAILED] - counters[WAITING]),
            late_sends=counters[LATE_SENDS],
            max_lateness_ms=counters[MAX_LATENESS_MS],
        )

    def _finish(self) -> Run:
        sent = self._trace.sent(self._run.tag, self._counters[SENT], _moved_sql(self._run, self._trace, self._speed))
        for number, sessions in enumerate(sent):
            write_part(self._run.path, "sent", 0, number, sessions)
        state = "stopped" if self._stop and self._counters[SENT] < self._trace.events else "finished"
        run = finish_run(self._settings, replace(self._counted(), state=state))
        self._note("done", time.monotonic())
        return run


def _moved_sql(run: Run, trace: Trace, speed: float) -> str:
    return f"{run.span_start_ms} + cast(round((out_ts - {trace.first_ms}) / {speed!r}) as bigint)" if run.live else "out_ts"
