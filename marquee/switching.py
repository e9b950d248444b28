"""Switching a view to another edition: whether that one has what answers now has, what it can never have, and the pointer.

Both are looked at in Cassandra, which has everything; Redis is ahead of it by a flush at the most.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from cassandra.cluster import Session

from connectors.cassandra import close, connect
from connectors.cassandra_reader import CellRows
from connectors.cassandra_schema import absent
from connectors.pointers import Pointer, Pointers
from connectors.source_notes import SourceNotes
from topologies.editions import LIVE_EDITION, in_edition
from topologies.errors import MarqueeError, UsageError
from topologies.settings import Settings
from topologies.sources import SourceStatus
from topologies.view import View

MOST_BEHIND_MS: Final = 15_000
"""An edition may stand so far behind what answers now, by the partition's clock: a flush to Cassandra of each."""


@dataclass(frozen=True)
class Edition:
    """What one edition has in Cassandra: how far each source is, which have ended, and which records each lost."""

    name: str
    statuses: dict[str, SourceStatus] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()
    lost: frozenset[tuple[str, int, int]] = frozenset()
    """Source, first and next offset of every gap."""

    @property
    def told(self) -> str:
        """For messages."""
        return f"edition {self.name}" if self.name else "the live edition"


@dataclass(frozen=True)
class Switch:
    """A switch that may be made: by `pointer` instead of by `before` (None: the live edition). losses: what the edition that is to answer
    can never have although the one that answers now has it, in sentences."""

    pointer: Pointer
    before: Pointer | None
    losses: tuple[str, ...]


@contextmanager
def opened(settings: Settings) -> Iterator[Session]:
    """Cassandra. Raises ServerAway."""
    session = connect(settings.cassandra)
    try:
        yield session
    finally:
        close(session)


def prepare(settings: Settings, session: Session, wanted: Pointer) -> Switch:
    """Look whether the edition of `wanted` can answer for its view; changes nothing. settings: the live edition's.

    Raises UsageError when there is no such edition or it computes no such view; MarqueeError, saying how far it is, when it has not
    caught up with what answers now or its tables are only being made; StoreError or ServerAway.
    """
    view = wanted.view
    _require_keyspace(settings, session, LIVE_EDITION)
    _require_keyspace(settings, session, wanted.edition)
    before = Pointers(session, settings.cassandra).all().get(view.name)
    now = _edition(settings, session, before.edition if before else LIVE_EDITION)
    if now.name == wanted.edition:
        raise UsageError(f"{view.name} is answered by {now.told} already")
    if wanted.edition != LIVE_EDITION:
        _require_computed(settings, session, wanted)
    then = _edition(settings, session, wanted.edition)
    if behind := lacking(then, now):
        more = f", and so are {len(behind) - 1} others" if len(behind) > 1 else ""
        raise MarqueeError(f"{then.told} has not caught up with {now.told}: {behind[0]}{more}; switch when it has")
    return Switch(wanted, before, lost(then, now))


def carry_out(settings: Settings, session: Session, switch: Switch) -> None:
    """Set the pointer; readers follow within seconds. Twice is once."""
    Pointers(session, settings.cassandra).point(switch.pointer)


def lacking(then: Edition, now: Edition) -> list[str]:
    """Each going source that `then` has not as far as `now`, and how far, the furthest behind first."""
    found: list[tuple[float, str]] = []
    for text, status in now.statuses.items():
        if text in now.ended:
            continue
        place, reached = f"{status.source.topic} partition {status.source.partition}", then.statuses.get(text)
        if reached is None:
            found.append((float("inf"), f"{place} has never been stored there and stands at offset {status.offset:,} here"))
        elif reached.offset < status.offset and status.clock_ms - reached.clock_ms > MOST_BEHIND_MS:
            behind_s = (status.clock_ms - reached.clock_ms) / 1000
            stands = f"{place} stands at offset {reached.offset:,} of {status.offset:,}"
            found.append((behind_s, f"{stands}, {behind_s:,.0f} s behind"))
    return [sentence for _, sentence in sorted(found, key=lambda one: (-one[0], one[1]))]


def lost(then: Edition, now: Edition) -> tuple[str, ...]:
    """What `then` can never have of what `now` has."""
    gone = sorted(now.ended & now.statuses.keys() - then.statuses.keys())
    sentences = [f"what these sources counted before they ended is not in {then.told}: {', '.join(gone)}"] if gone else []
    for source, first, upto in sorted(then.lost - now.lost):
        sentences.append(f"{source}: records {first:,} to {upto - 1:,} were gone from the log before {then.told} counted them")
    return tuple(sentences)


def _require_keyspace(settings: Settings, session: Session, edition: str) -> None:
    keyspace = in_edition(settings, edition).cassandra.keyspace
    if keyspace not in session.cluster.metadata.keyspaces:
        begin = f"marquee --edition {edition} worker" if edition else "marquee worker"
        raise UsageError(f"there is no edition {edition!r}: Cassandra has no keyspace {keyspace}; `{begin}` begins it")
    if lacking := absent(session, in_edition(settings, edition).cassandra):
        raise MarqueeError(f"keyspace {keyspace} has no table {lacking[0]} yet: its first worker is making them; try again")


def _require_computed(settings: Settings, session: Session, wanted: Pointer) -> None:
    """The edition has this version of the view and none before it, whose statuses they would be; and the live edition has it not."""
    view, edition = wanted.view, wanted.edition
    version = f"{view.name} of logic version {view.logic_version}"
    if not _computes(settings, session, edition, view):
        raise UsageError(f"edition {edition} has no {version}; run this with the declarations that its workers run with")
    if _computes(settings, session, LIVE_EDITION, view):
        raise UsageError(f"the live edition has {version} itself; a corrected view is given a greater logic_version")
    for earlier in range(1, view.logic_version):
        if _computes(settings, session, edition, replace(view, logic_version=earlier)):
            raise UsageError(
                f"edition {edition} has counted {view.name} by logic version {earlier} before; count {version} in another edition"
            )


def _computes(settings: Settings, session: Session, edition: str, view: View) -> bool:
    rows = CellRows(session, in_edition(settings, edition).cassandra, ())
    return any(rows.pack_spans(part, window.name) for part in view.parts for window in part.windows)


def _edition(settings: Settings, session: Session, name: str) -> Edition:
    cassandra = in_edition(settings, name).cassandra
    notes = SourceNotes(session, cassandra)
    gaps = frozenset((gap.source, gap.first, gap.upto) for gap in notes.gaps() if gap.records)
    return Edition(name, CellRows(session, cassandra, ()).statuses(), frozenset(notes.ended()), gaps)
