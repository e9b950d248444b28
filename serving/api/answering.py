"""A request to a view is answered: asked, paged, brought into its form, or told that the client has it already."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any, Final
from urllib.parse import urlencode

from litestar import HttpMethod, Request, Response
from litestar.response import Stream

from serving.answers import Answer
from serving.api.access import reach
from serving.api.asking import Asker
from serving.api.forms import FORMS, Form, form_of, headers_of
from serving.api.negotiation import takes_gzip
from serving.api.paging import Page, is_ranked, page
from serving.api.parameters import Asked, asked, with_pinned
from serving.api.push import Event, Hub
from serving.api.ranges import Rendered, Renderings, span_of
from serving.api.tags import cache_control, matches, tag_of
from serving.instants import iso
from serving.problems import problem
from topologies.errors import UsageError

Requested = Request[Any, Any, Any]
FEW_ROWS: Final = 500
"""So many are brought into a form where they are, which takes less than a millisecond; more are on a thread."""
COMPRESSED_BYTES: Final = 1_024
"""A smaller answer goes as it is."""
_LEVEL: Final = 4


def asker_of(request: Requested) -> Asker:
    """The one of the app that got this request."""
    found: Asker = request.app.state.asker
    return found


async def respond(request: Requested, view: str) -> Response[bytes]:
    """The response to a question about `view`. Raises as Asker.answer does, and UsageError for what cannot be meant."""
    pairs = list(request.query_params.multi_items())
    wanted = asked(view, pairs)
    form = form_of(wanted.form, request.headers.get("accept", ""))
    is_head, span_asked = request.method == HttpMethod.HEAD, _span_asked(request)
    if not is_head and span_asked is None:
        return await _whole(request, pairs, wanted, form)
    renderings: Renderings = request.app.state.renderings
    key = (view, tuple(pairs), form.name)
    rendered = None if is_head else renderings.get(key)
    if rendered is None:
        rendered = await _rendered(request, pairs, wanted, form)
        renderings.keep(key, rendered)
    return _unless_had(request, rendered) or _part(rendered, span_asked)


def _span_asked(request: Requested) -> str | None:
    """The Range header where it counts (RFC 9110 §14.2, §13.1.5): of GET, and of a client that does not ask for the same bytes as before by
    If-Range, since our tags are weak."""
    asks_again = "if-range" in request.headers
    return None if asks_again or request.method != HttpMethod.GET else request.headers.get("range")


async def push(request: Requested, view: str) -> Stream:
    """The response that goes on telling the answer to a question about `view`, as it changes. Raises as `respond`."""
    pairs = list(request.query_params.multi_items())
    wanted = asked(view, pairs)
    if wanted.form not in (None, "json") or wanted.cursor is not None:
        raise UsageError("a stream is one page of JSON: it takes no format and no cursor")
    form, zone, asker = FORMS["json"], wanted.zone, asker_of(request)

    async def ask() -> Event:
        answer = await asker.anew(wanted.question)
        answer = page(answer, _rows(wanted, form), None, ranked=is_ranked(wanted.question, answer)).answer
        return Event.of(tag_of(answer, f"{form.name} {zone}", None), form.encode(answer, zone, None))

    hub: Hub = request.app.state.hub
    key = (view, tuple(sorted(pairs)))
    events = await hub.stream(key, ask, request.headers.get("last-event-id"))
    return Stream(events, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _paged(request: Requested, wanted: Asked, form: Form) -> Page:
    answer = await asker_of(request).answer(wanted.question)
    return page(answer, _rows(wanted, form), wanted.cursor, ranked=is_ranked(wanted.question, answer))


def _rows(wanted: Asked, form: Form) -> int:
    """Of a page: a top is one, however long."""
    return wanted.limit or max(form.rows, wanted.question.top or 0)


async def _whole(request: Requested, pairs: list[tuple[str, str]], wanted: Asked, form: Form) -> Response[bytes]:
    rendered = await _rendered(request, pairs, wanted, form)
    if (had := _unless_had(request, rendered)) is not None:
        return had
    headers, body = rendered.headers, rendered.body
    if len(body) >= COMPRESSED_BYTES and takes_gzip(request.headers.get("accept-encoding", "")):
        body = await asyncio.to_thread(gzip.compress, body, _LEVEL)
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type=rendered.media_type, headers=headers)


def _unless_had(request: Requested, rendered: Rendered) -> Response[bytes] | None:
    """304 for a client that has the answer, whichever part of it was asked for."""
    if not matches(request.headers.get("if-none-match"), rendered.headers["ETag"]):
        return None
    return Response(b"", status_code=304, headers=rendered.headers)


def _part(rendered: Rendered, span_asked: str | None) -> Response[bytes]:
    length = len(rendered.body)
    span = span_of(span_asked, length)
    if span is None:
        return Response(rendered.body, media_type=rendered.media_type, headers=rendered.headers)
    if span[0] == span[1]:
        return problem(416, f"it is {length:,} bytes long, and none of them is in {span_asked}", {"Content-Range": f"bytes */{length}"})
    headers = {**rendered.headers, "Content-Range": f"bytes {span[0]}-{span[1] - 1}/{length}"}
    return Response(rendered.body[span[0] : span[1]], status_code=206, media_type=rendered.media_type, headers=headers)


async def _rendered(request: Requested, pairs: list[tuple[str, str]], wanted: Asked, form: Form) -> Rendered:
    paged = await _paged(request, wanted, form)
    answer = paged.answer
    following = _next(request, pairs, answer, paged.following)
    headers = {
        "ETag": tag_of(answer, f"{form.name} {wanted.zone}", following),
        "Cache-Control": cache_control(answer, reach(request)),
        "Vary": "Accept, Accept-Encoding",
        "Accept-Ranges": "bytes",
        **headers_of(answer),
    }
    if following is not None:
        headers["Link"] = f'<{following}>; rel="next"'
    few = len(answer.rows) <= FEW_ROWS
    encode = form.encode
    body = encode(answer, wanted.zone, following) if few else await asyncio.to_thread(encode, answer, wanted.zone, following)
    return Rendered(body, form.media_type, headers)


def _next(request: Requested, pairs: list[tuple[str, str]], answer: Answer, cursor: str | None) -> str | None:
    """The address of the page behind the cursor: of the same span, which for a question without one is another a minute later."""
    if cursor is None:
        return None
    pinned = {"cursor": cursor}
    if answer.span_ms is not None:
        pinned |= {"from": iso(answer.span_ms[0]), "to": iso(answer.span_ms[1]), "window": answer.window}
    return f"{request.url.path}?{urlencode(with_pinned(pairs, pinned))}"
