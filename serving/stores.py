"""The two stores as an answer reads them, opened when first needed, and Memcached before one of them; what they know of the sources; and
which edition's answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

from cassandra.cluster import Session

from connectors.cassandra import close, connect
from connectors.cassandra_finals import FinalRows, Mark
from connectors.cassandra_reader import CellRows, StoredPack
from connectors.cassandra_schema import require_schema
from connectors.checkpoint_store import checkpoint_offsets
from connectors.closing import Closing
from connectors.memcached import Memcached, key_of
from connectors.pointers import Pointer, Pointers
from connectors.read_through import ReadThrough
from connectors.redis_reader import CachedStatus, CellReader, Totals
from connectors.source_notes import SourceNotes
from serving.cells import Key
from serving.histories import Histories, History
from serving.known import Known, known_here, known_of
from serving.regions import Links, RegionalCells, RegionAway
from topologies.editions import in_edition
from topologies.errors import ServerAway
from topologies.regions import others_of
from topologies.settings import Settings
from topologies.sources import finished
from topologies.view import View, parts_of
from topologies.views import VIEWS, view_named

T = TypeVar("T")
POINTERS_S: Final = 3.0
"""A view that is switched is read where it was for so long at the most."""


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
        links: Links | None = None,
    ) -> None:
        """views: as who wrote the stores declares them; this version's when None. lent: gives a session with Cassandra that stays its
        owner's; one of its own when None. clock: seconds. histories: what Cassandra knows of the sources, read for many of these;
        each question reads it when None. through: one for many of these, which stays the caller's; its own when None. links: to other
        regions; the same."""
        self.settings = settings
        self._parts = parts_of(VIEWS.values() if views is None else views)
        self._lent = lent
        self._given = through
        self._lent_links = links
        self._clock = clock
        self._histories = histories
        self._pointers: Mapping[str, Pointer] = {}
        self._look_s = -math.inf
        """Before then nobody looks which edition answers."""
        self._told = False
        """Whether that was ever told."""
        self._untold = ""
        """What is said while no pointer could ever be looked up."""
        self._others: dict[str, tuple[Pointer, Stores]] = {}
        """Of each view that another edition answers for, that edition's."""
        self._built: tuple[object, object, Known] | None = None
        """What was known last, and of what it was put together."""

    def close(self) -> None:
        """Closes what was opened. Twice does nothing more."""
        while self._others:
            self._others.popitem()[1][1].close()
        for name in ("regional", "_redis", "_memcached", "_own_links"):
            opened = self.__dict__.pop(name, None)
            if opened is not None:
                opened.close()
        self.__dict__.pop("_rows_across", None)
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
    def _own_links(self) -> Links:
        return Links(self.settings)

    @property
    def links(self) -> Links:
        """The ways to other regions."""
        return self._lent_links or self._own_links

    @cached_property
    def regional(self) -> RegionalCells:
        """Every region's Redis."""
        return RegionalCells(self.settings, self._parts, self.links, self._redis)

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
    def _rows_across(self) -> CellRows:
        require_schema(self._session, self.settings.cassandra)
        return CellRows(self._session, self.settings.cassandra, self._parts, self.settings.regions.timeout_s)

    def packs(self, view: View, window: str, pack_ms: int, bucket: int | None, *, near: bool) -> list[StoredPack]:
        """As CellRows.packs; of several regions from all data centres, or, near, from this one's alone. Raises RegionAway when another one
        does not answer."""
        if near:
            return self.rows.packs(view, window, pack_ms, bucket)
        return self._anywhere(lambda rows: rows.packs(view, window, pack_ms, bucket))

    def _anywhere(self, read: Callable[[CellRows], T]) -> T:
        """What all data centres know."""
        if not others_of(self.settings):
            return read(self.rows)
        try:
            with self.links.cassandra.guarded(self._look_across):
                return read(self._rows_across)
        except ServerAway as error:
            raise RegionAway(str(error)) from error

    def _look_across(self) -> None:
        self._rows_across.reach()

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
            opened = (
                pointer,
                Stores(edition, (pointer.view,), lambda: self._session, self._clock, self._histories, self.through, self._lent_links),
            )
            self._others[name] = opened
        return Answering(opened[1], pointer.view, pointer.note, away)

    def _look_up(self) -> str:
        """See which edition answers for what, unless that was seen just now; returns why Cassandra did not tell, or nothing."""
        now_s = self._clock()
        if now_s < self._look_s:
            return ""
        try:
            self._pointers, self._untold, self._told = self._read_pointers(), "", True
        except ServerAway as error:
            if not self._told:
                self._untold = "whether another edition answers is not known, so this is the live one's"
            self._look_s = now_s + POINTERS_S
            return str(error)
        self._look_s = now_s if self._histories else now_s + POINTERS_S
        return ""

    def _read_pointers(self) -> Mapping[str, Pointer]:
        if self._histories is None:
            return self._pointer_rows.all()
        key = "pointers", self.settings.cassandra.keyspace
        return self._histories.renewed(key, lambda: self._pointer_rows.all(), POINTERS_S / 2, POINTERS_S)

    def known(self, away: str = "", since_s: float | None = None) -> Known:
        """What is known of the sources. Raises ServerAway when neither store answers.

        away: that Cassandra did not answer just now: it is not asked again, which would take its time-out once more. since_s: Redis is
        asked since then at the earliest (Histories.now_s); as Histories.heard has it when None.
        """
        if others_of(self.settings):
            return self._known_of_regions(away)
        redis_away, found = "", dict[str, CachedStatus]()
        try:
            found = self._heard(since_s)
        except ServerAway as error:
            redis_away = str(error)
        history, away = self._history_unless(away)
        if redis_away and away:
            raise ServerAway(f"neither store answers: {redis_away}; {away}")
        topics = self.settings.kafka.topics
        if redis_away or away:
            return known_here(found, history, topics, redis_away, away and f"{away}; history was not looked at")
        if self._built is None or self._built[0] is not found or self._built[1] is not history:
            self._built = found, history, known_here(found, history, topics)
        return self._built[2]

    def _history_unless(self, away: str) -> tuple[History, str]:
        """What Cassandra knows of the sources, unless it is away already; and why it is away, or nothing."""
        try:
            return (History() if away else self.history()), away
        except ServerAway as error:
            return History(), str(error)

    def _heard(self, since_s: float | None) -> dict[str, CachedStatus]:
        if self._histories is None:
            return self._redis.statuses()
        return self._histories.heard((self.settings.redis.url, self.settings.redis.prefix), self._redis.statuses, since_s)

    def _known_of_regions(self, away: str) -> Known:
        found = self.regional.statuses()
        history, away = self._history_unless(away)
        silent = [str(one) for one in found.values() if isinstance(one, ServerAway)]
        if len(silent) == len(found) and away:
            raise ServerAway(f"neither store answers: {silent[0]}; {away}")
        return known_of(found, history, self.settings.kafka.topics, away and f"{away}; history was not looked at")

    def history(self) -> History:
        """What Cassandra knows of the sources. Raises ServerAway or StoreError."""
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
        """Starts of the pack spans in which any source has a cell, as of what is known or newer. Raises ServerAway or StoreError; the
        former's RegionAway when there may be more than is known here."""
        return self._shared("spans", view, window, (), known, lambda: set(self._anywhere(lambda rows: rows.pack_spans(view, window))))

    def marks(self, view: View, window: str, first_ms: int, last_ms: int, known: Known) -> Mapping[int, Mark]:
        """The spans of a part that have final packs and start from `first_ms` to `last_ms`, by their start. Raises as `spans`."""
        span = first_ms, last_ms
        return self._shared("marks", view, window, span, known, lambda: self.finals.marks(view, window, *span))

    def _shared(self, what: str, view: View, window: str, asked: tuple[int, ...], known: Known, read: Callable[[], T]) -> T:
        if self._histories is None:
            return read()
        key = what, self.settings.cassandra.keyspace, view.name, view.logic_version, window, asked, known.digest
        return self._histories.shared(key, read)

    def kept_packs(self, key: str, read: Callable[[], T], *, final: bool) -> tuple[T, bool]:
        """A bucket's packs by Memcached's key of them, and whether this process had read them. final: as Histories.packs has it. Raises as
        `read`."""
        return (read(), False) if self._histories is None else self._histories.packs(key, read, final=final)

    def unmarked(self, view: View, window: str, bases: Mapping[int, str]) -> bool:
        """Whether these spans were found just now to have no final rows of these bases, by the span's start."""
        return self._histories is not None and self._histories.unmarked(self._bases(view, window, bases))

    def are_unmarked(self, view: View, window: str, bases: Mapping[int, str]) -> None:
        """They were found so."""
        if self._histories is not None:
            self._histories.are_unmarked(self._bases(view, window, bases))

    def _bases(self, view: View, window: str, bases: Mapping[int, str]) -> list[object]:
        table = self.settings.cassandra.keyspace, view.table, window
        return [(*table, pack_ms, basis) for pack_ms, basis in bases.items()]

    @cached_property
    def finals(self) -> FinalRows:
        """Cassandra's final rows."""
        return FinalRows(self._session, self.settings.cassandra)

    def totals(
        self, view: View, window: str, start_ms: int, grouping: int, keys: Sequence[Key] | None, regions: Sequence[str] = ()
    ) -> Totals:
        """Redis' sums over sources; of these keys, or of all. regions: over those of their Redis, where there are several."""
        if regions:
            return self.regional.totals(regions, view, window, start_ms, grouping, keys)
        return self._redis.totals(view, window, start_ms, grouping, keys)

    def best(self, view: View, window: str, start_ms: int, grouping: int, count: int, regions: Sequence[str] = ()) -> list[Key]:
        """The first keys of Redis' leaderboard, or of those of these regions together."""
        if regions:
            return self.regional.best(regions, view, window, start_ms, grouping, count)
        return [key for key, _ in self._redis.top(view, window, start_ms, grouping, count)]
