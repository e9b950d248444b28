"""Days of load, as rates by the minute, from CSV files of the columns `minute` and `events_per_s`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topologies.errors import UsageError

MINUTES: Final = 1_440
PLAIN: Final = "diurnal"
"""The day that is like any other: fleets are sized and rivals tuned on it, and it is the yesterday of the others."""


@dataclass(frozen=True)
class Day:
    """A day. by_minute: MINUTES rates, events a second, each for its whole minute."""

    name: str
    by_minute: NDArray[np.float64]


def read_day(file: Path) -> Day:
    """The day in a file, named after it. Raises UsageError where it is none."""
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            rows = [(int(row["minute"]), float(row["events_per_s"])) for row in csv.DictReader(opened)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file} is no day of load (columns minute, events_per_s): {error}") from error
    rates = np.array([rate for _, rate in rows])
    if [minute for minute, _ in rows] != list(range(MINUTES)) or not np.isfinite(rates).all() or (rates < 0).any():
        raise UsageError(f"{file} is no day of load: it needs the minutes 0 to {MINUTES - 1} in order, each with a rate of 0 or more")
    return Day(file.stem, rates)


def read_days(directory: Path) -> list[Day]:
    """The days of a directory, the plain one first. Raises UsageError without that one, or where a file is no day."""
    files = sorted(directory.glob("*.csv"))
    days = sorted((read_day(file) for file in files), key=lambda day: (day.name != PLAIN, day.name))
    if not days or days[0].name != PLAIN:
        raise UsageError(f"{directory} has no {PLAIN}.csv, the plain day; name the directory with --days")
    return days


def others_like(day: Day, number: int, random: np.random.Generator) -> list[Day]:
    """Days of the same course, with other noise: each minute's share of the hour's mean around it, dealt out anew within two hours."""
    padded = np.concatenate([day.by_minute[-30:], day.by_minute, day.by_minute[:30]])
    course = np.convolve(padded, np.ones(61) / 61, "valid")
    shares = np.divide(day.by_minute, course, out=np.ones(MINUTES), where=course > 0)
    dealt = [random.permuted(shares.reshape(-1, 120), axis=1).ravel() for _ in range(number)]
    return [Day(f"{day.name} {place + 1}", course * shares) for place, shares in enumerate(dealt)]
