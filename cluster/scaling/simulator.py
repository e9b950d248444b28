"""The simulator: this system's policy, fixed fleets, an HPA on CPU and KEDA's lag threshold on the same days, and what came of each.

A violation is a second in which the oldest event that waits in any partition is older than the bound. Worker-hours are of all workers from
when they are asked for until they have left. Every day begins with the fewest workers that bear its first minute, and no backlog.

This system's policy knows nothing of a day before it comes. Of the days before it knows the plain day, as a system that ran yesterday
would; on the plain day itself it knows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cluster.scaling.contenders import ByPolicy, run_day
from cluster.scaling.days import Day, others_like
from cluster.scaling.fleet import Fleets, Floats, Ground, Ints
from cluster.scaling.policy import SLOTS, Past, paced
from cluster.scaling.tuning import PLAIN_DAYS, hpa_grid, keda_grid

FIXED: Final = "fixed, plain day's peak"
FIXED_OWN: Final = "fixed, own peak"
HPA: Final = "HPA on CPU"
KEDA: Final = "KEDA on lag"
HPA_THAT_DAY: Final = "HPA, tuned on that day"
KEDA_THAT_DAY: Final = "KEDA, tuned on that day"
OURS: Final = "Marquee"
FEWER: Final = 0.3
"""Of the worker-hours of a fleet sized for the day's own peak, so many are to be saved at least."""
DAYS_BETTER: Final = 3


@dataclass(frozen=True)
class Outcome:
    """What came of one contender on one day. workers, lag_s: by the minute; the lag is 0 where it was within its bound."""

    contender: str
    setting: str
    day: str
    violated_s: int
    worst_lag_s: float
    worker_hours: float
    changes: int
    workers: Ints
    lag_s: Floats


@dataclass(frozen=True)
class Judged:
    """All outcomes, day by day; and this policy's on the plain days that the rivals were tuned on."""

    ground: Ground
    outcomes: tuple[Outcome, ...]
    on_plain_days: tuple[Outcome, ...]

    def of(self, contender: str, day: str) -> Outcome:
        return next(one for one in self.outcomes if (one.contender, one.day) == (contender, day))

    def days(self) -> list[str]:
        return list(dict.fromkeys(one.day for one in self.outcomes))


@dataclass(frozen=True)
class Verdict:
    """What must hold on a day, and does or not."""

    day: str
    no_more_violations_than_fixed: bool
    saved: float
    """Share of the worker-hours of a fleet sized for the day's own peak."""
    better_than_keda: bool
    """Fewer violations and fewer worker-hours than KEDA as tuned on plain days."""
    not_worse_than_keda_that_day: bool
    """No more violations, and no more worker-hours, than KEDA as tuned on that very day."""


def judge(ground: Ground, days: Sequence[Day], random: np.random.Generator, plain_days: int = PLAIN_DAYS) -> Judged:
    """All contenders on these days, of which the first is the plain one. random: deals out the noise of plain_days days like it."""
    plain = others_like(days[0], plain_days, random)
    everything = [*days, *plain]
    by_minute = np.array([day.by_minute for day in everything])
    at_first = np.array([min(ground.sized_for(rate), ground.most) for rate in by_minute[:, 0]])
    ours = _ours(ground, days[0], by_minute, at_first)
    hpa, keda = hpa_grid(ground, by_minute, at_first), keda_grid(ground, by_minute, at_first)
    tuned_on = range(len(days), len(everything))
    peaks = [ground.sized_for(float(day.by_minute.max())) for day in days]
    fixed = _fixed(ground, by_minute[: len(days)], [peaks[0]] * len(days) + peaks)
    outcomes: list[Outcome] = []
    for place, day in enumerate(days):
        outcomes += [
            _outcome(FIXED, f"{peaks[0]} workers", day, fixed, place),
            _outcome(FIXED_OWN, f"{peaks[place]} workers", day, fixed, len(days) + place),
        ]
        for name, grid, on in ((HPA, hpa, tuned_on), (KEDA, keda, tuned_on), (HPA_THAT_DAY, hpa, [place]), (KEDA_THAT_DAY, keda, [place])):
            best = grid.best(on)
            outcomes.append(_outcome(name, grid.settings[best].told(), day, grid.fleets, grid.place(place, best)))
        outcomes.append(_outcome(OURS, f"{ground.least} to {ground.most} workers", day, ours, place))
    on_plain = (_outcome(OURS, "", day, ours, len(days) + place) for place, day in enumerate(plain))
    return Judged(ground, tuple(outcomes), tuple(on_plain))


def verdicts(judged: Judged) -> list[Verdict]:
    """Day by day."""
    return [_verdict(judged, day) for day in judged.days()]


def holds(found: Sequence[Verdict]) -> bool:
    """Whether all that must hold does."""
    each = all(one.no_more_violations_than_fixed and one.saved >= FEWER for one in found)
    return each and sum(one.better_than_keda for one in found) >= DAYS_BETTER


def usual_of(day: Day) -> tuple[float, ...]:
    """What the policy would remember of a day, slot by slot."""
    return tuple(float(rate) for rate in day.by_minute.reshape(SLOTS, -1).mean(axis=1))


def _verdict(judged: Judged, day: str) -> Verdict:
    ours, keda, there = (judged.of(name, day) for name in (OURS, KEDA, KEDA_THAT_DAY))
    return Verdict(
        day,
        ours.violated_s <= judged.of(FIXED, day).violated_s,
        1 - ours.worker_hours / judged.of(FIXED_OWN, day).worker_hours,
        ours.violated_s < keda.violated_s and ours.worker_hours < keda.worker_hours,
        ours.violated_s <= there.violated_s and ours.worker_hours <= there.worker_hours,
    )


def _ours(ground: Ground, plain: Day, by_minute: Floats, at_first: Ints) -> Fleets:
    fleets = Fleets(ground, by_minute, np.arange(len(by_minute)), at_first)
    pasts = [Past(int(workers), usual=usual_of(plain)) for workers in at_first]
    pasts[0] = Past(int(at_first[0]))
    rules = paced(ground.least, ground.most, ground.measured.start_s)
    run_day(fleets, [ByPolicy(slice(0, len(pasts)), rules, pasts)])
    return fleets


def _fixed(ground: Ground, by_minute: Floats, workers: Sequence[int]) -> Fleets:
    fleets = Fleets(ground, by_minute, np.arange(len(workers)) % len(by_minute), np.array(workers))
    run_day(fleets, [])
    return fleets


def _outcome(contender: str, setting: str, day: Day, fleets: Fleets, place: int) -> Outcome:
    return Outcome(
        contender,
        setting,
        day.name,
        int(fleets.total("violated_s")[place]),
        float(fleets.lag_s[place].max()),
        float(fleets.total("worker_s")[place]) / 3600,
        int(fleets.total("changes")[place]),
        fleets.workers_at[place],
        fleets.lag_s[place],
    )
