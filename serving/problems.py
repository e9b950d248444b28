"""Errors as problem+json (RFC 9457), of every door: `title` names the kind, `detail` is a sentence that says what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Reference, Schema
from litestar.openapi.spec.enums import OpenAPIType

from serving.refusals import NothingValid, headers_of, is_expected, status_of
from topologies.errors import MarqueeError

log = logging.getLogger(__name__)
MEDIA_TYPE: Final = "application/problem+json"
_TEXT: Final = Schema(type=OpenAPIType.STRING)
_SCHEMA: Final = Schema(
    type=OpenAPIType.OBJECT,
    description="RFC 9457",
    required=["type", "title", "status", "detail"],
    properties={
        "type": _TEXT,
        "title": _TEXT,
        "status": Schema(type=OpenAPIType.INTEGER),
        "detail": Schema(type=OpenAPIType.STRING, description="what to do, in a sentence"),
    },
)
_SAID: Final = {
    304: "what the client has is this",
    400: "it cannot be asked, or taken, so",
    401: "it needs a token, and there was none that holds",
    403: "the token is for something else",
    404: "what the address names is not there",
    406: "no form of it is accepted",
    413: "more than a setting allows",
    415: "a type or an encoding that is not read",
    416: "Range names no byte of it",
    422: "no event is valid; `rejected` says why, event by event",
    429: "too much in a short time: the same after `Retry-After` seconds",
    503: "a server that is needed does not answer, or too much is asked: the same after `Retry-After` seconds",
}
_OF_THE_GATE: Final = (401, 403, 429)


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, members: Mapping[str, object] | None = None
) -> Response[bytes]:
    """A response of that status with its problem. members: what the problem has besides (RFC 9457 §3.2)."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **(members or {})}
    all_headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(orjson.dumps(document), status_code=status, media_type=MEDIA_TYPE, headers=all_headers)


def of_ours(request: Request[Any, Any, Any], error: MarqueeError) -> Response[bytes]:
    """The problem of an error of ours: what was asked wrongly is 4xx, what a server cannot do now is 503."""
    request.state.refusal = str(error)
    if not is_expected(error):
        log.warning("a request could not be answered: %s", error)
    members = {"accepted": 0, "rejected": error.rejected} if isinstance(error, NothingValid) else None
    return problem(status_of(error), str(error), headers_of(error), members)


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


def described(*statuses: int) -> dict[str, OpenAPIResponse | Reference]:
    """What OpenAPI says of the responses of these statuses that are not 2xx, and of those that every address with a scope has."""
    body = {MEDIA_TYPE: OpenAPIMediaType(schema=_SCHEMA)}
    every = sorted({*statuses, *_OF_THE_GATE})
    return {str(status): OpenAPIResponse(_SAID[status], content=None if status == HTTPStatus.NOT_MODIFIED else body) for status in every}


HANDLERS: Final[dict[Any, Any]] = {MarqueeError: of_ours, HTTPException: of_http, Exception: of_bug}
