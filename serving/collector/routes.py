"""`POST /v1/events` as a Litestar route handler, for whoever mounts it with the exception handlers of serving/problems.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from litestar import Request, Response, post
from litestar.exceptions import InternalServerException
from litestar.handlers import HTTPRouteHandler

from serving.collector.cmcd import GIVEN, Given
from serving.collector.collector import Answer, Collector, Said
from serving.collector.described import TakesEvents
from serving.refusals import NothingValid, TooLarge, status_of
from topologies.errors import MarqueeError, UsageError

PATH: Final = "/v1/events"
SENT_AT: Final = "marquee-sent-at"
_HEADERS: Final = {"marquee-" + name.replace("_", "-"): name for name in GIVEN}

AnyRequest = Request[Any, Any, Any]


def address_of(request: AnyRequest) -> str:
    """Whose limit counts, where nothing better is known: the address that the connection comes from."""
    return request.client.host if request.client else ""


def handlers(
    collector_of: Callable[[AnyRequest], Collector], client_of: Callable[[AnyRequest], str] = address_of
) -> list[HTTPRouteHandler]:
    """The collector's routes. `collector_of`: what takes a request; `client_of`: whose limit it counts for."""

    @post(
        PATH,
        status_code=202,
        request_max_body_size=None,
        operation_class=TakesEvents,
        operation_id="post_events",
        summary="Put viewing events into the log",
        tags=["events"],
    )
    async def post_events(request: AnyRequest) -> Response[bytes]:
        """Takes one event, an array, an envelope with sent_at, NDJSON or CMCD version 2 event reports, and answers when Kafka has them."""
        collector = collector_of(request)
        receipt_ms = collector.receipt_ms()
        try:
            body = await _body(request, collector)
            answer = await collector.accept(body, _said(request, client_of(request)), receipt_ms)
        except MarqueeError as error:
            collector.refused(status_of(error))
            raise
        return _answer(answer)

    return [post_events]


async def _body(request: AnyRequest, collector: Collector) -> bytes:
    """The body as it was sent; no more than is allowed is ever held."""
    limit = collector.max_body_bytes
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise TooLarge(collector.too_big())
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise TooLarge(collector.too_big())
            chunks.append(chunk)
    except InternalServerException as error:
        raise UsageError("the connection ended before the body did; send it again") from error
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _said(request: AnyRequest, client: str) -> Said:
    headers, query = request.headers, request.query_params
    given = {name: headers[header] for header, name in _HEADERS.items() if header in headers}
    given |= {name: query[name] for name in GIVEN if name in query}
    stamp = headers.get(SENT_AT, query.get("sent_at"))
    if stamp is not None and not re.fullmatch(r"[0-9]{1,15}", stamp):
        raise UsageError("sent_at is not a whole number of ms since 1970; send the player's clock so, or leave it out")
    return Said(
        client,
        headers.get("content-type", ""),
        headers.get("content-encoding", ""),
        None if stamp is None else int(stamp),
        Given(given),
    )


def _answer(answer: Answer) -> Response[bytes]:
    if answer.accepted or answer.ignored:
        return Response(msgspec.json.encode(answer), status_code=202, media_type="application/json")
    first = answer.rejected[0]
    sentence = f"no event of the body is valid, the first because of {first.reason}; docs/collector.md has the reasons"
    raise NothingValid(sentence, msgspec.to_builtins(answer.rejected))
