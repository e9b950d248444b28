"""How an answer's rows went: its own windows where it has several, else those before it; what was not counted is a gap."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving.courses import Course, Courses, behind, over_time
from serving.questions import Question
from tests.serving.test_answers import HOUR_MS, NOON, Cell, World, live, watched, world_of
from topologies.concurrents import CONCURRENTS
from topologies.settings import Settings
from topologies.trending import TRENDING
from topologies.view import MINUTE, RECENT_MINUTE

MINUTE_MS = MINUTE.length_ms


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    with world_of(settings) as opened:
        yield opened


def by_region(region: str, minute: int, viewers: int) -> Cell:
    return Cell(CONCURRENTS, MINUTE, NOON + minute * MINUTE_MS, 1, (region,), (viewers,))


async def test_an_answer_in_time_is_its_rows_courses_up_to_its_as_of(world: World) -> None:
    cells = [by_region("eu", 0, 5), by_region("eu", 1, 6), by_region("eu", 3, 9), by_region("us", 1, 2), by_region("us", 40, 8)]
    await world.both(world.status(0), cells)
    answer = world.ask(Question("concurrents", {"region": None}, window="minute", from_ms=NOON, to_ms=NOON + 4 * MINUTE_MS))
    courses = over_time(answer)
    assert courses is not None
    assert (courses.window, courses.starts_ms) == (MINUTE, range(NOON, NOON + 4 * MINUTE_MS, MINUTE_MS))
    assert courses.of == (Course(("eu",), "viewers", (5, 6, None, 9)), Course(("us",), "viewers", (None, 2, None, None)))
    whole = over_time(world.ask(Question("concurrents", {"region": None}, window="minute", from_ms=NOON, to_ms=NOON + HOUR_MS)))
    assert whole is not None
    assert len(whole.starts_ms) == 31  # half past is when it is
    assert over_time(world.ask(Question("concurrents", {"region": None}))) is None


async def test_behind_an_answer_of_one_window_stand_those_that_are_over_and_behind_a_ranking_those_that_were_ranked(world: World) -> None:
    before, minutes = NOON - HOUR_MS, [NOON + minute * MINUTE_MS for minute in range(30)]
    viewers = [Cell(CONCURRENTS, MINUTE, minutes[at], 0, (title,), (count,)) for at, title, count in [(28, "a", 4), (3, "b", 9)]]
    hours = [watched("a", "eu", 3), watched("a", "eu", 5, before), watched("b", "eu", 2, before), watched("b", "us", 9, before)]
    plays = [Cell(TRENDING, RECENT_MINUTE, minutes[at], 0, ("a",), (count, 0)) for at, count in [(27, 11), (29, 2)]]
    await world.both(world.status(0), [live("a", 7), live("b", 2), *viewers, *hours, *plays])

    def asked(question: Question) -> Courses:
        return behind(world.ask, question, world.ask(question))

    hour = range(NOON - 30 * MINUTE_MS, NOON + 30 * MINUTE_MS, MINUTE_MS)
    now = asked(Question("concurrents", top=1))
    assert (now.starts_ms, [(one.key, one.measure, one.known, one.values[58]) for one in now.of]) == (hour, [(("a",), "viewers", [4], 4)])
    trend = asked(Question("trending"))
    assert (trend.starts_ms, [(one.key, one.measure, one.known) for one in trend.of]) == (hour, [(("a",), "plays", [11, 2])])
    summed = asked(Question("watch_time", {"region": None}))
    assert summed.starts_ms == range(NOON - 24 * HOUR_MS, NOON, HOUR_MS)
    assert [(one.key, one.measure, one.known, one.values[-1]) for one in summed.of] == [(("eu",), "watched_ms", [7], 7)]
    ranked = asked(Question("watch_time", {"region": "eu"}, top=2, from_ms=before, to_ms=NOON + HOUR_MS))
    assert ranked.of == (Course(("a", "eu"), "watched_ms", (5, 3)), Course(("b", "eu"), "watched_ms", (2, None)))
