"""How everything stands: each server, each partition with its owner and lag. Works with part of the servers away and says which."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, TypeVar

from cassandra.cluster import Session

from connectors.cassandra import close, connect
from connectors.cassandra_reader import CellRows
from connectors.health import Health, healths
from connectors.kafka import matching_topics, partition_offsets, topic_ids
from connectors.pointers import Pointer, Pointers
from connectors.redis_reader import CachedStatus, CellReader
from connectors.source_notes import SourceNotes
from serving.instants import iso
from serving.regions import patient
from topologies import accounting
from topologies.errors import MarqueeError
from topologies.regions import in_region, others_of
from topologies.settings import Settings
from topologies.sources import Source, SourceStatus
from topologies.views import every_part

SILENT_S: Final = 15.0
"""A worker whose sources Redis has not heard of for so long is shown as silent: its live partitions tick every second."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class SourceStanding:
    """One source. Offsets are next offsets, None where the server that knows is away or does not know; clock in epoch ms, −1 for none."""

    source: Source
    worker: str
    heard_s: float | None
    redis: int | None
    cassandra: int | None
    end: int | None
    clock_ms: int
    ended: bool = False
    """Its topic is no more: nobody works on it, and nothing of it is awaited."""
    http: str = ""
    """Where its worker serves metrics, health and readiness."""
    furthest: SourceStatus | None = None
    """What that one of the stores says which is further, None when neither knows it."""

    @property
    def lag(self) -> int | None:
        """Records in the log that are not applied yet; None without Kafka."""
        if self.end is None:
            return None
        return max(0, self.end - max(self.redis or 0, self.cassandra or 0))

    def document(self) -> dict[str, Any]:
        """It as JSON has it; what is not known is null."""
        clocked = self.clock_ms >= 0
        status = self.furthest
        watermark_ms = status.watermark_ms if status is not None and status.watermark_ms >= 0 else None
        return {
            "source": str(self.source), "topic": self.source.topic, "partition": self.source.partition, "worker": self.worker or None,
            "redis_offset": self.redis, "cassandra_offset": self.cassandra, "end_offset": self.end, "lag": self.lag,
            "as_of": iso(self.clock_ms) if clocked else None, "as_of_ms": self.clock_ms if clocked else None,
            "watermark": iso(watermark_ms) if watermark_ms is not None else None, "watermark_ms": watermark_ms,
            **{name: getattr(status, name, None) for name in accounting.MEASURES},
            "heard_s": self.heard_s, "ended": self.ended,
        }  # fmt: skip


@dataclass(frozen=True)
class Overview:
    """Everything, at one moment (epoch ms). `troubles`: what could not be read, in sentences. `pointers`: the views that another edition
    answers for, by name. `regions`: of several, why each other one cannot be asked, or nothing."""

    at_ms: int
    servers: tuple[Health, ...]
    sources: tuple[SourceStanding, ...]
    troubles: tuple[str, ...]
    pointers: tuple[Pointer, ...] = ()
    regions: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every server answered and could be read."""
        return all(server.ok for server in self.servers) and not self.troubles

    @property
    def as_of_ms(self) -> int:
        """The oldest clock of those sources that have one, −1 without."""
        return min((source.clock_ms for source in self.sources if source.clock_ms >= 0 and not source.ended), default=-1)

    @property
    def lag(self) -> int | None:
        """Sum of the lags, None when Kafka was not read."""
        lags = [source.lag for source in self.sources if source.lag is not None and not source.ended]
        return sum(lags) if lags else None

    def workers(self) -> dict[str, list[SourceStanding]]:
        """The sources of each worker, by its name."""
        found: dict[str, list[SourceStanding]] = {}
        for source in self.sources:
            if source.worker and not source.ended:
                found.setdefault(source.worker, []).append(source)
        return dict(sorted(found.items()))

    def document(self) -> dict[str, Any]:
        """All of it as JSON has it; what is not known is null."""
        return {
            "ok": self.ok,
            "servers": [asdict(server) for server in self.servers],
            "workers": [
                {
                    "name": name,
                    "http": next((one.http for one in owned if one.http), None),
                    "partitions": [{"topic": one.source.topic, "partition": one.source.partition} for one in owned],
                    "alive": any(one.heard_s is not None and one.heard_s <= SILENT_S for one in owned),
                    "heard_s": min((one.heard_s for one in owned if one.heard_s is not None), default=None),
                }
                for name, owned in self.workers().items()
            ],
            "sources": [one.document() for one in self.sources],
            "lag": self.lag,
            "as_of": iso(self.as_of_ms) if self.as_of_ms >= 0 else None,
            "pointers": [
                {
                    "view": pointer.view.name, "edition": pointer.edition, "logic_version": pointer.view.logic_version,
                    "switched_at": iso(pointer.at_ms), "by": pointer.by,
                }
                for pointer in self.pointers
            ],
            "troubles": list(self.troubles),
            **({"regions": self._regions()} if self.regions else {}),
        }  # fmt: skip

    def _regions(self) -> dict[str, Any]:
        """Of each region: as of when its sources are, how far behind, and why it could not be asked."""
        found: dict[str, Any] = {}
        for region in sorted({one.source.region for one in self.sources} | set(self.regions)):
            own = [one for one in self.sources if one.source.region == region and not one.ended]
            as_of_ms = min((one.clock_ms for one in own if one.clock_ms >= 0), default=-1)
            lags = [one.lag for one in own if one.lag is not None]
            found[region] = {
                "sources": len(own), "as_of": iso(as_of_ms) if as_of_ms >= 0 else None, "as_of_ms": as_of_ms if as_of_ms >= 0 else None,
                "lag": sum(lags) if lags else None, "trouble": self.regions.get(region) or None,
            }  # fmt: skip
        return found


@dataclass(frozen=True)
class Stored:
    """What Cassandra knows: by source its status and whether it has ended; by view its pointer."""

    sources: Mapping[str, tuple[SourceStatus, bool]]
    pointers: Mapping[str, Pointer]


@dataclass(frozen=True)
class Elsewhere:
    """What another region says of its sources; trouble: why it does not say all of it."""

    cached: Mapping[str, CachedStatus]
    ends: Mapping[str, tuple[Source, int]]
    trouble: str = ""


def look(settings: Settings, lent: Callable[[], Session] | None = None) -> Overview:
    """Asks all servers side by side; takes about 10 s at the most. Never raises for a server.

    lent: gives a session with Cassandra that stays its owner's; without it one is opened and closed."""
    servers = healths(settings)
    ok = {server.name: server.ok for server in servers}
    troubles: list[str] = []

    def read(name: str, ask: Callable[[], _T], nothing: _T) -> _T:
        try:
            return ask() if ok[name] else nothing
        except MarqueeError as error:
            troubles.append(str(error))
            return nothing

    others = others_of(settings)
    with ThreadPoolExecutor(2 + len(others)) as pool:
        elsewhere = {region: pool.submit(_elsewhere, settings, region) for region in others}
        asked = pool.submit(read, "redis", lambda: _redis(settings), dict[str, CachedStatus]())
        asked_store = pool.submit(read, "cassandra", lambda: _cassandra(settings, lent), Stored({}, {}))
        ends = read("kafka", lambda: _kafka(settings), dict[str, tuple[Source, int]]())
        cached, stored = asked.result(), asked_store.result()
        there = {region: found.result() for region, found in elsewhere.items()}
    for found in there.values():
        cached, ends = {**cached, **found.cached}, {**ends, **found.ends}
    regions = {region: found.trouble for region, found in there.items()}
    troubles += [f"region {region}: {trouble}" for region, trouble in regions.items() if trouble]
    at_ms = time.time_ns() // 1_000_000
    names = {*cached, *stored.sources, *ends}
    standings = [_standing(cached.get(name), stored.sources.get(name), ends.get(name), at_ms) for name in names]
    standings.sort(key=lambda one: (one.source.topic, one.source.partition, str(one.source)))
    pointers = tuple(pointer for _, pointer in sorted(stored.pointers.items()))
    return Overview(at_ms, tuple(servers), tuple(standings), tuple(troubles), pointers, regions)


def _standing(
    cached: CachedStatus | None, noted: tuple[SourceStatus, bool] | None, end: tuple[Source, int] | None, at_ms: int
) -> SourceStanding:
    live, (stored, ended) = cached.status if cached else None, noted or (None, False)
    known = [status for status in (live, stored) if status is not None]
    sources = [found.source for found in (*known, cached) if found is not None] + ([end[0]] if end else [])
    return SourceStanding(
        source=next((source for source in sources if source.topic), sources[0]),
        worker=cached.worker if cached else "",
        heard_s=round((at_ms - cached.at_ms) / 1000, 1) if cached and cached.at_ms else None,
        redis=live.offset if live else None,
        cassandra=stored.offset if stored else None,
        end=end[1] if end else None,
        clock_ms=max((status.clock_ms for status in known), default=-1),
        http=cached.http if cached else "",
        ended=ended or (cached is not None and cached.ended),
        furthest=max(known, key=lambda status: status.offset, default=None),
    )


def _redis(settings: Settings) -> dict[str, CachedStatus]:
    reader = CellReader(settings.redis, every_part())
    try:
        return reader.statuses()
    finally:
        reader.close()


def _elsewhere(settings: Settings, region: str) -> Elsewhere:
    """What the region's own Redis and Kafka say; takes a few seconds at the most."""
    there, cached = in_region(settings, region), dict[str, CachedStatus]()
    try:
        cached = _redis(replace(there, redis=patient(settings, region)))
        return Elsewhere(cached, _kafka(there))  # a Kafka whose Redis is gone too is not waited for
    except MarqueeError as error:
        return Elsewhere(cached, {}, str(error))


def _cassandra(settings: Settings, lent: Callable[[], Session] | None) -> Stored:
    session = connect(settings.cassandra) if lent is None else lent()
    try:
        if settings.cassandra.keyspace not in session.cluster.metadata.keyspaces:
            return Stored({}, {})
        statuses = CellRows(session, settings.cassandra, every_part()).statuses()
        ended = SourceNotes(session, settings.cassandra).ended()
        sources = {name: (status, name in ended) for name, status in statuses.items()}
        return Stored(sources, Pointers(session, settings.cassandra).all())
    finally:
        if lent is None:
            close(session)


def _kafka(settings: Settings) -> dict[str, tuple[Source, int]]:
    """End of every partition that workers consume, by source."""
    topics = matching_topics(settings)
    found: dict[str, tuple[Source, int]] = {}
    for topic, identity in topic_ids(settings, topics).items():
        for partition, (_, end) in partition_offsets(settings, topic).items():
            source = Source(settings.worker.region, topic, identity, partition)
            found[str(source)] = (source, end)
    return found
