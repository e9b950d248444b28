"""Durations on the command line: 90, 90s, 15m, 24h, 7d."""

from __future__ import annotations

import re
from typing import Any, Final

import click

UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType):
    """Seconds, from a positive number with an optional unit s, m, h or d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value).strip())
        seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
        if seconds <= 0:
            self.fail(f"{value!r} is no duration; write 90, 90s, 15m, 24h or 7d", param, ctx)
        return seconds


DURATION: Final = Duration()
