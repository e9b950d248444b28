"""Records that belong to no run, as (key, value): what a fault puts into the log. A function of its seed and of the time it is told.

Their accounts start with `stray`, which no run's tag does: a tag is hexadecimal.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, Final

from loadgen.faults import mangle

Record = tuple[bytes | None, bytes | None]
FLOOD: Final = (2_000, 5_000)
"""Records of a malformed flood, at least and at most."""
CROWD: Final = (10_000, 30_000)
"""Events of a crowd."""
PLAYERS: Final = (20, 60)
"""Players whose clocks step."""
STEPS_MS: Final = (
    2_000, 30_000, 58_000, 59_990, 60_010, 62_000, 600_000, 10_800_000, 86_400_000,
    -2_000, -59_000, -61_000, -600_000, -838_000, -842_000, -899_000, -901_000, -3_600_000, -86_400_000,
)  # fmt: skip
"""Steps ahead and back, many of them about where the rules say otherwise: 60 s ahead, 15 min behind a watermark 0 to 60 s behind."""
BIG_BYTES: Final = 65_536
KEYLESS_SHARE: Final = 0.1


def _event(account: str, seq: int, ts: int, type_: str, **more: Any) -> dict[str, Any]:
    return {
        "v": 1, "type": type_, "session": f"{account}-s", "seq": seq, "ts": ts, "account": account, "profile": "p0",
        "title": f"stray-{account[-1]}", "region": "nowhere", "device": "tv", **more,
    }  # fmt: skip


def _written(event: dict[str, Any]) -> Record:
    return event["account"].encode(), json.dumps(event, separators=(",", ":")).encode()


def garbage(seed: int, now_ms: int) -> Iterator[Record]:
    """Mangled events of every way that there is, and bytes that mean nothing; some of them without a key."""
    chance = random.Random(seed)
    for number in range(chance.randint(*FLOOD)):
        account = f"stray{seed}-{chance.randrange(200):03d}"
        key, value = _written(_event(account, number % 1_000, now_ms, "heartbeat", watched_ms=chance.randrange(10_000)))
        mangled: bytes | None
        if chance.random() < 0.2:
            mangled = chance.randbytes(chance.randrange(200))
        else:
            assert value is not None
            bits = chance.getrandbits(32)
            mangled = mangle(value, bits)[0]
            if mangled is not None and len(mangled) > BIG_BYTES + 1_000 and chance.random() < 0.9:  # a few of 2 MB are enough
                mangled = mangled[: BIG_BYTES + 1]
        yield (None if chance.random() < KEYLESS_SHARE else key), mangled


def stepping_clocks(seed: int, now_ms: int) -> Iterator[Record]:
    """Sessions that begin now, step to another time for some events, and are back after that."""
    chance = random.Random(seed)
    for player in range(chance.randint(*PLAYERS)):
        account = f"stray{seed}-c{player:03d}"
        yield _written(_event(account, 0, now_ms, "play_request"))
        yield _written(_event(account, 1, now_ms + 500, "play_start", startup_ms=500))
        seq = 2
        for step in chance.sample(STEPS_MS, 3):
            for beat in range(chance.randint(1, 3)):
                yield _written(_event(account, seq, now_ms + step + beat * 1_000, "heartbeat", watched_ms=1_000))
                seq += 1
            yield _written(_event(account, seq, now_ms + seq * 1_000, "heartbeat", watched_ms=1_000))
            seq += 1


def crowd(seed: int, now_ms: int) -> Iterator[Record]:
    """Viewers who all come at once and watch: valid events, many of them in one second."""
    chance = random.Random(seed)
    left = chance.randint(*CROWD)
    viewer = 0
    while left > 0:
        account = f"stray{seed}-v{viewer:05d}"
        beats = min(left, chance.randint(1, 20))
        for seq in range(beats):
            type_ = ("play_request", "play_start")[seq] if seq < 2 else "heartbeat"
            yield _written(_event(account, seq, now_ms + seq, type_, watched_ms=0 if seq < 2 else 1_000))
        left -= beats
        viewer += 1
