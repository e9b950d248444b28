"""The ASGI application: routes, errors, health, metrics and the lifetime of what answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Contact, License, Tag

from serving.api.answering import asker_of
from serving.api.asking import Asker
from serving.api.metrics import measured, metrics
from serving.api.pages import assets, dashboard
from serving.api.problems import HANDLERS, problem
from serving.api.push import Hub
from serving.api.ranges import Renderings
from serving.api.routes import view_routes
from topologies.errors import MarqueeError
from topologies.settings import Settings

SWAGGER: Final = "/assets/vendor/swagger-ui-dist"


def application(settings: Settings) -> Litestar:
    """The API of these settings. It opens the stores when they are first asked, so that it starts, and says so, while they are away."""

    @asynccontextmanager
    async def lifetime(app: Litestar) -> AsyncIterator[None]:
        asker = app.state.asker = Asker(settings)
        try:
            async with Hub(settings) as app.state.hub:
                yield
        finally:
            await asker.close()

    return Litestar(
        [dashboard, assets, view_routes(), healthz, readyz, metrics, openapi],
        lifespan=[lifetime],
        middleware=[measured],
        state=State({"renderings": Renderings()}),
        exception_handlers=HANDLERS,
        openapi_config=_described(),
        logging_config=None,
        debug=False,
    )


@get("/healthz", include_in_schema=False)
async def healthz() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


@get("/readyz", include_in_schema=False)
async def readyz(request: Request[Any, Any, Any]) -> Response[Any]:
    """Whether a question would be answered: a store answers."""
    try:
        await asker_of(request).ready()
    except MarqueeError as error:
        return problem(503, str(error))
    return Response({"status": "ready"})


@get("/openapi.json", include_in_schema=False)
async def openapi(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """What /docs shows, for programs."""
    return Response(request.app.openapi_schema.to_schema())


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
        tags=[Tag("views", "what is counted"), Tag("profiles", "what one profile has watched"), Tag("operation", "how it runs")],
        use_handler_docstrings=True,
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
