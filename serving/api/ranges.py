"""Parts of an answer's bytes (RFC 9110 §14), for readers that ask how long it is and then for one part after the other, as polars does.

A live answer is another one a moment later, so what HEAD or the first part was taken from is kept for KEPT_S behind its last use.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

KEPT_S: Final = 10.0
MOST_BYTES: Final = 64 << 20
_ONE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class Rendered:
    """An answer as it goes over the wire."""

    body: bytes
    media_type: str
    headers: dict[str, str]


class Renderings:
    """Those that are asked for in parts, by what was asked; the oldest go when together they are greater than MOST_BYTES."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[object, tuple[float, Rendered]] = OrderedDict()

    def get(self, key: object) -> Rendered | None:
        """What was kept under that key, which it is for a while longer."""
        until_s, rendered = self._kept.get(key, (0.0, None))
        if rendered is None or self._clock() >= until_s:
            return None
        self.keep(key, rendered)
        return rendered

    def keep(self, key: object, rendered: Rendered) -> None:
        """From now on the parts asked for under that key are of this one."""
        now_s = self._clock()
        self._kept[key] = now_s + KEPT_S, rendered
        self._kept.move_to_end(key)
        over = sum(len(held.body) for _, held in self._kept.values()) - MOST_BYTES
        while len(self._kept) > 1:
            oldest, (until_s, held) = next(iter(self._kept.items()))
            if over <= 0 and now_s < until_s:
                return
            over -= len(held.body)
            del self._kept[oldest]


def span_of(asked: str | None, length: int) -> tuple[int, int] | None:
    """First byte and end (exclusive) of a Range header's one span; None where there is none, or several: then all is sent. Empty, (length,
    length), when it can be met by no byte."""
    found = _ONE.fullmatch(asked.strip().lower()) if asked else None
    if found is None or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return max(0, length - int(last)), length
    if last and int(last) < int(first):
        return None
    end = min(length, int(last) + 1) if last else length
    return (int(first), end) if int(first) < length else (length, length)
