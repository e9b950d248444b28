"""Trends: what is expected is what a steady past would bring; little against nothing does not win; equal ones keep one order."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from connectors.cassandra_finals import Mark
from connectors.cassandra_reader import StoredPack
from connectors.memcached import Memcached
from connectors.read_through import ReadThrough
from serving.answers import ask
from serving.cells import Key, Place, Row, Values
from serving.known import Known
from serving.questions import Question, plan
from serving.stores import Answering, Stores
from serving.trends import Past, ranked
from topologies.decay import decay
from topologies.settings import Settings
from topologies.sources import Source, SourceStatus
from topologies.trending import TRENDING

MINUTE_MS, DAY_MS = 60_000, 86_400_000
TODAY = 20_000 * DAY_MS
NOW = TODAY + 18 * 3_600_000 + 30_000
"""Half a minute into the minute of 18:00."""
NOW_MINUTE = NOW - 30_000
WEIGHTS = decay(6 * 3600)


def past(span: str = "5m", as_of_ms: int = NOW) -> Past:
    assert TRENDING.trend is not None
    return Past.of(plan(Question("trending", window=span)), TRENDING.trend, as_of_ms)


class Log:
    """Plays by key and minute, as the cells of minutes and days that the fold makes of them."""

    def __init__(self) -> None:
        self.minutes: dict[Place, Values] = {}
        self.days: dict[Place, Values] = {}

    def play(self, key: Key, minute_ms: int, plays: int = 1) -> None:
        weight = WEIGHTS[minute_ms % DAY_MS // MINUTE_MS]
        for cells, start_ms in ((self.minutes, minute_ms), (self.days, minute_ms - minute_ms % DAY_MS)):
            before = cells.get((start_ms, key), (0, 0))
            cells[start_ms, key] = (before[0] + plays, before[1] + plays * weight)

    def steadily(self, key: Key, plays: int, first_ms: int, end_ms: int) -> None:
        for minute_ms in range(first_ms, end_ms, MINUTE_MS):
            self.play(key, minute_ms, plays)

    def ranked(self, of: Past, top: int = 10) -> list[Row]:
        """From what the plan reads, as far as the newest minute."""
        read = of.minutes(max((start_ms for start_ms, _ in self.minutes), default=0))
        minutes = {place: values for place, values in self.minutes.items() if place[0] in read}
        days = {place: values for place, values in self.days.items() if place[0] in of.days()}
        return ranked(of, minutes, days, top)


def test_the_last_five_minutes_are_counted_ts_own_the_newest() -> None:
    log = Log()
    for minute in range(-6, 2):
        log.play(("t",), NOW_MINUTE + minute * MINUTE_MS, 10 ** (minute + 6))
    (row,) = log.ranked(past())
    assert row.values[0] == 1_111_100
    assert past().span_ms == (NOW_MINUTE - 4 * MINUTE_MS, NOW_MINUTE + MINUTE_MS)


@pytest.mark.parametrize(("span", "minutes"), [("5m", 5), ("1h", 60)])
def test_a_title_that_is_played_as_steadily_as_ever_scores_one(span: str, minutes: int) -> None:
    log = Log()
    log.steadily(("t",), 12, TODAY - 2 * DAY_MS, NOW_MINUTE + MINUTE_MS)
    (row,) = log.ranked(past(span))
    plays, expected, score = row.values
    assert plays == 12 * minutes
    assert expected == pytest.approx(12 * minutes, rel=0.005)
    assert score == pytest.approx(1, rel=0.005)


def test_three_plays_of_a_title_without_a_past_do_not_beat_forty_where_five_were_expected() -> None:
    log = Log()
    log.steadily(("old",), 1, TODAY - 2 * DAY_MS, NOW_MINUTE - 4 * MINUTE_MS)
    log.play(("old",), NOW_MINUTE, 40)
    log.play(("new",), NOW_MINUTE, 3)
    first, second = log.ranked(past())
    assert first.key == ("old",)
    assert first.values[1] == pytest.approx(5, rel=0.02)
    assert first.values[2] == 4.0  # 40 ÷ the floor, 10
    assert (second.key, second.values) == (("new",), (3, 0.0, 0.3))


def test_more_than_the_floor_expected_is_what_divides() -> None:
    log = Log()
    log.steadily(("big",), 100, TODAY - 2 * DAY_MS, NOW_MINUTE + MINUTE_MS)
    log.play(("small",), NOW_MINUTE, 20)
    assert [row.key for row in log.ranked(past())] == [("small",), ("big",)]


def test_equal_ones_come_by_plays_then_by_key_whatever_order_they_are_read_in() -> None:
    names = ["c", "a", "b"]
    found = []
    for order in (names, names[::-1]):
        log = Log()
        for name in order:
            log.play((name,), NOW_MINUTE, 5)
        log.play(("z",), NOW_MINUTE, 6)
        found.append([row.key[0] for row in log.ranked(past())])
    assert found == [["z", "a", "b", "c"]] * 2


def test_more_plays_come_first_where_scores_are_equal() -> None:
    first, end = past().span_ms
    age_s = (first - TODAY) / 1000
    weight = round(20 * 65_536 * 2 ** (age_s / 21_600) * 21_600 / 0.693_147_180_56 / 300)
    minutes: dict[Place, Values] = {(NOW_MINUTE, ("a",)): (10, 0), (NOW_MINUTE, ("b",)): (20, 0)}
    rows = ranked(past(), minutes, {(TODAY, ("b",)): (0, weight)}, 10)
    assert [(row.key, row.values[2]) for row in rows] == [(("b",), 1.0), (("a",), 1.0)]
    assert first < NOW < end


def test_who_was_not_played_in_the_span_is_not_listed_and_a_top_is_cut() -> None:
    log = Log()
    log.play(("gone",), NOW_MINUTE - 5 * MINUTE_MS, 1_000)
    log.play(("a",), NOW_MINUTE, 2)
    log.play(("b",), NOW_MINUTE, 1)
    assert [row.key for row in log.ranked(past())] == [("a",), ("b",)]
    assert [row.key for row in log.ranked(past(), top=1)] == [("a",)]


def test_a_span_over_midnight_takes_its_minutes_out_of_both_days() -> None:
    at = TODAY + 30_000
    log = Log()
    log.steadily(("t",), 12, TODAY - 2 * DAY_MS, TODAY + MINUTE_MS)
    (row,) = log.ranked(past(as_of_ms=at))
    assert row.values[0] == 60
    assert row.values[1] == pytest.approx(60 * 2 ** (-4.5 / 360), rel=0.005)


def test_what_faster_sources_have_after_t_is_no_past() -> None:
    log = Log()
    log.play(("t",), NOW_MINUTE, 20)
    alone = log.ranked(past())
    log.steadily(("t",), 50, NOW_MINUTE + MINUTE_MS, NOW_MINUTE + 90 * MINUTE_MS)
    assert log.ranked(past()) == alone


def test_of_a_half_life_of_six_hours_three_days_are_read() -> None:
    assert past().days() == [TODAY - 2 * DAY_MS, TODAY - DAY_MS, TODAY]


def test_without_a_clock_nothing_is_read_and_nothing_is_found() -> None:
    nobody = past(as_of_ms=-1)
    assert (nobody.days(), nobody.minutes(-1), ranked(nobody, {}, {}, 10)) == ([], [], [])


class CatchingUp:
    """Both stores hours behind the time, Redis by less: what is asked of Redis is noted."""

    def __init__(self) -> None:
        self.from_redis: list[tuple[str, int]] = []
        self.settings = Settings()
        self.finals = SimpleNamespace(packs=lambda *_: ())
        self.through = ReadThrough(Memcached(self.settings.memcached))

    def answering(self, _name: str) -> Answering:
        return Answering(cast(Stores, self), TRENDING)

    def known(self, _away: str = "", _since_s: float | None = None) -> Known:
        source = Source("local", "t", "A" * 22, 0)
        stored, cached = (SourceStatus(source, at, NOW + at, NOW + at - 60_000, 0, 0, 0, 0, 0) for at in (0, 30 * MINUTE_MS))
        return Known({str(source): cached}, {str(source): stored}, ("t",))

    def unmarked(self, *_: object) -> bool:
        return False

    def are_unmarked(self, *_: object) -> None:
        pass

    def kept_packs(self, _key: str, read: Callable[[], object]) -> tuple[object, bool]:
        return read(), False

    def totals(self, _view: object, window: str, start_ms: int, *_: object) -> dict[Key, Values]:
        self.from_redis.append((window, start_ms))
        return {}

    def key_of(self, *asked: object) -> str:
        return repr(asked)

    def spans(self, *_: object) -> set[int]:
        return set()

    def marks(self, *_: object) -> dict[int, Mark]:
        return {}

    def packs(self, *_: object, near: bool) -> tuple[StoredPack, ...]:  # noqa: ARG002  # as Stores has it
        return ()


def test_days_are_read_from_the_store_of_the_minutes_that_are_taken_off_them() -> None:
    stores = CatchingUp()
    answer = ask(cast(Stores, stores), Question("trending"), lambda: NOW + 3 * 3_600_000)
    assert (answer.standing.as_of_ms, answer.read["redis"]) == (NOW, 0)
    assert stores.from_redis == []
