"""Answers of what is final come from final rows, where these are of every source that is known; and they are the same answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest

from connectors.cassandra import close, connect
from connectors.cassandra_finals import FinalPack, FinalRows
from connectors.cassandra_schema import ensure_schema
from connectors.source_notes import SourceNotes
from serving.questions import Question
from streams.historian import Historian, History
from streams.metrics import REGISTRY
from tests.serving.test_answers import HOUR_MS, NOON, World, at_minute, found, watched
from topologies import volumes
from topologies.settings import Settings
from topologies.sources import Finish
from topologies.view import DAY, HOUR, View
from topologies.views import every_part

DAYS = 7
OLD = NOON - 3 * HOUR_MS


@dataclasses.dataclass
class Kept:
    """What is stored, answered, and made final."""

    world: World
    historian: Historian
    notes: SourceNotes

    async def settle(self) -> int:
        """Make all final rows and volumes that can be made; how many spans got their rows."""
        before = self._written()
        while await self.historian.round():
            pass
        return self._written() - before

    def _written(self) -> int:
        return int(REGISTRY.get_sample_value("marquee_finals_written_total") or 0)


@contextmanager
def keeping(settings: Settings) -> Iterator[Kept]:
    """Stores of these settings, with their tables."""
    session = connect(settings.cassandra)
    try:
        ensure_schema(session, settings.cassandra, every_part())
        opened = partial(History.opened, session, settings.cassandra, every_part())
        yield Kept(World(settings, session), Historian(every_part(), opened, "w", share=1.0), SourceNotes(session, settings.cassandra))
    finally:
        close(session)


@pytest.fixture
def kept(settings: Settings) -> Iterator[Kept]:
    with keeping(settings) as opened:
        yield opened


def of_hour(start_ms: int, **by: str) -> Question:
    return Question("watch_time", by, from_ms=start_ms, to_ms=start_ms + HOUR_MS)


async def test_a_final_window_is_read_from_its_final_rows(kept: Kept) -> None:
    world = kept.world
    await world.both(world.status(0), [watched("a", "eu", 7, OLD), watched("b", "us", 1, OLD), watched("a", "eu", 5)])
    await world.both(world.status(1), [watched("a", "eu", 2, OLD)])
    before = world.ask(of_hour(OLD))
    assert before.read == {"redis": 0, "final": 0, "cassandra": 1}
    assert await kept.settle() == 1
    await world.store(world.status(1, offset=99), [watched("a", "eu", 50, OLD)])  # a zombie's, and older
    after = world.ask(of_hour(OLD))
    assert after.read == {"redis": 0, "final": 1, "cassandra": 0}
    assert (after.final, after.rows) == (True, before.rows)
    assert found(world.ask(of_hour(OLD, title="a", region="eu"))) == {("a", "eu"): (9, 2, 2)}
    both = world.ask(Question("watch_time", {"title": "a"}, from_ms=OLD, to_ms=NOON + 1))
    assert [(row.start_ms, row.values) for row in both.rows] == [(OLD, (9, 2, 2)), (NOON, (5, 1, 1))]
    assert both.read == {"redis": 1, "final": 3, "cassandra": 0}  # of the last hour; in two that are final there is nothing


async def test_final_rows_that_lack_a_source_are_not_read(kept: Kept) -> None:
    world = kept.world
    await world.store(world.status(0), [watched("a", "eu", 7, OLD)])
    await kept.settle()
    await world.store(world.status(1, clock_ms=OLD), [watched("a", "eu", 1, OLD)])  # a backfill begins
    answer = world.ask(of_hour(OLD))
    assert (found(answer), answer.final, answer.read["final"]) == ({("a", "eu"): (8, 2, 2)}, False, 0)
    await world.store(world.status(1, offset=200), [watched("a", "eu", 3, OLD)])
    answer = world.ask(of_hour(OLD))
    assert (found(answer), answer.final, answer.read["final"]) == ({("a", "eu"): (10, 2, 2)}, True, 0)
    assert await kept.settle() == 1
    answer = world.ask(of_hour(OLD))
    assert (found(answer), answer.final, answer.read["final"]) == ({("a", "eu"): (10, 2, 2)}, True, 1)


async def test_what_came_after_a_backfill_that_is_done_is_final_until_it_goes_on(kept: Kept) -> None:
    world, notes = kept.world, kept.notes
    await world.store(world.status(0), [watched("a", "eu", 7, OLD)])
    done = world.status(1, offset=40, clock_ms=OLD)
    await world.store(done, [watched("a", "eu", 1, OLD - HOUR_MS)])
    assert not world.ask(of_hour(OLD)).final
    notes.finish(done.source, Finish(40, NOON))
    assert world.ask(of_hour(OLD)).final
    assert await kept.settle() == 2
    answer = world.ask(of_hour(OLD))
    assert (found(answer), answer.final, answer.read["final"]) == ({("a", "eu"): (7, 1, 1)}, True, 1)
    await world.store(world.status(1, offset=50, clock_ms=OLD + 60_000), [watched("a", "eu", 2, OLD)])
    answer = world.ask(of_hour(OLD))
    assert (found(answer), answer.final, answer.read["final"]) == ({("a", "eu"): (9, 2, 2)}, False, 0)


async def test_the_best_of_a_final_window_are_those_of_its_top_list(kept: Kept) -> None:
    world = kept.world
    cells = [watched(f"t{number:03}", "eu", 1 + number % 50, OLD) for number in range(130)]
    await world.store(world.status(0), cells)
    before = [world.ask(dataclasses.replace(of_hour(OLD), top=top)) for top in (3, 100, 120)]
    await kept.settle()
    after = [world.ask(dataclasses.replace(of_hour(OLD), top=top)) for top in (3, 100, 120)]
    assert [answer.rows for answer in after] == [answer.rows for answer in before]
    assert [answer.read["final"] for answer in after] == [1, 1, 1]
    assert [len(answer.rows) for answer in after] == [3, 100, 120]


async def test_minutes_are_read_from_the_final_rows_of_their_quarters_of_an_hour(kept: Kept) -> None:
    world = kept.world
    await world.store(world.status(0), [at_minute(minute, 5) for minute in (-61, -59, -2)])
    await world.store(world.status(1), [at_minute(minute, 2) for minute in (-59, -1)])
    question = Question("concurrents", window="minute", from_ms=NOON - HOUR_MS, to_ms=NOON)
    before = world.ask(question)
    await kept.settle()
    after = world.ask(question)
    assert after.rows == before.rows
    assert after.read == {"redis": 0, "final": 60, "cassandra": 0}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Which rows of final packs are asked for in Cassandra: of each its window and start."""
    found, real = list[tuple[str, int]](), FinalRows.packs

    def noted(rows: FinalRows, view: View, window: str, spans_ms: Sequence[int], buckets: Sequence[int]) -> Iterator[FinalPack]:
        found.extend((window, span_ms) for span_ms in spans_ms)
        return real(rows, view, window, spans_ms, buckets)

    monkeypatch.setattr(FinalRows, "packs", noted)
    return found


async def test_days_of_hours_are_read_from_a_volume_a_day(kept: Kept, reads: list[tuple[str, int]]) -> None:
    world = kept.world
    first = NOON - (DAYS * 24 + 1) * HOUR_MS
    hours = [first + hour * HOUR_MS for hour in range(DAYS * 24)]
    for number in range(2):
        await world.store(world.status(number), [watched("a", region, number + 1, start) for start in hours for region in ("eu", "us")])
    assert await kept.settle() == len(hours)
    series = Question("watch_time", {"title": "a"}, from_ms=first, to_ms=first + DAYS * 24 * HOUR_MS)
    reads.clear()
    answer = world.ask(series)
    assert answer.read == {"redis": 0, "final": DAYS * 24, "cassandra": 0}
    assert [(row.start_ms, row.values) for row in answer.rows] == [(start, (6, 4, 4)) for start in hours]
    bound = [span_ms for window, span_ms in reads if window == volumes.name_of(HOUR)]
    assert bound == [day for day in range(bound[0], NOON, DAY.length_ms) if day + DAY.length_ms <= NOON - HOUR_MS]
    assert len(bound) >= DAYS - 1
    assert len(reads) <= DAYS + 24, "of the first and the last day maybe hours"

    by_region = world.ask(dataclasses.replace(series, by={"title": "a", "region": "us"}))
    assert [(row.start_ms, row.key, row.values) for row in by_region.rows] == [(start, ("a", "us"), (3, 2, 2)) for start in hours]
    nothing = world.ask(dataclasses.replace(series, by={"title": "b"}))
    assert (nothing.rows, nothing.read["final"]) == ((), DAYS * 24)

    noon = bound[1] + 12 * HOUR_MS
    await world.store(world.status(2), [watched("a", "eu", 100, noon)])  # another source has passed: no volume is of it
    reads.clear()
    answer = world.ask(series)
    assert [(row.start_ms, row.values) for row in answer.rows if row.start_ms == noon] == [(noon, (106, 5, 5))]
    assert (answer.final, answer.read["final"], reads) == (True, 0, [])
    await kept.settle()
    again = world.ask(series)
    assert (again.rows, again.read["final"]) == (answer.rows, DAYS * 24)
