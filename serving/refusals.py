"""Why a request is not answered as it was meant: the doors' errors, each one sentence that says what to do, and the status of each.

    MarqueeError            503: a server that is needed does not answer, or answers that it cannot
    ├── UsageError          400: asked, or sent, wrongly
    │   ├── NotThere        404
    │   ├── NotAcceptable   406
    │   ├── TooLarge        413
    │   ├── Unsupported     415
    │   └── NothingValid    422
    ├── Unauthorized        401
    ├── Forbidden           403
    ├── Limited             429
    └── Busy                503

Knows no HTTP framework: serving/problems.py makes responses of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from topologies.errors import MarqueeError, ServerAway, UsageError

AGAIN_S: Final = 1
"""Retry-After of what could not be done now, seconds."""


class NotThere(UsageError):
    """What the address names is not there."""


class NotAcceptable(UsageError):
    """None of the media types that are accepted can be given."""


class TooLarge(UsageError):
    """More was sent than a setting allows."""


class Unsupported(UsageError):
    """What was sent is of a type or an encoding that is not read."""


class NothingValid(UsageError):
    """No event of what was sent is valid; rejected: which and why, as the answer has it."""

    def __init__(self, sentence: str, rejected: Sequence[Mapping[str, object]]) -> None:
        super().__init__(sentence)
        self.rejected = rejected


class Busy(MarqueeError):
    """More is asked or sent than can be taken at once."""


class Unauthorized(MarqueeError):
    """Who asks has to say who they are."""


class Forbidden(MarqueeError):
    """Who asks may not ask this."""


class Limited(MarqueeError):
    """Who asks has asked, or sent, too much; wait_s: whole seconds until more may come."""

    def __init__(self, sentence: str, wait_s: int) -> None:
        super().__init__(sentence)
        self.wait_s = wait_s


_STATUSES: Final[dict[type[MarqueeError], HTTPStatus]] = {
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    Limited: HTTPStatus.TOO_MANY_REQUESTS,
    NotThere: HTTPStatus.NOT_FOUND,
    NotAcceptable: HTTPStatus.NOT_ACCEPTABLE,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Unsupported: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    NothingValid: HTTPStatus.UNPROCESSABLE_ENTITY,
    UsageError: HTTPStatus.BAD_REQUEST,
}
"""Of what is a kind of another the narrower comes first."""


def status_of(error: MarqueeError) -> HTTPStatus:
    """What it is in HTTP: whoever asked can do something about a 4xx, and about a 503 nothing but ask again."""
    return next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), HTTPStatus.SERVICE_UNAVAILABLE)


def headers_of(error: MarqueeError) -> dict[str, str]:
    """What a client has to know besides: when to ask again, or how to say who it is."""
    if isinstance(error, Limited):
        return {"Retry-After": str(error.wait_s)}
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": str(AGAIN_S)} if status_of(error) is HTTPStatus.SERVICE_UNAVAILABLE else {}


def is_expected(error: MarqueeError) -> bool:
    """Whether it needs no line of the log: it is the client's own, or others tell it."""
    return status_of(error) is not HTTPStatus.SERVICE_UNAVAILABLE or isinstance(error, ServerAway | Busy)
