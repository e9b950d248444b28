"""How much each client may send: a token bucket a client, an event a token."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

CLIENTS: Final = 100_000
"""So many are remembered; one that is forgotten has all its tokens again, as the longest silent has anyway."""


class Buckets:
    """`rate` tokens a second each, `burst` at the most. A rate of 0 limits nothing. `now_s`: a clock that only goes forward."""

    def __init__(self, rate: float, burst: float, now_s: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._now_s = now_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, events: int) -> int:
        """Takes the tokens: 0. If there are none left, takes none and says after how many whole seconds there will be.

        A request goes through while there is a token, and what it takes beyond the last one is owed: so no request is too big for ever.
        """
        if not self._rate:
            return 0
        now = self._now_s()
        left, since = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        wait = math.ceil((1 - left) / self._rate) if left < 1 else 0
        self._left[client] = (left if wait else left - events, now)
        if len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return wait
