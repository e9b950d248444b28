"""The API's addresses, under /v1. Each takes what it is asked by serving.api.parameters and is answered by the app's Asker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from litestar import HttpMethod, Response, Router, get, route
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath
from litestar.response import Stream
from litestar.types import OperationIDCreator

from serving.api.access import reach
from serving.api.addresses import names_of
from serving.api.answering import Requested, asker_of, push, respond
from serving.api.described import Streams, answers, operation_of, paged, streaming_of
from serving.catalogue import catalogue
from serving.problems import described
from serving.refusals import NotThere
from topologies import accounting, continue_watching
from topologies.errors import UsageError
from topologies.view import View
from topologies.views import VIEWS

READ: Final = (HttpMethod.GET, HttpMethod.HEAD)
Roster = Callable[[], dict[str, Any]]
"""Who is up, who leads and how many workers are wanted, as JSON has it. Blocks for some seconds at the most, and does not raise."""


def nobody_known() -> dict[str, Any]:
    """Where nobody says who is up."""
    return {
        "answers": False, "heard_s": None, "members": [], "leader": None,
        "workers": {"running": 0, "wanted": None, "why": None, "ordered_ms": None},
    }  # fmt: skip


def _named(stem: str) -> OperationIDCreator:
    return lambda _handler, method, _path: stem if method == HttpMethod.GET else f"{stem}_{method.lower()}"


def view_routes() -> Router:
    """Everything under /v1."""
    handlers: list[HTTPRouteHandler] = [made(view) for view in VIEWS.values() for made in (_asking, _streaming)]
    others = (ask_accounting, stream_accounting, no_view, no_stream, continue_watching_of, status, members)
    return Router("/v1", route_handlers=[list_views, *handlers, *others], opt={"scope": "read"})


@dataclass
class Lists(Operation):
    """What OpenAPI says of an address that takes no parameter and gives one JSON object."""

    def __post_init__(self) -> None:
        body = {"application/json": OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT))}
        self.responses = {"200": OpenAPIResponse(self.summary or "It.", content=body), **described(400, 503)}


@route("/views", http_method=READ, operation_class=Lists, summary="Every view, with its dimensions, windows and measures", tags=["views"])
async def list_views(request: Requested) -> Response[bytes]:
    """The catalogue."""
    _takes_nothing(request)
    return _json({"views": catalogue()}, f"{reach(request)}, no-cache")


def _asking(view: View) -> HTTPRouteHandler:
    @route(
        f"/views/{view.name}",
        http_method=READ,
        operation_class=operation_of(view),
        name=f"view {view.name}",
        summary=view.summary,
        operation_id=_named(f"ask_{view.name}"),
        tags=["views"],
    )
    async def ask_view(request: Requested) -> Response[bytes]:
        return await respond(request, view.name)

    return ask_view


def _streaming(view: View) -> HTTPRouteHandler:
    @get(
        f"/views/{view.name}/stream",
        operation_class=streaming_of(view),
        name=f"stream {view.name}",
        summary=f"{view.summary}, pushed whenever it changes",
        operation_id=f"stream_{view.name}",
        tags=["views"],
    )
    async def stream_view(request: Requested) -> Stream:
        return await push(request, view.name)

    return stream_view


@dataclass
class AsksAccounting(Operation):
    """What OpenAPI says of accounting."""

    def __post_init__(self) -> None:
        self.parameters = [*paged()]
        self.responses = answers()


@route(
    f"/views/{accounting.NAME}",
    http_method=READ,
    operation_class=AsksAccounting,
    operation_id=_named("ask_accounting"),
    summary=accounting.SUMMARY,
    tags=["views"],
)
async def ask_accounting(request: Requested) -> Response[bytes]:
    """What became of every record."""
    return await respond(request, accounting.NAME)


@get(f"/views/{accounting.NAME}/stream", operation_class=Streams, operation_id="stream_accounting", summary="It, pushed", tags=["views"])
async def stream_accounting(request: Requested) -> Stream:
    """What became of every record, whenever it changes."""
    return await push(request, accounting.NAME)


@get("/views/{view:str}/stream", include_in_schema=False)
async def no_stream(view: FromPath[str]) -> Response[bytes]:
    """What is said of a view that is not there."""
    raise _not_there(view)


@route("/views/{view:str}", http_method=READ, include_in_schema=False)
async def no_view(view: FromPath[str]) -> Response[bytes]:
    """What is said of a view that is not there."""
    raise _not_there(view)


def _not_there(view: str) -> NotThere:
    if view == continue_watching.NAME:
        return NotThere("continue_watching is a profile's: ask /v1/profiles/ACCOUNT/PROFILE/continue-watching")
    return NotThere(f"there is no view {view!r}; there are {', '.join(sorted(VIEWS))} and accounting")


@dataclass
class AsksShelf(Operation):
    """What OpenAPI says of a profile's shelf."""

    def __post_init__(self) -> None:
        body = {"application/json": OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT))}
        self.responses = {"200": OpenAPIResponse("Its unfinished titles, last watched first.", content=body), **described(400, 404, 503)}


@route(
    "/profiles/{account:str}/{profile:str}/continue-watching",
    http_method=READ,
    operation_class=AsksShelf,
    operation_id=_named("continue_watching"),
    summary=continue_watching.SUMMARY,
    tags=["profiles"],
    opt={"scope": "profile"},
)
async def continue_watching_of(request: Requested, account: FromPath[str], profile: FromPath[str]) -> Response[bytes]:
    """Where a profile stopped in which titles."""
    _takes_nothing(request)
    *_, account, profile, _ = names_of(request.scope)
    shelf = await asker_of(request).shelf(account, profile)
    return _json(shelf.document(), "private, no-store")


@route(
    "/status",
    http_method=READ,
    operation_class=Lists,
    summary="How servers, workers and partitions stand",
    tags=["operation"],
    opt={"scope": "operate"},
)
async def status(request: Requested) -> Response[bytes]:
    """What `marquee status --json` says."""
    _takes_nothing(request)
    return _json((await asker_of(request).overview()).document(), "no-store")


@route(
    "/members",
    http_method=READ,
    operation_class=Lists,
    summary="Who is up, who leads, and how many workers are wanted",
    tags=["operation"],
    opt={"scope": "operate"},
)
async def members(request: Requested) -> Response[bytes]:
    """What `marquee members --json` says; without ZooKeeper and discovery.members nobody is known."""
    _takes_nothing(request)
    return _json(await asyncio.to_thread(request.app.state.roster), "no-store")


def _takes_nothing(request: Requested) -> None:
    if request.query_params:
        name = next(iter(request.query_params))
        raise UsageError(f"{request.url.path} is as of now, and whole: it takes no parameter, and {name!r} is one")


def _json(document: object, caching: str) -> Response[bytes]:
    return Response(orjson.dumps(document), media_type="application/json", headers={"Cache-Control": caching})
