"""The viewing event: its fields, their rules, and the strict decoder that defines what is valid.

Field names follow CMCD (CTA-5004-B: sid → session, sn → seq), quality terms CTA-2066. Every measure is an increment
since that session's previous event, so views add up without joins. The rules stand in docs/architecture.md; the fast
columnar decoder (topologies.decode) only accepts what this one accepts, and asks this one whenever it cannot tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Literal

import msgspec

SCHEMA_VERSION: Final = 1
MAX_EVENT_BYTES: Final = 65_536
MAX_BRACKETS: Final = 64
MAX_CHARACTERS: Final = 128
NULL: Final = -1
"""How an absent integer stands in a column; every range begins at 0."""

TYPES: Final = (
    "play_request",
    "play_start",
    "heartbeat",
    "pause",
    "resume",
    "seek",
    "stall",
    "rendition",
    "ad_start",
    "ad_end",
    "error",
    "finish",
    "stop",
)
TICK: Final = "tick"
TICK_VALUE: Final = b'{"v":1,"type":"tick"}'
KINDS: Final = ("film", "episode", "live")

Form = Literal["int", "str", "enum", "bool"]


@dataclass(frozen=True)
class Field:
    """One field: its JSON form, whether it must be there, its inclusive range (integers), its meaning."""

    name: str
    form: Form
    required: bool
    doc: str
    low: int = 0
    high: int = 0
    values: tuple[str, ...] = ()


DAY_MS: Final = 86_400_000
FIELDS: Final = (
    Field("v", "int", True, "schema version", 1, 1),
    Field("type", "enum", True, "what happened", values=TYPES),
    Field("session", "str", True, "playback session (CMCD sid)"),
    Field("seq", "int", True, "number of the event in its session, from 0 (CMCD sn)", 0, 2**31 - 1),
    Field("ts", "int", True, "event time on the player's clock, epoch ms", 0, 253_402_300_799_999),
    Field("account", "str", True, "who pays; also the record's key"),
    Field("profile", "str", True, "who watches"),
    Field("title", "str", True, "what is watched"),
    Field("region", "str", True, "where it is served from"),
    Field("device", "str", True, "kind of device"),
    Field("runtime_s", "int", False, "length of the title, s", 0, 1_000_000),
    Field("kind", "enum", False, "kind of title", values=KINDS),
    Field("country", "str", False, "country of the viewer"),
    Field("os", "str", False, "operating system"),
    Field("app", "str", False, "application and version"),
    Field("cdn", "str", False, "content delivery network"),
    Field("asn", "str", False, "the viewer's network"),
    Field("position_s", "int", False, "playhead, s", 0, 1_000_000),
    Field("watched_ms", "int", False, "played since the previous event, ms", 0, DAY_MS),
    Field("stall_ms", "int", False, "stalled since the previous event, ms", 0, DAY_MS),
    Field("stalls", "int", False, "stalls since the previous event", 0, 100_000),
    Field("startup_ms", "int", False, "request to first frame, ms", 0, DAY_MS),
    Field("bitrate_kbps", "int", False, "bitrate now, kbit/s", 0, 10_000_000),
    Field("dropped_frames", "int", False, "frames dropped since the previous event", 0, 100_000_000),
    Field("error_code", "str", False, "the player's error code"),
    Field("fatal", "bool", False, "whether the error ended the playback"),
)


class Tells(IntEnum):
    """What state of its session an event tells (docs/architecture.md, concurrents)."""

    NOTHING = -1
    STARTING = 0
    PLAYING = 1
    STALLED = 2
    PAUSED = 3
    ENDED = 4


STATE_OF_TYPE: Final[dict[str, Tells]] = {
    "play_request": Tells.STARTING,
    "play_start": Tells.PLAYING,
    "resume": Tells.PLAYING,
    "ad_start": Tells.PLAYING,
    "ad_end": Tells.PLAYING,
    "stall": Tells.STALLED,
    "pause": Tells.PAUSED,
    "finish": Tells.ENDED,
    "stop": Tells.ENDED,
}
"""Types that tell a state by themselves. An error does if it is fatal; heartbeat, seek and rendition by what was played or stalled."""


class Malformed(Exception):
    """The value is no valid event; `reason` is one of docs/architecture.md's table."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Event = dict[str, Any]


def decode_event(value: bytes | None) -> Event | None:
    """The known fields of one valid event, absent ones as None; None for a tick. Raises Malformed with the reason."""
    return check_event(_document(value))


def check_event(document: Mapping[str, Any]) -> Event | None:
    """The same of a document that has been read: a JSON object, or a row of an Arrow record with its null columns as None.

    A value that JSON's integers, booleans and strings do not have is of a wrong type, whatever it is.
    """
    version = document.get("v")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise Malformed("version")
    kind = document.get("type")
    if kind == TICK:
        return None
    if type(kind) is not str or kind not in TYPES:
        raise Malformed("type")
    event: Event = {"v": version, "type": kind}
    for field in FIELDS[2:]:
        event[field.name] = _checked(field, document.get(field.name))
    return event


def _document(value: bytes | None) -> dict[str, Any]:
    if not value:
        raise Malformed("empty")
    if len(value) > MAX_EVENT_BYTES:
        raise Malformed("too_big")
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError:
            raise Malformed("encoding") from None
    if value.count(b"{") + value.count(b"[") > MAX_BRACKETS:
        raise Malformed("not_json")
    try:
        document = msgspec.json.decode(value)
    except msgspec.ValidationError:
        document = _with_great_numbers(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Malformed("not_json") from None
    if type(document) is not dict:
        raise Malformed("not_object")
    return document


def _with_great_numbers(value: bytes) -> Any:
    """JSON with a number that no machine word holds, which msgspec refuses and RFC 8259 allows."""
    try:
        document = json.loads(value.decode(), parse_int=_bounded, parse_constant=_no_constant)
        # an unpaired surrogate counts even in a value that an equal key behind it replaces
        pairs = json.loads(value.decode(), parse_int=_bounded, object_pairs_hook=list)
        json.dumps(pairs, ensure_ascii=False).encode()
    except ValueError:  # JSONDecodeError, a constant, an unpaired surrogate
        raise Malformed("not_json") from None
    return document


def _bounded(digits: str) -> int:
    return int(digits[:30])


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _checked(field: Field, value: Any) -> Any:
    if value is None:
        if field.required:
            raise Malformed(f"missing:{field.name}")
        return None
    if field.form == "int":
        if type(value) is not int:
            raise Malformed(f"wrong_type:{field.name}")
        if not field.low <= value <= field.high:
            raise Malformed(f"out_of_range:{field.name}")
    elif field.form == "bool":
        if type(value) is not bool:
            raise Malformed(f"wrong_type:{field.name}")
    else:
        if type(value) is not str:
            raise Malformed(f"wrong_type:{field.name}")
        if field.form == "enum":
            if value not in field.values:
                raise Malformed(f"out_of_range:{field.name}")
        elif not 1 <= len(value) <= MAX_CHARACTERS or _has_control(value):
            raise Malformed(f"out_of_range:{field.name}")
    return value


def _has_control(text: str) -> bool:
    return any(character < " " or character == "\x7f" for character in text)
