"""How fresh what is shown was: for each moment of a span, how long until what was shown was as of that moment or later.

A moment is taken every MOMENT_MS. So where there are fewer than some ten events a second in a partition it says more than there was to
wait: what is shown becomes as of a moment with the next record only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from marquee.applied import Course

MOMENT_MS: Final = 10

Waits = NDArray[np.float64]


def waits_ms(marks_ms: Sequence[float], seen_ms: Sequence[float], moments_ms: NDArray[Any]) -> Waits:
    """For each moment how long until it was shown, ms; infinite where it never was. marks_ms: as of when what was shown was, which need not
    rise; seen_ms: when that was seen, which does. Neither is empty."""
    newest = np.maximum.accumulate(np.asarray(marks_ms, dtype=np.float64))
    waits: Waits = np.append(np.asarray(seen_ms, dtype=np.float64), np.inf)[np.searchsorted(newest, moments_ms)] - moments_ms
    return waits


def intended_waits_ms(courses: Iterable[Course], from_ms: float, to_ms: float) -> Waits:
    """Of the moments at which events were to be sent, up to each partition's last event: how long until Redis had them."""
    found = [np.empty(0)]
    for course in courses:
        moments = np.arange(from_ms, min(to_ms, max(course.intended_ms, default=-1)), MOMENT_MS)
        if len(moments):
            found.append(waits_ms(course.intended_ms, course.seen_ms, moments))
    return np.concatenate(found)


def shown_waits_ms(courses: Iterable[Course], since_ms: float, until_ms: float, begun_ms: float) -> Waits:
    """Of the log's moments from `begun_ms` on that Redis came to be as of between these two times: how long each had waited. All epoch ms.
    Two spans that follow each other have no moment in common."""
    found = [np.empty(0)]
    for course in courses:
        first, last = bisect_right(course.seen_ms, since_ms), bisect_right(course.seen_ms, until_ms)
        if 0 < first < last:
            marks = course.clocks_ms[first - 1 : last]
            moments = np.arange(max(marks[0] + 1, ceil(begun_ms)), marks[-1] + 1, MOMENT_MS)
            if len(moments):
                found.append(waits_ms(marks[1:], course.seen_ms[first:last], moments))
    return np.concatenate(found)


def percentiles(waits: Waits, *which: float) -> tuple[float | None, ...]:
    """Each of these percentiles, ms to a tenth; None where nothing was waited for or something never came."""
    found = np.percentile(waits, which) if len(waits) else np.full(len(which), np.inf)
    return tuple(round(float(value), 1) if np.isfinite(value) else None for value in found)
