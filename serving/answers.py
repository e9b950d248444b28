"""The merged answer to a question: what can still change from Redis, what is final from Cassandra.

    a window is read from Redis      while it is kept there and final at no source, and Redis knows every source at least as far as
                                     Cassandra does: an owner forgets what is final, and could not bring it back to a Redis that lost it
    else from its final rows         where Cassandra has them, of every source that is known (topologies/finals.py)
    else from Cassandra              its packs, summed over sources; one Cassandra flush older (5 s, of a backfill 15 s)

An answer says where it was read, and why when that is not where it should have been. Nothing answers empty for an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from serving.cells import Row, Sums, rows
from serving.questions import Plan, Question, plan, starts
from serving.stores import Known, Stores
from topologies import accounting
from topologies.sources import LATENESS_MS, SourceStatus
from topologies.view import Window

Clock = Callable[[], int]
"""The time now, epoch milliseconds."""


def wall_clock_ms() -> int:
    """This machine's clock."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Standing:
    """As of when, and from how many of the sources.

    as_of_ms: the oldest clock of the sources of live topics (of all sources, when there is none of those), −1 when none has a
    clock. lag_s: now − as_of, None without a clock. heard: sources whose status the answering store has; known: to any store. Sources that
    have ended are in none of them.
    """

    as_of_ms: int
    lag_s: float | None
    heard: int
    known: int

    @classmethod
    def of(cls, known: Known, answering: Iterable[SourceStatus], now_ms: int) -> Standing:
        statuses = known.going(answering)
        as_of_ms = min((status.clock_ms for status in known.live(statuses)), default=-1)
        lag_s = round(max(0, now_ms - as_of_ms) / 1000, 3) if as_of_ms >= 0 else None
        return cls(as_of_ms, lag_s, len(statuses), len(known.names - known.ended))

    @property
    def complete(self) -> float:
        """Sources heard of ÷ sources known; 0 when none is known."""
        return self.heard / self.known if self.known else 0.0


@dataclass(frozen=True)
class Answer:
    """What was found. `rows` are keyed by `dimensions`; `timed`: each row has the start of its window.

    final: no event can change it any more. read: how many stored windows (of accounting: sources) each store gave.
    span_ms: from and to (exclusive), None for now.
    """

    view: str
    window: str
    dimensions: tuple[str, ...]
    measures: tuple[str, ...]
    rows: tuple[Row, ...]
    standing: Standing
    timed: bool = False
    final: bool = False
    span_ms: tuple[int, int] | None = None
    read: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The answer as JSON has it: instants in ISO 8601 and, named `_ms`, in epoch milliseconds."""
        cells = []
        for row in self.rows:
            at: dict[str, Any] = {"start": iso(row.start_ms), "start_ms": row.start_ms} if self.timed else {}
            cells.append(at | dict(zip(self.dimensions, row.key, strict=True)) | dict(zip(self.measures, row.values, strict=True)))
        standing = self.standing
        known_time = standing.as_of_ms >= 0
        return {
            "view": self.view,
            "window": self.window,
            "from": iso(self.span_ms[0]) if self.span_ms else None,
            "to": iso(self.span_ms[1]) if self.span_ms else None,
            "dimensions": list(self.dimensions),
            "measures": list(self.measures),
            "cells": cells,
            "as_of": iso(standing.as_of_ms) if known_time else None,
            "as_of_ms": standing.as_of_ms if known_time else None,
            "lag_s": standing.lag_s,
            "complete": round(standing.complete, 4),
            "sources": {"heard": standing.heard, "known": standing.known},
            "final": self.final,
            "read": dict(self.read),
            "notes": list(self.notes),
        }

    def line(self) -> str:
        """The answer's standing in one line."""
        standing = self.standing
        as_of = "no event yet" if standing.lag_s is None else f"as of {iso(standing.as_of_ms)}, {standing.lag_s:.1f} s ago"
        state = "final" if self.final else "provisional"
        return "; ".join([as_of, f"{standing.heard} of {standing.known} sources", state, *self.notes])


def ask(stores: Stores, question: Question, clock: Clock = wall_clock_ms) -> Answer:
    """The answer. Raises UsageError for what cannot be asked, ServerAway when a store that is needed does not answer."""
    planned = plan(question)
    known = stores.known()
    window, statuses = planned.stored, known.best
    wanted = starts(planned, question, max((status.clock_ms for status in statuses), default=-1))
    cached = [start_ms for start_ms in wanted if _is_cached(planned, start_ms, known, clock())]
    stored = sorted(set(wanted) - set(cached))
    sums = Sums(planned)
    for start_ms in cached:
        _add_cached(stores, sums, start_ms, alone=len(wanted) == 1)
    final = stores.add_finals(sums, stored, known, alone=len(wanted) == 1) if stored and window.length_ms else set()
    if partial := [start_ms for start_ms in stored if start_ms not in final]:
        stores.add_packs(sums, partial, () if window.length_ms else known.ended)
    answering = known.cached if cached else known.stored
    timed = bool(window.length_ms)
    return Answer(
        view=planned.view.name,
        window=planned.shown.name,
        dimensions=planned.dimensions,
        measures=tuple(measure.name for measure in planned.view.measures),
        rows=tuple(rows(sums)),
        standing=Standing.of(known, answering.values(), clock()),
        timed=timed and planned.top is None,
        final=all(_is_final(window, start_ms, statuses, known) for start_ms in wanted),
        span_ms=(wanted[0], wanted[-1] + window.length_ms) if timed else None,
        read={"redis": len(cached), "final": len(final), "cassandra": len(partial)},
        notes=_notes(planned, known, wanted, stored),
    )


def ask_accounting(stores: Stores, clock: Clock = wall_clock_ms) -> Answer:
    """What became of every record of each source, by the newest status of either store, and whether the equation holds."""
    known = stores.known()
    statuses = sorted(known.best, key=lambda status: (status.source.topic, status.source.partition, str(status.source)))
    wrong = [str(status.source) for status in statuses if not accounting.balanced(status)]
    equation = f"but not at {', '.join(wrong)}" if wrong else "at every source"
    doubts = (known.doubt(), known.away)
    return Answer(
        view=accounting.NAME,
        window="live",
        dimensions=("topic", "partition", "source"),
        measures=accounting.MEASURES,
        rows=tuple(Row(0, _place(status), _classes(status)) for status in statuses),
        standing=Standing.of(known, statuses, clock()),
        read={"redis": len(known.cached), "cassandra": len(known.stored)},
        notes=(f"received = applied + duplicate + late + dead, {equation}", *filter(None, doubts)),
    )


def _place(status: SourceStatus) -> tuple[str, ...]:
    return status.source.topic, str(status.source.partition), str(status.source)


def _classes(status: SourceStatus) -> tuple[int, ...]:
    return status.received, status.applied, status.duplicate, status.late, status.dead


def _is_cached(planned: Plan, start_ms: int, known: Known, now_ms: int) -> bool:
    """Whether this window is to be read from Redis."""
    window = planned.stored
    if not window.cached or not known.cached or known.doubt(window, start_ms):
        return False
    if not window.length_ms:
        return True
    kept = now_ms < start_ms + window.length_ms + window.retention_s * 1000
    return kept and not any(_is_final(window, start_ms, [status], known) for status in known.going(known.best))


def _is_final(window: Window, start_ms: int, statuses: Collection[SourceStatus], known: Known) -> bool:
    """Whether the watermarks of all these sources have passed the window's end + 15 min, or they have ended; the live window never is."""
    passed = start_ms + window.length_ms + LATENESS_MS
    return bool(statuses) and bool(window.length_ms) and all(status.watermark_ms >= passed for status in known.going(statuses))


def _add_cached(stores: Stores, sums: Sums, start_ms: int, *, alone: bool) -> None:
    """Adds a window's totals: of the leaderboard's first or of the one key asked for, when nothing else can be in the answer."""
    planned = sums.plan
    view, window, names = planned.view, planned.stored.name, planned.view.groupings[planned.grouping]
    keys = None
    if len(planned.fixed) == len(names):
        keys = [tuple(planned.fixed[at] for at in range(len(names)))]
    elif planned.top is not None and view.leaderboard and alone and not planned.fixed and len(planned.kept) == len(names):
        keys = stores.best(view, window, start_ms, planned.grouping, planned.top)
    sums.add_totals(start_ms, stores.totals(view, window, start_ms, planned.grouping, keys))


def _notes(planned: Plan, known: Known, wanted: list[int], stored: list[int]) -> tuple[str, ...]:
    notes = list(planned.notes)
    if planned.top is not None and len(wanted) > 1:
        notes.append(f"ranked over {len(wanted)} windows of a {planned.stored.name}")
    doubts = (known.doubt(planned.stored, start_ms) for start_ms in wanted)
    if planned.stored.cached and (doubt := next(filter(None, doubts), "")):
        notes.append(f"{doubt}, so this is Cassandra's, up to a flush older" if stored else doubt)
    if known.away:
        notes.append(known.away)
    return tuple(notes)


def iso(epoch_ms: int) -> str:
    """An instant in ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
