"""Errors as problem+json (RFC 9457): `title` names the kind, `detail` is a sentence that says what to do."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, Final

import orjson
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from topologies.errors import MarqueeError, ServerAway, UsageError

log = logging.getLogger(__name__)
MEDIA_TYPE: Final = "application/problem+json"
AGAIN_S: Final = 1
"""Retry-After of what a server that is away could not answer, seconds."""


class NotThere(UsageError):
    """What the address names is not there."""


class NotAcceptable(UsageError):
    """None of the media types that are accepted can be given."""


class Busy(MarqueeError):
    """More is asked than can be answered."""


class Unauthorized(MarqueeError):
    """Who asks has to say who they are."""


class Forbidden(MarqueeError):
    """Who asks may not ask this."""


class Limited(MarqueeError):
    """Who asks has asked too much; wait_s: whole seconds until more may be asked."""

    def __init__(self, sentence: str, wait_s: int) -> None:
        super().__init__(sentence)
        self.wait_s = wait_s


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response[bytes]:
    """A response of that status with its problem."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    all_headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(orjson.dumps(document), status_code=status, media_type=MEDIA_TYPE, headers=all_headers)


def of_ours(_request: Request[Any, Any, Any], error: MarqueeError) -> Response[bytes]:
    """The problem of an error of ours: what was asked wrongly is 4xx, what a store cannot tell now is 503."""
    for kind, status in _STATUSES.items():
        if isinstance(error, kind):
            return problem(status, str(error), _headers(error))
    if not isinstance(error, ServerAway | Busy):
        log.warning("a question could not be answered: %s", error)
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": str(AGAIN_S)})


def _headers(error: MarqueeError) -> dict[str, str]:
    if isinstance(error, Limited):
        return {"Retry-After": str(error.wait_s)}
    return {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else {}


def of_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """The problem of an error of the framework."""
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() != "content-type"}
    return problem(error.status_code, _sentence(request, error), headers)


def _sentence(request: Request[Any, Any, Any], error: HTTPException) -> str:
    if isinstance(error, NotFoundException):
        return f"there is nothing at {request.url.path}; /v1/views lists what can be asked, /docs describes every address"
    if isinstance(error, MethodNotAllowedException):
        return f"{request.url.path} does not take {request.method}; /docs says what it takes"
    return error.detail


def of_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The problem of what should not have happened. The log has all of it."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "this failed for a reason that only its log tells; the fault is the server's")


_STATUSES: Final[dict[type[MarqueeError], HTTPStatus]] = {
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    Limited: HTTPStatus.TOO_MANY_REQUESTS,
    NotThere: HTTPStatus.NOT_FOUND,
    NotAcceptable: HTTPStatus.NOT_ACCEPTABLE,
    UsageError: HTTPStatus.BAD_REQUEST,
}
"""Of what is a kind of another the narrower comes first."""
HANDLERS: Final[dict[Any, Any]] = {MarqueeError: of_ours, HTTPException: of_http, Exception: of_bug}
