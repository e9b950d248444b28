"""A query string becomes a question, the form of its answer, and which page of it.

region=eu        cells of this value            by=region        a row for each value, repeatable
top=10           the best so many               window=hour      the window, or a trend's span
from=… to=…      instants: ISO 8601 or epoch    tz=Europe/Paris  the zone of instants that name none, and of those in the answer
format=csv       instead of Accept              limit=… cursor=… a page
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Final

from serving.questions import Question, parse_instant, parse_zone
from topologies import accounting
from topologies.errors import UsageError

MOST_TOP: Final = 10_000
MOST_ROWS: Final = 100_000
"""A page has so many rows at the most."""
OWN: Final = ("by", "top", "window", "from", "to", "tz", "format", "limit", "cursor")
"""Names that no dimension can have: each is a parameter of its own."""
_OFFSET_AS_SPACE: Final = re.compile(r" (?=\d{2}:?\d{2}$)")
"""An offset's + that was sent as it is: in a query string it means a space."""


@dataclass(frozen=True)
class Asked:
    """What a request wants to know, and how it wants to be told. form: a name of serving.api.forms.FORMS, None when Accept is to say it.
    limit: rows a page, None for as many as its form has by default."""

    question: Question
    form: str | None
    zone: tzinfo
    limit: int | None
    cursor: str | None


def asked(view: str, pairs: Iterable[tuple[str, str]]) -> Asked:
    """The question to `view` of a query string's pairs. Raises UsageError, naming the parameter, for what cannot be meant."""
    named, every = _sorted_out(pairs)
    zone = _zone(named.pop("tz", None))
    start, end = (_instant(name, named.pop(name, None), zone) for name in ("from", "to"))
    top = _number("top", named.pop("top", None), MOST_TOP)
    limit = _number("limit", named.pop("limit", None), MOST_ROWS)
    window, form, cursor = (named.pop(name, None) for name in ("window", "format", "cursor"))
    for name in every & named.keys():
        raise UsageError(f"by={name} asks for every {name} and {name}={named[name]} for one; leave one of them out")
    by: dict[str, str | None] = {**dict.fromkeys(sorted(every)), **named}
    if view == accounting.NAME and (by or top or window or start is not None or end is not None):
        raise UsageError("accounting is by source and now: it takes no dimension, top, window, from or to")
    if cursor and top:
        raise UsageError("top is one page: it goes with no cursor; ask for as many as you want at once")
    return Asked(Question(view, by, top, window, start, end), form, zone, limit, cursor)


def _sorted_out(pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, str], set[str]]:
    """Parameters by name, and the dimensions that `by` names."""
    named: dict[str, str] = {}
    every: set[str] = set()
    for name, value in pairs:
        if not value:
            instead = f"for a row of every {name or 'dimension'} write by={name or 'NAME'}"
            raise UsageError(f"{name or 'a parameter'} has no value; {'give it one, or leave it out' if name in OWN else instead}")
        if name == "by":
            every.update(part.strip() for part in value.split(","))
        elif name in named:
            raise UsageError(f"{name} is given twice; ask once for each value, or by={name} for all of them")
        else:
            named[name] = value
    if "" in every or every & set(OWN):
        raise UsageError("by names the dimensions that have a row for each of their values: by=title or by=title,region")
    return named, every


def _number(name: str, text: str | None, most: int) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise UsageError(f"{name}={text}: write a whole number from 1 to {most:,}")
    return int(text)


def _instant(name: str, text: str | None, zone: tzinfo) -> int | None:
    if text is None:
        return None
    try:
        return parse_instant(_OFFSET_AS_SPACE.sub("+", text) if "T" in text.upper() else text, zone)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        return parse_zone(name)
    except UsageError as error:
        raise UsageError(f"tz: {error}") from None


def with_pinned(pairs: Iterable[tuple[str, str]], pinned: Mapping[str, str]) -> list[tuple[str, str]]:
    """The same query string with these parameters instead of its own of their names."""
    return [*((name, value) for name, value in pairs if name not in pinned), *pinned.items()]
