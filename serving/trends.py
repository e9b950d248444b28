"""A trend: what is counted now against what its own decayed past leads to expect (topologies.view.Trend).

Now is T, the oldest clock of the sources. Counted are the last minutes, as many as the span has, T's own being the newest. The past is all
that came before them. An event of it counts, in the cells of its minute and its day, 2^16 · 2^(minutes from the day's start ÷ half-life).
Brought to S, the span's start, their sum × ln 2 ÷ half-life is how many came a second (forward decay: Cormode et al., ICDE 2009, §III);
so a title that is played as steadily as ever scores 1.

    past     = Σ over days (the day's baseline − that of its minutes from the span's first on) ÷ 2^16 · 2^(−(S − day's start) ÷ half-life)
    expected = past × ln 2 × span ÷ half-life
    score    = count ÷ max(floor, expected)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from serving.cells import Key, Place, Row, Values
from serving.columns import Integers
from serving.known import Known
from serving.questions import Plan
from serving.reading import Reading, is_cached, read
from serving.stores import Stores
from topologies.decay import ONE
from topologies.sources import SKEW_MS
from topologies.view import DAY, MINUTE, Trend

HALF_LIVES: Final = 8
"""What is older counts less than 1/256 of what is new, and is left out: of a half-life of 6 h, all before the day before yesterday."""
DIGITS: Final = (2, 4)
"""Decimals of what is expected, and of the score."""


@dataclass(frozen=True)
class Past:
    """What a trend is reckoned from. `count`, `baseline`: which measures of a cell they are, from 0. as_of_ms: T, epoch milliseconds."""

    trend: Trend
    count: int
    baseline: int
    half_life_s: int
    span_s: int
    as_of_ms: int

    @classmethod
    def of(cls, plan: Plan, trend: Trend, as_of_ms: int) -> Past:
        """That of a plan with a span."""
        names = [measure.name for measure in plan.view.measures]
        baseline = names.index(trend.baseline)
        half_life_s = plan.view.measures[baseline].half_life_s
        return cls(trend, names.index(trend.count), baseline, half_life_s, plan.span_s, as_of_ms)

    @property
    def columns(self) -> tuple[str, str, str]:
        """What an answer has of each row."""
        return self.trend.count, "expected", "score"

    @property
    def span_ms(self) -> tuple[int, int]:
        """Start of the first minute counted, end of the last."""
        end = MINUTE.start_of(self.as_of_ms) + MINUTE.length_ms
        return end - self.span_s * 1000, end

    def days(self) -> list[int]:
        """Starts of the days that are read, T's the last; none when there is no T."""
        today, before = DAY.start_of(self.as_of_ms), -(-HALF_LIVES * self.half_life_s * 1000 // DAY.length_ms)
        return list(range(max(0, today - before * DAY.length_ms), today + 1, DAY.length_ms))

    def minutes(self, newest_ms: int) -> list[int]:
        """Starts of the minutes that are read: the span's, and those that sources ahead of T, as far as `newest_ms`, have in T's day."""
        first, end = self.span_ms
        last = min(max(end - 1, newest_ms), DAY.start_of(self.as_of_ms) + DAY.length_ms - 1)
        return list(range(max(0, first), last + 1, MINUTE.length_ms))


def ranked(past: Past, minutes: Mapping[Place, Values], days: Mapping[Place, Values], top: int) -> list[Row]:
    """The best `top` keys that were counted in the span: score descending, then count descending, then key.

    minutes, days: the view's cells by (start, key), of `past.minutes` and `past.days`.
    """
    counts, expected = _counts(past, minutes), _expected(past, minutes, days)
    rows = []
    for key, count in counts.items():
        expectation = expected.get(key, 0.0)
        score = round(count / max(past.trend.floor, expectation), DIGITS[1])
        rows.append(Row(past.span_ms[0], key, (count, round(expectation, DIGITS[0]), score)))
    return sorted(rows, key=lambda row: (-(row.values[2] or 0), -(row.values[0] or 0), row.key))[:top]


def _counts(past: Past, minutes: Mapping[Place, Values]) -> dict[Key, int]:
    first, end = past.span_ms
    counts: dict[Key, int] = {}
    for (start_ms, key), values in minutes.items():
        if first <= start_ms < end and values[past.count]:
            counts[key] = counts.get(key, 0) + values[past.count]
    return counts


def _expected(past: Past, minutes: Mapping[Place, Values], days: Mapping[Place, Values]) -> dict[Key, float]:
    before = {place: values[past.baseline] for place, values in days.items()}
    for (start_ms, key), values in minutes.items():
        place = (DAY.start_of(start_ms), key)
        if place in before:
            before[place] -= values[past.baseline]
    a_second = math.log(2) / past.half_life_s
    expected: dict[Key, float] = {}
    for start_ms, key in sorted(before):  # in one order, so that equal cells give equal sums
        age_s = (past.span_ms[0] - start_ms) / 1000
        came = max(0, before[start_ms, key]) / ONE * 2 ** (-age_s / past.half_life_s)
        expected[key] = expected.get(key, 0.0) + came * a_second * past.span_s
    return expected


def read_trend(stores: Stores, known: Known, plan: Plan, past: Past, now_ms: int) -> tuple[list[Row], Reading[Values]]:
    """The best rows, and where their minutes were read. Raises ServerAway when a store that is needed does not answer."""
    newest_ms = max((status.clock_ms for status in known.best), default=-1) + SKEW_MS
    day = plan.view.window(DAY.name)
    unranked = replace(plan, top=None)
    minutes = read(stores, known, Integers(unranked), past.minutes(newest_ms), now_ms)
    days = read(stores, known, Integers(replace(unranked, stored=day, shown=day)), past.days(), now_ms)
    return ranked(past, minutes.sums.cells, days.sums.cells, plan.top or 1), minutes


def from_cache(plan: Plan, known: Known, now_ms: int) -> bool:
    """Whether the newest minute is to be read from Redis, so that the trend is as of Redis' clocks."""
    clocks = [status.clock_ms for status in known.live(known.going(known.cached.values()))]
    return bool(clocks) and is_cached(plan, plan.stored.start_of(min(clocks)), known, now_ms)
