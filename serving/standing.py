"""What an answer is worth: as of when it is, and from how many of the sources; of several regions, of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from typing import Any

from serving.instants import iso
from serving.known import Known
from serving.reading import Reading
from topologies.sources import SourceStatus
from topologies.view import Window


@dataclass(frozen=True)
class Standing:
    """As of when, and from how many of the sources.

    as_of_ms: the oldest clock of the sources of live topics (of all sources, when there is none of those), −1 when none has a
    clock. lag_s: now − as_of, None without a clock. heard: sources whose status the answering store has; known: to any store. Sources that
    have ended are in none of them. regions: the same of each region by itself, where there are several (`by_region`); what one
    that is away has here is in the answer, and counts as not heard.
    """

    as_of_ms: int
    lag_s: float | None
    heard: int
    known: int
    regions: Mapping[str, Share] = field(default_factory=dict)

    @classmethod
    def of(cls, known: Known, answering: Iterable[SourceStatus], now_ms: int) -> Standing:
        statuses = known.going(answering)
        as_of_ms = min((status.clock_ms for status in known.live(statuses)), default=-1)
        lag_s = round(max(0, now_ms - as_of_ms) / 1000, 3) if as_of_ms >= 0 else None
        return cls(as_of_ms, lag_s, len(statuses), len(known.names - known.ended))

    @property
    def complete(self) -> float:
        """Sources heard of ÷ sources known; 0 when none is known."""
        return self.heard / self.known if self.known else 0.0

    def document(self, zone: tzinfo = UTC) -> dict[str, Any]:
        """It as JSON has it."""
        clocked = self.as_of_ms >= 0
        return {
            "as_of": iso(self.as_of_ms, zone) if clocked else None,
            "as_of_ms": self.as_of_ms if clocked else None,
            "lag_s": self.lag_s,
            "complete": round(self.complete, 4),
            "sources": {"heard": self.heard, "known": self.known},
            **({"regions": {name: share.document(zone) for name, share in self.regions.items()}} if self.regions else {}),
        }


@dataclass(frozen=True)
class Share:
    """What one region has to do with an answer. read: the store that answered for it; why: what kept another one from it, or what of it
    may be missing; empty when all is as it should be."""

    standing: Standing
    read: str
    why: str = ""

    def document(self, zone: tzinfo = UTC) -> dict[str, Any]:
        """It as JSON has it."""
        return {**self.standing.document(zone), "read": self.read, **({"why": self.why} if self.why else {})}


def by_region(known: Known, readings: Sequence[Reading[Any]], window: Window, now_ms: int) -> Standing:
    """The standing of an answer over several regions. A region is heard when its Redis answered for all of its share in the answer, or
    Cassandra did, its data centre among them; the sources of one that was not are not."""
    from_redis = any(reading.cached for reading in readings) or not readings
    from_stored = any(reading.stored for reading in readings)
    apart = frozenset[str]().union(*(reading.apart for reading in readings))
    near, own = any(reading.near for reading in readings), next(iter(known.regions))
    shares: dict[str, Share] = {}
    for name, one in known.regions.items():
        in_redis = from_redis and name not in apart and not (not readings and one.redis_away)
        in_cassandra = from_stored or not in_redis
        statuses = (one.stored if in_cassandra else one.cached).values()
        unheard = (in_cassandra and (bool(one.away) or (near and name != own))) or (not readings and bool(one.redis_away))
        why = (one.doubt(window) if not in_redis and from_redis else "") or (known.away if unheard else "")
        if unheard:
            why = f"{why or 'its data centre did not answer'}; what it stored last may be missing"
        standing = Standing.of(one, () if unheard and one.away else statuses, now_ms)
        shares[name] = Share(replace(standing, heard=0) if unheard else standing, "cassandra" if in_cassandra else "redis", why)
    parts = [share.standing for share in shares.values()]
    clocks = [part.as_of_ms for part in parts if part.as_of_ms >= 0]
    as_of_ms = min(clocks, default=-1)
    lag_s = round(max(0, now_ms - as_of_ms) / 1000, 3) if clocks else None
    return Standing(as_of_ms, lag_s, sum(part.heard for part in parts), sum(part.known for part in parts), shares)
