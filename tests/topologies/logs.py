"""Logs for tests: records, the blocks that the fold takes, and walks through everything that a log may hold."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from topologies.compiled import PADDING
from topologies.events import KINDS, TICK_VALUE
from topologies.fold import PartitionState, RecordBlock, Refused
from topologies.sources import Source
from topologies.view import ANY, HOUR, MINUTE, PLAYBACK_FAILURE, START_FAILURE, STORED_DAY, Extreme, Histogram, Measure, View

SOURCE: Final = Source("eu", "viewing-events", "AAAAAAAAAAAAAAAAAAAAAA", 3)
T0: Final = 1_760_000_000_000
BY_THREE: Final = View(
    name="by_three",
    summary="three dimensions, optional ones too",
    groupings=(("title", "region", "device"), ("cdn", "country"), ()),
    windows=(HOUR,),
    measures=(Measure("stalls", "stalls", sum_of="stalls"), Measure("errors", "errors", count_of="error")),
)
COUNTED: Final = View(
    name="counted",
    summary="every way to count, by four dimensions and a bin",
    groupings=(("cdn", "region", "device", "kind"), ("title",)),
    windows=(MINUTE, STORED_DAY),
    measures=(
        Measure("events", "events", count_of=ANY),
        Measure("decayed", "starts, decayed", count_of="play_start", half_life_s=7200),
        Measure("start_failures", "fatal before a first frame", count_of=START_FAILURE),
        Measure("playback_failures", "fatal after it", count_of=PLAYBACK_FAILURE),
        Measure("bits", "a product", sum_of="bitrate_kbps", times="watched_ms"),
    ),
    histograms=(
        Histogram("startup", "of one type", of="startup_ms", on="play_start"),
        Histogram("watched", "of any type", of="watched_ms"),
    ),
    extremes=(
        Extreme("least", "the least", keep="min", of="startup_ms"),
        Extreme("greatest", "the greatest", keep="max", of="bitrate_kbps"),
        Extreme("place", "the last", keep="last", of="position_s"),
    ),
)
EVENT: Final[dict[str, Any]] = {
    "v": 1,
    "type": "heartbeat",
    "session": "s",
    "seq": 0,
    "ts": T0,
    "account": "a",
    "profile": "p",
    "title": "t",
    "region": "r",
    "device": "d",
}


def examples(count: int) -> settings:
    """How many examples a property gets; the same ones each time where CI is set."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count, deadline=None, derandomize="CI" in os.environ, suppress_health_check=slow)


@dataclass(frozen=True)
class Record:
    """A record of a log: its timestamp and its value."""

    rts: int
    value: bytes | None


def event(rts: int, **fields: Any) -> Record:
    """A valid event, unless `fields` say otherwise."""
    return Record(rts, json.dumps({**EVENT, "ts": rts, **fields}, separators=(",", ":")).encode())


def tick(rts: int) -> Record:
    return Record(rts, TICK_VALUE)


def values_block(values: Sequence[bytes | None]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """buffer, starts and ends of these values, end to end, as fetched ones stand."""
    sizes = np.array([len(value or b"") for value in values], dtype=np.int64)
    ends = np.cumsum(sizes, dtype=np.int64)
    absent = np.array([value is None for value in values], dtype=np.bool_)
    buffer = np.frombuffer(b"".join(value or b"" for value in values) + bytes(PADDING), dtype=np.uint8)
    return buffer, np.where(absent, -1, ends - sizes), np.where(absent, -1, ends)


def block(records: Sequence[Record], first_offset: int) -> RecordBlock:
    buffer, starts, ends = values_block([record.value for record in records])
    offsets = np.arange(first_offset, first_offset + len(records), dtype=np.int64)
    times = np.array([record.rts for record in records], dtype=np.int64)
    keys = np.full(len(records), -1, dtype=np.int64)
    return RecordBlock(buffer, starts, ends, keys, keys, offsets, times, first_offset, first_offset + len(records))


def apply(state: PartitionState, records: Sequence[Record]) -> list[Refused]:
    """Fold these in, as one block."""
    return state.apply(block(records, state.offset))


def folded(views: Sequence[View], records: Sequence[Record], cuts: Iterable[int] = ()) -> PartitionState:
    """The state after these records, cut into blocks at `cuts`."""
    state = PartitionState(SOURCE, views)
    bounds = sorted({0, len(records), *(cut for cut in cuts if cut <= len(records))})
    for low, high in itertools.pairwise(bounds):
        apply(state, records[low:high])
    return state


# What a walk chooses from: the edges of every rule of admission and of being live.
RTS_STEPS: Final = (
    0, 0, 1, 400, 400, 999, 1000, 3000, 3000, 10_000, 29_999, 30_000, 30_001, 59_999, 60_000, 60_001, -1, -500, -30_000, -61_000,
    127_000, 128_000, 157_000, 158_000, 300_000, 600_000, 600_001, 660_000, 660_001, 905_000, 960_001, 3_600_000,
)  # fmt: skip
COMMON_RTS_STEPS: Final = (0, 1, 400, 999, 3000, 10_000)
TS_STEPS: Final = (
    0, 0, 0, 0, -1, -100, -5000, -30_000, -59_999, -60_000, -60_001, 59_999, 60_000, 60_001, 4_000_000, -839_999, -840_000, -840_001,
    -899_999, -900_000, -900_001, -959_999, -960_000, -960_001, -4_000_000, -600_000, -600_001,
)  # fmt: skip
SEQ_STEPS: Final = (
    1, 1, 1, 1, 1, 1, 2, 3, 5, 32, 62, 63, 64, 65, 66, 127, 128, 129, 500, 9_999, 10_000, 10_001, 0, 0, -1, -1, -2, -3, -31, -62, -63,
    -64, -65, -66, -100, -128, -500,
)  # fmt: skip
TYPES_WALKED: Final = (
    "heartbeat", "heartbeat", "heartbeat", "play_request", "play_start", "pause", "resume", "seek", "stall", "rendition", "ad_start",
    "ad_end", "error", "finish", "stop",
)  # fmt: skip
BROKEN: Final = (None, b"", b"{", b'{"v":2,"type":"tick"}', b"\xff", b"[]", b'{"v":1,"type":"heartbeat"}')


@dataclass(frozen=True)
class Step:
    """One choice of a walk, relative to where the walk is."""

    rts: int
    kind: str = "event"
    """event, tick or broken."""
    who: int = 0
    """Session and account."""
    seq: int = 1
    ts: int = 0
    type: str = "heartbeat"
    amount: int = 0
    where: int = 0
    """Title, region and device."""


def walked(steps: Iterable[Step], start: int = T0) -> list[Record]:
    """The records of these steps. A session's seq goes on from the greatest that it has been given."""
    records: list[Record] = []
    rts = start
    highest: dict[int, int] = {}
    for step in steps:
        rts = max(0, rts + step.rts)
        if step.kind == "tick":
            records.append(tick(rts))
        elif step.kind == "broken":
            records.append(Record(rts, BROKEN[step.amount % len(BROKEN)]))
        else:
            seq = max(0, highest.get(step.who, 0) + step.seq)
            if step.seq <= 5_000:
                highest[step.who] = max(seq, highest.get(step.who, 0))
            records.append(_event_of(step, rts, seq))
    return records


def _event_of(step: Step, rts: int, seq: int) -> Record:
    fields: dict[str, Any] = {
        "type": step.type,
        "session": f"s{step.who}",
        "account": f"a{step.who % 2}",
        "seq": seq,
        "ts": max(0, rts + step.ts),
        "title": f"t{step.where % 3}" if step.where % 7 else "Über 片",
        "region": f"r{step.where // 3 % 2}",
        "device": "tv" if step.where < 9 else "phone",
        "fatal": step.amount % 2 == 0,
    }
    if step.amount % 3:
        fields |= {"watched_ms": step.amount * 950, "stalls": step.amount, "position_s": seq * step.amount % 29}
    if step.amount % 4 == 0:
        fields |= {"stall_ms": step.amount * 10, "cdn": f"c{step.amount}", "kind": KINDS[step.who % 3]}
    if step.amount % 5:
        fields |= {"runtime_s": (0, 4, 10, 20)[(step.amount + step.where) % 4], "startup_ms": step.amount**4, "bitrate_kbps": step.where}
    return event(rts, **fields)


def random_steps(seed: int, count: int, sessions: int = 6, places: int = 12) -> list[Step]:
    """A walk that stays long enough in each neighbourhood to reach deep states, and jumps now and then."""
    draw = random.Random(seed)
    calm = draw.choice((0.5, 0.9, 0.98))
    steps: list[Step] = []
    for _ in range(count):
        rts = draw.choice(COMMON_RTS_STEPS if draw.random() < calm else RTS_STEPS)
        kind = draw.choices(("event", "tick", "broken"), (30, 2, 1))[0]
        seq = 1 if draw.random() < 0.4 else draw.choice(SEQ_STEPS)
        ts = 0 if draw.random() < calm else draw.choice(TS_STEPS)
        who, where, amount = draw.randrange(sessions), draw.randrange(places), draw.randrange(14)
        steps.append(Step(rts, kind, who, seq, ts, draw.choice(TYPES_WALKED), amount, where))
    return steps
