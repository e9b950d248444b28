"""A month of hours in final rows and volumes, and how long it takes to ask for one title's: what benchmarks of history's readers share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from cassandra.cluster import Session

from connectors.cassandra_finals import FinalRows, FinalStore, Mark
from connectors.cassandra_store import CellStore
from serving.answers import ask
from serving.questions import Question
from serving.stores import Stores
from streams.binding import bind_volume, volumes_of
from topologies.errors import MarqueeError
from topologies.finals import Bases, pack_of
from topologies.packs import PackedCell, bucket_of
from topologies.settings import Settings
from topologies.sources import LATENESS_MS, Source, SourceStatus
from topologies.view import HOUR
from topologies.views import every_part
from topologies.watch_time import WATCH_TIME

HOURS: Final = 720
HOUR_MS: Final = HOUR.length_ms
SOURCES: Final = 8


async def store_month(settings: Settings, session: Session, end_ms: int, titles: int, regions: int) -> None:
    """Final rows of watch_time for the HOURS that end at end_ms (epoch ms, a whole hour), and volumes of their days that are over, as
    historians leave them: every title in every region and hour; and statuses of SOURCES that have passed them. The schema is there."""
    at = end_ms + LATENESS_MS + 60_000
    sources = [Source("local", settings.kafka.topics[0], "AAAAAAAAAAAAAAAAAAAAAA", partition) for partition in range(SOURCES)]
    statuses = [SourceStatus(source, 1_000, at + 60_000, at, 1_000, 1_000, 0, 0, 0) for source in sources]
    cells, finals = CellStore(session, settings.cassandra, every_part()), FinalStore(session, settings.cassandra, [WATCH_TIME])
    for status in statuses:
        await cells.write_status(status)
    keys = sorted((f"t{title:05}", f"r{region}") for title in range(titles) for region in range(regions))
    window, bases = WATCH_TIME.window(HOUR.name), Bases({str(status.source): status for status in statuses}, ())
    found = bases.of_spans(WATCH_TIME, window, range(end_ms - HOURS * HOUR_MS, end_ms, HOUR_MS))
    if len(found) < HOURS:
        raise MarqueeError("hours that every source has passed are not final")
    for start_ms, basis in found.items():
        buckets: dict[int, list[PackedCell]] = {}
        for number, key in enumerate(keys):
            buckets.setdefault(bucket_of(key), []).append(PackedCell(start_ms, 0, key, (60_000 + number, 7, 9)))
        packs = {bucket: pack_of(held) for bucket, held in buckets.items()}
        finals.write(WATCH_TIME, HOUR.name, start_ms, basis.version, packs)
        finals.mark(WATCH_TIME, HOUR.name, start_ms, Mark(basis.version, basis.digest, basis.told(dict(basis.sources))))
    for volume in volumes_of(bases, WATCH_TIME, window, found):
        await bind_volume(FinalRows(session, settings.cassandra), finals, volume, asyncio.to_thread)


def series_ms(stores: Stores, titles: Iterable[str], end_ms: int) -> list[float]:
    """What each of these titles' HOURS take to be asked for, ms. Raises MarqueeError for an answer that lacks an hour."""
    took = []
    for title in titles:
        question = Question("watch_time", {"title": title}, from_ms=end_ms - HOURS * HOUR_MS, to_ms=end_ms)
        begun = time.perf_counter()
        answer = ask(stores, question)
        took.append((time.perf_counter() - begun) * 1000)
        if len(answer.rows) != HOURS or answer.read["final"] != HOURS:
            raise MarqueeError(f"{len(answer.rows)} of {HOURS} hours were found, {answer.read['final']} of them in final rows")
    return took
