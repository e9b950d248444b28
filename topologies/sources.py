"""A source: one partition of one topic in one region; and what is known of how far it is computed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

LATENESS_MS: Final = 900_000
"""An event more than this behind its source's watermark is late: 15 minutes (design §4)."""
SKEW_MS: Final = 60_000
"""A player's clock may be this far ahead of the record's; the watermark trails the clock by as much."""


@dataclass(frozen=True, order=True)
class Source:
    """Identity of a partition's log. `topic_id` is Kafka's UUID (22 characters, URL-safe base64): a re-created topic is a new source."""

    region: str
    topic: str
    topic_id: str
    partition: int

    def __str__(self) -> str:
        return f"{self.region}:{self.topic_id}:{self.partition}"


@dataclass(frozen=True)
class SourceStatus:
    """How far a source is computed: its state is a function of all records below `offset`.

    `clock_ms` is −1 before the first record that moved it. received = applied + duplicate + late + dead.
    """

    source: Source
    offset: int
    clock_ms: int
    watermark_ms: int
    received: int
    applied: int
    duplicate: int
    late: int
    dead: int


@dataclass(frozen=True)
class Finish:
    """That a source's log ended at offset `upto` with the tick that ends a backfill, as was found at at_ms (epoch). It holds while the
    source stands there."""

    upto: int
    at_ms: int


@dataclass(frozen=True)
class Counted:
    """Of which tables of cells Cassandra has all that the sources' statuses say: not of one whose view came later, while it is counted from
    the beginning of a log that is computed further.

    upto: by source and table, below which offset its cells are there; of a source without any, whose rows an older version wrote, that is
    where its status stands. ended: sources that nobody will count any more.
    """

    statuses: Mapping[str, SourceStatus] = field(default_factory=dict)
    upto: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ended: Collection[str] = ()

    def whole(self, table: str) -> bool:
        """Whether it has all of every source."""
        return all(
            text in self.ended or text not in self.upto or self.upto[text].get(table, -1) >= status.offset
            for text, status in self.statuses.items()
        )


ALL_COUNTED: Final = Counted()


def finished(statuses: Mapping[str, SourceStatus], noted: Mapping[str, Finish]) -> frozenset[str]:
    """Those of these sources, by their text, that stand where their log was found to have ended. One that has gone on since is none."""
    return frozenset(text for text, finish in noted.items() if text in statuses and statuses[text].offset == finish.upto)


def watermark_ms(clock_ms: int, max_ts_ms: int) -> int:
    """The watermark: max(greatest ts applied, clock − 60 s); −1 before anything is known."""
    return max(max_ts_ms, clock_ms - SKEW_MS, -1)
