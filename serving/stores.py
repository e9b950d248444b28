"""The two stores as an answer reads them, opened when first needed, and Memcached before one of them; what they know of the sources; and
which edition's answer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

from cassandra.cluster import Session

from connectors.cassandra import close, connect
from connectors.cassandra_finals import FinalRows, Mark
from connectors.cassandra_reader import CellRows
from connectors.cassandra_schema import require_schema
from connectors.checkpoint_store import checkpoint_offsets
from connectors.closing import Closing
from connectors.memcached import Memcached, key_of
from connectors.pointers import Pointer, Pointers
from connectors.read_through import ReadThrough
from connectors.redis_reader import CellReader, Totals
from connectors.source_notes import SourceNotes
from serving.cells import Key
from serving.histories import Histories, History
from topologies.editions import in_edition
from topologies.errors import ServerAway
from topologies.settings import Settings
from topologies.sources import ALL_COUNTED, SKEW_MS, Counted, SourceStatus, finished
from topologies.view import View, Window, parts_of
from topologies.views import VIEWS, view_named

T = TypeVar("T")
POINTERS_S: Final = 3.0
"""A view that is switched is read where it was for so long at the most."""


@dataclass(frozen=True)
class Known:
    """The sources by their text, as each store has them.

    lacking: those of which Redis has not all. redis_away: that Redis did not answer, away: that Cassandra did not; empty when they did.
    ended: those whose topic is no more (deleted, or made anew under its name). What they counted in windows stays; now they are nobody.
    finished: those of backfills whose log has ended, as they stand in Cassandra: nothing more of them is awaited.
    counted: which views have all that those in `stored` say.
    """

    cached: Mapping[str, SourceStatus]
    stored: Mapping[str, SourceStatus]
    live_topics: tuple[str, ...]
    lacking: frozenset[str] = frozenset()
    redis_away: str = ""
    away: str = ""
    ended: frozenset[str] = frozenset()
    finished: frozenset[str] = frozenset()
    counted: Counted = ALL_COUNTED

    @property
    def over(self) -> frozenset[str]:
        """Those that hold no window back."""
        return self.ended | self.finished

    @cached_property
    def digest(self) -> str:
        """Equal where Cassandra's statuses are: of every source, up to which offset it has it."""
        told = sorted((name, status.offset) for name, status in self.stored.items())
        return hashlib.blake2b(repr(told).encode(), digest_size=16).hexdigest()

    @property
    def names(self) -> frozenset[str]:
        """Every source that either store has heard of."""
        return frozenset(self.cached) | frozenset(self.stored)

    def going(self, statuses: Iterable[SourceStatus]) -> list[SourceStatus]:
        """Those that have not ended."""
        return [status for status in statuses if str(status.source) not in self.ended]

    def doubt(self, window: Window | None = None, start_ms: int = 0) -> str:
        """Why Redis' totals of this window (None: of any) cannot be used; empty when they can. A source that has ended has no cell in
        the live window, nor in one that starts after its last event."""
        if self.redis_away:
            return self.redis_away
        lacking = {
            name
            for name in self.lacking
            if name not in self.ended or (window is not None and window.length_ms and start_ms <= self.reached_ms(name))
        }
        return f"Redis has not all of {len(lacking)} of the {len(self.names | self.lacking)} sources" if lacking else ""

    def reached_ms(self, name: str) -> int:
        """The last start of a window in which the source can have a cell."""
        clocks = [found[name].clock_ms for found in (self.cached, self.stored) if name in found]
        return max(clocks, default=-1) + SKEW_MS

    @cached_property
    def best(self) -> tuple[SourceStatus, ...]:
        """Of each source the status that is further."""
        both = [[found[name] for found in (self.cached, self.stored) if name in found] for name in sorted(self.names)]
        return tuple(max(found, key=lambda status: status.offset) for found in both)

    def live(self, statuses: Iterable[SourceStatus]) -> list[SourceStatus]:
        """Those of live topics that have a clock; of all topics, when there are none: an ended backfill's clock stands for ever."""
        clocked = [status for status in statuses if status.clock_ms >= 0]
        return [status for status in clocked if status.source.topic in self.live_topics] or clocked


@dataclass(frozen=True)
class Answering:
    """Whose stores answer for a view, how those who wrote them declare it, and what is to be said about it (or nothing). away: that
    Cassandra did not answer when it was asked who does; empty when it did, or was not asked."""

    stores: Stores
    view: View
    note: str = ""
    away: str = ""


class Stores(Closing):
    """Redis, Cassandra and Memcached of these settings. Use as a context manager; one thread."""

    def __init__(
        self,
        settings: Settings,
        views: Iterable[View] | None = None,
        lent: Callable[[], Session] | None = None,
        clock: Callable[[], float] = time.monotonic,
        histories: Histories | None = None,
        through: ReadThrough | None = None,
    ) -> None:
        """views: as who wrote the stores declares them; this version's when None. lent: gives a session with Cassandra that stays its
        owner's; one of its own when None. clock: seconds. histories: what Cassandra knows of the sources, read for many of these;
        each question reads it when None. through: one for many of these, which stays the caller's; its own when None."""
        self.settings = settings
        self._parts = parts_of(VIEWS.values() if views is None else views)
        self._lent = lent
        self._given = through
        self._clock = clock
        self._histories = histories
        self._pointers: Mapping[str, Pointer] = {}
        self._looked_s: float | None = None
        self._untold = ""
        """What is said while no pointer could ever be looked up."""
        self._others: dict[str, tuple[Pointer, Stores]] = {}
        """Of each view that another edition answers for, that edition's."""

    def close(self) -> None:
        """Closes what was opened. Twice does nothing more."""
        while self._others:
            self._others.popitem()[1][1].close()
        reader = self.__dict__.pop("_redis", None)
        if reader is not None:
            reader.close()
        own = self.__dict__.pop("_memcached", None)
        if own is not None:
            own.close()
        self.__dict__.pop("through", None)
        self.__dict__.pop("rows", None)
        self.__dict__.pop("_notes", None)
        self.__dict__.pop("_pointer_rows", None)
        self.__dict__.pop("finals", None)
        session = self.__dict__.pop("_session", None)
        if session is not None and self._lent is None:
            close(session)

    @cached_property
    def _redis(self) -> CellReader:
        return CellReader(self.settings.redis, self._parts)

    @cached_property
    def _session(self) -> Session:
        return connect(self.settings.cassandra) if self._lent is None else self._lent()

    @cached_property
    def _memcached(self) -> Memcached:
        return Memcached(self.settings.memcached)

    @cached_property
    def through(self) -> ReadThrough:
        """What history is read through."""
        return self._given or ReadThrough(self._memcached)

    def key_of(self, table: str, window: str, *asked: object) -> str:
        """Memcached's key of what is asked of a table of these settings' keyspace."""
        return key_of(self.settings.memcached, f"{self.settings.cassandra.keyspace}:{table}:{window}", *asked)

    @cached_property
    def rows(self) -> CellRows:
        """Cassandra's partials, and what it knows of the sources."""
        require_schema(self._session, self.settings.cassandra)
        return CellRows(self._session, self.settings.cassandra, self._parts)

    @cached_property
    def _pointer_rows(self) -> Pointers:
        require_schema(self._session, self.settings.cassandra)
        return Pointers(self._session, self.settings.cassandra)

    def answering(self, name: str) -> Answering:
        """Who answers for the view of that name: these stores, or those of the edition that it was switched to.

        What was switched is known within POINTERS_S; while Cassandra is away, as it was known last. Raises UsageError for what is no view.
        """
        away = self._look_up()
        pointer, opened = self._pointers.get(name), self._others.get(name)
        if opened is not None and opened[0] != pointer:
            self._others.pop(name)[1].close()
            opened = None
        if pointer is None:
            return Answering(self, view_named(name), self._untold, away)
        if opened is None:
            edition = in_edition(self.settings, pointer.edition)
            opened = pointer, Stores(edition, (pointer.view,), lambda: self._session, self._clock, self._histories, self.through)
            self._others[name] = opened
        return Answering(opened[1], pointer.view, pointer.note, away)

    def _look_up(self) -> str:
        """See which edition answers for what, unless that was seen just now; returns why Cassandra did not tell, or nothing."""
        now_s, away = self._clock(), ""
        if self._looked_s is not None and now_s - self._looked_s < POINTERS_S:
            return away
        try:
            self._pointers, self._untold = self._pointer_rows.all(), ""
        except ServerAway as error:
            away = str(error)
            if self._looked_s is None:
                self._untold = "whether another edition answers is not known, so this is the live one's"
        self._looked_s = now_s
        return away

    def known(self, away: str = "") -> Known:
        """What is known of the sources. Raises ServerAway when neither store answers.

        away: that Cassandra did not answer just now: it is not asked again, which would take its time-out once more.
        """
        redis_away = ""
        cached: dict[str, SourceStatus] = {}
        history = History()
        unfinished: set[str] = set()
        ended: set[str] = set()
        try:
            found = self._redis.statuses()
            cached = {name: status.status for name, status in found.items() if status.status is not None}
            unfinished = {name for name, status in found.items() if status.status is None}
            ended = {name for name, status in found.items() if status.ended}
        except ServerAway as error:
            redis_away = str(error)
        try:
            if not away:
                history = self._asked_history()
        except ServerAway as error:
            away = str(error)
        if redis_away and away:
            raise ServerAway(f"neither store answers: {redis_away}; {away}")
        stored, ended = history.stored, ended | history.ended
        behind = {name for name, status in stored.items() if name not in cached or cached[name].offset < status.offset}
        away = away and f"{away}; history was not looked at"
        return Known(
            cached=cached,
            stored=stored,
            live_topics=self.settings.kafka.topics,
            lacking=frozenset(behind | unfinished),
            redis_away=redis_away,
            away=away,
            ended=frozenset(ended),
            finished=history.finished,
            counted=Counted(stored, history.counted, ended) if history.counted is not None else ALL_COUNTED,
        )

    def _asked_history(self) -> History:
        if self._histories is None:
            return self._read_history()
        return self._histories.of(self.settings.cassandra.keyspace, self._read_history)

    def _read_history(self) -> History:
        stored = self.rows.statuses()
        over, count = self._notes.over(), self.rows.count()  # after the statuses, and side by side
        ends, finishes = over()
        return History(stored, frozenset(ends), finished(stored, finishes), count())

    def checkpoints(self, sources: Iterable[str]) -> dict[str, int]:
        """The offset of the newest checkpoint of each of these sources that has one. Raises ServerAway or StoreError."""
        return checkpoint_offsets(self.settings, self._session, sources)

    @cached_property
    def _notes(self) -> SourceNotes:
        return SourceNotes(self._session, self.settings.cassandra)

    def spans(self, view: View, window: str, known: Known) -> set[int]:
        """Starts of the pack spans in which any source has a cell, as of what is known or newer. Raises ServerAway or StoreError."""
        return self._shared("spans", view, window, (), known, lambda: set(self.rows.pack_spans(view, window)))

    def marks(self, view: View, window: str, first_ms: int, last_ms: int, known: Known) -> Mapping[int, Mark]:
        """The spans of a part that have final packs and start from `first_ms` to `last_ms`, by their start. Raises as `spans`."""
        span = first_ms, last_ms
        return self._shared("marks", view, window, span, known, lambda: self.finals.marks(view, window, *span))

    def _shared(self, what: str, view: View, window: str, asked: tuple[int, ...], known: Known, read: Callable[[], T]) -> T:
        if self._histories is None:
            return read()
        key = what, self.settings.cassandra.keyspace, view.name, view.logic_version, window, asked, known.digest
        return self._histories.shared(key, read)

    @cached_property
    def finals(self) -> FinalRows:
        """Cassandra's final rows."""
        return FinalRows(self._session, self.settings.cassandra)

    def totals(self, view: View, window: str, start_ms: int, grouping: int, keys: Sequence[Key] | None) -> Totals:
        """Redis' sums over sources; of these keys, or of all."""
        return self._redis.totals(view, window, start_ms, grouping, keys)

    def best(self, view: View, window: str, start_ms: int, grouping: int, count: int) -> list[Key]:
        """The first keys of Redis' leaderboard."""
        return [key for key, _ in self._redis.top(view, window, start_ms, grouping, count)]
