"""Why a request is not accepted: one sentence that says what to do, with its status."""

from __future__ import annotations

from typing import Final

BUSY_RETRY_S: Final = 1


class Refused(Exception):
    """The request is answered with this status; nothing of it counts as accepted, and all of it may be sent again."""

    def __init__(self, status: int, title: str, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.retry_after_s = retry_after_s


def bad_request(detail: str) -> Refused:
    """400: the body, or what is said about it, cannot be read."""
    return Refused(400, "Bad request", detail)


def too_large(detail: str) -> Refused:
    """413: more than a setting allows."""
    return Refused(413, "Too large", detail)


def unsupported(detail: str) -> Refused:
    """415: of a type or an encoding that is not read."""
    return Refused(415, "Unsupported media type", detail)


def limited(detail: str, retry_after_s: int) -> Refused:
    """429: the client has to wait."""
    return Refused(429, "Too many events", detail, retry_after_s)


def unavailable(detail: str, retry_after_s: int = BUSY_RETRY_S) -> Refused:
    """503: Kafka is away, or slow. What was sent may stand in the log or not; sending it again is safe."""
    return Refused(503, "Not acknowledged", detail, retry_after_s)
