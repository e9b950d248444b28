"""The ASGI application: routes, errors, health, metrics and the lifetime of what answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

import orjson
from litestar import Litestar, Request, Response, Router, get
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, Contact, License, SecurityScheme, Tag
from litestar.types import ControllerRouterHandler

from connectors.cassandra import KeptSession
from serving.api.access import Gate, client_of, guard
from serving.api.answering import asker_of
from serving.api.asking import Asker
from serving.api.audit import Audit, audited
from serving.api.metrics import measured, metrics
from serving.api.pages import assets, dashboard
from serving.api.push import Hub
from serving.api.ranges import Renderings
from serving.api.routes import Roster, nobody_known, view_routes
from serving.collector.collector import open_collector
from serving.collector.routes import handlers
from serving.problems import HANDLERS, problem
from topologies.errors import MarqueeError
from topologies.settings import Settings

log = logging.getLogger(__name__)
DOORS: Final = ("api", "collector")
"""What one process can be: who answers questions, and who takes events."""
Lifetime = Callable[[Litestar], AbstractAsyncContextManager[None]]
SWAGGER: Final = "/assets/vendor/swagger-ui-dist"


def application(settings: Settings, doors: Sequence[str] = DOORS, roster: Roster = nobody_known) -> Litestar:
    """These doors, some of DOORS, of these settings. Servers may be away: it starts, and says so to who asks for what needs them."""
    routes: list[ControllerRouterHandler] = [healthz, readyz, metrics, openapi, assets]
    settings = _impatient(settings)
    lifetimes = [_guarding(settings)]
    if "api" in doors:
        routes += [dashboard, view_routes()]
        lifetimes.append(_asking(settings))
    if "collector" in doors:
        events = handlers(lambda request: request.app.state.collector, client_of)
        routes.append(Router("/", route_handlers=events, opt={"scope": "write"}))
        lifetimes.append(_collecting(settings))
    return Litestar(
        routes,
        lifespan=lifetimes,
        guards=[guard],
        middleware=[measured],
        before_send=[audited],
        cors_config=CORSConfig(allow_origins=list(settings.api.cors_origins)) if settings.api.cors_origins else None,
        state=State({"renderings": Renderings(), "roster": roster}),
        exception_handlers=HANDLERS,
        openapi_config=_described(),
        logging_config=None,
        debug=False,
    )


def _impatient(settings: Settings) -> Settings:
    """With the time-outs of a question, where the stores' own are longer."""
    longest_s = settings.api.timeout_s
    return replace(
        settings,
        cassandra=replace(settings.cassandra, timeout_s=min(longest_s, settings.cassandra.timeout_s)),
        redis=replace(settings.redis, timeout_s=min(longest_s, settings.redis.timeout_s)),
    )


def _guarding(settings: Settings) -> Lifetime:
    @asynccontextmanager
    async def lifetime(app: Litestar) -> AsyncIterator[None]:
        app.state.session = KeptSession(settings.cassandra)
        gate = app.state.gate = Gate(settings, app.state.session)
        log.info("access: %s", "by token (`marquee token`)" if gate.needed else f"no token is needed (api.access = {settings.api.access})")
        try:
            async with Audit(settings, app.state.session) as app.state.audit:
                yield
        finally:
            await asyncio.to_thread(app.state.session.close)

    return lifetime


def _asking(settings: Settings) -> Lifetime:
    @asynccontextmanager
    async def lifetime(app: Litestar) -> AsyncIterator[None]:
        asker = app.state.asker = Asker(settings, app.state.session)
        try:
            async with Hub(settings) as app.state.hub:
                yield
        finally:
            await asker.close()

    return lifetime


def _collecting(settings: Settings) -> Lifetime:
    @asynccontextmanager
    async def lifetime(app: Litestar) -> AsyncIterator[None]:
        async with open_collector(settings) as app.state.collector:
            yield

    return lifetime


@get("/healthz", include_in_schema=False)
async def healthz() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


@get("/readyz", include_in_schema=False)
async def readyz(request: Request[Any, Any, Any]) -> Response[Any]:
    """Whether a question would be answered and an event taken: a store answers, and Kafka is there."""
    state = request.app.state
    try:
        if "asker" in state:
            await asker_of(request).ready()
        if "collector" in state:
            await state.collector.ready()
    except MarqueeError as error:
        return problem(503, str(error))
    return Response({"status": "ready"})


@get("/openapi.json", include_in_schema=False)
async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """What /docs shows, for programs. Made when it is first asked for."""
    state = request.app.state
    if "described" not in state:
        state.described = orjson.dumps(request.app.openapi_schema.to_schema())
    return Response(state.described, media_type="application/json")


def _described() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Marquee",
        version=version("marquee"),
        summary="Who is watching what, now and then: every play counted once.",
        description=(
            "Numbers that can still change are called provisional (`final: false`). Every answer says `as_of` which clock it is, from how "
            "many of the `sources`, and its `lag_s`."
        ),
        contact=Contact(name="Marquee"),
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        tags=[
            Tag("views", "what is counted"),
            Tag("profiles", "what one profile has watched"),
            Tag("events", "what players tell"),
            Tag("operation", "how it runs"),
        ],
        use_handler_docstrings=True,
        components=Components(
            security_schemes={"token": SecurityScheme(type="http", scheme="bearer", description="made by `marquee token make`")}
        ),
        security=[{}, {"token": []}],
        path="/docs",
        render_plugins=[
            SwaggerRenderPlugin(
                path="/",
                js_url=f"{SWAGGER}/swagger-ui-bundle.js",
                css_url=f"{SWAGGER}/swagger-ui.css",
                standalone_preset_js_url=f"{SWAGGER}/swagger-ui-standalone-preset.js",
                favicon='<link rel="icon" href="data:,">',
            )
        ],
    )
