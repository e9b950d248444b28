"""A profile's shelf: what it has not finished, last watched first. From Redis; what that lost from Cassandra, and put back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from cassandra.cluster import Session

from connectors.bookmark_store import BookmarkRows
from connectors.cassandra import close, connect
from connectors.cassandra_schema import require_schema
from connectors.closing import Closing
from connectors.shelves import CachedShelf, ShelfReader
from serving.instants import iso
from serving.regions import Links, patient
from topologies import continue_watching
from topologies.continue_watching import MOST_TITLES
from topologies.errors import ServerAway, StoreError, UsageError
from topologies.marks import Mark
from topologies.regions import others_of
from topologies.settings import Settings


@dataclass(frozen=True)
class Shelf:
    """`rows`: title and bookmark of what is not finished, greatest ts first. read: the store that answered; notes: what is to be said."""

    account: str
    profile: str
    rows: tuple[tuple[str, Mark], ...]
    read: str
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The shelf as JSON has it; a position or a runtime that no event told is null."""
        titles = [
            {
                "title": title,
                "position_s": mark.position_s if mark.position_s >= 0 else None,
                "runtime_s": mark.runtime_s if mark.runtime_s >= 0 else None,
                "at": iso(mark.ts),
                "at_ms": mark.ts,
            }
            for title, mark in self.rows
        ]
        names = {"view": continue_watching.NAME, "account": self.account, "profile": self.profile}
        return {**names, "titles": titles, "read": self.read, "notes": list(self.notes)}

    def line(self) -> str:
        """Where it was read, in one line."""
        return "; ".join([f"{len(self.rows)} titles", f"from {self.read}", *self.notes])


def whose(by: Mapping[str, str | None]) -> tuple[str, str]:
    """Account and profile of a question. Raises UsageError unless it names both, and nothing else."""
    account, profile = (by.get(name) for name in continue_watching.DIMENSIONS)
    if account is None or profile is None or len(by) > len(continue_watching.DIMENSIONS):
        raise UsageError("continue_watching is kept by account and profile together; ask --by account=A --by profile=P")
    return account, profile


class Shelves(Closing):
    """Both stores, opened when first needed. Use as a context manager; one thread."""

    def __init__(self, settings: Settings, lent: Callable[[], Session] | None = None, links: Links | None = None) -> None:
        """lent: gives a session with Cassandra that stays its owner's; one of its own when None. links: to other regions, of the process;
        its own when None."""
        self._links = links or Links(settings)
        self._owns_links = links is None
        self._others = {region: ShelfReader(patient(settings, region)) for region in others_of(settings)}
        self._rows_across: BookmarkRows | None = None
        self._settings = settings
        self._lent = lent
        self._redis = ShelfReader(settings.redis)
        self._session: Session | None = None
        self._rows: BookmarkRows | None = None

    def close(self) -> None:
        """Closes what was opened. Twice does nothing more."""
        for reader in (self._redis, *self._others.values()):
            reader.close()
        if self._owns_links:
            self._links.close()
        self._rows = self._rows_across = None
        session, self._session = self._session, None
        if session is not None:
            close(session)

    def shelf(self, account: str, profile: str) -> Shelf:
        """The shelf, an empty one for whoever has none. Raises ServerAway when no store that is needed answers."""
        away = ""
        try:
            cached = self._redis.shelf(account, profile)
        except ServerAway as error:
            cached, away = CachedShelf({}, whole=False), str(error)
        if self._others:
            return self._of_all(account, profile, cached, away)
        if cached.whole:
            return Shelf(account, profile, shown(cached.marks), "redis")
        try:
            stored = self._stored(account, profile)
        except ServerAway as error:
            if away:
                raise ServerAway(f"neither store answers: {away}; {error}") from error
            return Shelf(account, profile, shown(cached.marks), "redis", (f"{error}; Redis may not have all of it",))
        marks = merged(stored, cached.marks)
        if marks and not away and not (len(marks) > MOST_TITLES and _ended(stored, cached.marks)):
            with contextlib.suppress(ServerAway, StoreError):  # without it the next who asks does this again
                self._redis.renew(account, profile, marks, cached)
        return Shelf(account, profile, shown(marks), "cassandra", (away,) if away else ())

    def _of_all(self, account: str, profile: str, cached: CachedShelf, away: str) -> Shelf:
        """Of several regions: what each one's Redis has, and Cassandra, for none of the first has what others were told."""
        marks, notes = dict(cached.marks), [away] if away else []
        for region, reader in self._others.items():
            try:
                with self._links.redis[region].guarded(partial(reader.shelf, account, profile)):
                    marks = merged(marks, reader.shelf(account, profile).marks)
            except ServerAway as error:
                notes.append(f"{region}: {error}; what it was told last may be missing")
        try:
            return Shelf(account, profile, shown(merged(self._stored_anywhere(account, profile), marks)), "cassandra", tuple(notes))
        except ServerAway as error:
            if len(notes) > len(self._others):
                raise ServerAway(f"no store answers: {away}; {error}") from error
            return Shelf(account, profile, shown(marks), "redis", (*notes, f"{error}; Redis may not have all of it"))

    def _stored_anywhere(self, account: str, profile: str) -> dict[str, Mark]:
        """As all data centres have it, or this one if another does not answer."""
        try:
            with self._links.cassandra.guarded(partial(self._across, account, profile)):
                return self._across(account, profile)
        except ServerAway:
            return self._stored(account, profile)

    def _across(self, account: str, profile: str) -> dict[str, Mark]:
        if self._rows_across is None:
            session = self._lent() if self._lent is not None else self._opened()
            self._rows_across = BookmarkRows(session, self._settings.cassandra, self._settings.regions.timeout_s)
        return self._rows_across.shelf(account, profile)

    def _stored(self, account: str, profile: str) -> dict[str, Mark]:
        if self._rows is None:
            session = self._lent() if self._lent is not None else self._opened()
            require_schema(session, self._settings.cassandra)
            self._rows = BookmarkRows(session, self._settings.cassandra)
        return self._rows.shelf(account, profile)

    def _opened(self) -> Session:
        if self._session is None:
            self._session = connect(self._settings.cassandra)
        return self._session


def merged(stored: Mapping[str, Mark], cached: Mapping[str, Mark]) -> dict[str, Mark]:
    """Of each title the greater bookmark."""
    return {title: max(found[title] for found in (stored, cached) if title in found) for title in {*stored, *cached}}


def _ended(stored: Mapping[str, Mark], cached: Mapping[str, Mark]) -> bool:
    """Whether Redis has the end of a title that Cassandra has unfinished still. A whole shelf that is full has no room for it, and would
    get the title back when Cassandra is next asked."""
    return any(mark.finished and title in stored and not stored[title].finished and mark > stored[title] for title, mark in cached.items())


def shown(marks: Mapping[str, Mark]) -> tuple[tuple[str, Mark], ...]:
    """What is not finished, last watched first; of equal times by title."""
    open_ones = sorted(((title, mark) for title, mark in marks.items() if not mark.finished), key=lambda item: (-item[1].ts, item[0]))
    return tuple(open_ones[:MOST_TITLES])
