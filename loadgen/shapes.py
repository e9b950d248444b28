"""The shapes that a scenario is made of: each says by one tick() what it changes about a moment of the run.

A shape changes what the shapes before it have left: intensities multiply, the rest is set. It is asked once a tick, in order, for the
whole run before it begins, so it may be as slow as it likes. Times are seconds since the run began, or a share of the run: "30%".
What takes a while by its nature (over_s, leave_s, steer_s) takes LONGEST_WHILE of a run that is too short for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen import catalogue
from topologies.errors import UsageError

DAY_S: Final = 86_400.0
LONGEST_WHILE: Final = 0.15
"""Of a run."""
Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Factor: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1000)]
Time: TypeAlias = Annotated[float, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(pattern=r"^\d+(\.\d+)?%$")]


def seconds(time: Time, span_s: float) -> float:
    """A scenario's time as seconds of a run of `span_s`."""
    return float(time[:-1]) / 100 * span_s if isinstance(time, str) else float(time)


@dataclass
class Moment:
    """What a moment of a run is like, `t_s` after its begin; `first_hour`: the hour of the day (UTC) at which it begins.

    By region: intensity f8 (of coming, 1 the mean), lost_until f8 (seconds; 0: not lost). By CDN: shares f8 of the new sessions, failing f8
    (the chance that an attempt, or 10 s of play, fails). crowd: the share of the audience that is at the event now; release: of the new
    plays that are of the release; binge: of the finished episodes that the next one follows at once.
    """

    t_s: float
    span_s: float
    first_hour: float
    regions: list[str]
    cdns: list[str]
    intensity: NDArray[np.float64]
    lost_until: NDArray[np.float64]
    shares: NDArray[np.float64]
    failing: NDArray[np.float64]
    crowd: float = 0.0
    release: float = 0.0
    binge: float = 0.0

    def at(self, time: Time) -> float:
        """Seconds since then; below 0: that is still to come."""
        return self.t_s - seconds(time, self.span_s)

    def while_s(self, wanted_s: float) -> float:
        """What takes so long takes so long in this run."""
        return min(wanted_s, LONGEST_WHILE * self.span_s)


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """A shape. Its fields are the keys of its [[shape]] in the file, `kind` its class in small letters."""

    def tick(self, moment: Moment) -> None:
        """Change the moment. UsageError where the shape does not fit the run."""
        raise NotImplementedError


class Diurnal(Shape, frozen=True, tag="diurnal"):
    """The day of each region by its own clock. A day of 24 h goes by the run's time; a shorter one begins at `from_h` (UTC)."""

    day: Time = DAY_S
    from_h: Annotated[float, msgspec.Meta(ge=0, lt=24)] = 0.0

    def tick(self, moment: Moment) -> None:
        day_s = seconds(self.day, moment.span_s)
        begin = moment.first_hour if math.isclose(day_s, DAY_S) else self.from_h
        utc = begin + 24 * moment.t_s / day_s
        hours = np.array([utc + time_zone(region, moment.regions) for region in moment.regions]) % 24
        curve = np.array([*catalogue.DAY_CURVE, catalogue.DAY_CURVE[0]])
        moment.intensity *= np.interp(hours, np.arange(25.0), curve) / np.mean(catalogue.DAY_CURVE)


class Curve(Shape, frozen=True, tag="curve"):
    """Intensity through points (time, factor), straight between them and level before and after."""

    points: list[tuple[Time, Factor]]

    def tick(self, moment: Moment) -> None:
        times = [seconds(time, moment.span_s) for time, _ in self.points]
        if not times or sorted(times) != times:
            raise UsageError("a curve's points must be in the order of their times, and at least one")
        moment.intensity *= np.interp(moment.t_s, times, [factor for _, factor in self.points])


class Crowd(Shape, frozen=True, tag="crowd"):
    """A live event: `share` of the audience comes within `over_s` after `at`, and goes within `leave_s` after `until`."""

    share: Share = 0.6
    at: Time = "30%"
    over_s: Annotated[float, msgspec.Meta(gt=0)] = 120.0
    until: Time = "80%"
    leave_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0

    def tick(self, moment: Moment) -> None:
        come = min(max(moment.at(self.at) / moment.while_s(self.over_s), 0.0), 1.0)
        gone = min(max(moment.at(self.until) / moment.while_s(self.leave_s), 0.0), 1.0)
        moment.crowd = self.share * min(come, 1.0 - gone)


class Premiere(Shape, frozen=True, tag="premiere"):
    """A series is released at `at`: `share` of the new plays are of it, less with each `half_life`; `surge` times as many come at first."""

    share: Share = 0.4
    at: Time = "20%"
    half_life: Time = 7.5 * DAY_S
    surge: Factor = 1.0
    episodes: Annotated[int, msgspec.Meta(ge=1, le=200)] = 8
    runtime_s: Annotated[int, msgspec.Meta(ge=60, le=36_000)] = 3_000

    def tick(self, moment: Moment) -> None:
        since = moment.at(self.at)
        if since >= 0:
            left = 2 ** (-since / max(seconds(self.half_life, moment.span_s), 1.0))
            moment.release = self.share * left
            moment.intensity *= 1 + (self.surge - 1) * left


class Binge(Shape, frozen=True, tag="binge"):
    """`share` of those who finish an episode watch the next one at once."""

    share: Share = 0.6

    def tick(self, moment: Moment) -> None:
        moment.binge = self.share


class Outage(Shape, frozen=True, tag="outage"):
    """A CDN fails `severity` of its attempts, and of each 10 s of play, from `at` for `lasts`; after `steer_s` nobody is sent there."""

    cdn: str
    at: Time = "40%"
    lasts: Time = "20%"
    severity: Share = 0.5
    steer_s: Annotated[float, msgspec.Meta(ge=0)] = 60.0

    def tick(self, moment: Moment) -> None:
        which = place(self.cdn, moment.cdns, "CDN")
        since = moment.at(self.at)
        if 0 <= since < seconds(self.lasts, moment.span_s):
            moment.failing[which] = self.severity
            if since >= moment.while_s(self.steer_s):
                moment.shares[which] = 0.0


class Loss(Shape, frozen=True, tag="loss"):
    """A region is cut off from `at` for `lasts`: its players are heard of no more, and come again when it is back."""

    region: str
    at: Time = "40%"
    lasts: Time = "15%"

    def tick(self, moment: Moment) -> None:
        which = place(self.region, moment.regions, "region")
        since, lasts_s = moment.at(self.at), seconds(self.lasts, moment.span_s)
        if 0 <= since < lasts_s:
            moment.lost_until[which] = moment.t_s - since + lasts_s


AnyShape: TypeAlias = Diurnal | Curve | Crowd | Premiere | Binge | Outage | Loss


def place(name: str, names: list[str], what: str) -> int:
    """Where a name stands. UsageError, saying which there are, when it does not."""
    if name not in names:
        raise UsageError(f"the scenario names a {what} {name!r} that this run does not have; it has {', '.join(names)}")
    return names.index(name)


def time_zone(region: str, regions: list[str]) -> float:
    """Hours that the region's clock is ahead of UTC; regions without a known one are spread around the earth."""
    return catalogue.TIME_ZONES.get(region, 24.0 * regions.index(region) / len(regions))
