"""The metrics of an API process: the one list of their names, served at /metrics.

Labels: route (as OpenAPI writes it; what leads nowhere is "(none)") and status; never what was asked.
"""

from __future__ import annotations

import time
from typing import Any, Final

from litestar import Request, Response, get
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector

REGISTRY: Final = CollectorRegistry()
"""What /metrics serves; also has process_cpu_seconds_total, process_resident_memory_bytes and their like of this process."""
ProcessCollector(registry=REGISTRY)

REQUESTS: Final = Counter("marquee_http_requests", "requests answered", ("route", "status"), registry=REGISTRY)
SECONDS: Final = Histogram(
    "marquee_http_request_seconds",
    "from a request's head to the last byte of its response, seconds; streams are left out",
    ("route",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    registry=REGISTRY,
)
READINGS: Final = Counter("marquee_http_readings", "questions that were read from the stores", registry=REGISTRY)
UNDER_WAY: Final = Gauge("marquee_http_questions", "questions that are being answered or wait for a thread", registry=REGISTRY)
SUBSCRIBERS: Final = Gauge("marquee_http_subscribers", "streams that are open", registry=REGISTRY)


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
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(REGISTRY), media_type=kind, headers={"Cache-Control": "no-store"})
