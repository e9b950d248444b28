"""The merged answer to a question: the columns of each part of the view, from where serving/reading.py finds its windows.

An answer says where it was read, and why when that is not where it should have been. Nothing answers empty for an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from typing import Any

from serving.cells import Row, ordered
from serving.columns import Columns, columns_of, joined
from serving.instants import iso, isos
from serving.known import Known
from serving.questions import Plan, Question, plan, span_name, starts
from serving.reading import Reading, is_settled, read
from serving.regions import RegionAway
from serving.standing import Standing, by_region
from serving.stores import Answering, Stores
from serving.trends import Past, from_cache, read_trend
from topologies import accounting
from topologies.errors import ServerAway, StoreError
from topologies.regions import others_of
from topologies.sources import SourceStatus
from topologies.view import LIVE, Trend

Clock = Callable[[], int]
"""The time now, epoch milliseconds."""


def wall_clock_ms() -> int:
    """This machine's clock."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Answer:
    """What was found. `rows` are keyed by `dimensions`; `timed`: each row has the start of its window.

    final: no event can change it any more. read: how many stored windows (of accounting: sources) each store gave; memcached: for how many
    of them Cassandra was not asked, since Memcached had what it would have said.
    span_ms: from and to (exclusive), None for now. units: of the measures that have one. errors: the relative error of what is estimated.
    fractions: the measures that can be no whole number.
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
    memcached: int = 0
    notes: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    fractions: frozenset[str] = frozenset()

    def document(self, zone: tzinfo = UTC) -> dict[str, Any]:
        """The answer as JSON has it: instants in ISO 8601, as clocks of `zone` show them, and, named `_ms`, in epoch milliseconds."""
        names = (*(("start", "start_ms") if self.timed else ()), *self.dimensions, *self.measures)
        rows: Iterable[tuple[object, ...]] = ((*row.key, *row.values) for row in self.rows)
        if self.timed:
            starts = isos([row.start_ms for row in self.rows], zone)
            rows = ((at, row.start_ms, *row.key, *row.values) for at, row in zip(starts, self.rows, strict=True))
        cells = [dict(zip(names, row, strict=True)) for row in rows]
        return {
            "view": self.view,
            "window": self.window,
            "from": iso(self.span_ms[0], zone) if self.span_ms else None,
            "to": iso(self.span_ms[1], zone) if self.span_ms else None,
            "dimensions": list(self.dimensions),
            "measures": list(self.measures),
            "units": dict(self.units),
            "errors": dict(self.errors),
            "cells": cells,
            **self.standing.document(zone),
            "final": self.final,
            "read": dict(self.read),
            "memcached": self.memcached,
            "notes": list(self.notes),
        }

    def line(self, zone: tzinfo = UTC, later_s: float = 0.0) -> str:
        """The answer's standing in one line, told so long after it was asked, as clocks of `zone` show it."""
        standing = self.standing
        as_of = "no event yet"
        if standing.lag_s is not None:
            as_of = f"as of {iso(standing.as_of_ms, zone)}, {standing.lag_s + later_s:,.1f} s ago"
        state = "final" if self.final else "provisional"
        lacked = [f"{name}: {share.why}" for name, share in standing.regions.items() if share.why]
        return "; ".join([as_of, f"{standing.heard} of {standing.known} sources", state, *lacked, *self.notes])


def ask(stores: Stores, question: Question, clock: Clock = wall_clock_ms, since_s: float | None = None) -> Answer:
    """The answer, of the edition that answers for this view. since_s: as `Stores.known` has it. Raises UsageError for what cannot be asked,
    ServerAway when a store that is needed does not answer, StoreError when it has no tables."""
    try:
        answering = stores.answering(question.view)
    except (ServerAway, StoreError):
        plan(question)  # what cannot be asked by this version's declarations needs no store to be refused
        raise
    planned = plan(question, answering.view)
    for _ in others_of(stores.settings):  # each may go once while it is asked
        try:
            answer = _ask(answering, planned, question, clock, since_s)
            break
        except RegionAway:
            continue
    else:
        answer = _ask(answering, planned, question, clock, since_s)
    return replace(answer, notes=(answering.note, *answer.notes)) if answering.note else answer


def _ask(answering: Answering, planned: Plan, question: Question, clock: Clock, since_s: float | None) -> Answer:
    stores, known = answering.stores, answering.stores.known(answering.away, since_s)
    if planned.view.trend is not None and planned.span_s:
        return _ask_trend(stores, known, planned, planned.view.trend, clock)
    window, columns = planned.stored, columns_of(planned)
    wanted = starts(planned, question, max((status.clock_ms for status in known.best), default=-1))
    readings = [read(stores, known, one, wanted, clock()) for one in columns]
    rows = joined(columns, [one.shown(reading.sums.settled()) for one, reading in zip(columns, readings, strict=True)])
    names = [name for one in columns for name in one.names]
    cached = {start_ms for reading in readings for start_ms in reading.cached}
    stored = {start_ms for reading in readings for start_ms in reading.stored}
    partial = {start_ms for reading in readings for start_ms in set(reading.stored) - reading.final}
    asked = {start_ms for reading in readings for start_ms in set(reading.stored) - reading.remembered}
    statuses = known.cached if cached and not cached & stored else known.stored
    standing = Standing.of(known, statuses.values(), clock())
    if known.regions:
        standing = by_region(known, readings, window, clock())
    timed = bool(window.length_ms)
    return Answer(
        view=planned.view.name,
        window=planned.shown.name,
        dimensions=planned.dimensions,
        measures=tuple(names),
        rows=tuple(ordered(rows, _ranked(planned, names), planned.top)),
        standing=standing,
        timed=timed and planned.top is None,
        final=is_settled(planned.view, window, wanted[-1], known)  # then those before it are so too
        and not any(reading.near for reading in readings),
        span_ms=(wanted[0], wanted[-1] + window.length_ms) if timed else None,
        read={"redis": len(cached), "final": len(stored - partial), "cassandra": len(partial)},
        memcached=len(stored - asked),
        notes=(*(note for one in columns for note in one.notes), *_notes(planned, known, wanted, readings[0]), *_older(columns, readings)),
        units={name: unit for one in columns for name, unit in one.units.items()},
        errors={name: error for one in columns for name, error in one.errors.items()},
        fractions=frozenset().union(*(one.fractions for one in columns)),
    )


def _ask_trend(stores: Stores, known: Known, planned: Plan, trend: Trend, clock: Clock) -> Answer:
    """As of the oldest clock of the sources, in the store that the newest minute is read from. If that is Cassandra, the days are read
    there too: by what Redis' are ahead of Cassandra's minutes, the past would be too great."""
    cached = from_cache(planned, known, clock())
    standing = Standing.of(known, (known.cached if cached else known.stored).values(), clock())
    past = Past.of(planned, trend, standing.as_of_ms)
    rows, reading = read_trend(stores, known if cached else known.stored_alone(), planned, past, clock())
    if known.regions:
        standing = replace(by_region(known, [reading], planned.stored, clock()), as_of_ms=standing.as_of_ms, lag_s=standing.lag_s)
    reckoned = f"score = {trend.count} ÷ max({trend.floor:g}, expected)"
    doubts = _notes(replace(planned, top=None), known, sorted((*reading.cached, *reading.stored)), reading)
    return Answer(
        view=planned.view.name,
        window=span_name(planned.span_s),
        dimensions=planned.dimensions,
        measures=past.columns,
        rows=tuple(rows),
        standing=standing,
        span_ms=past.span_ms if standing.as_of_ms >= 0 else None,
        read={"redis": len(reading.cached), "final": len(reading.final), "cassandra": len(reading.stored) - len(reading.final)},
        memcached=len(reading.remembered),
        notes=(reckoned, *doubts),
        fractions=frozenset(past.columns[1:]),
    )


def _ranked(planned: Plan, names: Sequence[str]) -> int:
    """Which column orders the answer: the leaderboard's, else the first."""
    board = planned.view.leaderboard
    return names.index(board) if board in names else 0


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
        standing=by_region(known, [], LIVE, clock()) if known.regions else Standing.of(known, statuses, clock()),
        read={"redis": len(known.cached), "cassandra": len(known.stored)},
        notes=(f"received = applied + duplicate + late + dead, {equation}", *filter(None, doubts)),
    )


def _place(status: SourceStatus) -> tuple[str, ...]:
    return status.source.topic, str(status.source.partition), str(status.source)


def _classes(status: SourceStatus) -> tuple[int, ...]:
    return status.received, status.applied, status.duplicate, status.late, status.dead


def _notes(planned: Plan, known: Known, wanted: Sequence[int], reading: Reading[Any]) -> tuple[str, ...]:
    notes = list(planned.notes)
    if planned.top is not None and len(wanted) > 1:
        notes.append(f"ranked over {len(wanted)} windows of a {planned.stored.name}")
    if known.regions:
        return (*notes, *([known.away] if known.away else []))  # each region says what is to be said of it
    # there is doubt of a window if there is of a later one
    if planned.stored.cached and wanted and (doubt := known.doubt(planned.stored, wanted[0])):
        notes.append(f"{doubt}, so this is Cassandra's, up to a flush older" if reading.stored else doubt)
    if known.away:
        notes.append(known.away)
    return tuple(notes)


def _older(columns: Sequence[Columns[Any]], readings: Sequence[Reading[Any]]) -> tuple[str, ...]:
    """What to say where a part is Cassandra's and the integers beside it are Redis'."""
    cached = set(readings[0].cached)
    older = [name for one, reading in zip(columns, readings, strict=True) if cached & set(reading.stored) for name in one.names]
    return (f"{', '.join(older)}: Cassandra's, up to a flush older",) if older else ()
