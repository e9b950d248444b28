"""Forward decay (Cormode et al., ICDE 2009, §III): what an event counts for in a measure with a half-life."""

from __future__ import annotations

from typing import Final

DAY_MINUTES: Final = 1440
ONE: Final = 1 << 16
"""What an event at the beginning of a day counts for."""


def decay(half_life_s: int) -> list[int]:
    """What an event counts for in each minute of a day: 2^16 · 2^(minutes ÷ half-life), rounded."""
    return [round(ONE * 2 ** (minute * 60 / half_life_s)) for minute in range(DAY_MINUTES)]
