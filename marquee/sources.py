"""Every source that was ever computed or can be: where its log stands, how far the stores are, whether it has ended, what it has lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cassandra.cluster import Session

from connectors.cassandra import close, connect
from connectors.cassandra_reader import CellRows
from connectors.cassandra_schema import ensure_schema
from connectors.checkpoint_store import checkpoint_store
from connectors.kafka import matching_topics, partition_offsets, topic_ids
from connectors.source_notes import Gap, SourceNotes
from topologies.errors import CheckpointError, UsageError
from topologies.settings import Settings
from topologies.sources import Source, SourceStatus
from topologies.views import every_part


@dataclass(frozen=True)
class SourceFile:
    """What is known of one source. Offsets are next offsets; None: its topic is not there (span), it was never computed (stored)."""

    source: Source
    span: tuple[int, int] | None
    stored: int | None
    ended_ms: int | None
    gaps: tuple[Gap, ...]

    @property
    def lost(self) -> int:
        """Records that were gone before they were folded."""
        return sum(gap.records for gap in self.gaps)


@contextmanager
def opened(settings: Settings) -> Iterator[Session]:
    """Cassandra, with its tables made."""
    session = connect(settings.cassandra)
    try:
        ensure_schema(session, settings.cassandra, every_part())
        yield session
    finally:
        close(session)


def files(settings: Settings, session: Session) -> list[SourceFile]:
    """All of them, by topic and partition. Raises ServerAway or StoreError."""
    spans = _spans(settings)
    statuses = CellRows(session, settings.cassandra, every_part()).statuses()
    notes = SourceNotes(session, settings.cassandra)
    ended, gaps = notes.ended(), notes.gaps()
    known = {**{text: status.source for text, status in statuses.items()}, **{str(source): source for source in spans}}
    found = [
        SourceFile(
            source=source,
            span=spans.get(source),
            stored=_offset(statuses.get(text)),
            ended_ms=ended.get(text),
            gaps=tuple(gap for gap in gaps if gap.source == text),
        )
        for text, source in known.items()
    ]
    return sorted(found, key=lambda one: (one.source.topic, one.source.partition, str(one.source)))


def file_of(settings: Settings, session: Session, text: str) -> SourceFile:
    """The one of that text. Raises UsageError where there is none."""
    for found in files(settings, session):
        if str(found.source) == text:
            return found
    raise UsageError(f"there is no source {text!r}; `marquee source list` shows them")


def resumes_at(settings: Settings, session: Session, source: Source) -> int | None:
    """Offset of the newest checkpoint that can be read; None where there is none."""
    try:
        checkpoint = asyncio.run(checkpoint_store(settings, session).newest(source))
    except CheckpointError:
        return None
    return checkpoint.offset if checkpoint is not None else None


def _offset(status: SourceStatus | None) -> int | None:
    return status.offset if status is not None else None


def _spans(settings: Settings) -> dict[Source, tuple[int, int]]:
    """First and next offset of every partition that workers consume."""
    region = settings.worker.region
    return {
        Source(region, topic, identity, partition): span
        for topic, identity in topic_ids(settings, matching_topics(settings)).items()
        for partition, span in partition_offsets(settings, topic).items()
    }
