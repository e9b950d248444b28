"""Crowds for tests of distinct counts: events of many viewers, and the sketches of sets of values."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import mmh3
import numpy as np

from tests.topologies.logs import EVENT, T0, Record, event
from topologies.sketches import HIGHEST_RANK, REGISTERS, Coupons
from topologies.view import HOUR


def sketch_of(values: Iterable[str]) -> Coupons:
    """By mmh3, a dictionary and a loop."""
    ranks: dict[int, int] = {}
    for value in values:
        hashed, _ = mmh3.hash64(value.encode(), 0, signed=False)
        rest = hashed >> 14
        rank = next((zeros + 1 for zeros in range(50) if rest >> zeros & 1), HIGHEST_RANK)
        register = hashed % REGISTERS
        ranks[register] = max(ranks.get(register, 0), rank)
    return np.array(sorted(register << 6 | rank for register, rank in ranks.items()), dtype=np.uint32)


def crowd(seed: int, count: int, viewers: int) -> list[dict[str, Any]]:
    """Events of different sessions, of fewer accounts with two profiles each, in two titles and regions; an hour ends within them."""
    draw = random.Random(seed)
    start = T0 - T0 % HOUR.length_ms + HOUR.length_ms - 400_000
    return [
        {
            **EVENT, "ts": start + at * 800_000 // count, "session": f"s{at}", "account": f"a{draw.randrange(viewers)}",
            "profile": f"p{draw.randrange(2)}", "title": f"t{min(draw.randrange(9), 1)}", "region": f"r{draw.randrange(2)}",
            **({"cdn": "c"} if draw.random() < 0.5 else {}),
        }
        for at in range(count)
    ]  # fmt: skip


def records(events: Iterable[dict[str, Any]]) -> list[Record]:
    """Each as it arrives, at once."""
    return [event(fields["ts"], **fields) for fields in events]
