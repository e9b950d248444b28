"""The audit log as Cassandra keeps it: what was operated, by HTTP and by commands (`marquee token`, `switch`, `source accept-gap`), by
whom, and how it ended; table `operations` of connectors/cassandra.py.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from cassandra.cluster import Session

from connectors.cassandra import asked, cassandra_errors, prepared
from topologies.errors import MarqueeError
from topologies.events import DAY_MS
from topologies.settings import CassandraSettings

_COLUMNS: Final = "at_ms, who, address, method, target, outcome, times, id"


def _identity() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Operation:
    """One entry. at_ms: epoch. who: a token by name and id, else an address or a user of a machine; address: where it came from, "" for
    this machine. method, target: what was asked, and of what. outcome: a status, of a refusal with its sentence behind it, or that of a
    command. times: so many that were equal, the last one then."""

    at_ms: int
    who: str
    address: str
    method: str
    target: str
    outcome: str
    times: int = 1
    id: str = field(default_factory=_identity)


class Operations:
    """The kept ones. Methods block and raise ServerAway or StoreError."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        """Prepares its statements; the schema is there (ensure_schema). The session stays the caller's."""
        self._session = session
        self._settings = settings
        table = f"{settings.keyspace}.operations"
        with cassandra_errors(settings):
            self._put = prepared(session, f"INSERT INTO {table} (day_ms, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
            self._of_day = prepared(session, f"SELECT {_COLUMNS} FROM {table} WHERE day_ms = ? AND at_ms >= ? AND at_ms < ?")

    def put(self, operations: Iterable[Operation]) -> None:
        """Keeps them. Again changes nothing, and another outcome takes the place of the one before."""
        waiting = [asked(self._session, self._settings, self._put, one.at_ms // DAY_MS * DAY_MS, *_values(one)) for one in operations]
        for landed in waiting:
            landed()

    def between(self, from_ms: int, to_ms: int) -> Iterator[Operation]:
        """Those of that span of time, `to` not part of it, in their order."""
        for day_ms in range(from_ms // DAY_MS * DAY_MS, to_ms, DAY_MS):
            for row in asked(self._session, self._settings, self._of_day, day_ms, from_ms, to_ms)():
                yield Operation(*row)

    @contextlib.contextmanager
    def recorded(self, operation: Operation) -> Iterator[None]:
        """What is done inside is kept as this one: begun, which must be kept or nothing is done, then done or failed."""
        self.put([replace(operation, outcome="begun")])
        outcome = "begun"
        try:
            yield
            outcome = "done"
        except MarqueeError as error:
            outcome = f"failed: {error}"
            raise
        finally:
            with contextlib.suppress(MarqueeError):  # "begun" stays
                self.put([replace(operation, outcome=outcome)])


def _values(one: Operation) -> tuple[object, ...]:
    return one.at_ms, one.who, one.address, one.method, one.target, one.outcome, one.times, one.id
