"""The independent auditor: recounts the raw log with DuckDB and compares with the ledger, every cell that is served, and every letter.

    what the stores serve, each source exactly as of its own offset   audit_stores
    final rows against the cells that they were made of               audit_finals, audit_volumes
    the raw log up to there, from Kafka into Parquet                  audit_log
    the letters of what is in no view                                 audit_letters
    a source at a time: records judged      audit_sql, audit_strict   → rows
                        admission           audit_admission           → classes
                        views at an offset  audit_views               → recounted
                        compared            audit_compare, audit_letters, audit_ledger
                        and where it differs, of which records that is   audit_origins
                        estimates measured  audit_bins, audit_sketches
    the result and its JSON                                           audit_report

It shares no code with the decoder and the fold: the definitions are written a second time, from docs/architecture.md.
It works while workers do: nobody has to wait, an answer is about the offsets that the stores say.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb

from connectors.kafka import matching_topics
from loadgen import (
    audit_admission,
    audit_bins,
    audit_bookmarks,
    audit_compare,
    audit_faults,
    audit_finals,
    audit_ledger,
    audit_letters,
    audit_origins,
    audit_sketches,
    audit_sql,
    audit_views,
    audit_volumes,
)
from loadgen.audit_ledger import RunTally
from loadgen.audit_log import CopiedLog, LogEnd, copy_log, log_ends
from loadgen.audit_report import (
    CLASSES,
    AuditResult,
    Difference,
    ErrorTally,
    FinalsTally,
    LetterTally,
    SourceAudit,
    SpreadTally,
    ViewTally,
    first_differences,
)
from loadgen.audit_stores import ServedStores
from loadgen.ledger import open_run
from loadgen.recovery import recovered
from topologies import accounting
from topologies.regions import in_region, regions_of
from topologies.settings import Settings
from topologies.sources import Source, SourceStatus
from topologies.view import View, parts_of
from topologies.views import keeps_bookmarks, selected

TAIL: Final = 20_000
"""A log that ends at most so many records past what is applied is read to its end, to see whether only ticks are left."""
MEMORY: Final = "1GB"

Progress = Callable[[str], None]
Statuses = dict[str, SourceStatus]


@dataclass
class _Audit:
    """One audit while it goes on. `cached` and `stored`: what Redis and Cassandra say of each source, by its text."""

    settings: Settings
    views: tuple[View, ...]
    database: duckdb.DuckDBPyConnection
    scratch: Path
    run: RunTally
    on_progress: Progress
    tallies: dict[str, ViewTally]
    regions: tuple[Settings, ...]
    """In each region; one where there is one."""
    cached: Statuses = field(default_factory=dict)
    stored: Statuses = field(default_factory=dict)
    checkpoints: dict[str, int] = field(default_factory=dict)
    """Offset of each source's newest checkpoint."""
    letters: dict[str, LetterTally] = field(default_factory=lambda: {kind: LetterTally() for kind in audit_letters.KINDS})
    errors: dict[str, ErrorTally] = field(default_factory=dict)
    losses: dict[str, str] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    finals: FinalsTally = field(default_factory=FinalsTally)
    later_ends: dict[str, int] = field(default_factory=dict)
    """Where each source's log ended when the bookmarks had been read: none is of an event behind that."""
    differences: list[Difference] = field(default_factory=list)
    sources: list[SourceAudit] = field(default_factory=list)

    def applied(self, source: object) -> tuple[int, int]:
        """The least and the greatest offset that the stores have applied of a source; 0 for a store that does not know it."""
        offsets = [store[str(source)].offset if str(source) in store else 0 for store in (self.cached, self.stored)]
        return min(offsets), max(offsets)


def audit(settings: Settings, run_name: str | None, on_progress: Progress) -> AuditResult:
    """Audit the run of that name and the whole log that it is in; None: the whole log alone.

    Takes about 20 µs of CPU a record of the log (measured at 2.5 M of them), and 1.5 GB of memory at the most. Records and cells are only
    read; what is missing of Cassandra's schema is made. Raises UsageError for a run that does not exist, ServerAway and StoreError when a
    server is away or fails, or what stands in a topic of letters is none, SourceError when the log cannot be read. A log whose beginning
    is gone is no error: it is said (SourceAudit.trouble), and the result is not exact.
    """
    started = time.monotonic()
    regions = tuple(in_region(settings, region) for region in regions_of(settings))
    run = RunTally(None if run_name is None else recovered(settings, open_run(settings, run_name)), len(regions))
    views = parts_of(selected(settings.worker.views))
    tallies = {name: ViewTally() for name in (*(view.family for view in views), accounting.NAME)}
    for view in views:
        tallies[view.family].independent &= audit_views.is_independent(view)
    if keeps_bookmarks(settings.worker.views):
        tallies[audit_bookmarks.NAME] = ViewTally()
    with tempfile.TemporaryDirectory(prefix="marquee-audit-") as directory, _database(Path(directory)) as database:
        going = _Audit(settings, views, database, Path(directory), run, on_progress, tallies, regions)
        _carry_out(going)
        run.tell_crossed(database)
        ledger, found = audit_ledger.compare(database, run, Path(directory))
        going.differences.extend(found)
        return _result(going, ledger, time.monotonic() - started)


@contextmanager
def _database(scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    # In memory, and on disk where that ends: a database in a file writes each table of each source there, and waits until it is.
    with duckdb.connect() as database:
        database.execute(f"SET memory_limit = '{MEMORY}'; SET temp_directory = '{scratch}'; SET preserve_insertion_order = false")
        yield database


def _carry_out(going: _Audit) -> None:
    ends = {str(end.source): end for end in _read_stores(going)}
    for text in sorted((going.cached.keys() | going.stored.keys()) - ends.keys()):
        status = going.cached.get(text) or going.stored[text]
        trouble = "its topic is not in Kafka any more, or is another region's: what it left in the stores cannot be recounted"
        if text in going.ended:
            trouble = "it has ended, for its topic was made anew: its windows stay as they were counted and cannot be recounted"
        going.sources.append(_source_audit(going, LogEnd(status.source, 0, status.offset), trouble=trouble))
    wanted = {}
    for end in ends.values():
        if trouble := _trouble(going, end):
            going.sources.append(_source_audit(going, end, trouble=trouble))
        else:
            wanted[end.source] = _read_to(going, end)
    going.on_progress("reading the letters")
    audit_letters.load_letters(going.regions, going.database, wanted)
    with closing(_copied(going, wanted)) as files:
        for number, (source, copied) in enumerate(files, 1):
            going.on_progress(f"recounting source {number} of {len(wanted)}: {wanted[source]:,} records")
            _recount(going, ends[str(source)], copied, wanted[source])
            copied.remove()
    if audit_bookmarks.NAME in going.tallies:
        read_to = {str(source): offset for source, offset in wanted.items()}
        growing = any(end > read_to.get(text, 0) for text, end in going.later_ends.items()) or any(each.trouble for each in going.sources)
        tally, now_ms = going.tallies[audit_bookmarks.NAME], time.time_ns() // 1_000_000
        going.differences += audit_bookmarks.compare(going.database, tally, now_ms, wanted, growing=growing)


def _copied(going: _Audit, wanted: dict[Source, int]) -> Generator[tuple[Source, CopiedLog]]:
    """Each source's log, one behind the other, from its region's Kafka."""
    for settings in going.regions:
        own = {source: offset for source, offset in wanted.items() if source.region == settings.worker.region}
        yield from copy_log(settings, own, going.scratch, going.on_progress)


def _ends(going: _Audit, topics: Iterable[str]) -> list[LogEnd]:
    """The sources of these topics in every region, with their offsets now."""
    return [end for settings in going.regions for end in log_ends(settings, topics)]


def _topics(going: _Audit) -> set[str]:
    """The topics that workers consume, in whatever region."""
    return {topic for settings in going.regions for topic in matching_topics(settings)}


def _read_stores(going: _Audit) -> list[LogEnd]:
    """Bring in what the stores serve. Returns the log's ends as they were before: what is applied beyond them has come since."""
    with ServedStores(going.settings, going.views, going.database) as stores:
        topics = {*_topics(going), *stores.known_topics()}
        if going.run.run is not None:
            topics.add(going.run.run.topic)
        ends = _ends(going, topics)
        going.on_progress("reading what Redis serves")
        going.cached = stores.load_redis()
        counts, wrong = stores.wrong_totals()
        for view in going.views:
            going.tallies[view.family].add("redis totals", *counts[view.name])
        going.differences.extend(wrong)
        finals, bound = stores.load_finals(), stores.load_volumes()
        going.stored = stores.load_cassandra(going.on_progress)
        going.checkpoints = stores.checkpoints(going.cached.keys() | going.stored.keys())
        going.losses, going.ended = stores.losses(), stores.ended()
        live_topics = going.settings.kafka.topics
        sources = audit_finals.SourcesAudited(going.stored, going.ended, stores.finished(), live_topics, stores.counted())
        going.differences += audit_finals.compare(going.database, going.views, finals, sources, going.tallies)
        going.differences += audit_volumes.compare(going.database, going.views, bound, sources, going.tallies)
        going.finals = audit_finals.count_missing(going.views, finals, sources, time.time_ns() // 1_000_000)
        if audit_bookmarks.NAME in going.tallies:
            going.on_progress("reading the bookmarks")
            stores.load_bookmarks()
            topics.update(_topics(going))
            going.later_ends = {str(end.source): end.end for end in _ends(going, topics)}
    return ends


def _trouble(going: _Audit, end: LogEnd) -> str:
    """Why a source cannot be recounted; empty when it can."""
    if end.first > 0:
        lost = going.losses.get(str(end.source), "")
        told = f"the log begins at offset {end.first}: what was before has been deleted and cannot be recounted"
        return f"{told}; {lost}" if lost else told
    furthest = going.applied(end.source)[1]
    if furthest > end.end:
        now = {now.source: now.end for now in _ends(going, [end.source.topic])}
        if furthest > now.get(end.source, 0):
            return f"a store has applied it up to offset {furthest}, but the log ends at {now.get(end.source, 0)}: it has been cut"
    return ""


def _read_to(going: _Audit, end: LogEnd) -> int:
    """How far the source's log is read: to the furthest store, and to its end, before and after the stores were read, if that is near."""
    least, furthest = going.applied(end.source)
    ends = (end.end, going.later_ends.get(str(end.source), 0))
    return max([furthest, *(each for each in ends if each - least <= TAIL)])


def _recount(going: _Audit, end: LogEnd, copied: CopiedLog, read_to: int) -> None:
    database, text, counted = going.database, str(end.source), going.tallies[accounting.NAME]
    arrow = [copied.arrow] if copied.arrow.exists() else []
    asked = audit_views.asked_by(going.views) | (audit_bookmarks.ASKED if audit_bookmarks.NAME in going.tallies else frozenset())
    audit_sql.load_rows(database, [copied.json], going.run.tag, arrow, asked)
    audit_admission.classify(database)
    audit_views.prepare(database, going.views)
    now_ms = time.time_ns() // 1_000_000
    origins, recounted_at = audit_origins.Origins(database, going.views), -1
    for store, statuses in (("redis", going.cached), ("cassandra", going.stored)):
        if text not in statuses:
            continue
        status = statuses[text]
        if status.offset != recounted_at:
            audit_views.recount(database, going.views, status.offset)
            recounted_at = status.offset
        recounted = audit_views.status_at(database, status.offset)
        going.differences += audit_compare.compare_status(recounted, store, status, counted)
        going.differences += audit_compare.compare_cells(database, going.views, store, text, recounted.watermark_ms, now_ms, going.tallies)
        going.differences = origins.added(going.differences, store, end.source, status.offset)
    if recounted_at >= 0:
        _measure(going)
    if text in going.stored and text not in going.cached:
        going.differences += audit_compare.missing_in_redis(going.stored[text], counted)
    if audit_bookmarks.NAME in going.tallies:
        known = (("redis", going.cached), ("cassandra", going.stored))
        audit_bookmarks.recount(database, text, {store: statuses[text].offset for store, statuses in known if text in statuses})
    kafka, durable = going.settings.kafka, going.checkpoints.get(text, 0)
    going.differences += audit_letters.compare(database, kafka, end.source, copied, durable, read_to, going.letters)
    furthest = going.applied(text)[1]
    going.run.count(database, end.source, furthest, read_to)
    going.sources.append(_source_audit(going, end, audit_views.status_at(database, furthest), _waiting(going, end, read_to)))


def _measure(going: _Audit) -> None:
    """How far what the views estimate is from the log's values, of the source and offset that were recounted last."""
    for part in going.views:
        if part.histogram is not None:
            tally = going.errors.setdefault(part.name, ErrorTally(audit_bins.STATED))
            tally.add(audit_bins.measured_error(going.database, part))
        if part.distinct is not None:
            every, large = (_spread(going, name) for name in (part.name, f"{part.name} of {audit_sketches.LARGE:,} and more"))
            audit_sketches.measure(going.database, part, every, large)


def _spread(going: _Audit, name: str) -> SpreadTally:
    tally = going.errors.setdefault(name, SpreadTally(audit_sketches.STATED))
    assert isinstance(tally, SpreadTally)
    return tally


def _waiting(going: _Audit, end: LogEnd, read_to: int) -> int:
    """How many records of the log, ticks excepted, are not applied in both stores; of those too far on to be read, all."""
    least = going.applied(end.source)[0]
    sql = "SELECT count(*) FROM timeline WHERE class <> 'tick' AND n >= $least AND n < $end"
    [(waiting,)] = going.database.execute(sql, {"least": audit_sql.position_of(least), "end": audit_sql.position_of(end.end)}).fetchall()
    return int(waiting) + max(0, end.end - max(read_to, least))


def _source_audit(
    going: _Audit, end: LogEnd, status: audit_views.RecountedStatus | None = None, waiting: int = 0, trouble: str = ""
) -> SourceAudit:
    text, source = str(end.source), end.source
    counts = {} if status is None else {name: getattr(status, name) for name in (*accounting.MEASURES, "clock_ms")}
    return SourceAudit(
        source=text,
        topic=source.topic,
        partition=source.partition,
        first=end.first,
        end=end.end,
        redis=going.cached[text].offset if text in going.cached else None,
        cassandra=going.stored[text].offset if text in going.stored else None,
        checkpoint=going.checkpoints.get(text),
        waiting=waiting,
        trouble=trouble,
        **counts,
    )


def _result(going: _Audit, ledger: str, seconds: float) -> AuditResult:
    tally = going.run
    counts = {name: tally.classes[name] for name in CLASSES}
    received = sum(counts.values())
    return AuditResult(
        run="" if tally.run is None else tally.run.name,
        generated=received if tally.run is None else tally.run.generated,
        received=received,
        crossed=tally.crossed,
        unaccounted=tally.unaccounted,
        views=going.tallies,
        ledger=ledger,
        differences=first_differences(going.differences),
        sources=tuple(sorted(going.sources, key=lambda source: (source.topic, source.partition, source.source))),
        dead_reasons=dict(tally.reasons),
        seconds=seconds,
        letters=going.letters,
        errors=going.errors,
        finals=going.finals,
        faults={} if tally.run is None else audit_faults.compared(tally.run, tally.faults, tally.reasons),
        **counts,
    )
