"""Numbers on the command line."""

from __future__ import annotations

import math
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
