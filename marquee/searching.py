"""The highest rate that passes a trial: bracketed from a first guess, then halved on a logarithmic scale; and the fewest workers with which
a rate passes. Knows nothing of what is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

GROW: Final = 1.5
"""While every trial passes, or none does: the next rate is so many times the last, or that part of it."""
LEAST_RATE: Final = 1.0


@dataclass(frozen=True)
class Search:
    """How it is searched. first: events a second of the first trial. precision: it ends once the lowest rate that failed is at most so
    much above the highest that passed. linear: instead, each rate is so much above the last, from the first one on, until one fails."""

    first: float = 20_000.0
    precision: float = 0.1
    linear: bool = False


@dataclass(frozen=True)
class Found:
    """best: the highest rate that passed, 0 for none. failed: the lowest that did not, None when none failed. whole: not cut short."""

    best: float = 0.0
    failed: float | None = None
    whole: bool = True


def highest(passes: Callable[[float], bool], search: Search, over: Callable[[], bool]) -> Found:
    """Tries rates until the answer is as precise as wanted, or `over` says that the time is. At least one is tried."""
    best, failed, rate = 0.0, None, search.first
    while True:
        if passes(rate):
            best = rate
        else:
            failed = rate
        following = _next(best, failed, search)
        if following is None or over():
            return Found(best, failed, following is None)
        rate = following


def _next(best: float, failed: float | None, search: Search) -> float | None:
    """The next rate to try, None when nothing is left to learn."""
    if failed is None:
        return best * (1 + search.precision if search.linear else GROW)
    if not best:
        return failed / GROW if failed / GROW >= LEAST_RATE and not search.linear else None
    if search.linear or failed / best <= 1 + search.precision:
        return None
    return float((best * failed) ** 0.5)


def majority(passes: Callable[[], bool], of: int) -> bool:
    """Whether more than half of so many trials pass; no more are made than it takes to know."""
    passed = failed = 0
    while 2 * max(passed, failed) <= of and passed + failed < of:
        if passes():
            passed += 1
        else:
            failed += 1
    return 2 * passed > of


def fewest(tests: Iterable[tuple[int, Callable[[float], bool]]], rates: Iterable[float]) -> dict[float, int | None]:
    """By rate, ascending, the fewest workers with which it passes; None for none of them. tests: ever more workers, each with what tries a
    rate. What few do not sustain is tried with more, greater rates only once that passes; no more workers are asked for than it takes."""
    unmet = sorted(set(rates))
    answers: dict[float, int | None] = dict.fromkeys(unmet)
    for workers, passes in tests:
        while unmet and passes(unmet[0]):
            answers[unmet.pop(0)] = workers
        if not unmet:
            break
    return answers
