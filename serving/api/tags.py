"""ETag and Cache-Control (RFC 9110 §8.8, RFC 9111): what a client may keep, and how it asks whether that still holds.

final        its cells cannot change any more: the tag is theirs alone. Kept for FINAL_S, since a corrected view may be switched to
provisional  the tag is of the cells and of as_of: kept, but asked for again each time
a profile's  kept by nobody
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import orjson

from serving.answers import Answer

FINAL_S: Final = 60


def tag_of(answer: Answer, form: str, following: str | None) -> str:
    """A weak tag: equal when two answers mean the same, whatever their lag. It is of one form."""
    about: list[object] = [
        answer.view,
        answer.window,
        answer.dimensions,
        answer.measures,
        answer.span_ms,
        answer.rows,
        answer.final,
        following,
        form,
    ]
    if not answer.final:
        about += [answer.standing.as_of_ms, answer.standing.heard, answer.standing.known, answer.notes]
        about += [(name, share.standing.as_of_ms, share.why) for name, share in answer.standing.regions.items()]
    digest = hashlib.blake2b(orjson.dumps(about), digest_size=12).hexdigest()
    return f'W/"{digest}"'


def cache_control(answer: Answer, reach: Literal["public", "private"]) -> str:
    """What caches may do with the answer. reach: whose caches, anybody's or only those of who asked."""
    return f"{reach}, max-age={FINAL_S}" if answer.final else f"{reach}, no-cache"


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether a request's If-None-Match has the tag, compared weakly."""
    if not if_none_match:
        return False
    given = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return "*" in given or tag.removeprefix("W/") in given
