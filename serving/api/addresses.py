"""Names in addresses. An account may be any text, base64 too, so a name may have a slash in it: a client writes it as %2F, and it is part
of the name, not of the path (RFC 3986 §2.2). Servers tell of a path with all of it decoded, where that difference is lost.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send


def as_addressed(app: ASGIApp) -> ASGIApp:
    """The same application, which is told of a path whose segments are the client's."""

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and b"%2f" in scope["raw_path"].lower():
            scope["path"] = "/" + "/".join(name.replace("/", "%2F") for name in names_of(scope))
        await app(scope, receive, send)

    return told


def names_of(scope: Any) -> list[str]:
    """The segments of the path, decoded one by one; empty ones are none."""
    raw: bytes = scope["raw_path"]
    return [unquote(segment) for segment in raw.decode("ascii", "replace").split("/") if segment]
