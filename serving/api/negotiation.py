"""What a client takes: its Accept and Accept-Encoding headers (RFC 9110 §12.5.1, §12.5.3), lists of ranges each of which has a weight q.
Of a type the narrowest range that it is in counts, and what has weight 0 is not taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

_WEIGHT: Final = re.compile(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII | re.IGNORECASE)


def best_type(accept: str, offered: Sequence[str]) -> str | None:
    """The one of these media types that is liked best, None when none is taken; where no range says anything, the first.

    Of those that are liked as much the one whose range is narrower, then the one whose range was written first, then the first one offered.
    """
    ranges = list(_weighted(accept))
    if not ranges:
        return offered[0]
    liked: list[tuple[float, int, int, str]] = []
    for kind in offered:
        widths = [kind, f"{kind.partition('/')[0]}/*", "*/*"]
        found = [(widths.index(name), place, weight) for place, (name, weight) in enumerate(ranges) if name in widths]
        if found and (nearest := min(found))[2] > 0:
            width, place, weight = nearest
            liked.append((weight, -width, -place, kind))
    return max(liked, key=lambda one: one[:3])[3] if liked else None


def takes_gzip(accept_encoding: str) -> bool:
    """Whether what is sent may be compressed so."""
    weights = dict(_weighted(accept_encoding))
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weighted(header: str) -> Iterator[tuple[str, float]]:
    """Each range without its parameters, and its weight: 1 unless it has one that can be read."""
    for part in header.split(","):
        name, *parameters = part.split(";")
        if name.strip():
            weights = (found.group(1) for parameter in parameters if (found := _WEIGHT.fullmatch(parameter.strip())))
            yield name.strip().lower(), float(next(weights, 1))
