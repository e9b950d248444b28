"""Numbers on the command line."""

from __future__ import annotations

import math
import re
from typing import Any, Final

import click

MOST: Final = 1_000
"""The greatest end of a Span."""


class FiniteRange(click.FloatRange):
    """A number within bounds, and a number: click's own lets NaN through, and infinity where there is no bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is no number to count with", param, ctx)
        return found


class Span(click.ParamType):
    """A least and a greatest whole number, `A..B`, from 1."""

    name = "A..B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        least, dots, most = str(value).partition("..")
        if not (dots and least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most) <= MOST):
            self.fail(f"{value!r} is not A..B with 1 ≤ A ≤ B ≤ {MOST:,}", param, ctx)
        return int(least), int(most)


class CountRange(click.ParamType):
    """Counts from A to B, `A..B` or one number, as a range; within bounds."""

    name = "count range"

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        found = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", str(value).strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not self._least <= first <= last <= self._most:
            self.fail(f"{value!r} is no range of counts from {self._least} to {self._most}; write 2 or 1..4", param, ctx)
        return range(first, last + 1)


class Rates(click.ParamType):
    """Rates, more than 0, with commas between them."""

    name = "rates"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        one = FiniteRange(min=0, min_open=True)
        return tuple(one.convert(part, param, ctx) for part in str(value).split(","))
