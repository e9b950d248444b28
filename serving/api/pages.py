"""The dashboard's pages and the files of serving/assets, as browsers ask for them: each read and compressed once, then given by its tag.

All pages are one document, which is told who may ask here and which modules the page at its address is made of: its script opens that
page. It may load nothing but what this process serves.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, Final

from litestar import HttpMethod, Request, Response, route
from litestar.params import FromPath

from serving.api.negotiation import takes_gzip
from serving.api.tags import matches
from serving.refusals import NotThere

ASSETS: Final = Path(__file__).parents[1] / "assets"
PAGES: Final = {
    "/": ("now",),
    "/title": ("title",),
    "/quality": ("quality",),
    "/pipeline": ("pipeline",),
    "/explore": ("explore", "explore_form"),
}
"""By address, the modules of dashboard/pages that the page is made of: they are fetched beside the script that opens it, not behind."""
MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""By how a file's name ends; the others are text."""
PLAIN: Final = "text/plain; charset=utf-8"
POLICY: Final = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
"""Content-Security-Policy (CSP 3): no script or style but this process' files, no other server, nobody's frame."""
GUARDS: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


@dataclass(frozen=True)
class Asset:
    """A file as it goes over the wire. packed: the same by gzip, None where that is not shorter."""

    body: bytes
    packed: bytes | None
    tag: str
    media_type: str


@cache
def _files() -> dict[str, Path]:
    """Every file below ASSETS by its path there: what is not in it is never looked for."""
    return {path.relative_to(ASSETS).as_posix(): path for path in ASSETS.rglob("*") if path.is_file()}


@cache
def asset(name: str) -> Asset:
    """The file of that path below ASSETS. Raises NotThere when there is none."""
    found = _files().get(name)
    if found is None:
        raise NotThere("there is no such file; the dashboard is at /, the API's description at /docs")
    return _packed(found.read_bytes(), MEDIA_TYPES.get(found.suffix, PLAIN))


@cache
def page(path: str, access: str) -> Asset:
    """The document of one of PAGES. access: who may ask here (serving.api.access.access_here)."""
    preloads = "\n  ".join(f'<link rel="modulepreload" href="/assets/dashboard/pages/{name}.js">' for name in PAGES[path])
    text = Template(asset("dashboard/index.html").body.decode()).substitute(access=access, preloads=preloads)
    return _packed(text.encode(), MEDIA_TYPES[".html"])


def _packed(body: bytes, media_type: str) -> Asset:
    packed = gzip.compress(body, mtime=0)
    tag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    return Asset(body, packed if len(packed) < len(body) else None, tag, media_type)


@route(list(PAGES), http_method=(HttpMethod.GET, HttpMethod.HEAD), include_in_schema=False)
async def dashboard(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A page of the dashboard."""
    path = request.url.path.rstrip("/") or "/"
    return _given(request, page(path, request.app.state.gate.access), {"Content-Security-Policy": POLICY, **GUARDS})


@route("/assets/{path:path}", http_method=(HttpMethod.GET, HttpMethod.HEAD), include_in_schema=False)
async def assets(request: Request[Any, Any, Any], path: FromPath[Path]) -> Response[bytes]:
    """A file of a page."""
    return _given(request, asset(path.as_posix().lstrip("/")), GUARDS)


def _given(request: Request[Any, Any, Any], found: Asset, guards: dict[str, str]) -> Response[bytes]:
    headers = {"ETag": found.tag, "Cache-Control": "public, no-cache", "Vary": "Accept-Encoding", **guards}
    if matches(request.headers.get("if-none-match"), found.tag):
        return Response(b"", status_code=304, headers=headers)
    if found.packed is not None and takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(found.packed, media_type=found.media_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(found.body, media_type=found.media_type, headers=headers)
