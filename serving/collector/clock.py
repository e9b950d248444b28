"""What a player's clock is off by, from what it says it sent the request at; and times set right by it.

Nothing that is done here may make a request that is sent again count twice. The log knows an event by (account, session, seq), whatever
its ts, as long as it remembers the session: until the watermark is 900 s past the session's greatest ts. With `sent_at` a ts is moved by
another amount each time it is sent, if only by what the network took; so an event is refused when, by the clock that is right, it is
older than `max_age_s` (600 s). Younger, the log remembers it from the first time: the watermark is at most 60 s ahead of the record,
which is appended within `ack_timeout_s` (30 s at most), so 210 s are left for the two ways through the network to differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from topologies.errors import UsageError
from topologies.events import FIELDS, decode_event
from topologies.settings import CollectorSettings

TS: Final = next(field for field in FIELDS if field.name == "ts")
_ENCODER: Final = msgspec.json.Encoder()
_WRITTEN: Final = re.compile(rb'("ts"[ \t\r\n]*:[ \t\r\n]*)\d+')


@dataclass(frozen=True)
class Correction:
    """What is added to each ts, ms; `oldest_ms`: events before it, when set right, are refused. None: whatever their age."""

    shift_ms: int
    oldest_ms: int | None


AS_SENT: Final = Correction(0, None)
"""Of a request that does not say when it was sent: the log judges its times."""


def correction_of(sent_at_ms: int | None, receipt_ms: int, now_ms: int, settings: CollectorSettings) -> Correction:
    """Receipt − sent_at; 0 when within `clock_tolerance_s`. Raises UsageError beyond `max_clock_error_s`.

    receipt_ms: when the request began to come in; now_ms: when its events are about to be appended, which their age is reckoned at.
    """
    if sent_at_ms is None:
        return AS_SENT
    shift = receipt_ms - sent_at_ms
    if abs(shift) > settings.max_clock_error_s * 1000:
        raise UsageError(
            f"sent_at is {abs(shift) / 1000:,.0f} s {'behind' if shift > 0 else 'ahead of'} the time of receipt and "
            f"{settings.max_clock_error_s:,.0f} s are allowed; stamp each attempt with the player's clock in epoch ms, or leave sent_at out"
        )
    within = abs(shift) <= settings.clock_tolerance_s * 1000
    return Correction(0 if within else shift, now_ms - int(settings.max_age_s * 1000))


def moved(value: bytes, old: int, ts: int) -> bytes:
    """A valid event, whose ts is `old`, with this one instead, else byte for byte as it came where that can be told.

    If its text has one `"ts"` and no backslash, that is the event's own key; else the event is written anew, without its unknown fields.
    """
    if b"\\" not in value and value.count(b'"ts"') == 1:
        # there is one way to write the digits of an integer, so what begins with them ends with them
        found = value.replace(b'"ts":%d' % old, b'"ts":%d' % ts)
        if found != value:
            return found
        found, count = _WRITTEN.subn(rb"\g<1>%d" % ts, value)
        if count == 1:
            return found
    event = decode_event(value)
    assert event is not None
    event["ts"] = ts
    return _ENCODER.encode({name: held for name, held in event.items() if held is not None})
