"""Breaking events on purpose: which, how often, and how a valid one is made malformed.

Which events are broken is decided by their identity (loadgen.breaking); here is what `--faults` says, and the mangling.
Each way of mangling gives exactly one reason of the strict rules (docs/architecture.md "Event validity").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.rows import (
    AGAIN,
    AHEAD,
    BEHIND,
    BURST,
    DAYS,
    DELAYED,
    FAR,
    FAULTS,
    HOURS,
    LOST,
    MALFORMED,
    MINUTES,
    MOVED,
    NEAR,
    SKEWED,
    VERSION,
)  # fmt: skip
from topologies.errors import UsageError

Ways = dict[str, int]
"""The ways in which a kind of fault befalls, by name, as codes of loadgen.rows."""
WAYS: Final[dict[str, Ways]] = {
    "duplicates": {"near": NEAR, "far": FAR, "batch": AGAIN},
    "late": {"minutes": MINUTES, "hours": HOURS, "days": DAYS},
    "malformed": {"": MALFORMED},
    "out-of-order": {"": DELAYED},
    "version": {"": VERSION},
    "skew": {"": SKEWED},
    "clocks-behind": {"": BEHIND},
    "clocks-ahead": {"ahead": AHEAD},
    "bursts": {"": BURST},
    "key-changes": {"": MOVED},
    "lost-stops": {"": LOST},
}
KINDS: Final = tuple(WAYS)
DEFAULT_RATES: Final = {
    "duplicates": 0.005, "late": 0.001, "malformed": 0.001, "out-of-order": 0.01, "version": 0.0005, "skew": 0.02,
    "clocks-behind": 0.002, "clocks-ahead": 0.001, "bursts": 0.005, "key-changes": 0.005, "lost-stops": 0.02,
}  # fmt: skip
"""Shares of the events; of the players for skew, clocks-behind, clocks-ahead and key-changes; of half a minute of a viewer for bursts and
duplicates in batches; of the ends of sessions for lost-stops. loadmodel.md's are duplicates and late ones (E); the others E."""
CLASSES: Final = {
    "duplicates": "duplicate", "late": "late", "clocks-behind": "late", "malformed": "dead", "version": "dead", "clocks-ahead": "dead",
}  # fmt: skip
"""What becomes of an event that is broken so; the others are applied, and what is lost is nothing."""
LOST_STOPS: Final = "lost-stops"
KIND_AND_WAY: Final = {code: (kind, way) for kind, ways in WAYS.items() for way, code in ways.items()}
_ALONE: Final = (NEAR, FAR, MINUTES, HOURS, DAYS, MALFORMED, VERSION, DELAYED)
_TOGETHER: Final = (_ALONE, (AGAIN, BURST), (SKEWED, BEHIND, AHEAD))
"""Faults of which an event, half a minute of a viewer or a player has one at the most."""
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
    """What is broken: how often, by the fault's code."""

    rates: Mapping[int, float] = field(default_factory=dict)

    def limits(self) -> NDArray[np.float64]:
        """f8[2, FAULTS] by code: cumulative over those that befall an event by itself, and each one's own."""
        own = np.array([self.rates.get(code, 0.0) for code in range(FAULTS)])
        alone = np.isin(np.arange(FAULTS), _ALONE)
        return np.stack([np.cumsum(np.where(alone, own, 0.0)), own])


def parse_faults(text: str) -> Faults:
    """`duplicates,late=0.01,late:days=0.001,…` or `all` as Faults.

    A kind's rate is divided evenly among its ways. UsageError for an unknown kind or way, one that is named twice, a rate outside 0..1, or
    shares of more than 1 together.
    """
    rates: dict[int, float] = {}
    items = [part.strip() for part in text.split(",") if part.strip()]
    for item in KINDS if items == ["all"] else items:
        name, _, told = item.partition("=")
        kind, _, way = name.partition(":")
        codes = _codes(kind, way)
        if rates.keys() & set(codes):
            raise UsageError(f"--faults names {kind} twice")
        for code in codes:
            rates[code] = _rate(item, told, kind) / len(codes)
    if any(sum(rates.get(code, 0.0) for code in codes) > 1 for codes in _TOGETHER):
        raise UsageError("--faults: the rates must not add up to more than 1")
    return Faults(rates)


def _codes(kind: str, way: str) -> list[int]:
    if kind not in WAYS:
        raise UsageError(f"--faults knows no {kind!r}; choose from {', '.join(KINDS)}, each with =RATE if wanted, or all")
    if way and way not in WAYS[kind]:
        ways = ", ".join(f"{kind}:{name}" for name in WAYS[kind] if name) or f"no ways of {kind}"
        raise UsageError(f"--faults knows no {kind}:{way}; there are {ways}")
    return [WAYS[kind][way]] if way else list(WAYS[kind].values())


def _rate(item: str, told: str, kind: str) -> float:
    try:
        rate = float(told) if told else DEFAULT_RATES[kind]
    except ValueError:
        raise UsageError(f"--faults {item}: the rate must be a number between 0 and 1") from None
    if not 0 <= rate <= 1:
        raise UsageError(f"--faults {item}: the rate must be a number between 0 and 1")
    return rate


Mangled = tuple[bytes | None, str]


def mangle(value: bytes, chance: int) -> Mangled:
    """A malformed record made of a valid event, and the reason that it must be dead for. `chance`: 32 random bits, which decide."""
    ways = _WAYS
    return ways[chance % len(ways)](value, chance // len(ways))


def misversion(value: bytes, chance: int) -> Mangled:
    """A valid event as one of a schema version that is not known."""
    return _version(value, chance)


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
