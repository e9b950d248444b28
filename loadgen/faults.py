"""Breaking events on purpose: which, how often, and how a valid one is made malformed.

Which events are broken is decided by their identity (loadgen.audience); here is what `--faults` says, and the mangling.
Each way of mangling gives exactly one reason of the strict rules (docs/architecture.md "Event validity").
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.errors import UsageError

KINDS: Final = ("duplicates", "late", "malformed", "out-of-order")
DEFAULT_RATES: Final = {"duplicates": 0.005, "late": 0.001, "malformed": 0.001, "out-of-order": 0.01}
"""Shares of the events: loadmodel.md's duplicates and late ones (E); the others E."""
YEAR_2100_MS: Final = 4_102_444_800_000
SEQ_JUMP: Final = 20_000
TOO_BIG: Final = 65_537
HUGE: Final = 2_000_000

REQUIRED: Final = ("session", "seq", "ts", "account", "profile", "title", "region", "device")
INTEGERS: Final = (
    "seq", "ts", "runtime_s", "position_s", "watched_ms", "stall_ms", "stalls", "startup_ms", "bitrate_kbps", "dropped_frames",
)  # fmt: skip
TEXTS: Final = ("session", "account", "profile", "title", "region", "device", "kind", "country", "os", "app", "cdn", "asn", "error_code")
GREATEST: Final = {
    "seq": 2**31 - 1, "ts": 253_402_300_799_999, "runtime_s": 1_000_000, "position_s": 1_000_000, "watched_ms": 86_400_000,
    "stall_ms": 86_400_000, "stalls": 100_000, "startup_ms": 86_400_000, "bitrate_kbps": 10_000_000, "dropped_frames": 100_000_000,
}  # fmt: skip


@dataclass(frozen=True)
class Faults:
    """Shares of the events that are broken, by kind."""

    duplicates: float = 0.0
    late: float = 0.0
    malformed: float = 0.0
    out_of_order: float = 0.0

    def limits(self) -> NDArray[np.float64]:
        """Cumulative shares in the order duplicates, late, malformed, out of order."""
        return np.cumsum([self.duplicates, self.late, self.malformed, self.out_of_order])


def parse_faults(text: str) -> Faults:
    """`duplicates,late=0.01,…` as Faults. UsageError for an unknown kind, a rate outside 0..1, or shares of more than 1 together."""
    rates: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        kind, _, rate = item.partition("=")
        if kind not in KINDS:
            raise UsageError(f"--faults knows no {kind!r}; choose from {', '.join(KINDS)}, each with =RATE if wanted")
        if kind in rates:
            raise UsageError(f"--faults names {kind} twice")
        try:
            rates[kind] = float(rate) if rate else DEFAULT_RATES[kind]
        except ValueError:
            raise UsageError(f"--faults {item}: the rate must be a number between 0 and 1") from None
        if not 0 <= rates[kind] <= 1:
            raise UsageError(f"--faults {item}: the rate must be a number between 0 and 1")
    if sum(rates.values()) > 1:
        raise UsageError("--faults: the rates must not add up to more than 1")
    return Faults(rates.get("duplicates", 0.0), rates.get("late", 0.0), rates.get("malformed", 0.0), rates.get("out-of-order", 0.0))


Mangled = tuple[bytes | None, str]


def mangle(value: bytes, chance: int) -> Mangled:
    """A malformed record made of a valid event, and the reason that it must be dead for. `chance`: 32 random bits, which decide."""
    ways = _WAYS
    return ways[chance % len(ways)](value, chance // len(ways))


def _changed(value: bytes, **fields: Any) -> bytes:
    return json.dumps(json.loads(value) | fields, separators=(",", ":")).encode()


def _without(value: bytes, name: str) -> bytes:
    event = json.loads(value)
    del event[name]
    return json.dumps(event, separators=(",", ":")).encode()


def _empty(_: bytes, chance: int) -> Mangled:
    return (None if chance % 2 else b""), "empty"


def _too_big(value: bytes, chance: int) -> Mangled:
    size = HUGE if chance % 20 == 0 else TOO_BIG
    return value[:-1] + b',"pad":"' + b"x" * size + b'"}', "too_big"


def _encoding(value: bytes, chance: int) -> Mangled:
    bad = (b"\xff", b"\xc3\x28", b"\xed\xa0\x80")[chance % 3]
    return value.replace(b'"title":"', b'"title":"' + bad), "encoding"


def _not_json(value: bytes, chance: int) -> Mangled:
    broken = (
        value[:-1],
        value + b"\n" + value,
        b"\xef\xbb\xbf" + value,
        value[:-1] + b',"x":NaN}',
        value[:-1] + b',"x":"\\ud800"}',
        value[:-1] + b',"x":' + b"[" * 65 + b"]" * 65 + b"}",
        b"\x00" * 16,
        value.replace(b'"', b"'"),
    )
    return broken[chance % len(broken)], "not_json"


def _not_object(value: bytes, chance: int) -> Mangled:
    return (b"[" + value + b"]", b'"heartbeat"', b"42", b"null", b"true")[chance % 5], "not_object"


def _version(value: bytes, chance: int) -> Mangled:
    wrong = (2, 0, "1", None, True, 1.0)[chance % 6]
    return _changed(value, v=wrong), "version"


def _type(value: bytes, chance: int) -> Mangled:
    return (_without(value, "type") if chance % 4 == 0 else _changed(value, type=(7, "rewind", None)[chance % 3])), "type"


def _missing(value: bytes, chance: int) -> Mangled:
    name = REQUIRED[chance % len(REQUIRED)]
    return (_without(value, name) if chance // 8 % 2 else _changed(value, **{name: None})), f"missing:{name}"


def _wrong_type(value: bytes, chance: int) -> Mangled:
    name = (*INTEGERS, *TEXTS, "fatal")[chance % 24]
    wrong: Any = ("12", 1.5, True, [1], 1e3)[chance // 24 % 5]
    if name in TEXTS:
        wrong = (12, True, {}, ["a"], 1.5)[chance // 24 % 5]
    elif name == "fatal":
        wrong = ("true", 1, 0)[chance // 24 % 3]
    return _changed(value, **{name: wrong}), f"wrong_type:{name}"


def _out_of_range(value: bytes, chance: int) -> Mangled:
    name = (*INTEGERS, *TEXTS)[chance % 23]
    wrong: Any
    if name in TEXTS:
        wrong = ("", "x" * 129, "a\x00b", "a\x7fb")[chance // 23 % 4]
    else:
        wrong = (-1, GREATEST[name] + 1, -(10**30), 10**30)[chance // 23 % 4]
    return _changed(value, **{name: wrong}), f"out_of_range:{name}"


def _ahead(value: bytes, chance: int) -> Mangled:
    return _changed(value, ts=YEAR_2100_MS + chance % 1000), "ahead"


def _seq_jump(value: bytes, chance: int) -> Mangled:
    """Only where a session is surely known already; else the event is one ahead of time."""
    seq = json.loads(value)["seq"]
    return (_changed(value, seq=seq + SEQ_JUMP), "seq_jump") if seq >= 8 else _ahead(value, chance)


_WAYS: Final[tuple[Callable[[bytes, int], Mangled], ...]] = (
    _empty, _too_big, _encoding, _not_json, _not_object, _version, _type, _missing, _wrong_type, _out_of_range, _ahead, _seq_jump,
)  # fmt: skip
