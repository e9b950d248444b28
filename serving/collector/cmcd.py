"""CMCD version 2 event-mode reports (CTA-5004-B) as events: a line a report, each a structured-field dictionary (RFC 8941).

What a report becomes is a function of that report and of what the request says of all of them, of nothing else: sent again, it becomes the
same event. docs/collector.md has the table, what is derived, and what CMCD cannot tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from topologies.events import FIELDS, SCHEMA_VERSION

VERSION: Final = 2
PREFIX: Final = "marquee-"
"""Custom keys that begin so give a field of the event as it is: `marquee-watched-ms=10000`."""
GIVEN: Final = ("account", "profile", "title", "region", "device", "runtime_s", "kind", "country", "os", "app", "cdn", "asn")
"""What a request may say of all its reports, by query parameters or headers."""
_INTEGERS: Final = frozenset(field.name for field in FIELDS if field.form == "int")
_CUSTOM: Final = {PREFIX + field.name.replace("_", "-"): field.name for field in FIELDS[5:]}

STATES: Final = {
    "s": "play_request",
    "p": "resume",
    "k": "seek",
    "r": "stall",
    "a": "pause",
    "w": "pause",
    "e": "finish",
    "f": "error",
    "q": "stop",
}
"""What a change (e=ps) to each state (sta) is. Preloading (d) is no playback yet."""
PRELOADING: Final = "d"
EVENTS: Final = {
    "e": "error",
    "as": "ad_start",
    "ae": "ad_end",
    "bc": "rendition",
} | dict.fromkeys(("t", "c", "b", "m", "um", "pe", "pc", "pr", "h", "rr", "sk", "abs", "abe", "ce"), "heartbeat")  # fmt: skip
"""What the other events (e) are; a heartbeat says no more than that the player is alive, and where."""
_STARTS: Final = frozenset({"resume", "heartbeat", "rendition"})
"""A report of these that bears msd, which is told once a session, is the play_start."""

_KEY: Final = re.compile(r"[ \t]*([a-z*][a-z0-9_.*-]*)")
_BARE: Final = re.compile(
    r"""(?P<text>"(?:[^"\\\x00-\x1f\x7f]|\\["\\])*")|(?P<number>-?\d{1,15}(?:\.\d{1,3})?)(?![\d.])|\?(?P<truth>[01])|(?P<token>[A-Za-z*][!#$%&'*+.^_`|~:/A-Za-z0-9-]*)"""
)
_ESCAPED: Final = re.compile(r"\\(.)")
_END: Final = re.compile(r"[ \t]*(?:,(?=[ \t]*[a-z*])|$)")
_SPACES: Final = re.compile(r" *")

Bare = str | int | float | bool


@dataclass(frozen=True)
class Item:
    """A bare item with the names of its parameters."""

    value: Bare
    parameters: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Given:
    """What the request says of all its reports: text by field, of GIVEN."""

    fields: Mapping[str, str]


class NotStructured(ValueError):
    """The line is no structured-field dictionary."""


def read_reports(body: bytes, given: Given) -> Iterator[bytes | str | None]:
    """Of each line that is not blank: the event as JSON, which may not be a valid one; the reason why it can be none; None: it says nothing
    about a playback."""
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            report = parse_dictionary(line.decode().strip())
        except UnicodeDecodeError:
            yield "encoding"
        except NotStructured:
            yield "not_cmcd"
        else:
            yield _event_of(report, given)


def _event_of(report: Mapping[str, list[Item]], given: Given) -> bytes | str | None:
    first = {key: items[0].value for key, items in report.items() if items}
    if first.get("v") != VERSION:
        return "version"
    if first.get("sta") == PRELOADING:
        return None
    kind = _type_of(first)
    if kind is None:
        return "type"
    event: dict[str, Any] = {"v": SCHEMA_VERSION, "type": kind}
    for name, key in (("session", "sid"), ("seq", "sn"), ("ts", "ts"), ("title", "cid"), ("cdn", "cdn")):
        if key in first:
            event[name] = first[key]
    event |= _measures(kind, report, first)
    for name, text in given.fields.items():
        if name not in event:
            event[name] = int(text) if name in _INTEGERS and re.fullmatch(r"\d{1,18}", text) else text
    for key, name in _CUSTOM.items():
        if key in first:
            event[name] = first[key]
    return msgspec.json.encode(event)


def _type_of(first: Mapping[str, Bare]) -> str | None:
    event, state = str(first.get("e", "")), str(first.get("sta", ""))
    kind = STATES.get(state) if event == "ps" else EVENTS.get(event)
    return "play_start" if kind in _STARTS and "msd" in first else kind


def _measures(kind: str, report: Mapping[str, list[Item]], first: Mapping[str, Bare]) -> dict[str, Any]:
    """What is measured, as far as it is an increment or of the moment: CMCD's counts since the session began are neither."""
    found: dict[str, Any] = {}
    if "pt" in first:
        position = first["pt"]
        found["position_s"] = position // 1000 if type(position) is int else position
    if kind == "play_start":
        found["startup_ms"] = first["msd"]
    if kind == "stall":
        found["stalls"] = 1
    if "bsd" in report:
        found["stall_ms"] = _of_video(report["bsd"])
    bitrate = report.get("pb") or report.get("br")
    if bitrate:
        found["bitrate_kbps"] = _of_video(bitrate)
    if kind == "error":
        found["fatal"] = first.get("e") == "ps"
        if "ec" in first:
            found["error_code"] = str(first["ec"])
    if first.get("st") in ("l", "ll"):
        found["kind"] = "live"
    return found


def _of_video(items: list[Item]) -> Bare:
    """The value that is said of video, or of audio and video together, or that stands first: `(5000;v 128;a)`."""
    for name in ("v", "av"):
        for item in items:
            if name in item.parameters:
                return item.value
    return items[0].value


# -- Structured fields ----------------------------------------------------------------------------------------------


def parse_dictionary(line: str) -> dict[str, list[Item]]:
    """A dictionary's members, each as the items of its inner list, or as a list of its one item. Of equal keys the last counts.

    Raises NotStructured. Texts may have any character that is no control, where RFC 8941 has ASCII alone.
    """
    members: dict[str, list[Item]] = {}
    at = 0
    while True:
        key = _KEY.match(line, at)
        if key is None:
            raise NotStructured(f"a key was expected at {at}")
        at = key.end()
        items, at = _member(line, at + 1) if line[at : at + 1] == "=" else ([Item(True)], _parameters(line, at)[1])
        members[key.group(1)] = items
        end = _END.match(line, at)
        if end is None:
            raise NotStructured(f"a comma was expected at {at}")
        at = end.end()
        if at == len(line):
            return members


def _member(line: str, at: int) -> tuple[list[Item], int]:
    if line[at : at + 1] != "(":
        item, at = _item(line, at)
        return [item], at
    items: list[Item] = []
    at = _spaces(line, at + 1)
    while line[at : at + 1] != ")":
        item, after = _item(line, at)
        items.append(item)
        at = _spaces(line, after)
        if at == after and line[at : at + 1] != ")":
            raise NotStructured(f"the list does not end at {at}")
    return items, _parameters(line, at + 1)[1]


def _item(line: str, at: int) -> tuple[Item, int]:
    value, at = _bare(line, at)
    names, at = _parameters(line, at)
    return Item(value, names), at


def _bare(line: str, at: int) -> tuple[Bare, int]:
    found = _BARE.match(line, at)
    if found is None:
        raise NotStructured(f"a value was expected at {at}")
    kind, text = str(found.lastgroup), found.group(str(found.lastgroup))
    if kind == "text":
        return _ESCAPED.sub(r"\1", text[1:-1]), found.end()
    if kind == "number":
        return float(text) if "." in text else int(text), found.end()
    return (text == "1" if kind == "truth" else text), found.end()


def _parameters(line: str, at: int) -> tuple[frozenset[str], int]:
    names: set[str] = set()
    while line[at : at + 1] == ";":
        key = _KEY.match(line, at + 1)
        if key is None:
            raise NotStructured(f"a parameter was expected at {at}")
        names.add(key.group(1))
        at = key.end()
        if line[at : at + 1] == "=":
            _, at = _bare(line, at + 1)
    return frozenset(names), at


def _spaces(line: str, at: int) -> int:
    found = _SPACES.match(line, at)
    return found.end() if found else at
