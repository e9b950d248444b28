"""A scenario: a small TOML file that says how a run goes, as shapes ([loadgen.shapes]) one after the other.

    about      = "…"       one sentence
    duration_s = 900       how long a live run takes that was not told; optional
    by_device  = true      start-up and weak networks by device (loadgen.catalogue.NETWORK); false: all devices alike
    [[shape]]              any number; kind and its keys

Those that are shipped stand in loadgen/scenarios and are named; others are given by their path. docs/loadgen.md has a worked example.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen import catalogue
from loadgen.rows import BINGE, CDN_COLUMN, CROWD, CROWD_PEAK, RELEASE
from loadgen.shapes import AnyShape, Crowd, Moment, Premiere
from topologies.errors import UsageError

SHIPPED: Final = Path(__file__).parent / "scenarios"
TICKS: Final = 2_000
"""A run is cut into so many, of at least LEAST_TICK_MS each."""
LEAST_TICK_MS: Final = 100.0
USUAL: Final = 0.4
"""The share of viewers that watch at the mean intensity (E)."""
MOST: Final = 0.95
"""The greatest share of viewers that watch (E)."""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario, checked."""

    about: str
    duration_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    by_device: bool = False
    shape: tuple[AnyShape, ...] = ()

    def __post_init__(self) -> None:
        for one in (Crowd, Premiere):
            if sum(isinstance(shape, one) for shape in self.shape) > 1:
                raise ValueError(f"a scenario has one {one.__name__.lower()} at the most")

    @property
    def episodes(self) -> int:
        """Of its release; 0 without one."""
        return next((shape.episodes for shape in self.shape if isinstance(shape, Premiere)), 0)

    @property
    def runtime_s(self) -> int:
        """Of an episode of its release."""
        return next((shape.runtime_s for shape in self.shape if isinstance(shape, Premiere)), 0)


STEADY: Final = Scenario(about="Viewers come and go as ever; the rate is level.")


def shipped() -> tuple[str, ...]:
    """The names of the scenarios that come with the project."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def scenario_of(named: str) -> Scenario:
    """The scenario of that name, or in the file of that path (it has a / or ends in .toml). UsageError when there is none."""
    return read_scenario(_path_of(named))


def text_of(named: str) -> str:
    """What its file says. OSError where it cannot be read: ask scenario_of first."""
    return _path_of(named).read_text()


def _path_of(named: str) -> Path:
    if "/" in named or named.endswith(".toml"):
        return Path(named)
    if named not in shipped():
        raise UsageError(f"there is no scenario {named!r}; choose from {', '.join(shipped())}, or give the path of a file (./mine.toml)")
    return SHIPPED / f"{named}.toml"


def read_scenario(path: Path) -> Scenario:
    """Raises UsageError, naming the key to change, when the file is no scenario."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Scenario)
    except FileNotFoundError:
        raise UsageError(f"there is no scenario file {path}") from None
    except OSError as error:
        raise UsageError(f"the scenario file {path} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML file ({error})") from error
    except msgspec.ValidationError as error:
        raise UsageError(f"{path} is no scenario: {error}") from error


def moments(scenario: Scenario, span_ms: int, first_hour: float, regions: list[str]) -> list[Moment]:
    """The run, tick by tick, the last one at its end. UsageError where a shape does not fit the run."""
    count = int(max(1, min(TICKS, span_ms / LEAST_TICK_MS)))
    cdns = [name for name, _ in catalogue.CDNS]
    found = []
    for tick in range(count + 1):
        moment = Moment(
            t_s=tick * span_ms / count / 1000, span_s=span_ms / 1000, first_hour=first_hour, regions=regions, cdns=cdns,
            intensity=np.ones(len(regions)), lost_until=np.zeros(len(regions)),
            shares=np.array([share for _, share in catalogue.CDNS]), failing=np.zeros(len(cdns)),
        )  # fmt: skip
        for shape in scenario.shape:
            shape.tick(moment)
        found.append(moment)
    return found


def course_of(scenario: Scenario, span_ms: int, first_hour: float, regions: list[str]) -> tuple[float, NDArray[np.float64]]:
    """The length of a tick, ms, and the course as kernels read it (loadgen.rows.CDN_COLUMN …); 0 and no rows for one without shapes."""
    if not scenario.shape:
        return 0.0, np.empty((0, 0))
    ticks = moments(scenario, span_ms, first_hour, regions)
    tick_ms = span_ms / (len(ticks) - 1)
    cdns = len(catalogue.CDNS)
    course = np.zeros((len(ticks), CDN_COLUMN + 2 * cdns + 2 * len(regions)))
    for row, moment in zip(course, ticks, strict=True):
        row[CROWD], row[RELEASE], row[BINGE] = moment.crowd, moment.release, moment.binge
        if not moment.shares.any():
            raise UsageError("the scenario leaves no CDN to send viewers to")
        row[CDN_COLUMN : CDN_COLUMN + cdns] = catalogue.cumulative(moment.shares.tolist())
        row[CDN_COLUMN + cdns : CDN_COLUMN + 2 * cdns] = moment.failing
        row[CDN_COLUMN + 2 * cdns :: 2] = _coming(moment.intensity) * tick_ms
        row[CDN_COLUMN + 2 * cdns + 1 :: 2] = moment.lost_until * 1000
    course[:, CROWD_PEAK] = np.maximum.accumulate(course[:, CROWD])
    clocks = course[:, CDN_COLUMN + 2 * cdns :: 2]
    clocks[1:] = np.cumsum(clocks[:-1], axis=0)
    clocks[0] = 0.0
    return tick_ms, course


def _coming(intensity: NDArray[np.float64]) -> NDArray[np.float64]:
    """How fast those who do not watch come, 1 where the intensity is. For twice as many viewers more than twice as many must come: fewer
    are left who do not watch."""
    share = np.minimum(USUAL * intensity, MOST)
    found: NDArray[np.float64] = share / (1 - share) * (1 - USUAL) / USUAL
    return found
