"""What an audit found, as values and as the JSON of the design's contract."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final

from topologies.view import LIVE
from topologies.views import OTHERS, VIEWS

DIFFERENCES_SHOWN: Final = 20
RANGES: Final = 20
"""So many ranges of offsets are told of an origin."""
TOTAL: Final = "(total)"
EVERY: Final = "(all sources)"
"""What a difference says instead of a source, of a sum in Redis and of one in Cassandra."""
CLASSES: Final = ("applied", "duplicate", "late", "dead")


@dataclass(frozen=True)
class OriginEvent:
    """One event of an origin: where it stands, and enough of it to know it by. Null where its record has no such field."""

    offset: int
    row: int
    session: str | None
    seq: int | None
    type: str | None
    ts: int | None


@dataclass(frozen=True)
class Origin:
    """Events of one source's log that a difference is about (loadgen.audit_origins). `what`: applied (they make what was expected), later
    (applied, but beyond what the store has), or duplicate, late, dead: of the same cell, and to be counted nowhere. Of a
    bookmark due and served; of a session in the ledger between: among the records of these offsets.

    events: how many; offsets: their records' as [first, last], runs of consecutive ones together; offsets, RANGES of them, and sample are
    the first of all.
    """

    source: str
    topic: str
    partition: int
    what: str
    events: int
    offsets: tuple[tuple[int, int], ...]
    sample: tuple[OriginEvent, ...]


@dataclass(frozen=True)
class Difference:
    """One thing that is not as recounted. expected None: it should not be there; served None: it is not there.

    origins: of those that are shown, which events of the log make the cell.

    source: TOTAL and EVERY for a sum over sources. store: redis | cassandra | redis totals | redis leaderboard | cassandra final |
    cassandra top | cassandra volume | ledger (its `expected` is what the ledger says, `served` what the log has) | the name of a topic of
    letters (view "letters": `key` is the letter's name SOURCE@OFFSET#ROW, `expected` its reason, `served` the letter's and, where that is
    right, what is not).
    """

    view: str
    window: str
    start_ms: int
    grouping: int
    key: str
    source: str
    store: str
    expected: tuple[int | str, ...] | None
    served: tuple[int | str, ...] | None
    origins: tuple[Origin, ...] = ()


@dataclass
class ViewTally:
    """Comparisons of one view: cells compared in both stores, and how many of them were wrong. independent: whether they were recounted by
    a definition of the auditor's own; False: by SQL made from the view's declaration."""

    cells: int = 0
    wrong: int = 0
    by_store: dict[str, int] = field(default_factory=dict)
    independent: bool = True

    def add(self, store: str, cells: int, wrong: int) -> None:
        """Count one comparison's cells."""
        self.cells += cells
        self.wrong += wrong
        self.by_store[store] = self.by_store.get(store, 0) + cells


@dataclass
class ErrorTally:
    """How far what a view estimates is from the log's own values, relative to them: what is stated, and the largest found so far; None
    while nothing has been measured."""

    stated: float
    measured: float | None = None

    def add(self, found: float | None) -> None:
        """Take one measurement's largest error; None if there was nothing to measure."""
        if found is not None:
            self.measured = max(found, self.measured or 0.0)


@dataclass
class SpreadTally(ErrorTally):
    """The same of estimates whose error is stated as a standard one: so many were measured, and the root mean square of their errors."""

    cells: int = 0
    rms: float | None = None

    def add(self, found: float | None) -> None:
        super().add(found)
        if found is not None:
            squares = (self.rms or 0.0) ** 2 * self.cells + found**2
            self.cells += 1
            self.rms = math.sqrt(squares / self.cells)


@dataclass
class LetterTally:
    """Dead events, or late ones, and their letters.

    compared: events of which a letter stands or has to. wrong: of those, with a letter that says or holds something else; missing: with
    none. spurious: letters of what is no such event. deleted: events whose letter is not there and may have been deleted from its topic;
    undue: whose letter is not there and need not be, since no checkpoint has come so far.
    """

    compared: int = 0
    wrong: int = 0
    missing: int = 0
    spurious: int = 0
    deleted: int = 0
    undue: int = 0

    @property
    def faults(self) -> int:
        """How many differ, in any way."""
        return self.wrong + self.missing + self.spurious


@dataclass
class FinalsTally:
    """Pack spans that are final by the sources' statuses. missing: those without final rows of what is known now, so that answers come from
    the sources' cells, which is as right and slower; overdue: those of them that have no final rows at all and have been final
    for longer than historians take."""

    spans: int = 0
    missing: int = 0
    overdue: int = 0


@dataclass(frozen=True)
class SourceAudit:
    """How one source was audited. Offsets are next offsets; None: the store does not know the source. `checkpoint`: of the newest one.
    `waiting`: records in the log that not both stores have applied, ticks excepted. `trouble`: why it could not be recounted, or empty."""

    source: str
    topic: str
    partition: int
    first: int
    end: int
    redis: int | None
    cassandra: int | None
    checkpoint: int | None
    waiting: int
    received: int = 0
    applied: int = 0
    duplicate: int = 0
    late: int = 0
    dead: int = 0
    clock_ms: int = -1
    trouble: str = ""


@dataclass(frozen=True)
class AuditResult:
    """The audit of a run, or of the whole log (run ""). The counts are the run's records; views and sources are the whole log's."""

    run: str
    generated: int
    received: int
    applied: int
    duplicate: int
    late: int
    dead: int
    crossed: int
    unaccounted: int
    views: dict[str, ViewTally]
    ledger: str
    """equal | different | a sentence: why it was not compared"""
    differences: tuple[Difference, ...]
    sources: tuple[SourceAudit, ...]
    dead_reasons: dict[str, int]
    seconds: float
    letters: dict[str, LetterTally] = field(default_factory=dict)
    """By class: dead, late."""
    errors: dict[str, ErrorTally] = field(default_factory=dict)
    """By part of a view whose answers are estimates."""
    finals: FinalsTally = field(default_factory=FinalsTally)
    faults: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By kind of what was broken on purpose, where the ledger lists it: how often, and how often it did what it should."""

    @property
    def complete(self) -> bool:
        """Whether every record of the log but ticks is below the applied offsets of both stores."""
        return all(source.waiting == 0 and not source.trouble for source in self.sources)

    @property
    def as_of_ms(self) -> int:
        """The oldest source's clock; −1 if none has one."""
        return min((source.clock_ms for source in self.sources if source.clock_ms >= 0), default=-1)

    @property
    def exact(self) -> bool:
        """Nothing wrong, nothing empty, nothing lost, no letter wrong, and the ledger not contradicted. Final rows that are missing are no
        wrong number, for nobody reads one.

        A view of who is live is empty when all have left and none of them saw a whole minute, one of sessions while none is over, one of
        bookmarks until one is due: both recount and stores say so.
        """
        right = all(view.wrong == 0 and (view.cells > 0 or _goes_by_the_clock(name)) for name, view in self.views.items())
        right = right and not any(tally.faults for tally in self.letters.values())
        return right and self.unaccounted == 0 and self.ledger != "different" and not any(source.trouble for source in self.sources)

    @property
    def proven(self) -> bool:
        """Exact to the end of the log, no letter still to come, and equal to the run's ledger: what a finished run must be."""
        due = not any(tally.undue for tally in self.letters.values())
        return self.exact and self.complete and due and self.ledger == "equal"

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "run": self.run or None,
            "generated": self.generated,
            "received": self.received,
            **{name: getattr(self, name) for name in CLASSES},
            "crossed": self.crossed,
            "unaccounted": self.unaccounted,
            "views": {
                name: {
                    "cells": view.cells,
                    "wrong": view.wrong,
                    "empty": view.cells == 0,
                    "independent": view.independent,
                    "stores": view.by_store,
                }
                for name, view in sorted(self.views.items())
            },
            "errors": {name: asdict(error) for name, error in sorted(self.errors.items())},
            "letters": self._letters(),
            "finals": asdict(self.finals),
            "exact": self.exact,
            "complete": self.complete,
            "as_of": _instant(self.as_of_ms),
            "as_of_ms": self.as_of_ms if self.as_of_ms >= 0 else None,
            "ledger": self.ledger,
            "faults": {kind: {"injected": injected, "found": found} for kind, (injected, found) in sorted(self.faults.items())},
            "dead_reasons": dict(sorted(self.dead_reasons.items())),
            "differences": [asdict(difference) for difference in self.differences],
            "sources": [asdict(source) for source in self.sources],
            "seconds": round(self.seconds, 3),
        }

    def _letters(self) -> dict[str, Any]:
        kinds = {kind: asdict(tally) for kind, tally in sorted(self.letters.items())}
        sums = {each.name: sum(counts[each.name] for counts in kinds.values()) for each in fields(LetterTally)}
        return {**sums, "kinds": kinds}


def first_differences(found: Sequence[Difference]) -> tuple[Difference, ...]:
    """As many as are shown, in the order of views, windows and keys."""
    return tuple(sorted(found, key=lambda d: (d.view, d.window, d.start_ms, d.grouping, d.key, d.source))[:DIFFERENCES_SHOWN])


def _instant(epoch_ms: int) -> str | None:
    if epoch_ms < 0:
        return None
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _goes_by_the_clock(view: str) -> bool:
    return view in OTHERS or (view in VIEWS and (LIVE in VIEWS[view].windows or VIEWS[view].of == "session"))
