"""When what ended on its own is started again: at once, and then, as long as it does not last, later each time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FIRST_S: Final = 1.0
MOST_S: Final = 60.0
LASTS_S: Final = 60.0
"""What has run so long since it was started again has come to stay: should it end after that, it is started at once."""


@dataclass
class _Tries:
    """Of one name. ended: the process whose end was seen last; due_s: when another takes its place, None when one was started."""

    ended: object = None
    begun_s: float = float("-inf")
    due_s: float | None = None
    in_vain: int = 0


class BackOff:
    """Of processes by their names: at once, then after FIRST_S, then twice as long each time, MOST_S at the most. It gives nobody up. One
    thread."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._of: dict[str, _Tries] = {}

    def ended(self, name: str, process: object) -> float | None:
        """How long nobody takes the place of this process, seconds, when it is first said to have ended; None when that was known."""
        tries = self._of.setdefault(name, _Tries())
        if tries.ended == process and tries.due_s is not None:
            return None
        now_s = self._clock_s()
        tries.in_vain = 0 if now_s - tries.begun_s >= LASTS_S else tries.in_vain + 1
        wait_s = min(MOST_S, FIRST_S * 2 ** (tries.in_vain - 1)) if tries.in_vain else 0.0
        tries.ended, tries.due_s = process, now_s + wait_s
        return wait_s

    def begins(self, name: str) -> bool:
        """Whether it is time to start it; then that counts as done, and when it did not succeed, the process is to be said to have ended
        once more."""
        tries = self._of[name]
        if tries.due_s is None or self._clock_s() < tries.due_s:
            return False
        tries.begun_s, tries.due_s = self._clock_s(), None
        return True
