"""Letters for people: grouped by reason, named SOURCE@OFFSET[#ROW], their bytes as text or as a hex dump."""

from __future__ import annotations

import base64
import heapq
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from connectors.letters import Letter
from marquee.output import emit, instant, table
from topologies.blocks import ARROW_TYPE
from topologies.errors import UsageError

PREVIEW: Final = 60
HEX_ROW: Final = 16
NAME: Final = re.compile(r"(?P<source>[^@]+)@(?P<offset>\d+)(?:#(?P<row>\d+))?")


@dataclass(frozen=True)
class LetterName:
    """SOURCE@OFFSET[#ROW]; without a row every row of the record is meant."""

    source: str
    offset: int
    row: int | None

    def __str__(self) -> str:
        return f"{self.source}@{self.offset}" + ("" if self.row is None else f"#{self.row}")

    def names(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        return letter.source == self.source and letter.offset == self.offset and self.row in (None, letter.row)


def parse_name(text: str) -> LetterName:
    """UsageError when it is none."""
    found = NAME.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} names no letter: write SOURCE@OFFSET or SOURCE@OFFSET#ROW, as `marquee dead list` shows them")
    return LetterName(found["source"], int(found["offset"]), None if found["row"] is None else int(found["row"]))


def name_of(letter: Letter) -> str:
    """The letter's name; of a record of one event without the row."""
    return str(LetterName(letter.source, letter.offset, letter.row or None))


@dataclass
class Reason:
    """Letters of one reason: how many, and the newest few by their record's time."""

    count: int = 0
    newest: list[tuple[int, int, int, Letter]] = field(default_factory=list)

    def add(self, letter: Letter, limit: int) -> None:
        """Counts it and keeps it while it is among the newest."""
        self.count += 1
        heapq.heappush(self.newest, (letter.record_ts_ms, letter.offset, self.count, letter))
        if len(self.newest) > limit:
            heapq.heappop(self.newest)

    def examples(self) -> list[Letter]:
        """The newest first."""
        return [letter for *_, letter in sorted(self.newest, reverse=True)]


def grouped(letters: Iterable[Letter], reason: str | None, limit: int) -> dict[str, Reason]:
    """By reason, the most frequent first; of one reason only, when it is named."""
    found: dict[str, Reason] = {}
    for letter in letters:
        if reason is None or letter.reason == reason:
            found.setdefault(letter.reason, Reason()).add(letter, limit)
    return dict(sorted(found.items(), key=lambda item: (-item[1].count, item[0])))


def show_list(topic: str, reasons: dict[str, Reason], as_json: bool) -> None:
    """The groups on stdout."""
    total = sum(reason.count for reason in reasons.values())
    if as_json:
        groups = [
            {"reason": name, "count": reason.count, "newest": [document(letter, PREVIEW) for letter in reason.examples()]}
            for name, reason in reasons.items()
        ]
        emit({"topic": topic, "letters": total, "reasons": groups})
        return
    rows: list[tuple[object, ...]] = []
    for name, reason in reasons.items():
        for place, letter in enumerate(reason.examples() or [None]):
            first = (name, reason.count) if place == 0 else ("", "")
            rows.append((*first, *_example(letter)))
    table(("reason", "letters", "newest", "record time", "bytes"), rows, right=("letters",))


def _example(letter: Letter | None) -> tuple[str, str, str]:
    return ("", "", "") if letter is None else (name_of(letter), instant(letter.record_ts_ms), row_text(letter) or preview(letter.value))


def document(letter: Letter, most: int | None = None) -> dict[str, object]:
    """The letter as JSON: `value` when the bytes are text, else `value_base64`; the first `most` bytes of them. `row_values`: what the row
    of an Arrow record holds."""
    value = letter.value
    shown = value if value is None or most is None else value[:most]
    text = None if shown is None else _text(shown)
    bytes_: dict[str, object] = {"value": text} if text is not None or shown is None else {"value_base64": base64.b64encode(shown).decode()}
    row = row_values(letter)
    rows: dict[str, object] = {} if row is None else {"row_values": row}
    return {
        "name": name_of(letter), "reason": letter.reason, "topic": letter.topic, "partition": letter.partition,
        "offset": letter.offset, "row": letter.row, "record_ts": instant(letter.record_ts_ms), "record_ts_ms": letter.record_ts_ms,
        "key": None if letter.key is None else letter.key.decode(errors="backslashreplace"),
        "bytes": None if value is None else len(value), "content_type": letter.content_type or None, **bytes_, **rows,
    }  # fmt: skip


def row_values(letter: Letter) -> dict[str, object] | None:
    """The values of an Arrow record's row; None for a letter that is none, or whose record cannot be read."""
    from topologies.arrow_rows import shown

    return shown(letter.value) if letter.content_type == ARROW_TYPE and letter.value else None


def row_text(letter: Letter) -> str | None:
    """The same as one line of JSON."""
    row = row_values(letter)
    return None if row is None else json.dumps(row, ensure_ascii=True)


def preview(value: bytes | None) -> str:
    """The beginning, in one printable line."""
    if value is None:
        return "(null)"
    text = value[:PREVIEW].decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text) + ("…" if len(value) > PREVIEW else "")


def readable(value: bytes, most: int) -> Iterator[str]:
    """The bytes as text if all of them print, else as a hex dump; then how many were left out."""
    shown = value[:most]
    text = _text(shown)
    if text is not None and all(char.isprintable() or char in "\n\t" for char in text):
        yield text
    else:
        for at in range(0, len(shown), HEX_ROW):
            row = shown[at : at + HEX_ROW]
            printed = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
            yield f"{at:08x}  {row.hex(' '):<{3 * HEX_ROW}} |{printed}|"
    if len(value) > most:
        yield f"… {len(value) - most:,} bytes more (--raw writes all)"


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
