"""Pointers: which edition answers for each view. The pointer that `marquee switch` sets and every reader follows.

It stands in the live edition's keyspace (table `pointers`, drawn in connectors/cassandra.py), with the declaration by which the edition
counts: a reader needs no newer code than its own to read it. A view without a row, or with a row of no edition, is the live one's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
from cassandra.cluster import Session

from connectors.cassandra import cassandra_errors, prepared
from connectors.cassandra_store import SCOPE
from topologies.errors import StoreError
from topologies.settings import CassandraSettings
from topologies.view import View


@dataclass(frozen=True)
class Pointer:
    """That `edition` answers for `view`, since when (epoch ms) and by whose word. The view is declared as the edition counts it."""

    view: View
    edition: str
    at_ms: int
    by: str

    @property
    def note(self) -> str:
        """What is said beside an answer of it."""
        return f"answered by edition {self.edition}, version {self.view.logic_version}"


class Pointers:
    """The pointers. Methods block and raise ServerAway or StoreError; of two that set one, the later counts."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        """Prepares its statements; the schema is there (ensure_schema). settings: the live edition's. The session stays the caller's."""
        self._session = session
        self._settings = settings
        table = f"{settings.keyspace}.pointers"
        columns = "view_name, edition, logic, declaration, at_ms, by_whom"
        with cassandra_errors(settings):
            self._all = prepared(session, f"SELECT {columns} FROM {table} WHERE scope = ?")
            self._set = prepared(session, f"INSERT INTO {table} (scope, {columns}) VALUES (?, ?, ?, ?, ?, ?, ?)")

    def all(self) -> dict[str, Pointer]:
        """By view, those that another edition than the live one answers for."""
        with cassandra_errors(self._settings):
            rows = list(self._session.execute(self._all, (SCOPE,)))
        return {name: Pointer(_view(name, text), edition, at_ms, by) for name, edition, _, text, at_ms, by in rows if edition}

    def point(self, pointer: Pointer) -> None:
        """From now on this edition answers for this view; the live one, when it names none. Again changes nothing but the time."""
        view = pointer.view
        declared = msgspec.json.encode(replace(view)).decode()
        with cassandra_errors(self._settings):
            values = (SCOPE, view.name, pointer.edition, view.logic_version, declared, pointer.at_ms, pointer.by)
            self._session.execute(self._set, values)


def _view(name: str, text: str) -> View:
    try:
        return msgspec.json.decode(text, type=View)
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"the edition that answers for {name} declares it as this version of Marquee cannot read ({error}); use the version that it "
            "was switched with"
        ) from error
