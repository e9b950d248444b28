"""The auditor's strict judge of one record: the rules of docs/architecture.md, written a second time.

It shares no code with the decoder: the standard library's json does the parsing, with its leniences shut off.
About 10 µs a record, so loadgen.audit_sql asks it only about records that SQL cannot be sure of.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

MAX_BYTES: Final = 65_536
MAX_BRACKETS: Final = 64
MAX_CHARACTERS: Final = 128
TYPES: Final = (
    *("play_request", "play_start", "heartbeat", "pause", "resume", "seek", "stall"),
    *("rendition", "ad_start", "ad_end", "error", "finish", "stop"),
)
KINDS: Final = ("film", "episode", "live")
REQUIRED_STRINGS: Final = ("session", "account", "profile", "title", "region", "device")
OPTIONAL_STRINGS: Final = ("country", "os", "app", "cdn", "asn", "error_code")
HIGHEST: Final = {
    "seq": 2**31 - 1,
    "ts": 253_402_300_799_999,
    "runtime_s": 1_000_000,
    "position_s": 1_000_000,
    "watched_ms": 86_400_000,
    "stall_ms": 86_400_000,
    "startup_ms": 86_400_000,
    "stalls": 100_000,
    "bitrate_kbps": 10_000_000,
    "dropped_frames": 100_000_000,
}
"""Greatest value of each integer field; the least is 0."""

REQUIRED: Final = ("session", "seq", "ts", "account", "profile", "title", "region", "device")
OPTIONAL: Final = (
    *("runtime_s", "kind", "country", "os", "app", "cdn", "asn", "position_s", "watched_ms", "stall_ms", "stalls"),
    *("startup_ms", "bitrate_kbps", "dropped_frames", "error_code", "fatal"),
)
"""All fields but `v` and `type`, in the order in which the first fault is the reason."""

_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_ABSURD: Final = 10**30


@dataclass(frozen=True)
class Verdict:
    """What a record is: `kind` event, tick or dead; `reason` of a dead one; the fields of an event."""

    kind: str
    reason: str | None = None
    fields: dict[str, Any] | None = None


class _DeadError(Exception):
    """Carries the reason out of the rules."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _NotAnInteger:
    """A number with a fraction or an exponent."""


def judge(value: bytes | None) -> Verdict:
    """The verdict on one record's value. Raises nothing, whatever the bytes."""
    try:
        return _judge(value)
    except _DeadError as dead:
        return Verdict("dead", dead.reason)


def judge_fields(fields: dict[str, Any]) -> Verdict:
    """The verdict on an Arrow record's row; a value that no column of the field holds is an object of no JSON type."""
    try:
        return _judge_fields(fields)
    except _DeadError as dead:
        return Verdict("dead", dead.reason)


def _judge(value: bytes | None) -> Verdict:
    document = _parse(_text(value))
    if type(document) is not dict:
        raise _DeadError("not_object")
    return _judge_fields(document)


def _judge_fields(document: dict[str, Any]) -> Verdict:
    if type(document.get("v")) is not int or document["v"] != 1:
        raise _DeadError("version")
    kind = document.get("type")
    if kind == "tick":
        return Verdict("tick")
    if kind not in TYPES:
        raise _DeadError("type")
    fields = {"type": kind}
    for name in REQUIRED:
        if document.get(name) is None:
            raise _DeadError(f"missing:{name}")
        fields[name] = _field(name, document[name])
    for name in OPTIONAL:
        found = document.get(name)
        fields[name] = None if found is None else _field(name, found)
    return Verdict("event", None, fields)


def _text(value: bytes | None) -> str:
    if value is None or len(value) == 0:
        raise _DeadError("empty")
    if len(value) > MAX_BYTES:
        raise _DeadError("too_big")
    try:
        return value.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise _DeadError("encoding") from None


def _parse(text: str) -> Any:
    if text.count("{") + text.count("[") > MAX_BRACKETS or _has_unpaired_surrogate(text):
        raise _DeadError("not_json")
    try:
        return json.loads(text, parse_int=_integer, parse_float=lambda _: _NotAnInteger(), parse_constant=_constant)
    except ValueError:
        raise _DeadError("not_json") from None


def _has_unpaired_surrogate(text: str) -> bool:
    """Whether a \\u escape of half a surrogate pair stands alone. In valid JSON a backslash only stands in strings."""
    high_ends_at = -1
    for escape in _ESCAPE.finditer(text):
        code = int(escape[1], 16) if escape[1] else 0
        if high_ends_at >= 0:
            if escape.start() != high_ends_at or not 0xDC00 <= code <= 0xDFFF:
                return True
            high_ends_at = -1
        elif 0xD800 <= code <= 0xDBFF:
            high_ends_at = escape.end()
        elif 0xDC00 <= code <= 0xDFFF:
            return True
    return high_ends_at >= 0


def _integer(digits: str) -> int:
    """Digits as an integer; past any range, one number stands for all (int() refuses more than 4,300 digits)."""
    if len(digits) > 30:
        return -_ABSURD if digits.startswith("-") else _ABSURD
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise ValueError(name)


def _field(name: str, found: Any) -> Any:
    if name in HIGHEST:
        if type(found) is not int:
            raise _DeadError(f"wrong_type:{name}")
        if not 0 <= found <= HIGHEST[name]:
            raise _DeadError(f"out_of_range:{name}")
    elif name == "fatal":
        if type(found) is not bool:
            raise _DeadError(f"wrong_type:{name}")
    elif type(found) is not str:
        raise _DeadError(f"wrong_type:{name}")
    elif name == "kind":
        if found not in KINDS:
            raise _DeadError(f"out_of_range:{name}")
    elif not 1 <= len(found) <= MAX_CHARACTERS or _CONTROL.search(found):
        raise _DeadError(f"out_of_range:{name}")
    return found
