"""What `/metrics` says: serving/metrics.py lists it, each request is counted and timed here."""

from __future__ import annotations

import time
from typing import Any

from litestar import Request, Response, get
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client.exposition import choose_encoder

from serving.metrics import IN_FLIGHT, REGISTRY, REQUESTS, SECONDS, SUBSCRIBERS, UNDER_WAY


def measured(app: ASGIApp) -> ASGIApp:
    """Middleware that counts and times each request."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        begun_s, status = time.perf_counter(), "500"

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await app(scope, receive, told)
        finally:
            route = scope.get("path_template") or "(none)"
            REQUESTS.labels(route, status).inc()
            if not route.endswith("/stream"):
                SECONDS.labels(route).observe(time.perf_counter() - begun_s)

    return middleware


@get("/metrics", include_in_schema=False)
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """All of them, as Prometheus reads them."""
    state = request.app.state
    if "asker" in state:
        UNDER_WAY.set(state.asker.under_way)
        SUBSCRIBERS.set(state.hub.subscribers)
    if "collector" in state:
        IN_FLIGHT.set(state.collector.bytes_in_flight)
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(REGISTRY), media_type=kind, headers={"Cache-Control": "no-store"})
