"""What is noted of sources for ever, in Cassandra: which have ended, where the log of which was found to have ended, and which records
were gone before anybody folded them.

The tables are drawn in connectors/cassandra.py. Methods block and raise ServerAway or StoreError; a note written again is the same note.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cassandra.cluster import Session

from connectors.cassandra import BASE_US, asked, cassandra_errors, prepared
from connectors.cassandra_store import SCOPE
from topologies.settings import CassandraSettings
from topologies.sources import Finish, Source

ACCEPTED: Final = -1
"""The `first` of the row that holds an operator's word."""


@dataclass(frozen=True)
class Gap:
    """Records of a source, offsets `first` to `upto` − 1, that were gone from the log before they were folded; and why, in a sentence."""

    source: str
    first: int
    upto: int
    reason: str
    at_ms: int

    @property
    def records(self) -> int:
        return max(0, self.upto - self.first)


@dataclass(frozen=True)
class Loss:
    """What an operator accepted: that `source` goes on from where its log begins, though it stood at one of the offsets `at` (of its
    checkpoint, of its cells in Cassandra). upto: the log's end then; what goes while it is held is the same loss, as far as there."""

    source: str
    at: tuple[int, ...]
    upto: int

    def covers(self, stood_at: int, begins: int) -> bool:
        """Whether this was accepted. A source that has gone on since stands elsewhere, and is asked about again."""
        return stood_at in self.at and begins <= self.upto

    @property
    def text(self) -> str:
        """As it stands in the column of reasons."""
        return " ".join(["accepted at", *map(str, self.at)])

    @classmethod
    def parsed(cls, source: str, upto: int, text: str) -> Loss:
        """Of its row. One that does not tell where the source stood covers nothing."""
        return cls(source, tuple(int(word) for word in text.split() if word.isdigit()), upto)


class SourceNotes:
    """The notes, for the worker, the operator's command and readers."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        """Prepares its statements, which blocks; the schema is there (ensure_schema). The session stays the caller's."""
        self._session = session
        self._settings = settings
        ended, finished, gaps, sources = (f"{settings.keyspace}.{table}" for table in ("ended", "finished", "gaps", "sources"))
        with cassandra_errors(settings):
            self._end = prepared(session, f"INSERT INTO {ended} (scope, source, at_ms) VALUES (?, ?, ?)")
            self._ended = prepared(session, f"SELECT source, at_ms FROM {ended} WHERE scope = ?")
            columns = "(scope, source, upto, at_ms) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
            self._finish = prepared(session, f"INSERT INTO {finished} {columns}")
            self._finished = prepared(session, f"SELECT source, upto, at_ms FROM {finished} WHERE scope = ?")
            self._note = prepared(session, f"INSERT INTO {gaps} (scope, source, first, upto, reason, at_ms) VALUES (?, ?, ?, ?, ?, ?)")
            self._gaps = prepared(session, f"SELECT source, first, upto, reason, at_ms FROM {gaps} WHERE scope = ?")
            self._sources = prepared(session, f"SELECT source, region, topic, topic_id, part FROM {sources} WHERE scope = ?")
            self._stored = prepared(session, f"SELECT upto FROM {sources} WHERE scope = ? AND source = ?")

    def _rows(self, statement: Any, *values: Any) -> list[Any]:
        with cassandra_errors(self._settings):
            return list(self._session.execute(statement, values))

    def end(self, source: Source, at_ms: int) -> None:
        """The source's topic is no more."""
        self._rows(self._end, SCOPE, str(source), at_ms)

    def ended(self) -> dict[str, int]:
        """Of every source that has ended, when that was found (epoch ms), by its text."""
        return dict(self._rows(self._ended, SCOPE))

    def over(self) -> Callable[[], tuple[dict[str, int], dict[str, Finish]]]:
        """Asks for both; what is returned waits for them: what `ended` gives, and `finished`."""
        ended, finished = (asked(self._session, self._settings, statement, SCOPE) for statement in (self._ended, self._finished))
        return lambda: (dict(ended()), {text: Finish(upto, at_ms) for text, upto, at_ms in finished()})

    def finish(self, source: Source, finish: Finish) -> None:
        """The source's log has ended there, and its cells are stored up to there. Of two notes the one that is further stands."""
        self._rows(self._finish, SCOPE, str(source), finish.upto, finish.at_ms, BASE_US + finish.upto)

    def finished(self) -> dict[str, Finish]:
        """Where the log of each source was found to have ended, by its text; it may have gone on since (topologies.sources.finished)."""
        return {text: Finish(upto, at_ms) for text, upto, at_ms in self._rows(self._finished, SCOPE)}

    def sources(self) -> list[tuple[Source, bool]]:
        """Every source that was ever computed, and whether it has ended."""
        ended = self.ended()
        return [(Source(*name), text in ended) for text, *name in self._rows(self._sources, SCOPE)]

    def note(self, gap: Gap) -> None:
        """These records are lost."""
        self._rows(self._note, SCOPE, gap.source, gap.first, gap.upto, gap.reason, gap.at_ms)

    def gaps(self) -> list[Gap]:
        """Everything that was ever lost, by source and offset."""
        return [Gap(*row) for row in self._rows(self._gaps, SCOPE) if row[1] != ACCEPTED]

    def accept(self, loss: Loss, at_ms: int) -> None:
        """An operator has seen that this is gone, and wants the source to be gone on with. It holds for this loss and no other."""
        self._rows(self._note, SCOPE, loss.source, ACCEPTED, loss.upto, loss.text, at_ms)

    def accepted(self, source: Source) -> Loss | None:
        """The loss that an operator accepted last; None for none."""
        found = [row for row in self._rows(self._gaps, SCOPE) if row[0] == str(source) and row[1] == ACCEPTED]
        return Loss.parsed(str(source), *found[0][2:4]) if found else None

    def stored(self, source: Source) -> int | None:
        """Up to which offset the source's cells are in Cassandra; None if it has never been computed."""
        found = self._rows(self._stored, SCOPE, str(source))
        return found[0][0] if found else None
